"""One array of inputs for every function of one argument, in regions: a case judges one of them.

A fault that is registered in one region must not hide another's. Order and sizes are the same in every dtype.
"""

from __future__ import annotations

from math import frexp, prod

import numpy as np

from touchstone.golden.bounds import LARGEST, SMALLEST_SUBNORMAL
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS, words

KNOTS = (0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0)
"""Where formulas of these functions change, or implementations do; both signs are tried, and both neighbours."""
SIZES = {"ordinary": 512, "tails": 256, "tiny": 192, "subnormal": 64, "knots": 66, "special": 14}
"""Region -> how many inputs: magnitudes of 2**-8 to 2**3, beyond, below down to the smallest normal number, below
that, at and beside `KNOTS`, and zeros, infinities, NaN and what is near the largest number."""

SIZES_OF_PAIRS = {
    "ordinary": 256,
    "mixed": 128,
    "tails": 128,
    "tiny": 128,
    "subnormal": 64,
    "equal": 63,
    "special": 100,
}
"""Region -> how many pairs: as of `SIZES`; mixed: an ordinary number and one of the tails; equal: a number and itself
or a neighbour of it; special: each of ten numbers with each."""


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


def make_pairs(key: str, shape: tuple[int, ...], dtype: str, place: int) -> np.ndarray:
    """The first or the second operand of every region of `SIZES_OF_PAIRS`, exact in the dtype: a kind of recipe."""
    bits, most = SIGNIFICAND_BITS[dtype], frexp(LARGEST[dtype])[1]
    least = frexp(SMALLEST_SUBNORMAL[dtype])[1] - 1 + bits - 1
    ordinary, tails, tiny = (-8, 3), (3, most), (least, -8)
    ranges = {"ordinary": ordinary, "mixed": (ordinary, tails)[place], "tails": tails, "tiny": tiny}
    parts = [magnitudes(f"{key}/{name}/{place}", SIZES_OF_PAIRS[name], *of, bits) for name, of in ranges.items()]
    normal = magnitudes(f"{key}/subnormal/{place}", SIZES_OF_PAIRS["subnormal"], least, least + 1, bits)
    parts.append(np.sign(normal) * (np.abs(normal) - 2.0**least))
    equal = magnitudes(f"{key}/equal", SIZES_OF_PAIRS["equal"], *ordinary, bits)
    away = np.array([_neighbour(abs(v), (0, 1, -1)[n % 3], dtype) * np.sign(v) for n, v in enumerate(equal)])
    parts.append(away if place else equal)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, LARGEST[dtype], -2.5, 3.0])
    parts.append(np.tile(special, 10) if place else np.repeat(special, 10))
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


def make_integers(key: str, shape: tuple[int, ...], dtype: str, kind: str) -> np.ndarray:
    """48 small integers, and 49 at the ends of the dtype, each with each: a kind of recipe.

    kind: "first" or "second" operand; "divisors", which are not 0, nor -1 where the smallest integer is divided;
    "shifts" within the width; "powers" from 0 to 3; "booleans" and "other booleans".
    """
    is_float = dtype in SIGNIFICAND_BITS
    of = np.iinfo("int8" if is_float else "uint8" if dtype == "bool" else dtype)
    raw = words(f"{key}/{kind}", 97)
    if kind in ("shifts", "powers", "booleans", "other booleans"):
        most = {"shifts": of.bits, "powers": 4}.get(kind, 2)
        return (raw % np.uint64(most)).astype(DTYPES[dtype]).reshape(shape)
    low = -7 if of.min < 0 else 0
    small = (raw[:48] % np.uint64(15)).astype(np.int64) + low
    ends = [0, 1, 2, of.max, of.max - 1, of.min, of.min + 1] if of.min == 0 else [0, 1, -1, 2, of.max, of.min, -3]
    if kind == "divisors":
        small = np.where(small == 0, 5, small)
        ends = [3, 1, 2, 5, of.max, 7, of.min or 9]
    edges = [ends[n // 7 if kind == "first" else n % 7] for n in range(49)]
    return np.array([*small.tolist(), *edges], dtype=DTYPES[dtype]).reshape(shape)


def make_code_rows(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Whole numbers from 0 to 15, both in every 32 of a row: 4 bits with a scale of 1 hold them; a kind of recipe."""
    codes = (words(f"{key}/codes", prod(shape)) % np.uint64(16)).astype(np.int64).reshape(-1, 32)
    codes[:, 0], codes[:, 1] = 0, 15
    return codes.astype(DTYPES[dtype]).reshape(shape)


def make_numbered(
    key: str,
    shape: tuple[int, ...],
    dtype: str,
    start: int = 0,
    step: float = 1.0,
    is_shuffled: bool = False,
    alike: int = 1,
) -> np.ndarray:
    """Whole numbers from 1 on, in their order or shuffled: a kind of recipe; of booleans every third is true.

    start: how many come before; step: what they are multiplied by; alike: so many in turn are one number.
    """
    count = (np.arange(start, start + prod(shape)) // alike + 1) * step
    count = count[np.argsort(words(key, prod(shape)), kind="stable")] if is_shuffled else count
    return (count % 3 == 0 if dtype == "bool" else count).astype(DTYPES[dtype]).reshape(shape)
