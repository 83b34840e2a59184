"""Convolutions, and what their transposes are: as MLX lays them out, ``x [batch, *space, channels]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Number, joined
from touchstone.golden.operations.layers.making import arrays, by_entry, layer, styled, whole
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Argument, Sample

Sizes = tuple[int, ...]
_SPACE: Mapping[int, Sizes] = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
_KERNEL: Mapping[int, Sizes] = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
"""No two sizes alike, so that exchanged axes show."""


def each(value: int | Sizes, dims: int) -> Sizes:
    """One number for each spatial axis."""
    return value if isinstance(value, tuple) else (value,) * dims


def _sides(*values: int) -> int | Sizes:
    """One number for each axis; a number alone for one axis, as layers of one axis take it."""
    return values if len(values) > 1 else values[0] + 1


def windows(x: Number, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Number:
    """``[batch, *out, *kernel, channels]``: what each element of the result sees."""
    dims = len(kernel)
    places = []
    for axis in range(dims):
        count = (x.shape[axis + 1] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        at = np.arange(count)[:, None] * stride[axis] + np.arange(kernel[axis]) * dilation[axis]
        shape = [1] * (2 * dims)
        shape[axis], shape[dims + axis] = at.shape
        places.append(at.reshape(shape))
    return x[(slice(None), *places)]


def around(x: Number, widths: Any, fill: float = 0.0) -> Number:
    """Padded along its spatial axes; widths: (before, behind) of each."""
    return x.padded([(0, 0), *widths, (0, 0)], fill)


def to_the_same_size(space: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> list[tuple[int, int]]:
    """(before, behind) of each axis, that give ceil(size / stride) results; an odd one lies behind."""
    found = []
    for n, k, s, d in zip(space, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        found.append((total // 2, total - total // 2))
    return found


EDGES: Mapping[str, Any] = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}
"""What lies in the padding, by NumPy's names."""


def _with_edges(x: Number, widths: Sequence[tuple[int, int]], how: Any) -> Number:
    """Padded along its spatial axes by elements of its own."""
    places = [np.pad(np.arange(n), width, how) for n, width in zip(x.shape[1:-1], widths, strict=True)]
    return x[(slice(None), *np.ix_(*places))]


def convolution(
    x: Number,
    weight: Number,
    bias: Number | None = None,
    stride: int | Sizes = 1,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    same: bool = False,
    causal: bool = False,
    **edges: bool,
) -> Number:
    """``weight [out, *kernel, in / groups]``; same: padded so that the result is as large as x over the stride.

    causal: padded before alone, so that nothing sees what comes later. edges: circular, reflect or replicate: what
    lies in the padding, where that is not zeros; it is as wide as with a stride of one.
    """
    kernel = weight.shape[1:-1]
    steps, spread = each(stride, len(kernel)), each(dilation, len(kernel))
    widths = [(p, p) for p in each(padding, len(kernel))]
    if same:
        widths = to_the_same_size(x.shape[1:-1], kernel, (1,) * len(kernel) if edges else steps, spread)
    if causal:
        widths = [(d * (k - 1), 0) for k, d in zip(kernel, spread, strict=True)]
    padded = _with_edges(x, widths, EDGES[next(iter(edges))]) if edges else around(x, widths)
    seen = windows(padded, kernel, steps, spread)
    out, inner = weight.shape[0] // groups, weight.shape[-1]
    space = seen.shape[1 : 1 + len(kernel)]
    parts = []
    for group in range(groups):
        columns = seen[..., group * inner : (group + 1) * inner].reshape(seen.shape[0], int(np.prod(space)), -1)
        parts.append(columns @ weight[group * out : (group + 1) * out].reshape(out, -1).swapped())
    made = joined(parts).reshape(seen.shape[0], *space, weight.shape[0])
    return made if bias is None else made + bias


def _stretched(x: Number, stride: Sizes) -> Number:
    """With stride - 1 zeros between elements."""
    padded = around(x, [(0, 1)] * len(stride))
    places = []
    for axis, step in enumerate(stride):
        n = x.shape[axis + 1]
        at = np.full((n - 1) * step + 1, n)
        at[::step] = np.arange(n)
        shape = [1] * len(stride)
        shape[axis] = len(at)
        places.append(at.reshape(shape))
    return padded[(slice(None), *places)]


def transposed(
    x: Number,
    weight: Number,
    bias: Number | None = None,
    stride: int | Sizes = 1,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    output_padding: int | Sizes = 0,
) -> Number:
    """What the gradient of a convolution by its input is: ``weight [out, *kernel, in]``."""
    kernel = weight.shape[1:-1]
    dims = len(kernel)
    spread, more = each(dilation, dims), each(output_padding, dims)
    edges = [d * (k - 1) - p for d, k, p in zip(spread, kernel, each(padding, dims), strict=True)]
    padded = around(_stretched(x, each(stride, dims)), [(e, e + q) for e, q in zip(edges, more, strict=True)])
    flipped = weight[(slice(None), *[slice(None, None, -1)] * dims)]
    return convolution(padded, flipped, bias, dilation=spread)


def _out(
    space: Sizes, kernel: Sizes, stride: Any = 1, padding: Any = 0, dilation: Any = 1, *, as_large: bool = False
) -> Sizes:
    dims = len(kernel)
    if as_large:
        return tuple(-(-n // s) for n, s in zip(space, each(stride, dims), strict=True))
    sizes = zip(space, kernel, each(stride, dims), each(padding, dims), each(dilation, dims), strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def _out_transposed(
    space: Sizes, kernel: Sizes, stride: Any = 1, padding: Any = 0, dilation: Any = 1, output_padding: Any = 0
) -> Sizes:
    dims = len(kernel)
    given = (each(one, dims) for one in (stride, padding, dilation, output_padding))
    return tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + q + 1 for n, k, s, p, d, q in zip(space, kernel, *given, strict=True)
    )


def _sample(
    name: str,
    space: Sizes,
    kernel: Sizes,
    *,
    inner: int = 4,
    out: int = 6,
    batch: int = 2,
    bias: bool = True,
    **given: Any,
) -> Sample:
    groups = given.get("groups", 1)
    shapes = {"x": (batch, *space, inner), "weight": (out, *kernel, inner // groups), "bias": (out,)}
    if not bias:
        del shapes["bias"]
    sizes = {k: v for k, v in given.items() if k in ("stride", "padding", "dilation")}
    size = _out(space, kernel, **sizes, as_large="same" in given or "causal" in given)
    return whole(name, arrays(shapes, {"weight": 0.5}), (batch, *size, out), **given)


def _integers(space: Sizes, kernel: Sizes, inner: int) -> Sample:
    """Numbers whose products a narrow product or sum would round, and whose sums are exact in float32."""
    shapes = {"x": (1, *space, inner), "weight": (2, *kernel, inner)}
    given = {
        name: Argument("wide integers", shapes[name], {"phase": n}, apart=f"/{name}") for n, name in enumerate(shapes)
    }
    return replace(whole("integers", given, (1, *_out(space, kernel), 2)), exact=True, dtypes=("float32",))


def _transposed_sample(name: str, space: Sizes, kernel: Sizes, **given: Any) -> Sample:
    shapes = {"x": (2, *space, 4), "weight": (6, *kernel, 4), "bias": (6,)}
    return whole(name, arrays(shapes, {"weight": 0.5}), (2, *_out_transposed(space, kernel, **given), 6), **given)


def specials(space: Sizes, result: Sizes, shapes: Mapping[str, Sizes], inner: int = 4) -> Sample:
    """Entries of a batch with one NaN, with one infinity, and with neither."""
    size = int(np.prod(space)) * inner
    x = styled((3, *space, inner), "x", [("special once", size), ("infinity once", size), ("bell", size)])
    return by_entry(
        "specials", arrays({"x": x.shape, **shapes}, {"weight": 0.5}, x=x), result, "NaN", "infinity", "ordinary"
    )


def _of_edges(space: Sizes, kernel: Sizes, padding: int | Sizes) -> list[Sample]:
    """With other padding than zeros; a kernel that is even along some axis pads one more behind."""
    even = tuple(k + 1 for k in kernel)
    samples = [_sample(edge, space, kernel, padding=padding, **{edge: True}) for edge in EDGES]
    own: Sequence[str] = ("circular", "reflect") if len(space) < 3 else ("reflect",)
    samples += [_sample(f"same, {edge}", space, even, same=True, **{edge: True}) for edge in own]
    if len(space) < 3:
        samples += [
            _sample(f"same and strided, {edge}", space, even, same=True, stride=2, **{edge: True}) for edge in own
        ]
        samples.append(_sample("same and dilated, circular", space, kernel, same=True, dilation=2, circular=True))
    if len(space) == 1:
        samples += [
            _sample("causal", space, even, causal=True),
            _sample("causal, strided and dilated", space, kernel, causal=True, stride=2, dilation=2),
        ]
    return samples


def _convolution(dims: int) -> Operation:
    space, kernel = _SPACE[dims], _KERNEL[dims]
    some, two = _sides(*range(1, dims + 1)), _sides(*(2 - n % 2 for n in range(dims)))
    samples = [
        _sample("own", space, kernel),
        specials(space, (3, *_out(space, kernel), 6), {"weight": (6, *kernel, 4), "bias": (6,)}),
        _sample("no bias", space, kernel, bias=False),
        _sample("one channel", space, kernel, inner=1, out=1),
        _sample("kernel of one", space, (1,) * dims),
        _sample("whole kernel", space, space),
        _sample("strided", space, kernel, stride=some),
        _sample("padded", space, kernel, padding=two),
        _sample("dilated", space, kernel, dilation=two),
        _sample("strided and padded", space, kernel, stride=2, padding=1),
        _sample("everything", space, kernel, stride=some, padding=two, dilation=two),
        _sample("larger kernel", tuple(2 for _ in space), kernel, padding=2),
        _sample("same", space, kernel, same=True),
        _sample("same and strided", space, kernel, same=True, stride=2),
        *_of_edges(space, kernel, two),
    ]
    if dims < 3:
        samples += [
            _sample("groups", space, kernel, groups=2),
            _sample("depthwise", space, kernel, groups=4, out=4),
            _sample("depthwise times two", space, kernel, groups=4, out=8),
        ]
    if dims == 1:
        samples += [_sample("sum of 4096", (4,), (4,), inner=1024, out=2, batch=1), _integers((4,), (4,), 1024)]
    else:
        samples.append(_integers(space, kernel, 16))
    return layer(f"Conv{dims}d", "sum over the window of x w, plus b", convolution, *samples)


def _transposed(dims: int) -> Operation:
    space, kernel = tuple(n - 2 for n in _SPACE[dims]), _KERNEL[dims]
    some, two = _sides(*range(2, dims + 2)), _sides(*(2 - n % 2 for n in range(dims)))
    result = (3, *_out_transposed(space, kernel), 6)
    samples = [
        _transposed_sample("own", space, kernel),
        specials(space, result, {"weight": (6, *kernel, 4), "bias": (6,)}),
        _transposed_sample("strided", space, kernel, stride=some),
        _transposed_sample("padded", space, kernel, padding=1),
        _transposed_sample("dilated", space, kernel, dilation=two),
        _transposed_sample("strided and padded", space, kernel, stride=2, padding=1, output_padding=1),
        _transposed_sample("everything", space, kernel, stride=3, padding=1, dilation=two, output_padding=2),
    ]
    return layer(
        f"ConvTranspose{dims}d", "the sum over what a convolution would take x from, plus b", transposed, *samples
    )


CONVOLUTIONS = tuple(make(dims) for make, dims in product((_convolution, _transposed), (1, 2, 3)))
