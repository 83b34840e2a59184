"""MLX's packed formats in JAX operations: codes, words, scales, elements.

Words are uint32, low codes first; scales and biases are ``[rows, columns / group_size]``; see docs/packed-format.md.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import Array

from touchstone.adapters.interface import Scheme
from touchstone.adapters.packed import LARGEST_ELEMENT

_BYTES = np.arange(256, dtype=np.uint8)
_VALUE_OF = {
    "E4M3": _BYTES.view(ml_dtypes.float8_e4m3fn).astype("f4"),
    "E8M0": _BYTES.view(ml_dtypes.float8_e8m0fnu).astype("f4"),
}


def _places(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of the 32 codes that share `bits` words: the word it begins in, and the bit it begins at."""
    begins = np.arange(0, 32 * bits, bits, dtype=np.uint32)
    return begins // 32, begins % 32


def unpack_lanes(words: Array, bits: int) -> list[Array]:
    """uint32 words ``[..., n]`` to L arrays of uint32 codes ``[..., 32 n / (bits L)]``.

    Column c is entry c // L of array c % L. L is the smallest number of codes that fills whole words: 32 / bits,
    or 32 where codes cross a word's border.
    """
    mask = jnp.uint32(2**bits - 1)
    if 32 % bits == 0:
        return [(words >> jnp.uint32(shift)) & mask for shift in range(0, 32, bits)]
    blocks = [words[..., word::bits] for word in range(bits)]
    lanes = []
    for word, shift in zip(*(place.tolist() for place in _places(bits)), strict=True):
        code = blocks[word] >> jnp.uint32(shift)
        if shift + bits > 32:
            code |= blocks[word + 1] << jnp.uint32(32 - shift)
        lanes.append(code & mask)
    return lanes


def unpack(words: Array, bits: int) -> Array:
    """uint32 words ``[..., n]`` to uint32 codes ``[..., 32 n / bits]``."""
    lax = jax.lax
    if 32 % bits == 0:
        shift = np.arange(0, 32, bits, dtype=np.uint32)
        shape = (*words.shape, len(shift))
        codes = lax.shift_right_logical(lax.broadcast_in_dim(words, shape, range(words.ndim)), _along(shift, shape))
    else:  # by index: a stack of lanes takes XLA a second to compile
        first, shift = _places(bits)
        blocks = lax.reshape(words, (*words.shape[:-1], words.shape[-1] // bits, bits))
        shape = (*blocks.shape[:-1], 32)
        crosses = np.where(shift + bits > 32, np.uint32(2**32 - 1), np.uint32(0))
        over = lax.shift_left(_taken(blocks, (first + 1) % bits), _along((32 - shift) % 32, shape))
        codes = lax.shift_right_logical(_taken(blocks, first), _along(shift, shape))
        codes = lax.bitwise_or(codes, lax.bitwise_and(over, _along(crosses, shape)))
    codes = lax.bitwise_and(codes, lax.full_like(codes, 2**bits - 1))
    return lax.reshape(codes, (*words.shape[:-1], words.shape[-1] * 32 // bits))


def _along(values: np.ndarray, shape: tuple[int, ...]) -> Array:
    """One value per place of the last axis."""
    return jax.lax.broadcast_in_dim(values, shape, (len(shape) - 1,))


def _taken(blocks: Array, words: np.ndarray) -> Array:
    """``blocks [..., these words]``."""
    kept = blocks.ndim - 1
    numbers = jax.lax.GatherDimensionNumbers(tuple(range(kept)), (kept,), (kept,))
    sizes, where = (*blocks.shape[:-1], 1), words.astype(np.int32)[:, None]
    return jax.lax.gather(blocks, where, numbers, sizes, mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS)


def pack(codes: Array, bits: int) -> Array:
    """Integer codes ``[..., n]``, n a multiple of 32 or of 32 / bits, to uint32 words ``[..., n bits / 32]``."""
    codes = codes.astype(jnp.uint32)
    if 32 % bits == 0:
        lanes = codes.reshape(*codes.shape[:-1], -1, 32 // bits) << jnp.arange(0, 32, bits, dtype=jnp.uint32)
        return lanes.sum(-1, dtype=jnp.uint32)
    blocks = codes.reshape(*codes.shape[:-1], -1, 32)
    first, shift = _places(bits)
    crosses = shift + bits > 32
    over = jnp.where(crosses, blocks >> np.where(crosses, 32 - shift, 0), 0)
    words = jnp.zeros((*blocks.shape[:-1], bits), jnp.uint32).at[..., first].add(blocks << shift)
    words = words.at[..., (first + 1) % bits].add(over)
    return words.reshape(*codes.shape[:-1], -1)


def encode_e2m1(x: Array) -> Array:
    """Nearest 4-bit floats, ties to the even code, at most 6: uint32 codes with the sign in bit 3."""
    size = jnp.abs(x)
    up_at_tie = sum((size >= edge).astype(jnp.uint32) for edge in (0.75, 1.75, 3.5))
    down_at_tie = sum((size > edge).astype(jnp.uint32) for edge in (0.25, 1.25, 2.5, 5.0))
    return up_at_tie + down_at_tie + 8 * jnp.signbit(x).astype(jnp.uint32)


def encode_e4m3(x: Array) -> Array:
    """Nearest 8-bit floats with 4 exponent and 3 fraction bits, ties to even, at most 448: uint8 codes."""
    return jax.lax.bitcast_convert_type(jnp.clip(x, -448.0, 448.0).astype(jnp.float8_e4m3fn), jnp.uint8)


def encode_e8m0(x: Array) -> Array:
    """Exponents, plus 127, of the smallest power of two that is not below x, in [2**-127, 2**127]; of 0: 127."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    code = (bits >> 23) + ((bits & 0x7FFFFF) != 0)
    code = jnp.where(bits <= 0x400000, 0, jnp.clip(code, 1, 254))
    return jnp.where(bits == 0, 127, code).astype(jnp.uint8)


def quantize(weight: Array, scheme: Scheme) -> tuple[Array, Array, Array | None]:
    """``weight [rows, columns]`` -> uint32 words, scales, biases (or None) by MLX's algorithms in float32.

    Raises ValueError where the scheme is unknown, columns do not divide by the group, weights are not finite, or the
    range of a group is more than their dtype can hold, so that a code would stand for infinity.
    """
    scheme.check(weight.shape[-1])
    if not np.isfinite(np.asarray(weight)).all():
        raise ValueError("the weights hold infinities or NaN, which no code stands for")
    # Cast outside, so that weights of every dtype share what XLA compiles.
    words, scales, biases = _quantize(weight.astype(jnp.float32), scheme)
    if biases is None:
        return words, scales, None
    scales, biases = scales.astype(weight.dtype), biases.astype(weight.dtype)
    with np.errstate(over="ignore"):
        widest = np.asarray(scales) * scales.dtype.type(2**scheme.bits - 1)
    if not np.isfinite(widest).all():
        raise ValueError(f"the range of a group is more than {weight.dtype} can hold")
    return words, scales, biases


def _divide(dividend: Array, divisor: Array) -> Array:
    """Correctly rounded quotient by a broadcast divisor.

    XLA turns a division by a broadcast value into a product with its reciprocal, which is off by an ulp in most
    quotients and moves codes at ties; the barrier keeps it from seeing the broadcast.
    """
    return dividend / jax.lax.optimization_barrier(jnp.broadcast_to(divisor, dividend.shape))


@partial(jax.jit, static_argnums=1)
def _quantize(weight: Array, scheme: Scheme) -> tuple[Array, Array, Array | None]:
    """The parts of float32 weights, scales and biases in float32 where they are not bytes."""
    rows, columns = weight.shape
    groups = weight.reshape(rows, -1, scheme.group_size)
    if scheme.mode == "affine":
        codes, scales, biases = _affine(groups, scheme.bits)
        words = pack(codes.reshape(rows, columns), scheme.bits)
        return words, scales, biases
    ideal = _divide(jnp.abs(groups).max(-1), jnp.float32(LARGEST_ELEMENT[scheme.mode]))
    codes_of_scales = encode_e4m3(ideal) if scheme.mode == "nvfp4" else encode_e8m0(ideal)
    scales = decode_scales(codes_of_scales, scheme)[..., None]
    quotients = jnp.where(scales == 0, 0, _divide(groups, scales))
    codes = encode_e4m3(quotients) if scheme.bits == 8 else encode_e2m1(quotients)
    return pack(codes.reshape(rows, columns), scheme.bits), codes_of_scales, None


def _affine(groups: Array, bits: int) -> tuple[Array, Array, Array]:
    """Codes, scales and biases: the end of larger magnitude is the bias, the scale refitted so that zero is exact."""
    low, high = groups.min(-1), groups.max(-1)
    scale = jnp.maximum(_divide(high - low, jnp.float32(2**bits - 1)), 1e-7)
    bias = low
    if bits > 1:
        from_low = jnp.abs(low) > jnp.abs(high)
        scale = jnp.where(from_low, scale, -scale)
        edge = jnp.where(from_low, low, high)
        steps = jnp.rint(edge / scale)
        refit = steps != 0
        scale = jnp.where(refit, edge / jnp.where(refit, steps, 1), scale)
        bias = jnp.where(refit, edge, 0)
    quotients = _divide(groups - bias[..., None], scale[..., None])
    return jnp.clip(jnp.rint(quotients), 0, 2**bits - 1), scale, bias


def decode_e2m1(codes: Array) -> Array:
    """float32 values of 4-bit codes (sign, 2 exponent bits, 1 fraction bit), from their bits: XLA gathers slowly."""
    size = codes & 7
    bits = jnp.where(size < 2, size * 0x3F000000, (size << 22) + 0x3F000000)
    return jax.lax.bitcast_convert_type(bits | (codes & 8) << 28, jnp.float32)


def decode_e4m3(codes: Array) -> Array:
    """float32 values of 8-bit codes (sign, 4 exponent bits, 3 fraction bits; 0x7F is NaN), from their bits."""
    size = codes & 0x7F
    normal = jnp.where(size == 0x7F, 0x7FC00000, (size << 20) + (120 << 23))
    subnormal = jax.lax.bitcast_convert_type(size.astype(jnp.float32) * 2.0**-9, jnp.uint32)
    return jax.lax.bitcast_convert_type(jnp.where(size < 8, subnormal, normal) | (codes & 0x80) << 24, jnp.float32)


def decode(codes: Array, scheme: Scheme) -> Array:
    """float32 values of a block mode's elements."""
    return decode_e4m3(codes) if scheme.bits == 8 else decode_e2m1(codes)


def decode_scales(scales: Array, scheme: Scheme) -> Array:
    """float32 values of a block mode's scales: 8-bit floats in mode "nvfp4", else powers of two."""
    return jnp.asarray(_VALUE_OF["E4M3" if scheme.mode == "nvfp4" else "E8M0"])[scales]


def dequantize(words: Array, scales: Array, biases: Array | None, scheme: Scheme, dtype: jnp.dtype) -> Array:
    """Rows of packed parts, ``[..., words]`` -> ``[..., columns]`` in `dtype`.

    Mode "affine" rounds each product and each sum to `dtype`, whether or not the processor multiplies and adds float16
    in one instruction; in float32 XLA does both with one rounding where the processor can. The other modes compute in
    float32, exactly.
    """
    lax, shape = jax.lax, (*scales.shape, scheme.group_size)
    codes = lax.reshape(unpack(words, scheme.bits), shape)

    def per_element(values: Array) -> Array:
        return lax.broadcast_in_dim(values, shape, tuple(range(values.ndim)))

    if biases is not None:
        wide, form = jnp.promote_types(dtype, jnp.float32), jnp.finfo(dtype)
        factors, offsets = (per_element(lax.convert_element_type(part, wide)) for part in (scales, biases))
        scaled = lax.mul(lax.convert_element_type(codes, wide), factors)
        values = lax.add(lax.reduce_precision(scaled, form.nexp, form.nmant), offsets)
    else:
        values = lax.mul(decode(codes, scheme), per_element(decode_scales(scales, scheme)))
    columns = scales.shape[-1] * scheme.group_size
    return lax.convert_element_type(lax.reshape(values, (*scales.shape[:-1], columns)), dtype)
