"""Arrays made of blocks, each of one style of numbers: a kind of recipe, which operands of one operation share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from touchstone.golden.operations.regions import magnitudes
from touchstone.golden.rounding import to_dtype
from touchstone.golden.streams import SIGNIFICAND_BITS, bell, words


def make(key: str, shape: tuple[int, ...], dtype: str, styles: tuple[tuple[str, int], ...]) -> np.ndarray:
    """Numbers of one style after the other, each for so many elements: a kind of recipe."""
    parts = [_STYLES[style](f"{key}/{number}", count, dtype) for number, (style, count) in enumerate(styles)]
    return np.concatenate(parts).reshape(shape)


def _bell(key: str, count: int, dtype: str) -> np.ndarray:
    return _rounded(2 * bell(key, count), dtype)


def _rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """To what the dtype holds, in float64."""
    return to_dtype(values, dtype).astype(np.float64)


def _spread(low: int, high: int, *, signed: bool = True) -> Callable[[str, int, str], np.ndarray]:
    """Magnitudes evenly spread over the binades from 2**low to 2**high."""

    def make(key: str, count: int, dtype: str) -> np.ndarray:
        values = magnitudes(key, count, low, high, SIGNIFICAND_BITS[dtype])
        return values if signed else np.abs(values)

    return make


def _sides(key: str, count: int, dtype: str) -> np.ndarray:
    """From 16 to 8,192, but for where an exponential has not settled in float32: those are halved."""
    values = _spread(4, 13)(key, count, dtype)
    return np.where((np.abs(values) >= 64) & (np.abs(values) < 128), values / 2, values)


def _close(key: str, count: int, dtype: str) -> np.ndarray:
    """Beside what "bell" is of the same key: by 2**-3 to 2**-9."""
    return _rounded(_bell(key, count, dtype) + _spread(-9, -3)(f"{key}/apart", count, dtype), dtype)


def _of(*values: float) -> Callable[[str, int, str], np.ndarray]:
    return lambda key, count, dtype: np.resize(np.array(values, np.float64), count)


def _chosen(*values: float) -> Callable[[str, int, str], np.ndarray]:
    """One of these at random for each element."""
    return lambda key, count, dtype: np.array(values)[words(f"{key}/chosen", count) % np.uint64(len(values))]


def _near_one(key: str, count: int, dtype: str) -> np.ndarray:
    """1 or -1, and numbers beside them by an eighth at most, down to what the dtype tells from 1."""
    bits = SIGNIFICAND_BITS[dtype]
    away = magnitudes(f"{key}/away", count, -bits + 1, -3, bits)
    signs = np.where(words(f"{key}/sign", count) & np.uint64(1), 1.0, -1.0)
    return _rounded(signs * (1 + np.where(np.arange(count) % 32 == 0, 0, away)), dtype)


def _unit(key: str, count: int, dtype: str) -> np.ndarray:
    """In (0, 1), evenly."""
    bits = SIGNIFICAND_BITS[dtype] - 1
    return ((words(f"{key}/unit", count) >> np.uint64(64 - bits)).astype(np.float64) * 2 + 1) * 2.0 ** -(bits + 1)


def _ramp(key: str, count: int, dtype: str) -> np.ndarray:
    """From -80 to 80, in steps of a quarter."""
    return (np.arange(count) * 7 % 641 - 320) / 4.0


def _distinct(key: str, count: int, dtype: str) -> np.ndarray:
    """Sixteenths from -7.8 to 7.8, of which neighbours along any axis differ."""
    return (np.arange(count) * 100 % 251 - 125) / 16.0


_NAN, _INF = float("nan"), float("inf")
_STYLES: Mapping[str, Callable[[str, int, str], np.ndarray]] = {
    "bell": _bell,
    "other bell": lambda key, count, dtype: _bell(f"{key}/other", count, dtype),
    "third bell": lambda key, count, dtype: _bell(f"{key}/third", count, dtype),
    "close": _close,
    "far": _spread(6, 13),
    "positive": _spread(-5, 3, signed=False),
    "wide": _ramp,
    "distinct": _distinct,
    "near one": _near_one,
    "unit": _unit,
    "signs": _chosen(-1.0, 1.0),
    "bits": _chosen(0.0, 1.0),
    "zeros": _of(0.0),
    "ones": _of(1.0),
    "equal": _of(1.5),
    "small equal": _of(0.25),
    "near two": lambda key, count, dtype: _rounded(np.exp2(_bell(key, count, dtype) / 2), dtype),
    "cotangent": _chosen(-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
    "logits": lambda key, count, dtype: _bell(key, count, dtype) * 4,
    "log probabilities": lambda key, count, dtype: -np.abs(_rounded(_bell(key, count, dtype) * 2, dtype)) - 0.125,
    "far log probabilities": _of(-20.0, -40.0, -0.25, -60.0),
    "quarter logs": _of(-1.375, -0.625, -2.5, -1.0),
    "minus infinity at times": lambda key, count, dtype: np.where(
        np.arange(count) % 24 == 0, -_INF, _bell(key, count, dtype)
    ),
    "tens": lambda key, count, dtype: _rounded(30 + _bell(key, count, dtype), dtype),
    "hundreds": lambda key, count, dtype: _rounded(150 + _bell(key, count, dtype), dtype),
    "other hundreds": lambda key, count, dtype: _rounded(150 + _bell(f"{key}/other", count, dtype), dtype),
    "sharp": _of(1.0, 0.0, 0.0, 0.0),
    "quarters": _of(0.25),
    "shares": _of(0.5, 0.25, 0.125, 0.125),
    "sides": _sides,
    "special": _of(_NAN, 1.0, _INF, -_INF, _INF, 0.0, -0.0, 2.0),
    "other special": _of(1.0, _NAN, 1.0, 1.0, _INF, _INF, 0.0, -_INF),
    "special once": lambda key, count, dtype: np.concatenate([[_NAN], np.zeros(count - 1)]),
    "minus infinity once": lambda key, count, dtype: np.concatenate([[-_INF], _bell(key, count - 1, dtype)]),
    "minus infinity": _of(-_INF),
    "infinity once": lambda key, count, dtype: np.concatenate([[_INF], _bell(key, count - 1, dtype)]),
}
