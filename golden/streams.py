"""Raw integers that every golden input is made of, and the dtypes they are made in."""

from __future__ import annotations

import hashlib

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


def bell(key: str, count: int) -> np.ndarray:
    """Sum of four 15-bit integers each, centred: bell-shaped float64 in (-2, 2), multiples of 2**-15."""
    lanes = words(key, count).view(np.uint16).reshape(-1, 4) >> 1
    return (lanes.astype(np.int64).sum(-1) - 2**16 + 2) * 2.0**-15
