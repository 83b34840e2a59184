"""Conversion between MLX's affine parts, torchao's intx parts and GGUF's Q4_1 and Q8_0 blocks, in NumPy alone.

Every format is a lattice per group, ``scale * code + offset`` with codes from 0 to 2**bits - 1, so that a conversion
is to read the lattice and to write it. How the parts of a `Packed` are laid out:

- "affine" (mlx.core.quantize): codes low bits first in uint32 words, scale and offset (bias) in the matrix's dtype.
- "intx" (torchao.quantization.IntxUnpackedToInt8Tensor): weight int8 q, one a code, scales in the matrix's dtype,
  biases the int8 zero points; (q - zero) * scale, q from -2**(bits-1).
- "q4_1" (ggml-common.h, block_q4_1): weight uint8, 20 bytes a block of 32: float16 d, float16 m, then 16 bytes whose
  low nibbles are codes 0 to 15 and whose high nibbles are codes 16 to 31; d * q + m.
- "q8_0" (block_q8_0): 34 bytes a block of 32: float16 d, 32 int8 q; d * q.

What each conversion loses, and why, is in docs/conversion.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.adapters.interface import AFFINE_BITS, AFFINE_GROUPS, Packed, Scheme

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "affine": (AFFINE_BITS, AFFINE_GROUPS),
    "intx": (tuple(range(1, 9)), AFFINE_GROUPS),
    "q4_1": ((4,), (32,)),
    "q8_0": ((8,), (32,)),
}
"""mode -> bits, group sizes; torchao has more group sizes, which no other format shares."""
WEIGHTS = {"affine": "uint32", "intx": "int8", "q4_1": "uint8", "q8_0": "uint8"}
FLOATS = ("float32", "float16", "bfloat16")
BLOCK_BYTES = {"q4_1": 20, "q8_0": 34}


@dataclass(frozen=True)
class Lattice:
    """codes int64 ``[rows, groups, group_size]`` from 0; scale and offset float64 ``[rows, groups]``, exact."""

    codes: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    bits: int

    def grouped(self) -> np.ndarray:
        """scale * code + offset in float64, in the shape of the codes: one rounding an element, of the sum."""
        return self.scale[..., None] * self.codes + self.offset[..., None]

    def values(self) -> np.ndarray:
        """The same as ``[rows, columns]``."""
        return self.grouped().reshape(len(self.codes), -1)


def values(packed: Packed) -> np.ndarray:
    """The weights that the parts stand for, float64 ``[rows, columns]``."""
    return read(packed).values()


def convert(packed: Packed, scheme: Scheme, dtype: np.dtype) -> Packed:
    """The same weights in another scheme; `dtype` is that of scales, where the scheme leaves it open.

    Raises ValueError, naming what is wrong, for parts that do not fit their scheme, an unknown mode or size, bits or
    groups that differ, numbers that are not finite, a scale or offset too large for its dtype, and a scale so small
    that a group would become constant.
    """
    return write(read(packed), scheme, dtype)


def read(packed: Packed) -> Lattice:
    """The exact lattice of the parts. Raises ValueError for parts that do not fit their scheme."""
    _check_scheme(packed.scheme)
    _check_parts(packed)
    return _READERS[packed.scheme.mode](packed)


def write(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """The parts of `scheme` nearest to the lattice; see `convert` for what it raises."""
    _check_scheme(scheme)
    _check_float("scales", np.dtype(dtype))
    if (lattice.bits, lattice.codes.shape[-1]) != (scheme.bits, scheme.group_size):
        size = f"{lattice.bits} bits in groups of {lattice.codes.shape[-1]}"
        raise ValueError(f"{size} are not {scheme}: no conversion changes bits or groups")
    _refuse(~np.isfinite(lattice.scale), "scale", lattice.scale, "not finite")
    _refuse(~np.isfinite(lattice.offset), "offset", lattice.offset, "not finite")
    return _WRITERS[scheme.mode](lattice, scheme, dtype)


def _check_scheme(scheme: Scheme) -> None:
    if scheme.mode not in SIZES:
        raise ValueError(f"mode {scheme.mode!r} is none of {', '.join(SIZES)}")
    for name, sizes in zip(("bits", "group_size"), SIZES[scheme.mode], strict=True):
        if getattr(scheme, name) not in sizes:
            raise ValueError(f"{scheme.mode} has {name} {', '.join(map(str, sizes))}, not {getattr(scheme, name)}")


def _check_float(name: str, dtype: np.dtype) -> None:
    if dtype.name not in FLOATS:
        raise ValueError(f"{name} are float32, float16 or bfloat16, not {dtype.name}")


def _check_parts(packed: Packed) -> None:
    """Raises ValueError where parts, their dtypes or their shapes do not fit the scheme, whose size is known."""
    scheme, blocks = packed.scheme, packed.scheme.mode in BLOCK_BYTES
    for name in ("weight", "scales", "biases"):
        part = getattr(packed, name)
        if (part is None) != (blocks and name != "weight"):
            raise ValueError(f"{scheme} has {'no ' * blocks}{name}")
        if part is not None and not (isinstance(part, np.ndarray) and part.ndim == 2 and part.size):
            found = f"{type(part).__name__} of shape {np.shape(part)}"
            raise ValueError(f"{scheme} has {name} as a NumPy matrix with rows and columns, not {found}")
    _check_dtype("weight is", packed.weight, WEIGHTS[scheme.mode])
    if blocks:
        if packed.weight.shape[1] % BLOCK_BYTES[scheme.mode]:
            raise ValueError(f"{packed.weight.shape[1]} bytes a row are no blocks of {BLOCK_BYTES[scheme.mode]} bytes")
        return
    _check_float("scales", packed.scales.dtype)
    _check_dtype("biases are", packed.biases, "int8" if scheme.mode == "intx" else packed.scales.dtype.name)
    if scheme.mode == "affine":
        packed.check()
    else:
        _check_intx(packed)


def _check_intx(packed: Packed) -> None:
    """Raises ValueError where shapes do not fit each other, and for a code beyond its bits."""
    scheme, half, (rows, groups) = packed.scheme, 2 ** (packed.scheme.bits - 1), packed.scales.shape
    shapes = {"weight": (rows, groups * scheme.group_size), "biases": (rows, groups)}
    for name, shape in shapes.items():
        found = getattr(packed, name).shape
        if found != shape:
            raise ValueError(f"{scheme} with scales {(rows, groups)} has {name} {shape}, not {found}")
    low, high = packed.weight.min(), packed.weight.max()
    if low < -half or high >= half:
        raise ValueError(f"{scheme} has codes {-half} to {half - 1}, not {low} to {high}")


def _check_dtype(what: str, part: np.ndarray, name: str) -> None:
    if part.dtype.name != name:
        raise ValueError(f"{what} {name}, not {part.dtype.name}")


def _refuse(where: np.ndarray, name: str, value: np.ndarray, why: str) -> None:
    """Raises ValueError for the first group ``[rows, groups]`` of which `where` is true."""
    if where.any():
        row, group = np.argwhere(where)[0]
        raise ValueError(f"the {name} {value[row, group]:.3g} of row {row}, group {group} is {why}")


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """uint32 words ``[rows, n]`` to int64 codes ``[rows, 32 n / bits]``, low bits first."""
    flat = np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), axis=-1, bitorder="little")
    return flat.reshape(len(words), -1, bits) @ (1 << np.arange(bits))


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `unpack`; the codes of a row fill whole words."""
    flat = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(len(codes), -1)
    return np.packbits(flat, axis=-1, bitorder="little").view("<u4").astype(np.uint32)


def _cast(name: str, value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Finite numbers rounded to the dtype; ValueError where one is too large for it."""
    with np.errstate(over="ignore"):
        out = value.astype(dtype)
    _refuse(~np.isfinite(out.astype(np.float64)), name, value, f"too large for {np.dtype(dtype).name}")
    return out


def _cast_scale(scale: np.ndarray, needed: Any, dtype: np.dtype) -> np.ndarray:
    """Rounded to the dtype; ValueError where a scale becomes 0 of a group ``[rows, groups]`` that needs it."""
    out = _cast("scale", scale, dtype)
    _refuse(needed & (scale != 0) & (out == 0), "scale", scale, f"too small for {np.dtype(dtype).name}")
    return out


def _cast_lattice(lattice: Lattice, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset in the dtype. A constant group whose scale becomes 0 is all offset."""
    scale = _cast_scale(lattice.scale, np.ptp(lattice.codes, axis=-1) > 0, dtype)
    lost = (scale == 0) & (lattice.scale != 0)
    return scale, _cast("offset", np.where(lost, lattice.grouped()[..., 0], lattice.offset), dtype)


def _read_affine(packed: Packed) -> Lattice:
    scheme = packed.scheme
    codes = unpack(packed.weight, scheme.bits).reshape(*packed.scales.shape, scheme.group_size)
    return Lattice(codes, packed.scales.astype(np.float64), packed.biases.astype(np.float64), scheme.bits)


def _write_affine(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """Any lattice: only scale and offset round."""
    words = pack(lattice.codes.reshape(len(lattice.codes), -1), scheme.bits)
    return Packed(words, *_cast_lattice(lattice, dtype), scheme)


def _read_intx(packed: Packed) -> Lattice:
    """The product of an 8-bit zero point and a scale is exact in float64."""
    scheme, half = packed.scheme, 2 ** (packed.scheme.bits - 1)
    codes = packed.weight.astype(np.int64).reshape(*packed.scales.shape, scheme.group_size) + half
    scale = packed.scales.astype(np.float64)
    return Lattice(codes, scale, -(packed.biases.astype(np.float64) + half) * scale, scheme.bits)


def _write_intx(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """The zero point is the integer nearest to -offset / scale.

    Where an int8 cannot hold it, the group's values are quantized anew, with a range that includes zero, as torchao
    does.
    """
    half, top, weights = 2 ** (scheme.bits - 1), 2**scheme.bits - 1, lattice.grouped()
    zero = np.rint(_over(-lattice.offset, lattice.scale)) - half
    holds = (zero >= -128) & (zero <= 127) & ((lattice.scale != 0) | (lattice.offset == 0))
    low, high = np.minimum(weights.min(-1), 0), np.maximum(weights.max(-1), 0)
    scale = _cast_scale(np.where(holds, lattice.scale, (high - low) / top), weights.any(-1), dtype)
    rounded = scale.astype(np.float64)
    fresh_zero = np.clip(np.rint(_over(-low, rounded)), 0, top)
    fresh = np.clip(np.rint(_over(weights, rounded[..., None])) + fresh_zero[..., None], 0, top)
    codes = np.where(holds[..., None], lattice.codes, fresh)
    weight = (codes - half).astype(np.int8).reshape(len(codes), -1)
    return Packed(weight, scale, np.where(holds, zero, fresh_zero - half).astype(np.int8), scheme)


def _over(dividend: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """The quotient, or the dividend where the divisor is 0."""
    return dividend / np.where(divisor == 0, 1, divisor)


def _blocks(packed: Packed) -> np.ndarray:
    """uint8 ``[rows, blocks, bytes of a block]``."""
    return packed.weight.reshape(len(packed.weight), -1, BLOCK_BYTES[packed.scheme.mode])


def _halves(blocks: np.ndarray, at: int) -> np.ndarray:
    """The float16 at byte `at` of every block, as float64."""
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2")[..., 0].astype(np.float64)


def _bytes(halves: np.ndarray) -> np.ndarray:
    """float16 ``[rows, blocks]`` to uint8 ``[rows, blocks, 2]``, low byte first."""
    return halves.astype("<f2")[..., None].view(np.uint8)


def _read_q4_1(packed: Packed) -> Lattice:
    blocks = _blocks(packed)
    nibbles = blocks[..., 4:]
    codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.int64)
    return Lattice(codes, _halves(blocks, 0), _halves(blocks, 2), 4)


def _write_q4_1(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """Any lattice of 4 bits: scale and offset round to float16. A negative scale stays one, d is signed."""
    codes = lattice.codes.astype(np.uint8)
    nibbles = codes[..., :16] | codes[..., 16:] << 4
    scale, offset = _cast_lattice(lattice, np.dtype(np.float16))
    blocks = np.concatenate([_bytes(scale), _bytes(offset), nibbles], axis=-1)
    return Packed(blocks.reshape(len(blocks), -1), None, None, scheme)


def _read_q8_0(packed: Packed) -> Lattice:
    """int8 codes are codes from 0 after an offset of -128 d, a power of two times a float16: exact."""
    blocks = _blocks(packed)
    scale = _halves(blocks, 0)
    codes = np.ascontiguousarray(blocks[..., 2:]).view(np.int8).astype(np.int64) + 128
    return Lattice(codes, scale, -128 * scale, 8)


def _write_q8_0(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """Q8_0 has no offset: a group is kept where its offset is -128 scale exactly.

    Else its values are quantized anew with d = max|value| / 127 in float16.
    """
    weights = lattice.grouped()
    holds = lattice.offset == -128 * lattice.scale
    scale = np.where(holds, lattice.scale, np.abs(weights).max(-1) / 127)
    halves = _cast_scale(scale, weights.any(-1), np.dtype(np.float16))
    fresh = np.clip(np.rint(_over(weights, halves.astype(np.float64)[..., None])), -127, 127)
    codes = np.where(holds[..., None], lattice.codes - 128, fresh).astype(np.int8)
    blocks = np.concatenate([_bytes(halves), codes.view(np.uint8)], axis=-1)
    return Packed(blocks.reshape(len(blocks), -1), None, None, scheme)


_READERS = {"affine": _read_affine, "intx": _read_intx, "q4_1": _read_q4_1, "q8_0": _read_q8_0}
_WRITERS = {"affine": _write_affine, "intx": _write_intx, "q4_1": _write_q4_1, "q8_0": _write_q8_0}
