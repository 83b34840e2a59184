"""Operands whose memory layout is unusual but whose logical value is the given array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from touchstone.adapters.interface import Capabilities, Operand

SENTINEL_ROWS = 256
"""Rows of sentinels on each side of a guarded table: ids up to 255 beyond its end are recognised."""
SENTINEL = -77.0
"""Value of every sentinel; the guarded tables hold positive numbers only."""


Move = Callable[[np.ndarray], np.ndarray]


def moved(place: str) -> tuple[int | tuple[int, int], Move, Move]:
    """The axis of a place, what moves the last axis of rows there, and what moves it back."""
    if place == "first of two":
        return 0, np.transpose, np.transpose
    if place == "last two of three":
        return (1, 2), lambda x: x.reshape(len(x), 4, -1), lambda y: y.reshape(len(y), -1)
    return 1, lambda x: x.reshape(2, len(x) // 2, -1).swapaxes(1, 2), lambda y: y.swapaxes(1, 2).reshape(-1, y.shape[1])


def _filler(array: np.ndarray) -> Any:
    """What surrounds the array in its base: NaN, which no result may show, or id 1."""
    return 1 if array.dtype.kind in "iu" else np.nan


def lay_out(array: np.ndarray, layout: str, filler: float | None = None) -> Operand | np.ndarray:
    """`array` as a view of a larger or reordered base; itself where it is "dense", or has too few axes to be other.

    Transposed: its first two axes. filler: what surrounds it in its base, by default NaN, or id 1.
    """
    if layout == "dense" or array.ndim < (2 if layout == "transposed" else layout != "broadcast"):
        return array
    filler = _filler(array) if filler is None else filler
    axis = array.ndim - 1 if layout.startswith("inner") else 0
    before: tuple[Any, ...] = ((None, None, None),) * axis
    size = array.shape[axis]
    if layout.endswith("offset"):
        pad = [(2, 3) if a == axis else (0, 0) for a in range(array.ndim)]
        base = np.pad(array.astype(array.dtype), pad, constant_values=filler)
        return Operand(base, (("slice", (*before, (2, 2 + size, None))),))
    if layout.endswith("strided"):
        base = np.full([2 * n if a == axis else n for a, n in enumerate(array.shape)], filler, dtype=array.dtype)
        base[tuple(slice(None, None, 2 if a == axis else None) for a in range(array.ndim))] = array
        return Operand(base, (("slice", (*before, (None, None, 2))),))
    if layout.endswith("reversed"):
        # A copy: of one element NumPy takes the reversed view for contiguous, and its stride stays negative.
        return Operand(np.flip(array, axis).copy(), (("slice", (*before, (None, None, -1))),))
    if layout == "transposed":
        swapped = np.ascontiguousarray(array.swapaxes(0, 1))
        return Operand(swapped, (("permute", (1, 0, *range(2, array.ndim))),))
    if layout == "broadcast":
        return Operand(array, (("broadcast", (3, *array.shape)),))
    raise ValueError(f"unknown layout {layout!r}")


def guarded(rows: np.ndarray, capabilities: Capabilities, sentinel: Any = SENTINEL) -> Any:
    """`rows` as a slice of a larger buffer of sentinels, or dense where the target cannot express an offset."""
    if capabilities.missing("layout:offset"):
        return rows
    base = np.pad(rows, [(SENTINEL_ROWS, SENTINEL_ROWS), (0, 0)], constant_values=sentinel)
    return Operand(base, (("slice", ((SENTINEL_ROWS, SENTINEL_ROWS + len(rows), None),)),))
