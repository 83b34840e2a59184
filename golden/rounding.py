"""Float64 to a narrower dtype with one rounding on every platform: NumPy's own casts may round twice on the way."""

from __future__ import annotations

import numpy as np

from touchstone.golden.bounds import SMALLEST_SUBNORMAL
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS


def add_to_odd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b in float64, rounded to odd, so that a later rounding to 50 bits or fewer gives the exact sum's.

    Boldo & Melquiond, *Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd*,
    IEEE Transactions on Computers 57(4), 2008; the error of the sum by Knuth's two-sum.
    """
    total = a + b
    virtual = total - a
    error = (a - (total - virtual)) + (b - virtual)
    is_even = (np.ascontiguousarray(total).view(np.int64) & 1) == 0
    towards = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & is_even, np.nextafter(total, towards), total)


def to_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """float64 rounded once to `dtype`, to nearest with ties to even; beyond the largest number, infinity."""
    _, exponent = np.frexp(values)
    quantum = np.maximum(np.ldexp(1.0, exponent - SIGNIFICAND_BITS[dtype]), SMALLEST_SUBNORMAL[dtype])
    with np.errstate(over="ignore", invalid="ignore"):
        return (np.rint(values / quantum) * quantum).astype(DTYPES[dtype])
