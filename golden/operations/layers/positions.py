"""What tells a model where a token stands: rotations, sines, and biases of scores."""

from __future__ import annotations

from math import log, log2, pi
from typing import Any

import numpy as np

from touchstone.golden.operations import arithmetic
from touchstone.golden.operations.arithmetic import Number, cos, exp, joined, numbers, sin
from touchstone.golden.operations.layers.making import PAGE, arrays, layer, styled, whole
from touchstone.golden.operations.samples import Argument

_HEADS, _TIME, _DIMS = 3, 6, 8


def _angles(x: Number, dims: int, base: float, scale: float, offset: int) -> Number:
    """``[time, dims / 2]``: positions times base to the power of -2i / dims."""
    positions = numbers(np.arange(offset, offset + x.shape[-2], dtype=np.float64) * scale, x.precision)
    steps = numbers(-2 * np.arange(dims // 2) / dims, x.precision)
    finely = arithmetic.precision("float32")
    angle = Number(positions.value, positions.error, finely).reshape(-1, 1) * exp(
        Number(steps.value, steps.error, finely) * log(base)
    )
    return Number(angle.value, angle.error, finely)


def _turned(
    x: Number, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: int = 0, dims: int = _DIMS
) -> Number:
    """Pairs of the first `dims` features, halves apart or neighbours, turned by the angle; the others as they are."""
    angle = _angles(x, dims, base, scale, offset)
    c, s = (Number(one.value, one.error, x.precision) for one in (cos(angle), sin(angle)))
    inner = x[..., :dims]
    pair = (..., slice(0, None, 2)), (..., slice(1, None, 2))
    halves = (..., slice(0, dims // 2)), (..., slice(dims // 2, None))
    a, b = (inner[place] for place in (pair if traditional else halves))
    parts = [a * c - b * s, a * s + b * c]
    made = joined([one.reshape(*one.shape, 1) for one in parts] if traditional else parts).reshape(*inner.shape)
    return made if dims == x.shape[-1] else joined([made, x[..., dims:]])


def _neighbours(x: Number, base: float = 10000.0, offset: int = 0) -> Number:
    return _turned(x, True, base, offset=offset)


def _sines(
    x: Number,
    dims: int = _DIMS,
    min_freq: float = 0.0001,
    max_freq: float = 1.0,
    scale: Any = None,
    cos_first: bool = False,
    full_turns: bool = False,
) -> Number:
    """Of ``x [...]`` times frequencies that fall from the largest to the smallest, ``[..., dims]``."""
    finely = arithmetic.precision("float32")
    share = numbers(1 - np.arange(dims // 2) / (dims // 2 - 1), finely)
    frequencies = exp(share * (log(max_freq) - log(min_freq)) + log(min_freq)) * (2 * pi if full_turns else 1)
    angle = x.reshape(*x.shape, 1) * frequencies
    parts = [cos(angle), sin(angle)] if cos_first else [sin(angle), cos(angle)]
    return joined(parts) * ((2 / dims) ** 0.5 if scale is None else scale)


def slopes(heads: int) -> list[float]:
    """Of Press et al., arXiv 2108.12409: a power of two by head, and between those where heads are no power of two."""
    if log2(heads).is_integer():
        return [2.0 ** (-8 * (n + 1) / heads) for n in range(heads)]
    lower = 2 ** int(log2(heads))
    return slopes(lower) + slopes(2 * lower)[0::2][: heads - lower]


def _biased(scores: Number, offset: int = 0) -> Number:
    queries, keys = scores.shape[-2:]
    apart = np.abs(np.arange(offset, offset + queries)[:, None] - np.arange(keys)).astype(np.float64)
    by_head = numbers(np.array(slopes(scores.shape[1])).reshape(-1, 1, 1), scores.precision)
    rounded = Number(by_head.value, scores.precision.step * by_head.value, scores.precision)
    return scores - numbers(apart, scores.precision) * rounded


def _scores(heads: int) -> dict[str, Argument]:
    return arrays({"scores": (2, heads, 5, 7)})


_X = arrays({"x": (2, _HEADS, _TIME, _DIMS)})
_WIDE = arrays({"x": (2, _HEADS, _TIME, 2 * _DIMS)})
_RESULT = (2, _HEADS, _TIME, _DIMS)
_PLACES = {"x": styled((12,), "x", [("positive", 12)])}
POSITIONS = (
    layer(
        "RoPE",
        "a cos - b sin, a sin + b cos of features half the dims apart, at positions times base**(-2i / dims)",
        _turned,
        whole("own", _X, _RESULT),
        whole("far on", _X, _RESULT, offset=1000),
        whole("another base", _X, _RESULT, base=500000.0),
        whole("slower", _X, _RESULT, scale=0.25),
        whole("half of the features", _WIDE, (2, _HEADS, _TIME, 2 * _DIMS), dims=_DIMS),
        page=PAGE.format("RoPE"),
    ),
    layer(
        "RoPE of neighbours",
        "a cos - b sin, a sin + b cos of neighbouring features, at positions times base**(-2i / dims)",
        _neighbours,
        whole("own", _X, _RESULT),
        whole("far on", _X, _RESULT, offset=1000),
        whole("another base", _X, _RESULT, base=500000.0),
        page=PAGE.format("RoPE"),
    ),
    layer(
        "SinusoidalPositionalEncoding",
        "sqrt(2 / dims) (sin(x f), cos(x f)), f from max_freq to min_freq",
        _sines,
        whole("own", _PLACES, (12, _DIMS)),
        whole("cosines first", _PLACES, (12, _DIMS), cos_first=True),
        whole("another scale", _PLACES, (12, _DIMS), scale=1.0),
        whole("turns", _PLACES, (12, _DIMS), full_turns=True),
        whole("other frequencies", _PLACES, (12, _DIMS), min_freq=0.01, max_freq=2.0),
    ),
    layer(
        "ALiBi",
        "scores - |i - j| slope of the head",
        _biased,
        whole("own", _scores(4), (2, 4, 5, 7)),
        whole("six heads", _scores(6), (2, 6, 5, 7)),
        whole("later", _scores(4), (2, 4, 5, 7), offset=2),
    ),
)
