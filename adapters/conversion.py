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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adapters.interface import Packed, Scheme

TINY = {"float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}
"""Smallest normal numbers: torchao's floor under a scale."""
BLOCK_BYTES = {"q4_1": 20, "q8_0": 34}


@dataclass(frozen=True)
class Lattice:
    """codes int64 ``[rows, groups, group_size]`` from 0; scale and offset float64 ``[rows, groups]``, exact."""

    codes: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    bits: int

    def values(self) -> np.ndarray:
        """scale * code + offset in float64, ``[rows, columns]``: one rounding an element, of the sum."""
        return (self.scale[..., None] * self.codes + self.offset[..., None]).reshape(len(self.codes), -1)


def values(packed: Packed) -> np.ndarray:
    """The weights that the parts stand for, float64 ``[rows, columns]``."""
    return read(packed).values()


def convert(packed: Packed, scheme: Scheme, dtype: np.dtype) -> Packed:
    """The same weights in another scheme; `dtype` is that of scales, where the scheme leaves it open.

    Raises ValueError where bits or group differ, for an unknown mode, and where a scale or offset is too large for
    its dtype.
    """
    if (packed.scheme.bits, packed.scheme.group_size) != (scheme.bits, scheme.group_size):
        raise ValueError(f"{packed.scheme} and {scheme} differ in bits or group size")
    return write(read(packed), scheme, dtype)


def read(packed: Packed) -> Lattice:
    """The exact lattice of the parts. Raises ValueError for an unknown mode."""
    return _known(_READERS, packed.scheme)(packed)


def write(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """The parts of `scheme` nearest to the lattice; see `convert` for what it raises."""
    return _known(_WRITERS, scheme)(lattice, scheme, dtype)


def _known(table: dict[str, Callable], scheme: Scheme) -> Callable:
    if scheme.mode not in table:
        raise ValueError(f"mode {scheme.mode!r} is none of {', '.join(table)}")
    return table[scheme.mode]


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """uint32 words ``[rows, n]`` to int64 codes ``[rows, 32 n / bits]``, low bits first."""
    flat = np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), axis=-1, bitorder="little")
    return flat.reshape(len(words), -1, bits) @ (1 << np.arange(bits))


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `unpack`; the codes of a row fill whole words."""
    flat = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(len(codes), -1)
    return np.packbits(flat, axis=-1, bitorder="little").view("<u4").astype(np.uint32)


def _cast(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounded to the dtype; ValueError where a finite number is too large for it."""
    with np.errstate(over="ignore"):
        out = value.astype(dtype)
    if not np.isfinite(out.astype(np.float64)).all():
        raise ValueError(f"a scale or offset of {np.abs(value).max():.3g} is too large for {np.dtype(dtype).name}")
    return out


def _read_affine(packed: Packed) -> Lattice:
    scheme = packed.scheme
    codes = unpack(packed.weight, scheme.bits).reshape(*packed.scales.shape, scheme.group_size)
    return Lattice(codes, packed.scales.astype(np.float64), packed.biases.astype(np.float64), scheme.bits)


def _write_affine(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """Any lattice: only scale and offset round."""
    words = pack(lattice.codes.reshape(len(lattice.codes), -1), scheme.bits)
    return Packed(words, _cast(lattice.scale, dtype), _cast(lattice.offset, dtype), scheme)


def _read_intx(packed: Packed) -> Lattice:
    """The product of an 8-bit zero point and a scale is exact in float64."""
    scheme, half = packed.scheme, 2 ** (packed.scheme.bits - 1)
    codes = packed.weight.astype(np.int64).reshape(*packed.scales.shape, scheme.group_size) + half
    scale = packed.scales.astype(np.float64)
    return Lattice(codes, scale, -(packed.biases.astype(np.float64) + half) * scale, scheme.bits)


def _write_intx(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """The zero point is the integer nearest to -offset / scale; where an int8 cannot hold it, the group's values are
    quantized anew, with a range that includes zero, as torchao does."""
    half = 2 ** (scheme.bits - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.rint(-lattice.offset / lattice.scale) - half
    holds = (zero >= -128) & (zero <= 127)
    fresh = _requantized_to_intx(lattice, dtype)
    codes = np.where(holds[..., None], lattice.codes, fresh.codes)
    scale = np.where(holds, lattice.scale, fresh.scale)
    zero = np.where(holds, zero, np.rint(-fresh.offset / fresh.scale) - half)
    weight = (codes - half).astype(np.int8).reshape(len(codes), -1)
    return Packed(weight, _cast(scale, dtype), zero.astype(np.int8), scheme)


def _requantized_to_intx(lattice: Lattice, dtype: np.dtype) -> Lattice:
    values, top = lattice.values().reshape(lattice.codes.shape), 2**lattice.bits - 1
    low, high = np.minimum(values.min(-1), 0), np.maximum(values.max(-1), 0)
    scale = np.maximum((high - low) / top, TINY[np.dtype(dtype).name]).astype(dtype).astype(np.float64)
    zero = np.clip(np.rint(-low / scale), 0, top)
    codes = np.clip(np.rint(values / scale[..., None]) + zero[..., None], 0, top).astype(np.int64)
    return Lattice(codes, scale, -zero * scale, lattice.bits)


def _blocks(packed: Packed) -> np.ndarray:
    """uint8 ``[rows, blocks, bytes of a block]``."""
    return packed.weight.reshape(len(packed.weight), -1, BLOCK_BYTES[packed.scheme.mode])


def _halves(blocks: np.ndarray, at: int) -> np.ndarray:
    """The float16 at byte `at` of every block, as float64."""
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2")[..., 0].astype(np.float64)


def _bytes(value: np.ndarray) -> np.ndarray:
    """float16 ``[rows, blocks]`` to uint8 ``[rows, blocks, 2]``, low byte first."""
    return _cast(value, np.dtype("<f2"))[..., None].view(np.uint8)


def _read_q4_1(packed: Packed) -> Lattice:
    blocks = _blocks(packed)
    nibbles = blocks[..., 4:]
    codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.int64)
    return Lattice(codes, _halves(blocks, 0), _halves(blocks, 2), 4)


def _write_q4_1(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """Any lattice of 4 bits: scale and offset round to float16. A negative scale stays one, d is signed."""
    codes = lattice.codes.astype(np.uint8)
    nibbles = codes[..., :16] | codes[..., 16:] << 4
    blocks = np.concatenate([_bytes(lattice.scale), _bytes(lattice.offset), nibbles], axis=-1)
    return Packed(blocks.reshape(len(blocks), -1), None, None, scheme)


def _read_q8_0(packed: Packed) -> Lattice:
    """int8 codes are codes from 0 after an offset of -128 d, a power of two times a float16: exact."""
    blocks = _blocks(packed)
    scale = _halves(blocks, 0)
    codes = np.ascontiguousarray(blocks[..., 2:]).view(np.int8).astype(np.int64) + 128
    return Lattice(codes, scale, -128 * scale, 8)


def _write_q8_0(lattice: Lattice, scheme: Scheme, dtype: np.dtype) -> Packed:
    """Q8_0 has no offset: a group is kept where its offset is -128 scale exactly, else its values are quantized anew
    with d = max|value| / 127 in float16."""
    values = lattice.values().reshape(lattice.codes.shape)
    fresh = _cast(np.abs(values).max(-1) / 127, np.dtype("f2")).astype(np.float64)
    holds = lattice.offset == -128 * lattice.scale
    divisor = np.where(fresh == 0, 1, fresh)[..., None]
    anew = np.clip(np.rint(values / divisor), -127, 127).astype(np.int64)
    codes = np.where(holds[..., None], lattice.codes - 128, anew).astype(np.int8)
    blocks = np.concatenate([_bytes(np.where(holds, lattice.scale, fresh)), codes.view(np.uint8)], axis=-1)
    return Packed(blocks.reshape(len(blocks), -1), None, None, scheme)


_READERS = {"affine": _read_affine, "intx": _read_intx, "q4_1": _read_q4_1, "q8_0": _read_q8_0}
_WRITERS = {"affine": _write_affine, "intx": _write_intx, "q4_1": _write_q4_1, "q8_0": _write_q8_0}
