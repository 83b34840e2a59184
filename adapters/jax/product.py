"""The product with a packed matrix in JAX: tile by tile, in float32. What fills no tile is dequantized as a whole.

XLA on CPU fuses loops with one another but not into a dot, and putting the codes of a word in order again costs more
than the product. So column c stays where it is packed, in lane c % L of unit c // L (a unit is the words that L codes
fill), and x is split into the same lanes. Its product of one row with a transposed matrix, a dense one too, takes six
times as long as that of two rows: one row takes a loop that sums the lanes of each unit, and a dot with ones.
Where a unit has 16 or 32 lanes, their dots take seconds to compile, and tiles are dequantized in order.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from touchstone.adapters.interface import Scheme
from touchstone.adapters.jax.packing import decode, decode_scales, dequantize, unpack_lanes

Parts = tuple[Array, Array, Array | None]
"""Words, scales, and biases where the mode has them."""
TILE_BYTES = 4 * 2**20
"""Size in float32 of the rows that are dequantized at a time; larger tiles leave a core's cache and are slower."""


def product(x: Array, parts: Parts, scheme: Scheme) -> Array:
    """``x [..., columns]`` times the dequantized ``[rows, columns]`` transposed, in the dtype x and biases promote to.

    Dequantized, multiplied and summed in float32 (float64 where x is), and rounded once. ValueError where x has
    another number of columns.
    """
    words, scales, biases = parts
    dtype = x.dtype if biases is None else jnp.promote_types(x.dtype, biases.dtype)
    wide = jnp.promote_types(dtype, jnp.float32)
    if x.shape[-1] != (columns := scales.shape[1] * scheme.group_size):
        raise ValueError(f"x has {x.shape[-1]} columns, the packed matrix {columns}")
    if biases is not None:
        scales, biases = scales.astype(wide), biases.astype(wide)
    return _wide_product(x.astype(wide), (words, scales, biases), scheme).astype(dtype)


@partial(jax.jit, static_argnums=2)
def _wide_product(x: Array, parts: Parts, scheme: Scheme) -> Array:
    """The product where all are in the dtype that is summed in: casts outside, every dtype shares what is compiled."""
    flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    rows, tile_rows = parts[1].shape[0], max(1, TILE_BYTES // (4 * x.shape[-1]))
    if rows < tile_rows:
        whole = jax.lax.dot_general(flat, dequantize(*parts, scheme, x.dtype), (((1,), (1,)), ((), ())))
    else:
        whole = _tiled(flat, parts, scheme, tile_rows)
    return whole.reshape(*x.shape[:-1], rows)


def _tiled(flat: Array, parts: Parts, scheme: Scheme, tile_rows: int) -> Array:
    """``flat [m, columns]`` times the matrix transposed, of which one tile at a time is dequantized."""
    tiles, rest = divmod(parts[1].shape[0], tile_rows)

    # Differentiation dequantizes a tile again rather than keep it: kept, the tiles would be the whole table.
    @jax.checkpoint
    def tile(start: Array, x: Array) -> Array:
        return _tile(x, _rows(parts, start, tile_rows), scheme)

    each = jax.lax.map(lambda start: tile(start, flat), jnp.arange(tiles) * tile_rows)
    out = [each.transpose(1, 0, 2).reshape(flat.shape[0], tiles * tile_rows)]
    if rest:
        out.append(_tile(flat, _rows(parts, tiles * tile_rows, rest), scheme))
    return jnp.concatenate(out, axis=-1)


def _rows(parts: Parts, start: Array | int, count: int) -> Parts:
    words, scales, biases = (
        None if part is None else jax.lax.dynamic_slice_in_dim(part, start, count) for part in parts
    )
    return words, scales, biases


def _tile(x: Array, parts: Parts, scheme: Scheme) -> Array:
    """``x [m, columns]`` times one tile transposed, ``[m, tile rows]``."""
    if x.shape[0] != 1 and scheme.bits not in (4, 8):
        return jnp.dot(x, dequantize(*parts, scheme, x.dtype).T)
    elements = _lanes(parts, scheme, x.dtype)
    lanes = jnp.moveaxis(x.reshape(x.shape[0], x.shape[1] // len(elements), len(elements)), -1, 0)
    if x.shape[0] != 1:
        return sum(jnp.dot(part, element.T) for part, element in zip(lanes, elements, strict=True))
    units = sum(part[0] * element for part, element in zip(lanes, elements, strict=True))
    return (jax.lax.optimization_barrier(units) @ jnp.ones(units.shape[1], x.dtype))[None]


def _lanes(parts: Parts, scheme: Scheme, dtype: jnp.dtype) -> list[Array]:
    """A tile's dequantized elements as `unpack_lanes` splits them, ``[tile rows, units]`` each."""
    words, scales, biases = parts
    codes = unpack_lanes(words, scheme.bits)

    def per_unit(values: Array) -> Array:
        return jnp.repeat(values, scheme.group_size // len(codes), axis=-1)

    if biases is None:
        factors = per_unit(decode_scales(scales, scheme))
        return [decode(code, scheme) * factors for code in codes]
    factors, offsets = per_unit(scales), per_unit(biases)
    return [code.astype(dtype) * factors + offsets for code in codes]
