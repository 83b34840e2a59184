"""Pooling over windows: the largest element, and the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Number
from touchstone.golden.operations.layers.convolution import Sizes, around, each, windows
from touchstone.golden.operations.layers.making import by_entry, layer, styled, whole
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Argument, Sample

_SPACE: Mapping[int, Sizes] = {1: (10,), 2: (7, 6), 3: (5, 4, 6)}
_CHANNELS = 3


def _seen(x: Number, kernel_size: Any, stride: Any, padding: Any, fill: float) -> Number:
    """``[batch, *out, elements of a window, channels]``."""
    dims = len(x.shape) - 2
    kernel = each(kernel_size, dims)
    widths = [(p, p) for p in each(padding, dims)]
    seen = windows(around(x, widths, fill), kernel, each(kernel_size if stride is None else stride, dims), (1,) * dims)
    return seen.reshape(*seen.shape[: 1 + dims], -1, x.shape[-1])


def _largest(x: Number, kernel_size: Any = 2, stride: Any = None, padding: Any = 0) -> Number:
    return _seen(x, kernel_size, stride, padding, -np.inf).most(-2)[..., 0, :]


def _mean(x: Number, kernel_size: Any = 2, stride: Any = None, padding: Any = 0) -> Number:
    return _seen(x, kernel_size, stride, padding, 0.0).mean(-2)[..., 0, :]


def _out(space: Sizes, kernel_size: Any = 2, stride: Any = None, padding: Any = 0) -> Sizes:
    dims = len(space)
    steps = each(kernel_size if stride is None else stride, dims)
    sizes = zip(space, each(kernel_size, dims), steps, each(padding, dims), strict=True)
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in sizes)


def _sample(name: str, space: Sizes, x: Argument | None = None, **options: Any) -> Sample:
    shape = (2, *space, _CHANNELS)
    return whole(
        name,
        {"x": x or styled(shape, "x", [("distinct", prod(shape))])},
        (2, *_out(space, **options), _CHANNELS),
        **options,
    )


def _specials(space: Sizes) -> Sample:
    size = int(np.prod(space)) * _CHANNELS
    kinds = ("special once", "infinity once", "minus infinity once", "bell")
    x = styled((4, *space, _CHANNELS), "x", [(kind, size) for kind in kinds])
    regions = ("NaN", "infinity", "minus infinity", "ordinary")
    return by_entry("specials", {"x": x}, (4, *_out(space), _CHANNELS), *regions)


def _large(dims: int) -> Sample:
    """A window whose sum a half dtype does not hold, nor count."""
    side = {1: 4096, 2: 64, 3: 16}[dims]
    shape = (1, *(side,) * dims, 1)
    x = styled(shape, "x", [("tens", side**dims)])
    made = whole("large window", {"x": x}, (1, *(1,) * dims, 1), kernel_size=side)
    return replace(made, dtypes=("float32", "float16", "bfloat16"))


def _pool(name: str, dims: int, formula: str, value: Callable[..., Number]) -> Operation:
    space = _SPACE[dims]
    two = tuple(3 - n % 2 for n in range(dims))
    samples = [
        _sample("own", space),
        _specials(space),
        _sample("sides", space, kernel_size=two),
        _sample("strided", space, kernel_size=3, stride=tuple(2 - n % 2 for n in range(dims))),
        _sample("padded", space, kernel_size=3, stride=2, padding=1),
        _sample("whole", space, kernel_size=space),
        _sample("one", space, kernel_size=1),
    ]
    if value is _mean:
        samples.append(_large(dims))
    return layer(f"{name}{dims}d", formula, value, *samples)


POOLS = tuple(
    _pool(name, dims, formula, value)
    for (name, formula, value), dims in product(
        (
            ("MaxPool", "the largest of a window", _largest),
            ("AvgPool", "the mean of a window, padding counted", _mean),
        ),
        (1, 2, 3),
    )
)
