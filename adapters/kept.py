"""The module behind a layer's spelling: made without a call, and called again in another mode or after a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.adapters.interface import Unsupported

Arrays = Mapping[str, np.ndarray]


class _Made(Exception):
    """Ends a spelling that has made its module and would call it."""

    def __init__(self, module: Any) -> None:
        self.module = module


_MADE_ALONE = object()
_instead: list[Any] = []
"""What spellings call instead of the module that they make, the last one first."""


def is_asked() -> bool:
    """Whether a module is wanted that holds its own parameters, and not what a spelling computes."""
    return bool(_instead)


def called(module: Any) -> Any:
    """The module that a spelling is to call: the one that it has made, unless `made` or `run` asks otherwise."""
    if not _instead:
        return module
    if _instead[-1] is _MADE_ALONE:
        raise _Made(module)
    return _instead[-1]


@contextmanager
def _calling(module: Any) -> Iterator[None]:
    _instead.append(module)
    try:
        yield
    finally:
        _instead.pop()


def made(function: Callable[..., Any], *arrays: Any) -> Any:
    """The module that a spelling makes of these arrays. Raises Unsupported where it makes none."""
    with _calling(_MADE_ALONE):
        try:
            function(*arrays)
        except _Made as found:
            return found.module
    raise Unsupported("a function of arrays, without a module")


def run(function: Callable[..., Any], module: Any, *arrays: Any) -> Any:
    """What a spelling gives when it calls this module, whose parameters are its own, whatever the arrays say."""
    with _calling(module):
        return function(*arrays)


def numbered(operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Arrays of these shapes that number every floating element from two on; integers stay as they are.

    Zero and one are what a module begins with where a spelling says nothing.
    """
    out, start = [], 2
    for one in operands:
        is_number = one.dtype.kind not in "iub"
        out.append(np.arange(start, start + one.size, dtype=np.float32).reshape(one.shape) if is_number else one)
        start += one.size if is_number else 0
    return out


@dataclass(frozen=True)
class Parted:
    """A module's parameters by the operands of its spelling.

    operands: one for each operand, None for what is no parameter. beside: by name those that no operand is part of.
    """

    operands: list[np.ndarray | None]
    beside: dict[str, np.ndarray]


def by_operand(operands: Sequence[np.ndarray], places: Arrays, values: Arrays) -> Parted:
    """A module's parameters in the places that the operands of its spelling have there.

    places: the parameters of a module made of `numbered` operands, which turns and packs them as it does any.

    >>> weight = np.zeros((2, 2), np.float32)
    >>> parted = by_operand([weight], {"w": np.array([[2, 4], [3, 5]])}, {"w": np.array([[5, 6], [7, 8]])})
    >>> parted.operands[0].tolist()
    [[5, 7], [6, 8]]
    """
    found, seen = list[np.ndarray | None](), set[str]()
    for numbers in numbered(operands):
        held = None
        for name, place in places.items() if numbers.dtype.kind == "f" and numbers.size else ():
            at = place.astype(np.int64) - int(numbers.flat[0])
            inside = (at >= 0) & (at < numbers.size)
            if inside.any():
                held = np.zeros(numbers.size, values[name].dtype) if held is None else held
                held[at[inside]] = values[name][inside]
                seen.add(name)
        found.append(None if held is None else held.reshape(numbers.shape))
    return Parted(found, {name: value for name, value in values.items() if name not in seen})


def in_modes(module: Any, call: Callable[[], np.ndarray], arrays: Callable[[], Arrays]) -> list[dict[str, Any]]:
    """What a module holds before and after a call, and gives, in evaluation, in training and in evaluation again."""
    seen = []
    for training in (False, True, False):
        module.train() if training else module.eval()
        before = arrays()
        seen.append({"before": before, "result": call(), "after": arrays()})
    return seen
