"""How golden inputs are made: integers from raw PCG64 words, so that no distribution stream can change them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

SEED = 20261121
DTYPES: dict[str, np.dtype] = {
    name: np.dtype(name)
    for name in ("float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
} | {"uint64": np.dtype("uint64"), "bool": np.dtype("bool"), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
SIGNIFICAND_BITS = {"float32": 24, "float16": 11, "bfloat16": 8}
"""Significand precision p of each dtype, the implicit bit included (IEEE 754-2019, table 3.5)."""


def words(key: str, count: int) -> np.ndarray:
    """`count` uint64 words of PCG64 seeded by the key."""
    seed = hashlib.sha256(f"{SEED}:{key}".encode()).digest()[:16]
    return np.random.PCG64(int.from_bytes(seed, "big")).random_raw(count)


def _uniform(key: str, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> np.ndarray:
    """Multiples of 2**(1 - p) in [-1, 1), times a power of two: exact in the dtype."""
    p = SIGNIFICAND_BITS[dtype] - 1
    integers = (words(key, prod(shape)) >> np.uint64(63 - p)).astype(np.int64) - 2**p
    return (integers * (2.0**-p * scale)).reshape(shape)


def _bell(key: str, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> np.ndarray:
    """Sum of four 15-bit integers, centred: bell-shaped in (-2, 2), times a power of two, rounded once."""
    lanes = words(key, prod(shape)).view(np.uint16).reshape(-1, 4) >> 1
    return ((lanes.astype(np.int64).sum(-1) - 2**16 + 2) * (2.0**-15 * scale)).reshape(shape)


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


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "uniform": _uniform,
    "bell": _bell,
    "integers": _integers,
    "wide integers": _wide_integers,
    "labelled rows": _labelled_rows,
    "special values": _special,
    "values": _values,
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
