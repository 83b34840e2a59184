"""A pickle read as data: its instructions are followed, and nothing that it asks for is ever called.

`pickletools.genops` takes the bytes apart; here they become lists, dictionaries, and records of what would have been
called with what. A reader of a format turns the records that it knows into values (`Builders`); any other global is
named, and the file refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Builders = Mapping[str, Callable[..., Any]]
"""Name of a global -> what its call stands for; given the call's arguments."""
MOST_STEPS = 20_000_000


class PickleError(Exception):
    """The bytes are no pickle that holds data; the message says why."""


class ForbiddenError(PickleError):
    """The pickle asks for globals that are not known; `names` are all of them."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


@dataclass(frozen=True)
class Global:
    """A function or class that the pickle names: "torch._utils._rebuild_tensor_v2"."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """What a forbidden call would have made."""


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUSHES = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ]
)
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(content: bytes, builders: Builders, values: Mapping[str, Any], persistent: Callable[[Any], Any]) -> Any:
    """What the pickle holds.

    builders: calls that stand for something; values: globals that do as they are; persistent: from a persistent id to
    its value. Raises PickleError, and ForbiddenError where it asks for any other global.
    """
    machine = _Machine(builders, values, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > MOST_STEPS:
                raise PickleError(f"has more than {MOST_STEPS:,} instructions")
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if machine.forbidden:
            raise ForbiddenError(machine.forbidden) from error
        raise PickleError(str(error).split("\n")[0] or type(error).__name__) from error
    if machine.forbidden:
        raise ForbiddenError(machine.forbidden)
    return machine.stack[-1]


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, builders: Builders, values: Mapping[str, Any], persistent: Callable[[Any], Any]) -> None:
        self.builders, self.values, self.persistent = builders, values, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.forbidden: set[str] = set()

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        if name in _PUSHES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif handler := getattr(self, f"_{name.lower()}", None):
            handler(argument)
        else:
            raise PickleError(f"has the instruction {name}, which no saved state needs")

    def _items(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                found = self.stack[at + 1 :]
                del self.stack[at:]
                return found
        raise PickleError("lacks a mark")

    def _proto(self, argument: Any) -> None:
        """Nothing: `genops` knows every protocol."""

    _frame = _proto

    def _stop(self, argument: Any) -> None:
        if len(self.stack) != 1:
            raise PickleError(f"ends with {len(self.stack)} values")

    def _mark(self, argument: Any) -> None:
        self.stack.append(_MARK)

    def _pop(self, argument: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, argument: Any) -> None:
        self._items()

    def _dup(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def _list(self, argument: Any) -> None:
        self.stack.append(self._items())

    def _tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self._items()))

    def _frozenset(self, argument: Any) -> None:
        self.stack.append(frozenset(self._items()))

    def _dict(self, argument: Any) -> None:
        found = self._items()
        self.stack.append(dict(zip(found[::2], found[1::2], strict=True)))

    def _append(self, argument: Any) -> None:
        value = self.stack.pop()
        self._last(list).append(value)

    def _appends(self, argument: Any) -> None:
        found = self._items()
        self._last(list).extend(found)

    def _additems(self, argument: Any) -> None:
        found = self._items()
        self._last(set).update(found)

    def _setitem(self, argument: Any) -> None:
        key, value = self.stack[-2:]
        del self.stack[-2:]
        self._last(dict)[key] = value

    def _setitems(self, argument: Any) -> None:
        found = self._items()
        self._last(dict).update(zip(found[::2], found[1::2], strict=True))

    def _last(self, kind: type) -> Any:
        """The topmost value; one of another kind where that is what a forbidden call would have made."""
        last = self.stack[-1]
        if isinstance(last, Opaque):
            return kind()
        if type(last) is not kind:
            raise PickleError(f"fills a {type(last).__name__} as a {kind.__name__}")
        return last

    def _memoize(self, argument: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, argument: Any) -> None:
        self.memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    _binget = _long_binget = _get

    def _global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _stack_global(self, argument: Any) -> None:
        module, name = self.stack[-2:]
        del self.stack[-2:]
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("names a global by something else than text")
        full = f"{module.removeprefix('__builtin__.').replace('__builtin__', 'builtins')}.{name}"
        if full in self.values:
            self.stack.append(self.values[full])
            return
        if full not in self.builders:
            self.forbidden.add(full)
        self.stack.append(Global(full))

    def _reduce(self, argument: Any) -> None:
        arguments = self.stack.pop()
        called = self.stack.pop()
        if not isinstance(arguments, tuple):
            raise PickleError("calls something with what is no tuple")
        self.stack.append(self.call(called, arguments))

    def call(self, called: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call stands for."""
        if isinstance(called, Global) and called.name in self.builders:
            return self.builders[called.name](*arguments)
        if not isinstance(called, Global | Opaque):
            raise PickleError(f"calls a {type(called).__name__}")
        return Opaque()

    _newobj = _reduce

    def _newobj_ex(self, argument: Any) -> None:
        self.stack.pop()
        self._reduce(argument)

    def _inst(self, argument: str) -> None:
        arguments = tuple(self._items())
        self._global(argument)
        self.stack.append(self.call(self.stack.pop(), arguments))

    def _obj(self, argument: Any) -> None:
        called, *arguments = self._items()
        self.stack.append(self.call(called, tuple(arguments)))

    def _build(self, argument: Any) -> None:
        """The state of an object: only attributes, which no tensor needs."""
        self.stack.pop()

    def _binpersid(self, argument: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def _persid(self, argument: Any) -> None:
        self.stack.append(self.persistent(argument))
