"""Tables whose groups are hard to quantize: every kind holds in each group of 128 columns, so in smaller ones as well.

`make` gives float64 values that are exact in the dtype (8 significant bits), except where a kind rounds once.
"""

from __future__ import annotations

from math import prod

import numpy as np

from touchstone.golden.bounds import LARGEST, SMALLEST_SUBNORMAL
from touchstone.golden.streams import SIGNIFICAND_BITS, words

FINITE = (
    "equal",
    "zero",
    "one outlier",
    "tiny",
    "one-sided",
    "straddling",
    "largest",
    "largest, one-sided",
    "near largest",
    "subnormal",
)
"""Kinds that need no scheme."""
MIDDLES = {"E2M1": (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0), "E4M3": (8.5, 9.5, 17.0, 19.0, 34.0, 38.0, 400.0, 432.0)}
"""Halfway between neighbouring elements."""


def _bell(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Bell-shaped multiples of 2**-6 in (-2, 2), 8 significant bits."""
    lanes = words(key, prod(shape)).view(np.uint16).reshape(-1, 4) >> np.uint16(10)
    return ((lanes.astype(np.int64).sum(-1) - 126) * 2.0**-6).reshape(shape)


def _signs(shape: tuple[int, ...]) -> np.ndarray:
    """+1 for even rows, -1 for odd ones."""
    return np.where(np.arange(shape[0]) % 2, -1.0, 1.0)[:, None]


def _plain(key: str, shape: tuple[int, ...], dtype: str, kind: str) -> np.ndarray:
    bell, signs, column = _bell(key, shape), _signs(shape), np.arange(shape[1])
    largest = LARGEST[dtype]
    if kind == "equal":
        return np.broadcast_to(signs * (1 + np.arange(shape[0])[:, None]) * 0.375, shape).copy()
    if kind == "zero":
        return np.zeros(shape)
    if kind == "one outlier":
        return np.where(column % 16 == 5, 100.0 * signs, bell * 2.0**-4)
    if kind == "tiny":
        return bell * (2.0**-20 if dtype == "float16" else 2.0**-30)  # 1e-9; what float16 can hold
    if kind == "one-sided":
        return signs * (1 + np.abs(bell) * 2.0**-1)
    if kind == "straddling":
        # The two ends of every group differ by one part in 64, so that which of them is the larger decides the bias.
        ends = np.where(column % 16 == 3, 1.0, np.where(column % 16 == 4, -1.015625, bell * 2.0**-2))
        return ends * signs
    if kind == "largest":
        return np.where(column % 16 == 3, largest, np.where(column % 16 == 4, -largest, bell * largest / 4))
    if kind == "largest, one-sided":
        return np.abs(np.where(column % 16 == 3, largest, bell * largest / 4)) * signs
    if kind == "near largest":
        return np.where(
            column % 16 == 3, largest * 0.47, np.where(column % 16 == 4, -largest * 0.47, bell * largest / 8)
        )
    assert kind == "subnormal", kind
    return np.rint(bell * 16) * SMALLEST_SUBNORMAL[dtype]


def _lattice(key: str, shape: tuple[int, ...], bits: int, kind: str) -> np.ndarray:
    """s (code - k) with s = 2**-4, codes 0 and 2**bits - 1 in every group, and k so large that 0 is the bias's end.

    "lattice, high": the mirror image, whose larger end is the positive one.
    """
    n = 2**bits - 1
    codes = (words(key, prod(shape)) % np.uint64(n + 1)).astype(np.int64).reshape(shape)
    codes[:, 1::16], codes[:, 2::16] = 0, n
    values = (codes - (n - n // 4)) * 2.0**-4
    return -values if kind == "lattice, high" else values


def _ties(key: str, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """A lattice whose other weights lie halfway between two codes."""
    n = 2**bits - 1
    codes = (words(key, prod(shape)) % np.uint64(n)).astype(np.int64).reshape(shape) + 0.5
    codes[:, 1::16], codes[:, 2::16] = 0, n
    return (codes - (n - n // 4)) * 2.0**-4


def _elements(key: str, shape: tuple[int, ...], encoding: str, kind: str) -> np.ndarray:
    """Elements of a block mode, or the middles between them, at scale 1, the largest element in every group of 16."""
    largest = {"E2M1": 6.0, "E4M3": 448.0}[encoding]
    pool = np.array(MIDDLES[encoding])
    if kind.startswith("lattice"):
        pool = np.array((0, 0.5, 1, 1.5, 2, 3, 4, 6) if encoding == "E2M1" else (0, 0.015625, 0.5, 1.125, 13, 30, 416))
    raw = words(key, prod(shape))
    values = pool[raw % np.uint64(len(pool))] * np.where(raw >> np.uint64(63), -1, 1)
    values = values.reshape(shape)
    values[:, 1::16] = -largest if kind == "lattice, high" else largest
    return values


def make(key: str, shape: tuple[int, ...], dtype: str, kind: str, bits: int = 0, element: str = "") -> np.ndarray:
    """``[rows, columns]`` of a kind; bits (affine) or element (block modes) say what a lattice or ties are made for."""
    assert SIGNIFICAND_BITS[dtype] >= 8
    if kind.endswith("infinity") or kind.endswith("NaN"):
        table = _bell(key, shape) * 2.0**-4
        table[0, 7] = np.nan if kind.endswith("NaN") else -np.inf if kind.startswith("minus") else np.inf
        return table
    if kind in FINITE:
        return _plain(key, shape, dtype, kind)
    if element:
        return _elements(key, shape, element, kind)
    return _ties(key, shape, bits) if kind == "ties" else _lattice(key, shape, bits, kind)
