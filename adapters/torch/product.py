"""The product with a packed matrix in PyTorch: by a native kernel where there is one, else tile by tile.

It is one operator to autograd and `torch.compile`, so that no dequantized tile is saved for the backward pass, which
dequantizes again, and no compiler looks into the loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, library

from touchstone.adapters.interface import Scheme
from touchstone.adapters.torch import int4 as torch_int4
from touchstone.adapters.torch.packing import dequantize

TILE_BYTES = 4 * 2**20
"""Size of the rows that are dequantized at a time; larger tiles leave a core's cache and are slower. With its codes
a tile takes at most twice that, and one is alive at a time."""


def product(x: Tensor, words: Tensor, scales: Tensor, biases: Tensor | None, scheme: Scheme) -> Tensor:
    """``x [..., columns]`` times the dequantized ``[rows, columns]`` transposed, in the dtype x and biases promote to.

    Summed in float32 and rounded once. Differentiable in x. RuntimeError where x has another number of columns.
    """
    if biases is not None:
        x = x.to(torch.promote_types(x.dtype, biases.dtype))
    flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out = _product(flat, words, scales, biases, scheme.bits, scheme.group_size, scheme.mode)
    return out.reshape(*x.shape[:-1], len(words))


def _tiles(scales: Tensor, scheme: Scheme, dtype: torch.dtype) -> Iterator[slice]:
    """The rows of each tile."""
    rows = max(1, TILE_BYTES // (dtype.itemsize * scales.shape[1] * scheme.group_size))
    for start in range(0, len(scales), rows):
        yield slice(start, start + rows)


def _elements(
    words: Tensor, scales: Tensor, biases: Tensor | None, scheme: Scheme, dtype: torch.dtype, rows: slice
) -> Tensor:
    """A tile's dequantized elements; to be dropped before the next tile is made."""
    if biases is None:
        return dequantize(words[rows], scales[rows], None, scheme, dtype)
    return dequantize(words[rows], scales[rows].to(dtype), biases[rows].to(dtype), scheme, dtype)


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    """float16 is widened: it cannot hold every scale of a block mode, and CPUs multiply it more slowly."""
    return torch.float32 if dtype == torch.float16 else dtype


@library.custom_op("packed_weights::product", mutates_args=())
def _product(
    x: Tensor, words: Tensor, scales: Tensor, biases: Tensor | None, bits: int, group_size: int, mode: str
) -> Tensor:
    scheme = Scheme(bits, group_size, mode)
    if (native := torch_int4.product(x, words, scales, biases, scheme)) is not None:
        return native
    dtype = _computed_in(x.dtype)
    wide, out = x.to(dtype), x.new_empty(len(x), len(words), dtype=dtype)
    for rows in _tiles(scales, scheme, dtype):
        torch.mm(wide, _elements(words, scales, biases, scheme, dtype, rows).T, out=out[:, rows])
    return out.to(x.dtype)


@_product.register_fake
def _(x: Tensor, words: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(x.shape[0], words.shape[0])


@library.custom_op("packed_weights::product_backward", mutates_args=())
def _backward(
    cotangent: Tensor, words: Tensor, scales: Tensor, biases: Tensor | None, bits: int, group_size: int, mode: str
) -> Tensor:
    """``cotangent [m, rows]`` times the dequantized matrix, summed over tiles in float32."""
    scheme = Scheme(bits, group_size, mode)
    wide = cotangent.to(torch.promote_types(cotangent.dtype, torch.float32))
    out = wide.new_zeros(len(wide), scales.shape[1] * group_size)
    for rows in _tiles(scales, scheme, wide.dtype):
        out.addmm_(wide[:, rows], _elements(words, scales, biases, scheme, wide.dtype, rows))
    return out.to(cotangent.dtype)


@_backward.register_fake
def _(
    cotangent: Tensor, words: Tensor, scales: Tensor, biases: Tensor | None, bits: int, group_size: int, mode: str
) -> Tensor:
    return cotangent.new_empty(cotangent.shape[0], scales.shape[1] * group_size)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, words, scales, biases, *ctx.scheme = inputs
    ctx.save_for_backward(words, scales, biases)


def _differentiate(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    return _backward(cotangent, *ctx.saved_tensors, *ctx.scheme), None, None, None, None, None, None


_product.register_autograd(_differentiate, setup_context=_keep)
