"""In which order does a tensor hold its source's slices? Each of the target's is compared with all of its source's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from touchstone.migration.comparing import source_rows
from touchstone.migration.hypotheses import Cause
from touchstone.migration.mapping.knowledge import is_convolution
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.pairing import Pair

MOST_SLICES = 2048
MOST_ELEMENTS = 1 << 24
"""Elements of a tensor that is looked at whole, along its other axes."""
COLUMNS = 512
"""Elements of a slice that are compared."""
NEAR = 0.2
"""Share of the squared distance to the next slice below which two are the same, rounded or quantized."""

_FUSED = (
    (("qkv", "query_key_value", "c_attn", "in_proj_weight"), ("q", "k", "v")),
    (("gate_up", "gate_and_up"), ("gate", "up")),
)
"""Words of a fused tensor's name -> its parts, in their order."""


@dataclass(frozen=True)
class Order:
    """Slice i of the target along an axis holds slice ``places[i]`` of what it should hold."""

    axis: int
    places: tuple[int, ...]

    @property
    def is_permutation(self) -> bool:
        return sorted(self.places) == list(range(len(self.places)))


def order_along(want: np.ndarray, got: np.ndarray, axis: int) -> Order | None:
    """The order in which `got` holds the slices of `want`, both float64 of one shape; None where it is theirs, or none.

    Slices that are alike cannot be told apart: then there is no order either.
    """
    count = want.shape[axis]
    return _order(_slices(want, axis), _slices(got, axis), axis) if 2 <= count <= MOST_SLICES else None


def _order(left: np.ndarray, right: np.ndarray, axis: int) -> Order | None:
    """The order of slices that lie flat, ``[slices, elements]``."""
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs((right**2).sum(1)[:, None] + (left**2).sum(1)[None, :] - 2 * right @ left.T)
    if not np.isfinite(distance).all():
        return None
    places = distance.argmin(1)
    nearest, second = np.partition(distance, 1, axis=1)[:, :2].T
    usual = float(np.median(distance))
    if usual <= 0 or (nearest > NEAR * second + 1e-9 * usual).any() or (second <= 1e-9 * usual).any():
        return None
    return None if (places == np.arange(len(left))).all() else Order(axis, tuple(places.tolist()))


def _slices(array: np.ndarray, axis: int) -> np.ndarray:
    flat = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    step = max(1, flat.shape[1] // COLUMNS)
    return np.ascontiguousarray(flat[:, ::step], np.float64)


def reordered(pair: Pair, heads: int) -> Cause | None:
    """Slices of the source that lie in another order along one axis of the target. heads: of q, 0 where unknown."""
    shape = pair.target.shape
    if pair.wanted_shape != shape or len(shape) < 2:
        return None
    if 2 <= shape[0] <= MOST_SLICES:  # a slice at a time, whatever their size
        rows: list[Callable[[int, int], np.ndarray]] = [partial(source_rows, pair), pair.target.rows]
        want, got = (np.concatenate([_slices(read(i, i + 1), 0) for i in range(shape[0])]) for read in rows)
        if found := _order(want, got, 0):
            return _cause(found, pair, heads)
    if math.prod(shape) > MOST_ELEMENTS:
        return None
    want, got = (read(0, shape[0]).astype(np.float64) for read in (partial(source_rows, pair), pair.target.rows))
    for axis in range(1, len(shape)):
        if found := order_along(want, got, axis):
            return _cause(found, pair, heads)
    return None


def _cause(found: Order, pair: Pair, heads: int) -> Cause:
    noun = noun_of(pair, found.axis)
    size = _block(found.places)
    places: Sequence[int] = [p // size for p in found.places[::size]] if size > 1 else found.places
    if size > 1:
        own = len(found.places) // heads if heads and found.axis == 0 and len(found.places) % heads == 0 else 0
        noun = "head" if own and size == own else f"block of {size} {noun}s"
    text, kind = described(places, noun)
    fused = next((parts for words, parts in _FUSED if any(w in pair.target.name for w in words)), ())
    if found.axis == 0 and len(places) == len(fused) and kind == "exchanged":
        one, other = (fused[i] for i, p in enumerate(places) if i != p)
        return Cause(f"{one} and {other} exchanged", f"{text}, in the fused {pair.target.name}")
    return Cause(f"{_plural(noun.split(' of ')[0])} {kind}", f"{text}, along axis {found.axis}")


def noun_of(pair: Pair, axis: int) -> str:
    """What a slice along an axis of the target is."""
    rule, axes = pair.rule, len(pair.target.shape)
    of_one = 1 if pair.target.name.endswith("bias") else 2
    if axis == 0 and axes == 1 + of_one and _is_stacked(rule, pair.target.name):
        return "expert"
    if axes >= 3 and is_convolution(pair.target.name):
        return "output channel" if axis == 0 else "tap" if axis < axes - 1 else "input channel"
    if axis == 0 and axes == 3:
        return "head"
    return {0: "row", 1: "column"}.get(axis, "slice") if axes == 2 else {1: "row", 2: "column"}.get(axis, "slice")


_STACKED = ("expert", "switch", "_exps")
"""Of names of tensors that hold all experts of a layer, one after the other."""


def _is_stacked(rule: Rule | None, name: str) -> bool:
    return (rule is not None and rule.over is not None) or any(w in name for w in _STACKED)


def _block(places: Sequence[int]) -> int:
    """The largest size in which whole blocks moved."""
    count = len(places)
    for size in (s for s in range(count // 2, 1, -1) if count % s == 0):
        grid = np.asarray(places).reshape(-1, size)
        if (grid[:, :1] % size == 0).all() and (grid == grid[:, :1] + np.arange(size)).all():
            return size
    return 1


def described(places: Sequence[int], noun: str) -> tuple[str, str]:
    """(which slice lies where, what such an order is called in two words)."""
    count = len(places)
    moved = [i for i, p in enumerate(places) if i != p]
    lost = sorted(set(range(count)) - set(places))
    if lost:
        first = moved[0]
        kind = "duplicated"
        return f"{noun} {first} holds {places[first]}, and {_listed(lost, noun)} of its source is nowhere", kind
    if list(places) == list(range(count - 1, -1, -1)) and count > 2:
        return f"{_plural(noun)} lie in reversed order", "reversed"
    if len(moved) == 2:
        return f"{_plural(noun)} {moved[0]} and {moved[1]} are exchanged", "exchanged"
    half = count // 2
    if list(places) == [i // 2 + half * (i % 2) for i in range(count)]:
        return f"{_plural(noun)} of both halves lie in turns", "interleaved"
    if list(places) == [*range(0, count, 2), *range(1, count, 2)]:
        return f"every second {noun} lies in the first half", "in halves"
    first = moved[0]
    return (
        f"{noun} {first} holds {places[first]} of its source, {len(moved)} of {count} are elsewhere",
        "in another order",
    )


def _listed(numbers: Sequence[int], noun: str) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"{noun if len(numbers) == 1 else _plural(noun)} {shown}{', …' if len(numbers) > 4 else ''}"


def _plural(noun: str) -> str:
    first, of, rest = noun.partition(" of ")
    return f"{first}s{of}{rest}"
