"""Upsampling by a whole factor: by the nearest element, and between neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Number, numbers
from touchstone.golden.operations.layers.making import arrays, layer, whole
from touchstone.golden.operations.samples import Sample

_SPACE = (5, 4)


def _between(n: int, factor: int, *, aligned: bool) -> np.ndarray:
    """``[n * factor, n]``: what each element of the result takes of each of x along one axis."""
    count = n * factor
    if aligned:
        at = np.arange(count) * ((n - 1) / (count - 1))
    else:
        at = np.clip((np.arange(count) + 0.5) / factor - 0.5, 0, n - 1)
    below = np.minimum(at.astype(np.int64), n - 1)
    share = at - below
    out = np.zeros((count, n))
    out[np.arange(count), below] += 1 - share
    out[np.arange(count), np.minimum(below + 1, n - 1)] += share
    return out


def _nearest(n: int, factor: int) -> np.ndarray:
    return np.repeat(np.eye(n), factor, 0)


def _beside(taken: np.ndarray) -> np.ndarray:
    """Where something is taken, and next to there: a place that is off by a rounding may lie beyond an element."""
    some = taken != 0
    return some | np.pad(some[:, 1:], ((0, 0), (0, 1))) | np.pad(some[:, :-1], ((0, 0), (1, 0)))


def _upsampled(x: Number, scale_factor: int = 2, mode: str = "nearest", align_corners: bool = False) -> Number:
    """``x [batch, height, width, channels]``, one axis after the other.

    A share is what is left of a place in the grid, which is computed in three roundings of numbers up to n.
    """
    for axis in (1, 2):
        n = x.shape[axis]
        taken = _nearest(n, scale_factor) if mode == "nearest" else _between(n, scale_factor, aligned=align_corners)
        order = (0, 3 - axis, axis, 3)
        moved = x.transpose(*order)
        weights = numbers(taken, x.precision)
        near = 0 if mode == "nearest" else _beside(taken) * (4 * n * x.precision.step)
        inexact = Number(weights.value, weights.error + near, x.precision)
        x = (inexact @ moved).transpose(*order)
    return x


def _sample(name: str, factor: int = 2, **options: Any) -> Sample:
    result = (2, _SPACE[0] * factor, _SPACE[1] * factor, 3)
    return whole(name, arrays({"x": (2, *_SPACE, 3)}), result, **options)


RESIZING = (
    layer(
        "Upsample",
        "the nearest element, or a mean of neighbours by their distance",
        _upsampled,
        _sample("own"),
        _sample("three times", 3, scale_factor=3),
        _sample("linear", mode="linear"),
        _sample("linear, three times", 3, mode="linear", scale_factor=3),
        _sample("linear, corners aligned", mode="linear", align_corners=True),
    ),
)
