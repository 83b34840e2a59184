"""Pooling over windows: the largest element, and the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Number, numbers
from touchstone.golden.operations.layers.convolution import Sizes, around, each, to_the_same_size, windows
from touchstone.golden.operations.layers.making import by_entry, layer, styled, whole
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Argument, Sample

_SPACE: Mapping[int, Sizes] = {1: (10,), 2: (7, 6), 3: (5, 4, 6)}
_CHANNELS = 3


def _behind(space: Sizes, kernel: Sizes, steps: Sizes, before: Sizes, behind: Sizes) -> Sizes:
    """What lies behind each axis where the last window may reach beyond: none begins behind x and its padding."""
    found = []
    for n, k, s, p, q in zip(space, kernel, steps, before, behind, strict=True):
        count = -(-(n + p + q - k) // s) + 1
        count -= (count - 1) * s >= n + p
        found.append(max((count - 1) * s + k - n - p, q))
    return tuple(found)


@dataclass(frozen=True)
class _Windows:
    """Of an axis each: sizes, steps, and what is padded before and behind. ceil_mode: the last may reach beyond."""

    kernel: Sizes
    steps: Sizes
    before: Sizes
    behind: Sizes
    padding: Sizes

    @classmethod
    def over(
        cls,
        space: Sizes,
        kernel_size: Any = 2,
        stride: Any = None,
        padding: Any = 0,
        padding_behind: Any = None,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        same: bool = False,
    ) -> _Windows:
        """same: padded so that there is a window for every step that begins in x."""
        dims = len(space)
        kernel, before = each(kernel_size, dims), each(padding, dims)
        steps = kernel if stride is None else each(stride, dims)
        counted = before if padding_behind is None else each(padding_behind, dims)
        if same:
            widths = to_the_same_size(space, kernel, steps, (1,) * dims)
            before, counted = (tuple(width[side] for width in widths) for side in (0, 1))
        behind = _behind(space, kernel, steps, before, counted) if ceil_mode else counted
        return cls(kernel, steps, before, behind, counted if count_include_pad else ())

    def out(self, space: Sizes) -> Sizes:
        """The size of the result."""
        sizes = zip(space, self.kernel, self.steps, self.before, self.behind, strict=True)
        return tuple((n + p + q - k) // s + 1 for n, k, s, p, q in sizes)

    def seen(self, x: Number, fill: float) -> Number:
        """``[batch, *out, elements of a window, channels]``."""
        dims = len(self.kernel)
        padded = around(x, list(zip(self.before, self.behind, strict=True)), fill)
        seen = windows(padded, self.kernel, self.steps, (1,) * dims)
        return seen.reshape(*seen.shape[: 1 + dims], -1, x.shape[-1])

    def counts(self, space: Sizes) -> np.ndarray:
        """``[*out, 1]``: elements of each window, of x and what of the padding counts."""
        found = np.ones((), np.int64)
        shape = zip(space, self.kernel, self.steps, self.before, self.out(space), strict=True)
        for axis, (n, k, s, p, count) in enumerate(shape):
            start = np.arange(count) * s
            low, high = (0, n + p + self.padding[axis]) if self.padding else (p, n + p)
            found = found[..., None] * (np.minimum(start + k, high) - np.maximum(start, low))
        return found[..., None]


def _largest(x: Number, **options: Any) -> Number:
    return _Windows.over(x.shape[1:-1], **options).seen(x, -np.inf).most(-2)[..., 0, :]


def _mean(x: Number, **options: Any) -> Number:
    space = x.shape[1:-1]
    over = _Windows.over(space, **options)
    counts = numbers(over.counts(space).astype(np.float64), x.precision)
    return over.seen(x, 0.0).sum(-2)[..., 0, :] / counts


def _sample(name: str, space: Sizes, x: Argument | None = None, **options: Any) -> Sample:
    shape = (2, *space, _CHANNELS)
    return whole(
        name,
        {"x": x or styled(shape, "x", [("distinct", prod(shape))])},
        (2, *_Windows.over(space, **options).out(space), _CHANNELS),
        **options,
    )


def _specials(name: str, space: Sizes, **options: Any) -> Sample:
    size = int(np.prod(space)) * _CHANNELS
    kinds = ("special once", "infinity once", "minus infinity once", "minus infinity", "bell")
    x = styled((5, *space, _CHANNELS), "x", [(kind, size) for kind in kinds])
    regions = ("NaN", "infinity", "minus infinity", "all minus infinity", "ordinary")
    made = by_entry(name, {"x": x}, (5, *_Windows.over(space, **options).out(space), _CHANNELS), *regions)
    return replace(made, options=options, dtypes=("float32",) if options else ())


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
        _specials("specials", space),
        _specials("specials, padded", space, kernel_size=3, stride=2, padding=1),
        _sample("sides", space, kernel_size=two),
        _sample("strided", space, kernel_size=3, stride=tuple(2 - n % 2 for n in range(dims))),
        _sample("padded", space, kernel_size=3, stride=2, padding=1),
        _sample("padded behind", space, kernel_size=3, stride=2, padding=0, padding_behind=1),
        _sample("to the last", space, kernel_size=3, stride=2, ceil_mode=True),
        _sample("to the last, padded", space, kernel_size=4, stride=3, padding=2, ceil_mode=True),
        _sample("same", space, kernel_size=3, stride=2, same=True),
        _sample("whole", space, kernel_size=space),
        _sample("one", space, kernel_size=1),
    ]
    if dims > 1:
        samples.append(_sample("padded along one axis", space, kernel_size=3, padding=(0, 1, 0)[:dims]))
        samples.append(_sample("padded otherwise along each", space, kernel_size=4, padding=(2, 1, 0)[:dims]))
    if value is _mean:
        not_counted = _sample("padding not counted", space, kernel_size=3, stride=2, padding=1, count_include_pad=False)
        samples += [
            replace(not_counted, dtypes=("float32", "float16")) if dims == 1 else not_counted,
            _sample("same, padding not counted", space, kernel_size=4, same=True, count_include_pad=False),
            _sample(
                "to the last, padding not counted",
                space,
                kernel_size=4,
                stride=3,
                padding=2,
                ceil_mode=True,
                count_include_pad=False,
            ),
        ]
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
