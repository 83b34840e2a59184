"""Objects that live in a target's process: a layer stays where it was made, calls of it and arrays travel.

Both sides pickle what they send; a layer, a model or a compiled function is sent as its number, and stands on the other
side as a `Remote`. Only our own two processes speak to each other.
"""

from __future__ import annotations

import io
import pickle
import types
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from touchstone.adapters.interface import Adapter, Layer
from touchstone.adapters.isolation.outcome import Outcome, Unanswered
from touchstone.adapters.language import LanguageModel

if TYPE_CHECKING:
    from touchstone.adapters.isolation.process import Isolation

ADAPTER = "adapter"
STAYS: dict[str, type] = {"layer": Layer, "model": LanguageModel, "function": types.FunctionType}
"""Kind -> the type of what stays in the process that made it; of functions those that no name leads to."""
_CALLABLE = {
    kind: frozenset(name for name in dir(cls) if callable(getattr(cls, name, None)))
    for kind, cls in {**STAYS, ADAPTER: Adapter}.items()
}


class NotWhole(Exception):
    """The other side ended in the middle of a message."""


@dataclass(eq=False)
class Held:
    """What one process holds for this one: numbers of objects that are referred to no longer, until it is told."""

    released: list[int] = field(default_factory=list)

    def take_released(self) -> tuple[int, ...]:
        taken = tuple(self.released)
        del self.released[: len(taken)]  # finalizers go on appending to this list
        return taken


class Remote:
    """A layer, model, function or the adapter itself in a target's process.

    Methods of its interface are called there; other attributes are fetched. Raises `Unanswered` where the
    object raised, or its process has ended.
    """

    def __init__(self, isolation: Isolation, held: Held | None, kind: str, number: int = -1) -> None:
        self._isolation, self._held, self._kind, self._number = isolation, held, kind, number
        if held is not None:
            weakref.finalize(self, held.released.append, number)

    @property
    def is_alive(self) -> bool:
        """Whether the process that holds the object still runs."""
        return self._held is None or self._isolation.holds(self._held)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _CALLABLE[self._kind]:
            return partial(self._call, name)
        return self._run(_attribute, name=name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._call("__call__", *arguments, **named)

    def __str__(self) -> str:
        return str(self._call("__str__"))

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        return self._run(_invoke, name=method, arguments=arguments, named=named)

    def _run(self, function: Any, **arguments: Any) -> Any:
        if not self.is_alive:
            raise Unanswered(Outcome("crashed", message="the process that held this layer has ended"))
        outcome = self._isolation.run(function, {"owner": self, **arguments})
        if outcome.kind != "value":
            raise Unanswered(outcome)
        return outcome.value


def _invoke(adapter: Any, owner: Any, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return getattr(owner, name)(*arguments, **named)


def _attribute(adapter: Any, owner: Any, name: str) -> Any:
    return getattr(owner, name)


class Kept:
    """The worker's side: the objects that stayed here, by number."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter
        self.objects: dict[int, Any] = {}
        self._next = 0

    def keep(self, value: Any) -> int:
        self._next += 1
        self.objects[self._next] = value
        return self._next

    def release(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            self.objects.pop(number, None)


def _kind_of(value: Any) -> str | None:
    """The kind of an object that stays where it is, None for what travels."""
    for kind, cls in STAYS.items():
        if isinstance(value, cls):
            named = kind == "function" and "<" not in value.__qualname__  # type: ignore[attr-defined]
            return None if named else kind
    return None


class _KeptPickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, kept: Kept) -> None:
        super().__init__(file, protocol=5)
        self.kept = kept

    def persistent_id(self, value: Any) -> Any:
        kind = _kind_of(value)
        return None if kind is None else (kind, self.kept.keep(value))


class _KeptUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, kept: Kept) -> None:
        super().__init__(file)
        self.kept = kept

    def persistent_load(self, identifier: Any) -> Any:
        kind, number = identifier
        return self.kept.adapter if kind == ADAPTER else self.kept.objects[number]


class _RemotePickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return (value._kind, value._number) if isinstance(value, Remote) else None


class _RemoteUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, isolation: Isolation, held: Held) -> None:
        super().__init__(file)
        self.isolation, self.held = isolation, held

    def persistent_load(self, identifier: Any) -> Any:
        kind, number = identifier
        return Remote(self.isolation, self.held, kind, number)


def request(content: Any) -> bytes:
    """What is sent to a worker; a `Remote` in it travels as its number."""
    file = io.BytesIO()
    _RemotePickler(file, protocol=5).dump(content)
    return file.getvalue()


def read_request(message: bytes, kept: Kept) -> Any:
    """What `request` wrote, on the worker's side: each number becomes the object that `kept` holds under it."""
    return _KeptUnpickler(io.BytesIO(message), kept).load()


def answer(content: Any, kept: Kept) -> bytes:
    """What a worker sends back; layers in it stay, and travel as their number."""
    file = io.BytesIO()
    _KeptPickler(file, kept).dump(content)
    return file.getvalue()


def read_answer(message: bytes, isolation: Isolation, held: Held) -> Any:
    """Raises NotWhole where the worker died while it wrote."""
    try:
        return _RemoteUnpickler(io.BytesIO(message), isolation, held).load()
    except (EOFError, pickle.UnpicklingError) as error:
        raise NotWhole from error
