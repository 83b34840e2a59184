"""Upsampling: by the nearest element, between neighbours, and by cubic polynomials, with and without antialiasing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Number, Precision, joined, mpmath, numbers, where
from touchstone.golden.operations.layers.making import PAGE, arrays, by_entry, layer, styled, whole
from touchstone.golden.operations.samples import Sample

_SPACE = (5, 4)
_EVEN = (4, 6)
"""Sizes that a factor of 1.5 or 0.5 keeps whole: of others frameworks lay their grids otherwise (LAYER-GRID-1)."""
_BEYOND = 2
"""Elements behind an edge that a cubic reaches."""
Scale = float | tuple[float, ...]


def size_of(n: int, scale: float) -> int:
    """Of n elements by a fractional scale."""
    return int(n * scale)


def _places(n: int, scale: float, precision: Precision, *, aligned: bool) -> Number:
    """``[count, 1]``: where in x each element of the result lies, in three roundings of numbers up to n."""
    mp, count = mpmath(), size_of(n, scale)
    wide = mp.mpf(scale)
    step = mp.mpf(n - 1) / max(count - 1, 1) if aligned else 1 / wide
    at = np.array([[i * step if aligned else (i + mp.mpf(0.5)) / wide - mp.mpf(0.5)] for i in range(count)], object)
    return Number(at, np.full((count, 1), 4 * n * precision.step, object), precision)


def _triangle(d: Number) -> Number:
    return where(d <= 1, 1 - d, 0)


def _cubic(a: float) -> Callable[[Number], Number]:
    """Keys' kernel: R. Keys, *Cubic convolution interpolation for digital image processing*, 1981."""

    def kernel(d: Number) -> Number:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = (((d - 5) * d + 8) * d - 4) * a
        return where(d <= 1, near, where(d <= 2, far, 0))

    return kernel


def _shares(n: int, scale: float, kernel: Callable[[Number], Number], precision: Precision, *, aligned: bool) -> Number:
    """``[count, n]``: what each element of the result takes of each of x; behind an edge lies the edge itself."""
    at = _places(n, scale, precision, aligned=aligned)
    reach = numbers(np.arange(-_BEYOND, n + _BEYOND, dtype=np.float64), precision)
    taken = kernel(abs(at - reach))
    first, last = taken[:, : _BEYOND + 1].sum(), taken[:, n + _BEYOND - 1 :].sum()
    return joined([first, taken[:, _BEYOND + 1 : n + _BEYOND - 1], last]) if n > 1 else taken.sum()


def _smoothed(n: int, scale: float, kernel: Callable[[Number], Number], precision: Precision) -> Number:
    """``[count, n]``: as wide as what one element of a smaller result stands for; nothing lies behind an edge."""
    at = _places(n, scale, precision, aligned=False)
    taken = kernel(abs(at - numbers(np.arange(n, dtype=np.float64), precision)) * min(scale, 1.0))
    return taken / taken.sum()


def _along(x: Number, axis: int, shares: Number) -> Number:
    """Each line of x along an axis, by its shares."""
    order = [one for one in range(len(x.shape)) if one != axis]
    moved = x.transpose(axis, *order)
    made = (shares @ moved.reshape(x.shape[axis], -1)).reshape(shares.shape[0], *moved.shape[1:])
    return made.transpose(*np.argsort([axis, *order]).tolist())


def _upsampled(
    x: Number,
    scale_factor: Scale = 2,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Number:
    """``x [batch, *space, channels]``, one axis after the other; nearest of whole factors alone."""
    dims = len(x.shape) - 2
    scales: Sequence[float] = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * dims
    for axis, scale in enumerate(scales, 1):
        n = x.shape[axis]
        if mode == "nearest":
            x = x[(*[slice(None)] * axis, np.repeat(np.arange(n), int(scale)))]
            continue
        if antialias:
            shares = _smoothed(n, scale, _triangle if mode == "linear" else _cubic(-0.5), x.precision)
        else:
            kernel = _triangle if mode == "linear" else _cubic(-0.75)
            shares = _shares(n, scale, kernel, x.precision, aligned=align_corners)
        x = _along(x, axis, shares)
    return x


def _by_cubics(x: Number, scale_factor: Scale = 2, align_corners: bool = False) -> Number:
    return _upsampled(x, scale_factor, "cubic", align_corners)


def _sample(name: str, space: tuple[int, ...] = _SPACE, **options: Any) -> Sample:
    factor = options.get("scale_factor", 2)
    scales = factor if isinstance(factor, tuple) else (factor,) * len(space)
    sizes = tuple(size_of(n, scale) for n, scale in zip(space, scales, strict=True))
    return whole(name, arrays({"x": (2, *space, 3)}), (2, *sizes, 3), **options)


def _specials() -> Sample:
    """Entries with one NaN, with one infinity, and with neither."""
    size = prod(_SPACE) * 3
    x = styled((3, *_SPACE, 3), "x", [("special once", size), ("infinity once", size), ("bell", size)])
    result = (3, *(2 * n for n in _SPACE), 3)
    return by_entry("specials", {"x": x}, result, "NaN", "infinity", "ordinary")


_FRACTIONS = (1.5, 0.5)
"""Another one for each axis."""


def _linear(name: str, space: tuple[int, ...] = _SPACE, **options: Any) -> Sample:
    return _sample(f"linear, {name}", space, mode="linear", **options)


def _aligned(sample: Callable[..., Sample]) -> list[Sample]:
    factors: Mapping[str, Scale] = {", by 1.5": 1.5, ", by other factors": (0.7, 1.3), ", to one element": 0.25}
    more = [sample(f"corners aligned{of}", align_corners=True, scale_factor=by) for of, by in factors.items()]
    return [sample("corners aligned", align_corners=True), *more]


def _by_fractions(sample: Callable[..., Sample], about: str = "", **options: Any) -> list[Sample]:
    """To whole sizes."""
    factors: Mapping[str, Scale] = {"1.5": 1.5, "a half": 0.5, "other factors": _FRACTIONS}
    return [sample(f"{about}by {of}", _EVEN, scale_factor=by, **options) for of, by in factors.items()]


def _cubic_smoothed(name: str, space: tuple[int, ...] = _SPACE, **options: Any) -> Sample:
    return _sample(f"cubic, {name}", space, mode="cubic", antialias=True, **options)


RESIZING = (
    layer(
        "Upsample",
        "the nearest element, or a mean of neighbours by their distance",
        _upsampled,
        _sample("own"),
        _specials(),
        _sample("one axis", (5,)),
        _sample("three axes", (2, 3, 4)),
        _sample("three times", scale_factor=3),
        _sample("other factors", scale_factor=(1, 3)),
        replace(_sample("linear", mode="linear"), dtypes=("float32", "float16")),
        _linear("one axis", (5,)),
        _linear("three axes", (2, 3, 4)),
        _linear("three times", scale_factor=3),
        *_by_fractions(_linear),
        *_aligned(_linear),
        *_by_fractions(_linear, "smoothed, ", antialias=True),
        _cubic_smoothed("smoothed"),
        *_by_fractions(_cubic_smoothed, "smoothed, "),
    ),
    layer(
        "Upsample by cubics",
        "Keys' cubic of a = -0.75 of the distance, the edge repeated",
        _by_cubics,
        _sample("own"),
        _sample("three times", scale_factor=3),
        *_by_fractions(_sample),
        *_aligned(_sample),
        page=PAGE.format("Upsample"),
    ),
)
