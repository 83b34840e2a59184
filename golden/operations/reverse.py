"""Gradients of formulas by reverse accumulation: exact, each with the error of who follows the same steps back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from touchstone.golden.operations.arithmetic import Number


@dataclass(frozen=True)
class Gradient:
    """What the operand in that place gets of a cotangent of `value`: of the cotangent, the operands and the options."""

    value: Callable[..., Number]
    place: int

    def __call__(self, cotangent: Number, *operands: Any, **options: Any) -> Number:
        return _all(_Call(self.value, (cotangent, *operands), options))[self.place]


@dataclass(frozen=True, eq=False)
class _Call:
    """A cotangent and operands, alike only where they are the same objects."""

    value: Callable[..., Number]
    given: tuple[Any, ...]
    options: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash((self.value, *map(id, self.given)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Call)
            and (self.value, self.options) == (other.value, other.options)
            and [*map(id, self.given)] == [*map(id, other.given)]
        )


@lru_cache(maxsize=2)
def _all(call: _Call) -> dict[int, Number]:
    """What each operand gets, by its place; ids and what the value does not depend on get nothing."""
    cotangent, *operands = call.given
    by = [_traced(one) if isinstance(one, Number) else one for one in operands]
    found = _pulled(call.value(*by, **call.options), cotangent)
    return {place: found[id(one)] for place, one in enumerate(by) if id(one) in found}


def _traced(one: Number) -> Number:
    made = Number(one.value, one.error, one.precision)
    made.traced = True
    return made


def _pulled(result: Number, cotangent: Number) -> dict[int, Number]:
    """The cotangent of everything that the result was made of, by its identity."""
    found = {id(result): cotangent}
    for one in reversed(_in_order(result)):
        for operand, pull in one.of:
            got = _summed(pull(found[id(one)]), operand.shape)
            found[id(operand)] = found[id(operand)] + got if id(operand) in found else got
    return found


def _in_order(result: Number) -> list[Number]:
    """Everything traced that a number was made of, operands first."""
    order: list[Number] = []
    seen: set[int] = set()
    stack = [(result, False)]
    while stack:
        one, is_done = stack.pop()
        if is_done:
            order.append(one)
        elif id(one) not in seen:
            seen.add(id(one))
            stack.append((one, True))
            stack.extend((operand, False) for operand, _ in one.of)
    return order


def _summed(g: Number, shape: tuple[int, ...]) -> Number:
    """The sum over axes that an operand of this shape was repeated along."""
    while len(g.shape) > len(shape):
        g = g.sum(0)[0]
    for axis, n in enumerate(shape):
        if n == 1 and g.shape[axis] != 1:
            g = g.sum(axis)
    return g.spread(shape) if g.shape != shape else g
