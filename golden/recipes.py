"""How golden inputs are made: integers from raw PCG64 words, so that no distribution stream can change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from touchstone.golden import groups
from touchstone.golden.operations import blocks, regions
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS, bell, words


def _uniform(key: str, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> np.ndarray:
    """Multiples of 2**(1 - p) in [-1, 1), times a power of two: exact in the dtype."""
    p = SIGNIFICAND_BITS[dtype] - 1
    integers = (words(key, prod(shape)) >> np.uint64(63 - p)).astype(np.int64) - 2**p
    return (integers * (2.0**-p * scale)).reshape(shape)


def _bell(key: str, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> np.ndarray:
    """Bell-shaped in (-2, 2), times a power of two, rounded once."""
    return (bell(key, prod(shape)) * scale).reshape(shape)


def _integers(key: str, shape: tuple[int, ...], dtype: str, low: int, high: int) -> np.ndarray:
    """Integers in [low, high)."""
    return (words(key, prod(shape)) % np.uint64(high - low)).astype(np.int64).reshape(shape) + low


def _wide_integers(key: str, shape: tuple[int, ...], dtype: str, phase: int) -> np.ndarray:
    """Integers whose products expose a narrow product or accumulation, with a sum of |x||w| below 2**24.

    Along the last axis a few positions hold odd integers as wide as the dtype allows, at most 12 bits (one more
    than TF32 keeps); the operand of the other phase holds +-3 there, which makes products wider than the dtype.
    Everything else is -1, 0 or 1. With these operands an accumulation in float16 or bfloat16 shows at every K of a
    float32 product and from K = 2 on where it is the operands' own dtype (one product alone rounds the same either
    way); a TF32 product shows at every K in float32, and cannot exist for operands of 11 bits or fewer.
    """
    rows, columns = prod(shape[:-1]), shape[-1]
    raw = words(key, rows * columns).reshape(rows, columns)
    half = 2 ** (min(12, SIGNIFICAND_BITS[dtype]) - 1)
    stride = max(2, columns // 4)
    place = np.arange(columns) % stride
    sign = np.where(raw >> np.uint64(63), -1, 1)
    wide = half + 1 + 2 * ((raw >> np.uint64(8)) % np.uint64(half // 2)).astype(np.int64)
    small = (raw % np.uint64(3)).astype(np.int64) - 1
    out = np.where(place == phase, wide * sign, np.where(place == 1 - phase, 3 * sign, small))
    return out.reshape(shape)


def _labelled_rows(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Row r holds r + 1 plus quarters by column: exact in every dtype below 64 rows, each row recognisable."""
    rows, columns = shape
    return np.arange(1, rows + 1)[:, None] + (np.arange(columns)[None, :] % 4) / 4


def _special(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Bit patterns that arithmetic would change: signed zeros, subnormals, infinities, NaN payloads."""
    width = np.dtype(DTYPES[dtype]).itemsize * 8
    fraction = SIGNIFICAND_BITS[dtype] - 1
    exponent = ((1 << (width - 1 - fraction)) - 1) << fraction
    top = 1 << (width - 1)
    patterns = [0, 1, 2, (1 << fraction) - 1, 1 << fraction, exponent - 1, exponent, exponent | 1]
    patterns += [exponent | (1 << (fraction - 1)), exponent | (1 << (fraction - 1)) | 5, exponent | 0b101]
    patterns += [top | p for p in patterns]
    unsigned = np.dtype(f"uint{width}")
    return np.resize(np.array(patterns, dtype=unsigned), shape).view(DTYPES[dtype])


def _values(key: str, shape: tuple[int, ...], dtype: str, values: tuple[Any, ...]) -> np.ndarray:
    return np.array(values, dtype=DTYPES[dtype]).reshape(shape)


def _constant(key: str, shape: tuple[int, ...], dtype: str, value: Any) -> np.ndarray:
    return np.full(shape, value, dtype=DTYPES[dtype])


def _words(key: str, shape: tuple[int, ...], dtype: str, mask: int = 2**32 - 1) -> np.ndarray:
    """Random uint32 words, of which only the bits in `mask` may be set."""
    return (words(key, prod(shape)) & np.uint64(mask)).astype(np.uint32).reshape(shape)


def _e4m3_integers(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Words of four E4M3 codes, each an integer from -8 to 8."""
    codes = np.array([0x00, 0x38, 0x40, 0x44, 0x48, 0x4A, 0x4C, 0x4E, 0x50], np.uint8)
    codes = np.concatenate([codes, codes[1:] | 0x80])
    chosen = codes[words(key, 4 * prod(shape)) % np.uint64(len(codes))]
    return chosen.view("<u4").astype(np.uint32).reshape(shape)


def _sparse_wide(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Eight odd integers of 12 bits along each row, one more than TF32 keeps, and zeros."""
    rows, columns = prod(shape[:-1]), shape[-1]
    raw = words(key, rows * columns).reshape(rows, columns)
    odd = 2049 + 2 * ((raw >> np.uint64(8)) % np.uint64(1024)).astype(np.int64)
    place = np.arange(columns) % max(1, columns // 8) == 0
    return np.where(place, odd * np.where(raw >> np.uint64(63), -1, 1), 0).reshape(shape)


def _any_bits(key: str, shape: tuple[int, ...], dtype: str, nan: bool) -> np.ndarray:
    """Random bit patterns, a quarter of them those of `_special`; without `nan` a NaN becomes infinity."""
    target = np.dtype(DTYPES[dtype])
    unsigned = np.dtype(f"uint{target.itemsize * 8}")
    raw = words(key, prod(shape) + 1)
    fraction = np.array(2 ** (SIGNIFICAND_BITS[dtype] - 1) - 1, unsigned)
    special = _special(key, (32,), dtype).view(unsigned)
    bits = np.where(
        raw[1:] >> np.uint64(62) == 0, special[(raw[1:] % np.uint64(32)).astype(int)], raw[1:].astype(unsigned)
    )
    values = bits.astype(unsigned).view(target)
    if not nan:
        with np.errstate(invalid="ignore"):  # ml_dtypes casts on the way, which signals
            values = np.where(np.isnan(values), (bits & ~fraction).astype(unsigned).view(target), values)
    return values.reshape(shape)


def _finite_bits(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random bit patterns of finite numbers: the lowest bit of the exponent is cleared where all are set."""
    values = _any_bits(key, shape, dtype, nan=False)
    unsigned = np.dtype(f"uint{values.dtype.itemsize * 8}")
    lowest = np.array(2 ** (SIGNIFICAND_BITS[dtype] - 1), unsigned)
    bits = values.view(unsigned)
    return np.where(np.isfinite(values), bits, bits & ~lowest).astype(unsigned).view(values.dtype)


def _uneven(key: str, shape: tuple[int, ...], dtype: str, spread: int, sparse: int = 0) -> np.ndarray:
    """Uniform multiples with 6 significant bits, each times a power of two from -spread to spread.

    sparse: one in so many is kept, and the others are zeros of either sign; 0 keeps all.
    """
    raw = words(key, prod(shape))
    integers = (raw >> np.uint64(58)).astype(np.int64) - 32
    power = ((raw >> np.uint64(20)) % np.uint64(2 * spread + 1)).astype(np.int64) - spread
    out = np.ldexp(integers * 2.0**-5, power)
    if sparse:
        out = np.where((raw >> np.uint64(8)) % np.uint64(sparse) == 0, out, np.copysign(0.0, out))
    return out.reshape(shape)


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "any bits": _any_bits,
    "finite bits": _finite_bits,
    "uneven": _uneven,
    "uniform": _uniform,
    "bell": _bell,
    "integers": _integers,
    "wide integers": _wide_integers,
    "sparse wide": _sparse_wide,
    "labelled rows": _labelled_rows,
    "special values": _special,
    "values": _values,
    "constant": _constant,
    "words": _words,
    "e4m3 integers": _e4m3_integers,
    "groups": groups.make,
    "regions": regions.make,
    "paired regions": regions.make_pairs,
    "integer regions": regions.make_integers,
    "numbered": regions.make_numbered,
    "code rows": regions.make_code_rows,
    "blocks": blocks.make,
}


@dataclass(frozen=True)
class Recipe:
    """An input array by kind, dtype, shape and options; `make` gives the same bytes on every machine."""

    kind: str
    dtype: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    stream: str | None = None
    """The key that seeds it, where two keys must share their integers."""

    def make(self, key: str) -> np.ndarray:
        out = KINDS[self.kind](self.stream or key, self.shape, self.dtype, **self.options)
        target = DTYPES[self.dtype]
        return out if out.dtype == target else out.astype(target)

    def describe(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        stream = f", stream={self.stream!r}" if self.stream else ""
        return f"{self.kind}({self.dtype}, {list(self.shape)}{options}{stream})"


@dataclass(frozen=True)
class Derived:
    """An expected array: a function of `golden.oracle` applied to arrays that are already in the catalogue."""

    function: str
    inputs: tuple[str, ...]

    def describe(self) -> str:
        return f"oracle.{self.function}({', '.join(self.inputs)})"
