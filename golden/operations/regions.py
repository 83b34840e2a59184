"""One array of inputs for every function of one argument, in regions: a case judges one of them.

A fault that is registered in one region must not hide another's. Order and sizes are the same in every dtype.
"""

from __future__ import annotations

from math import frexp

import numpy as np

from touchstone.golden.bounds import LARGEST, SMALLEST_SUBNORMAL
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS, words

KNOTS = (0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0)
"""Where formulas of these functions change, or implementations do; both signs are tried, and both neighbours."""
SIZES = {"ordinary": 512, "tails": 256, "tiny": 192, "subnormal": 64, "knots": 66, "special": 14}
"""Region -> how many inputs: magnitudes of 2**-8 to 2**3, beyond, below down to the smallest normal number, below
that, at and beside `KNOTS`, and zeros, infinities, NaN and what is near the largest number."""


def make(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The inputs of every region, one after the other, exact in the dtype: a kind of recipe."""
    bits, most = SIGNIFICAND_BITS[dtype], frexp(LARGEST[dtype])[1]
    least = frexp(SMALLEST_SUBNORMAL[dtype])[1] - 1 + bits - 1
    ranges = {"ordinary": (-8, 3), "tails": (3, most), "tiny": (least, -8)}
    parts = [magnitudes(f"{key}/{name}", SIZES[name], *limits, bits) for name, limits in ranges.items()]
    normal = magnitudes(f"{key}/subnormal", SIZES["subnormal"], least, least + 1, bits)
    parts.append(np.sign(normal) * (np.abs(normal) - 2.0**least))
    knots = [float(np.array(v, DTYPES[dtype])) for v in KNOTS]
    near = np.array([*knots, *(_neighbour(v, n, dtype) for v in knots for n in (1, -1))])
    parts.append(np.resize(np.concatenate([near, -near]), SIZES["knots"]))
    large = [share * LARGEST[dtype] * sign for share in (1.0, 0.7, 0.3, 0.2) for sign in (1, -1)]
    parts.append(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.nan, *large]))
    return np.concatenate(parts).astype(DTYPES[dtype]).reshape(shape)


def magnitudes(key: str, count: int, low: int, high: int, bits: int) -> np.ndarray:
    """Numbers of so many significant bits and either sign, evenly spread over the binades from 2**low to 2**high."""
    raw = words(key, count)
    exponent = low + ((raw >> np.uint64(1)) % np.uint64(high - low)).astype(np.int64)
    fraction = (raw >> np.uint64(64 - bits + 1)).astype(np.float64) * 2.0 ** (1 - bits)
    return np.where(raw & np.uint64(1), -1.0, 1.0) * np.ldexp(1 + fraction, exponent)


def _neighbour(value: float, steps: int, dtype: str) -> float:
    """The next larger or smaller number of a dtype."""
    if value == 0:
        return steps * SMALLEST_SUBNORMAL[dtype]
    gap = 2.0 ** (frexp(value)[1] - SIGNIFICAND_BITS[dtype])
    is_power = frexp(value)[0] == 0.5
    return value + steps * (gap / 2 if is_power and steps < 0 else gap)
