"""MLX's packed formats as docs/packed-format.md writes them: the oracle, exact in float64.

Written from that page, shares no code with any adapter. Every number format here follows from three facts: where the
bits of a code lie, how a small float is read, and value = scale * element (+ bias). Sources: `mlx.core.quantize` and
`mlx.core.dequantize` (documentation), OCP Microscaling Formats (MX) Specification v1.0 for E2M1, E4M3 and E8M0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np

AFFINE_BITS = (1, 2, 3, 4, 5, 6, 8)
AFFINE_GROUPS = (32, 64, 128)


@dataclass(frozen=True)
class Format:
    """One mode of `mlx.core.quantize` at one size. element, scale: encodings of block modes, "" for affine."""

    mode: str
    bits: int
    group_size: int
    element: str = ""
    scale: str = ""

    @property
    def params(self) -> dict[str, Any]:
        """What selects the format in a case."""
        return {"mode": self.mode, "bits": self.bits, "group_size": self.group_size}

    @property
    def name(self) -> str:
        return self.mode if self.element else f"{self.mode}{self.bits}g{self.group_size}"


AFFINE = tuple(Format("affine", bits, group) for bits, group in product(AFFINE_BITS, AFFINE_GROUPS))
BLOCK = (
    Format("mxfp4", 4, 32, "E2M1", "E8M0"),
    Format("mxfp8", 8, 32, "E4M3", "E8M0"),
    Format("nvfp4", 4, 16, "E2M1", "E4M3"),
)
FORMATS = AFFINE + BLOCK


def format_of(mode: str, bits: int, group_size: int) -> Format:
    """Raises KeyError for a mode or size that MLX does not define."""
    return {(f.mode, f.bits, f.group_size): f for f in FORMATS}[mode, bits, group_size]


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """uint32 words ``[..., n]`` to integer codes ``[..., 32 n / bits]``.

    Bit k of code i is bit ``i * bits + k`` of the row, and bit j of the row is bit ``j % 32`` of word ``j // 32``.
    """
    begins = np.arange(words.shape[-1] * 32 // bits) * bits
    first, last = begins // 32, (begins + bits - 1) // 32
    wide = words.astype(np.int64)
    pairs = wide[..., first] | np.where(last > first, wide[..., last] << 32, 0)
    return (pairs >> (begins % 32)) & (2**bits - 1)


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `unpack`: codes ``[..., n]``, n * bits a multiple of 32, to uint32 words."""
    words = np.zeros((*codes.shape[:-1], codes.shape[-1] * bits // 32), np.int64)
    for k in range(bits):
        place = np.arange(codes.shape[-1]) * bits + k
        for word in range(words.shape[-1]):
            here = place // 32 == word
            words[..., word] |= (((codes[..., here].astype(np.int64) >> k) & 1) << (place[here] % 32)).sum(-1)
    return words.astype(np.uint32)


@cache
def values_of(encoding: str) -> np.ndarray:
    """float64 value of every code: "E2M1" (16 codes), "E4M3" (256, two of them NaN) or "E8M0" (256, the last NaN).

    A small float with bias B reads (-1)**sign * 2**(exponent - B) * 1.fraction, or with exponent 0,
    (-1)**sign * 2**(1 - B) * 0.fraction; E8M0 is 2**(code - 127) without sign or fraction.
    """
    if encoding == "E8M0":
        return np.array([2.0 ** (code - 127) for code in range(255)] + [np.nan])
    exponent_bits, fraction_bits, bias = {"E2M1": (2, 1, 1), "E4M3": (4, 3, 7)}[encoding]
    out = []
    for code in range(2 ** (1 + exponent_bits + fraction_bits)):
        fraction = (code % 2**fraction_bits) / 2**fraction_bits
        exponent = code // 2**fraction_bits % 2**exponent_bits
        size = 2.0 ** (exponent - bias) * (1 + fraction) if exponent else 2.0 ** (1 - bias) * fraction
        out.append(-size if code >= 2 ** (exponent_bits + fraction_bits) else size)
    if encoding == "E4M3":
        out[0x7F] = out[0xFF] = np.nan
    return np.array(out)


def dequantize(words: np.ndarray, scales: np.ndarray, biases: np.ndarray | None, form: Format) -> np.ndarray:
    """float64 ``[..., columns]``: scales * code + biases, or element * scale; exact but for one float64 sum."""
    codes = unpack(words, form.bits).reshape(*scales.shape, form.group_size)
    if form.mode == "affine":
        assert biases is not None
        out = scales.astype(np.float64)[..., None] * codes + biases.astype(np.float64)[..., None]
    else:
        out = values_of(form.element)[codes] * values_of(form.scale)[scales][..., None]
    return out.reshape(*scales.shape[:-1], -1)


def block_scale(largest: np.ndarray, form: Format) -> np.ndarray:
    """The scale of groups whose largest magnitude is `largest` (float64), by MLX's rule, as float64.

    mx modes: the smallest power of two, from 2**-127 to 2**127, at which the largest magnitude is within the element's
    range; 1 for a group of zeros. OCP MX v1.0 describes floor(log2(largest)) - emax instead, at which up to a third of
    a binade saturates. nvfp4: largest / 6 rounded to E4M3, ties to even, at most 448.
    """
    ideal = largest / np.nanmax(values_of(form.element))
    if form.scale == "E8M0":
        fraction, exponent = np.frexp(ideal)
        power = np.clip(np.where(fraction == 0.5, exponent - 1, exponent), -127, 127)
        return np.where(ideal == 0, 1.0, np.ldexp(1.0, power))
    return nearest(ideal, values_of("E4M3")[:0x7F])


def nearest(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The nearest of ascending `values` by code, a tie to the even code; beyond the last, the last."""
    middle = (values[1:] + values[:-1]) / 2
    code = np.searchsorted(middle, x)
    at_tie = (code < len(middle)) & (x == middle[np.minimum(code, len(middle) - 1)])
    return values[np.where(at_tie & (code % 2 == 1), code + 1, code)]
