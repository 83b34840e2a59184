"""What members and operators of a framework's own array show: one function for each question, for every framework.

Python has one spelling for most of them; what a framework calls otherwise its `Members` says.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from touchstone.adapters.isolation.outcome import ended

OPERATORS: Mapping[str, tuple[Callable[..., Any], str]] = {
    "+": (operator.add, "add"),
    "-": (operator.sub, "subtract"),
    "*": (operator.mul, "multiply"),
    "/": (operator.truediv, "divide"),
    "//": (operator.floordiv, "floor_divide"),
    "%": (operator.mod, "remainder"),
    "**": (operator.pow, "power"),
    "@": (operator.matmul, "matmul"),
    "==": (operator.eq, "equal"),
    "!=": (operator.ne, "not_equal"),
    "<": (operator.lt, "less"),
    "<=": (operator.le, "less_equal"),
    ">": (operator.gt, "greater"),
    ">=": (operator.ge, "greater_equal"),
    "&": (operator.and_, "bitwise_and"),
    "|": (operator.or_, "bitwise_or"),
    "^": (operator.xor, "bitwise_xor"),
    "<<": (operator.lshift, "left_shift"),
    ">>": (operator.rshift, "right_shift"),
    "negative": (operator.neg, "negative"),
    "abs": (operator.abs, "abs"),
    "~": (operator.invert, "bitwise_invert"),
}
"""Operator -> Python's function of it, and the function of arrays that it stands for."""
IN_PLACE: Mapping[str, Callable[[Any, Any], Any]] = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "//=": operator.ifloordiv,
    "%=": operator.imod,
    "**=": operator.ipow,
    "&=": operator.iand,
    "|=": operator.ior,
    "^=": operator.ixor,
    "<<=": operator.ilshift,
    ">>=": operator.irshift,
}
"""Statement -> Python's function of it, which gives what the name on its left stands for afterwards."""
PYTHON: Mapping[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int": int,
    "float": float,
    "complex": complex,
    "index": operator.index,
    "len": len,
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
}
"""What Python asks of an array, and what an array gives of Python's."""
POSITIONAL = ("shape", "axes", "indices_or_sections", "spread")
"""Options that go without a name; "spread": as arguments of their own to a method, as one tuple to a function."""
ATTRIBUTES = ("T", "mT", "real", "imag")
"""Attributes that are arrays."""
UPDATES = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
"""Methods of ``x.at[ids]``, by MLX's names."""


@dataclass(frozen=True)
class Members:
    """How a framework spells members of its array.

    module: of its functions. methods: MLX's name of a method -> option -> how the framework calls that one.
    called: MLX's name -> the framework's, of a method and its function. functions: of a function alone, by its dotted
    name. always: options without which a method means something else. updates: MLX's names of methods of
    ``x.at[ids]`` -> its own. make, cast, view: an array of anything, and of another dtype; by value, or by its bits.
    lifted: a Python scalar as its functions take one.
    """

    module: str
    methods: Mapping[str, Mapping[str, str]]
    make: Callable[[Any, Any], Any]
    cast: Callable[[Any, Any, str], Any]
    view: Callable[[Any, Any, str], Any]
    called: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    updates: Mapping[str, str] = field(default_factory=dict)
    lifted: Callable[[Any, Any], Any] = lambda adapter, value: value

    def function(self, name: str) -> Callable[..., Any]:
        """The function of arrays that MLX calls by this name."""
        path = self.functions.get(name, f"{self.module}.{self.called.get(name, name)}")
        module, _, own = path.rpartition(".")
        found: Callable[..., Any] = getattr(import_module(module), own)
        return found

    def arguments(self, name: str, options: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(positional, by name) as the framework takes the options of a member."""
        positional = tuple(value for option, value in options.items() if option in POSITIONAL)
        named = {self.methods[name][o]: value for o, value in options.items() if o not in POSITIONAL}
        return positional, {**self.always.get(name, {}), **named}


def dtype_of(x: Any) -> str:
    """The name of an array's dtype, without its module."""
    return str(x.dtype).rpartition(".")[2]


def _fetched(adapter: Any, made: Any) -> Any:
    """As NumPy's: an array, a list of arrays, or the values of (values, indices)."""
    if isinstance(made, tuple) and hasattr(made, "indices"):
        made = made[0]
    return [np.array(adapter.fetch(one)) for one in made] if isinstance(made, list | tuple) else _one(adapter, made)


def _one(adapter: Any, made: Any) -> Any:
    return np.array(adapter.fetch(made)) if hasattr(made, "dtype") else made


def member(how: Members, adapter: Any, name: str, x: np.ndarray, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a method gives, and what the function of its name gives of the same."""
    positional, named = how.arguments(name, options)
    spread = options.get("spread")
    found = getattr(adapter.place(x), how.called.get(name, name))
    made = found(*spread, **named) if spread is not None else found(*positional, **named)
    same = how.function(name)(adapter.place(x), *positional, **named)
    return {"member": _fetched(adapter, made), "function": _fetched(adapter, same)}


def attribute(how: Members, adapter: Any, name: str, x: np.ndarray) -> np.ndarray:
    """One of `ATTRIBUTES`."""
    with warnings.catch_warnings(action="ignore"):
        return np.array(adapter.fetch(getattr(adapter.place(x), name)))


def facts(how: Members, adapter: Any, x: np.ndarray) -> dict[str, Any]:
    """Dtype, shape, number of axes and of elements, bytes of one element and of all."""
    made = adapter.place(x)
    size = made.numel() if callable(made.size) else made.size
    found = {"ndim": made.ndim, "size": size, "itemsize": made.itemsize, "nbytes": made.nbytes}
    return {"dtype": dtype_of(made), "shape": tuple(int(n) for n in made.shape), **found}


def operate(how: Members, adapter: Any, name: str, x: Any, other: Any = None, swapped: bool = False) -> dict[str, Any]:
    """What an operator gives, and the function it stands for; swapped: with the other operand on its left."""
    python, function = OPERATORS[name]
    operands = [adapter.place(x)] if other is None else [adapter.place(x), adapter.place(other)]
    if swapped:
        operands.reverse()
    made = python(*operands)
    lifted = [how.lifted(adapter, one) if isinstance(one, bool | int | float | complex) else one for one in operands]
    return {"operator": _one(adapter, made), "function": _fetched(adapter, how.function(function)(*lifted))}


def equal_to(how: Members, adapter: Any, x: np.ndarray, other: Any) -> str:
    """What comparing with what is no number gives: "False", "an array", or how it ended."""
    made, kept = adapter.place(x), list[Any]()
    how_it_ended = ended(lambda: kept.append(made == other))
    return how_it_ended or ("False" if kept[0] is False else "an array" if hasattr(kept[0], "dtype") else "True")


def in_place(how: Members, adapter: Any, name: str, x: np.ndarray, other: Any) -> dict[str, Any]:
    """What the name on the left of a statement shows, another name of the array, a view of it, and what was computed.

    ended: how the statement ended. "[1] =" sets the second row.
    """
    made = adapter.place(x)
    also, view, computed = made, made.reshape(-1), made + made
    value, kept = adapter.place(other), [made]
    if name == "[1] =":
        how_it_ended = ended(partial(operator.setitem, made, 1, value))
    else:
        how_it_ended = ended(lambda: kept.append(IN_PLACE[name](made, value)))
    found = {"result": kept[-1], "name": also, "view": view, "computed": computed}
    return {"ended": how_it_ended, **{key: np.array(adapter.fetch(one)) for key, one in found.items()}}


def python(how: Members, adapter: Any, name: str, x: np.ndarray) -> dict[str, Any]:
    """A value of Python's that an array gives, and its type; ended: how the call ended."""
    made, kept = adapter.place(x), list[Any]()
    with warnings.catch_warnings(action="ignore"):
        how_it_ended = ended(lambda: kept.append(PYTHON[name](made)))
    return {"ended": how_it_ended, "value": kept[0] if kept else None, "types": sorted(_types(kept[:1]))}


def _types(value: Any) -> set[str]:
    """Names of the types of what is in nested lists."""
    if isinstance(value, list):
        return set().union(*map(_types, value))
    return {type(value).__name__}


def rows(how: Members, adapter: Any, x: np.ndarray) -> dict[str, Any]:
    """What a loop over the array gives one after the other; ended: how it ended."""
    made, kept = adapter.place(x), list[Any]()
    how_it_ended = ended(lambda: kept.extend(made))
    return {"ended": how_it_ended, "rows": [np.array(adapter.fetch(row)) for row in kept]}


def contains(how: Members, adapter: Any, x: np.ndarray, value: Any) -> str:
    """Whether a value is ``in`` an array, or how asking ended."""
    made, kept = adapter.place(x), list[Any]()
    return ended(lambda: kept.append(value in made)) or str(bool(kept[0]))


def text(how: Members, adapter: Any, x: np.ndarray) -> str:
    """What `repr` gives."""
    return repr(adapter.place(x))


def cast(how: Members, adapter: Any, x: np.ndarray, to: str) -> np.ndarray:
    """The values in another dtype."""
    with warnings.catch_warnings(action="ignore"):
        return np.array(adapter.fetch(how.cast(adapter, adapter.place(x), to)))


def view(how: Members, adapter: Any, x: np.ndarray, to: str) -> np.ndarray:
    """The bits as another dtype."""
    return np.array(adapter.fetch(how.view(adapter, adapter.place(x), to)))


def to_numpy(how: Members, adapter: Any, x: np.ndarray) -> dict[str, Any]:
    """What `numpy.array` makes of it; kept: the array after that was written to."""
    made, kept = adapter.place(x), list[Any]()
    how_it_ended = ended(lambda: kept.append(np.array(made)))
    if not kept:
        return {"ended": how_it_ended, "array": None, "kept": None}
    found = kept[0].copy()
    kept[0][...] = 0
    return {"ended": "", "array": found, "kept": np.array(adapter.fetch(made))}


def write_through(how: Members, adapter: Any, x: np.ndarray) -> str:
    """What writing to what `numpy.asarray` gives does to the array: "changes it", "read-only" or "a copy"."""
    made = adapter.place(x)
    seen = np.asarray(made)
    if not seen.flags.writeable:
        return "read-only"
    seen[...] = 0
    return "a copy" if np.array_equal(adapter.fetch(made), x) else "changes it"


def in_order(x: np.ndarray, order: str) -> np.ndarray:
    """The same values in another order of memory: as rows ("C"), "F", a view of more, or with swapped bytes.

    >>> in_order(np.ones((2, 3), np.float32), "strided").strides
    (48, 12)
    """
    if order == "F":
        return np.array(x, order="F")
    if order == "transposed":
        return np.array(x.T, order="C").T
    if order == "strided":
        return np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3]
    if order == "offset":
        return np.concatenate([x[:1], x])[1:]
    if order == "reversed":
        return np.array(x[::-1])[::-1]
    return x.astype(x.dtype.newbyteorder()) if order == "of swapped bytes" else np.array(x, order="C")


def make(how: Members, adapter: Any, source: Any, order: str = "C") -> dict[str, Any]:
    """What is made of nested lists, scalars of Python's or an array of NumPy's; written: after that was set to zero.

    order: of the array of NumPy's (`in_order`).
    """
    source, kept = in_order(source, order) if isinstance(source, np.ndarray) else source, list[Any]()
    with warnings.catch_warnings(action="ignore"):
        how_it_ended = ended(lambda: kept.append(how.make(adapter, source)))
    if not kept:
        return {"ended": how_it_ended}
    found = {"ended": "", "dtype": dtype_of(kept[0]), "array": np.array(adapter.fetch(kept[0]))}
    if isinstance(source, np.ndarray):
        source[...] = np.zeros((), source.dtype)
    return {**found, "written": np.array(adapter.fetch(kept[0]))}


def update(how: Members, adapter: Any, name: str, x: np.ndarray, ids: np.ndarray, by: Any) -> dict[str, Any]:
    """What ``x.at[ids]`` gives of an update, and the array afterwards."""
    made = adapter.place(x)
    found = getattr(made.at[adapter.place(ids)], how.updates[name])(adapter.place(by))
    return {"result": np.array(adapter.fetch(found)), "array": np.array(adapter.fetch(made))}


_ASKED: Mapping[str, Callable[..., Any]] = {
    "member": member,
    "attribute": attribute,
    "facts": facts,
    "operator": operate,
    "equal to": equal_to,
    "in place": in_place,
    "python": python,
    "rows": rows,
    "contains": contains,
    "repr": text,
    "cast": cast,
    "view": view,
    "to numpy": to_numpy,
    "write through": write_through,
    "make": make,
    "at": update,
}


def answers(how: Members) -> dict[str, Callable[..., Any]]:
    """Question -> the function of the adapter, and what the question takes, that answers it."""
    return {question: partial(function, how) for question, function in _ASKED.items()}


def declared(how: Members, without: Sequence[str] = ()) -> frozenset[str]:
    """What `Capabilities.array_questions` says; without: what is absent, in the words of the needs of cases."""
    found = {f"member {name}" for name in how.methods}
    found |= {f"option {name} {option}" for name, options in how.methods.items() for option in options}
    found |= {f"operator {name}" for name in OPERATORS} | {f"operator {name} after a scalar" for name in OPERATORS}
    found |= {f"in place {name}" for name in (*IN_PLACE, "[1] =")}
    found |= {f"at {name}" for name in how.updates}
    found |= {f"attribute {name}" for name in ATTRIBUTES}
    return frozenset((found | set(_ASKED) - {"member", "attribute", "operator", "in place", "at"}) - set(without))
