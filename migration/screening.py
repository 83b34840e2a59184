"""Groups of codes that are within their bound beyond doubt, told in float32, several times as fast as exactly.

What is accepted here conforms; what is not is undecided: `bounds` decides it in float64. With F = 2**-24, u the unit
roundoff of the scales' dtype, s the scale, e the offset, c the code and t = (w - e) / s:

Affine codes. Where |s| is at most the widest step of `bounds`, the bound in steps is at least
1/2 + u |e / s| + (u + 3 F) |t|, and |t| is at least c - |t - c|. In float32 t is off by at most 3 F |t| and the
difference by F of itself, so that |t - c| <= 1/2 - 8 F + v (|e / s| + c) with v = u (1 - 8 u) is enough. 8 u also
covers a source that was cast to a dtype of this u before. Beyond either end of the lattice a weight may be clipped by
up to one step, to that end.

Block modes. Elements and half gaps times a scale are exact, and the difference from a weight is off by at most F of
itself, which is less than F |w|, which the bound has beside half a gap. Beyond the largest element M, M / 3 more are
allowed. All this holds but for the rounding of float64 in which `bounds` computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from touchstone.golden.packing import Format, values_of
from touchstone.migration.bounds import FLOAT32, SIGNIFICAND, STEP_FLOOR
from touchstone.migration.leaning import Errors, Lean, some_of
from touchstone.migration.parameters import named, unpack

EXACT_IN_FLOAT32 = ("float32", "bfloat16", "float16")
ORDINARY_SCALES = 2.0**-100, 2.0**100
"""Between these nothing that is computed here overflows, and what underflows is smaller than its margin."""
ELEMENTS = 1 << 18
"""Elements that are looked at at once: few, and threads wait for each other between two steps; many, and caches do not
hold them."""
CLIPPED_FROM = 0.499
"""Steps beyond an end of the lattice from which a weight counts as clipped to it."""


class Scratch(threading.local):
    """Arrays that a thread uses again: to the system a new one costs as much as what is computed in it."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def like(self, name: str, other: np.ndarray) -> np.ndarray:
        """A float32 array of that name, of the shape of `other`; what it holds is overwritten by its next user."""
        if self._kept.get(name, _NOTHING).size < other.size:
            self._kept[name] = np.empty(other.size, np.float32)
        return self._kept[name][: other.size].reshape(other.shape)


_NOTHING = np.empty(0, np.float32)
_SCRATCH = Scratch()


@dataclass(frozen=True)
class Screened:
    """What a fast look tells of the groups of some rows.

    undecided: numbers of those that are to be compared exactly. nearest: of the accepted one that is nearest to its
    bound, None where none was accepted.
    """

    undecided: np.ndarray
    nearest: int | None
    lean: Lean

    @property
    def chosen(self) -> np.ndarray:
        """Groups that an exact comparison must look at, to decide, and to say how near a bound was."""
        return self.undecided if self.nearest is None else np.append(self.undecided, self.nearest)


def screened(source: np.ndarray, parts: list[np.ndarray], form: Format, dtype: str, through: str) -> Screened | None:
    """Which groups of packed rows need an exact comparison; None where float32 cannot tell of any.

    source: ``[..., columns]`` in its own dtype; parts: words, scales (and biases) of the same rows; dtype: of the
    scales; through: the narrower dtype that the weights were cast to before, "" for none.
    """
    if source.dtype.name not in EXACT_IN_FLOAT32 or dtype not in EXACT_IN_FLOAT32:
        return None
    if through not in ("", dtype):
        return None
    grouped = source.reshape(-1, form.group_size)
    by_group = [p.reshape(len(grouped), -1) for p in parts]
    step = ELEMENTS // form.group_size
    doubtful, lean, nearest, most = [], Lean(), None, -np.inf
    with np.errstate(all="ignore"):
        for a in range(0, len(grouped), step):
            weights = _float32(some := grouped[a : a + step], _SCRATCH.like("weights", some))
            cast = _float32(weights.astype(named(through)), _SCRATCH.like("cast", some)) if through else weights
            found = _judged(weights, cast, [p[a : a + step] for p in by_group], form, dtype)
            doubtful.append(found.doubtful + a)
            lean.add(found.lean)
            if found.over > most:
                nearest, most = found.nearest + a, found.over
    return Screened(np.concatenate(doubtful) if doubtful else np.empty(0, np.intp), nearest, lean)


@dataclass(frozen=True)
class _Judged:
    """doubtful: numbers of the undecided groups. nearest, over: of the accepted element nearest to its limit."""

    doubtful: np.ndarray
    nearest: int
    over: float
    lean: Lean


def _judged(weights: np.ndarray, cast: np.ndarray, parts: list[np.ndarray], form: Format, dtype: str) -> _Judged:
    limits = (_affine if form.mode == "affine" else _block)(weights, cast, parts, form, dtype)
    over = limits.over.reshape(-1)
    least, most = ORDINARY_SCALES
    doubtful = ~(limits.is_narrow & (limits.scale >= least) & (limits.scale <= most))
    nearest = int(np.argmax(over))
    if not over[nearest] <= 0 or doubtful.any():  # NaN is the largest
        doubtful[np.flatnonzero(~(over <= 0)) // form.group_size] = True
        over[np.repeat(doubtful, form.group_size)] = -np.inf
        nearest = int(np.argmax(over))
    lean = limits.errors.lean(~doubtful[some_of(over.size)])
    return _Judged(np.flatnonzero(doubtful), nearest // form.group_size, float(over[nearest]), lean)


@dataclass(frozen=True)
class _Limits:
    """How far every element is over its limit; of every group its scale, and whether that is narrow enough."""

    over: np.ndarray
    scale: np.ndarray
    is_narrow: np.ndarray
    errors: Errors


def _affine(weights: np.ndarray, cast: np.ndarray, parts: list[np.ndarray], form: Format, dtype: str) -> _Limits:
    n, u = 2**form.bits - 1, 2.0 ** -SIGNIFICAND[dtype]
    margin = np.float32(u * (1 - 8 * u) - 8 * FLOAT32)
    scale, offset = (_float32(p).reshape(-1, 1) for p in parts[1:])
    inverse = 1 / scale
    start = offset * inverse
    codes = _table(form.bits)(parts[0], _SCRATCH.like("codes", weights))
    error = np.multiply(cast, inverse, out=_SCRATCH.like("error", weights))
    is_narrow = _reaches(error if cast is weights else weights * inverse, n / 3) | _is_least(scale)
    error -= start
    far = _beyond(error, -1, n + 1)
    np.clip(error, -CLIPPED_FROM, n + CLIPPED_FROM, out=error)
    error -= codes
    some = some_of(codes.size)
    own, off, direction = codes[some].astype(np.intp), error[some].copy(), np.sign(scale[some])
    codes *= margin
    codes += np.float32(0.5 - 8 * FLOAT32) + margin * np.abs(start)
    is_inside = (own + off >= 0) & (own + off <= n)
    errors = Errors(own, -off * direction, is_inside, codes[some] - np.float32(0.5), direction, n)
    over = np.abs(error, out=error)
    over -= codes
    over[far] = np.inf
    return _Limits(over, np.abs(scale[:, 0]), is_narrow, errors)


def _beyond(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers of the groups with a value outside of [low, high]."""
    if values.min() >= low and values.max() <= high:
        return np.empty(0, np.intp)
    return np.flatnonzero(~((values.min(-1) >= low) & (values.max(-1) <= high)))


def _is_least(scale: np.ndarray) -> np.ndarray:
    return (np.abs(scale) <= np.float32(STEP_FLOOR))[:, 0]


def _reaches(steps: np.ndarray, least: float) -> np.ndarray:
    """Which groups have an element of so many steps.

    The mean of 16th powers says so of nearly all; looking for the largest of every group takes several times as long.
    """
    powers = np.multiply(steps, steps, out=_SCRATCH.like("powers", steps))
    for _ in range(3):
        powers *= powers
    size = steps.shape[1]
    # Nine roundings of a power, and those of the sum.
    sure = powers @ np.full(size, np.float32(1 / size)) >= (least * (1 + 2.0**-16)) ** 16
    if not sure.all():
        rest = np.flatnonzero(~sure)
        sure[rest] = np.abs(steps[rest]).max(-1) >= least * (1 + 2 * FLOAT32)
    return sure


def _block(weights: np.ndarray, cast: np.ndarray, parts: list[np.ndarray], form: Format, dtype: str) -> _Limits:
    del dtype  # block modes have none of their own
    elements, _, _, steps = _gaps(form.element)
    last = elements[np.nanargmax(elements)]
    scale = values_of(form.scale).astype(np.float32)[parts[1]].reshape(-1, 1)
    is_narrow = _reaches(np.divide(weights, scale, out=_SCRATCH.like("error", weights)), float(last) / 2)
    own, low, high = (
        _table(form.bits, form.element, which)(parts[0], _SCRATCH.like(name, weights))
        for which, name in enumerate(("codes", "low", "high"))
    )
    some = some_of(own.size)
    place, gaps = own[some].copy(), (low[some].copy(), high[some].copy())
    for of_code in (own, low, high):
        of_code *= scale
    error = np.subtract(cast, own, out=own)
    off = error[some] / scale[some]
    gap = 2 * np.where(off > 0, gaps[1], gaps[0])
    sizes = np.searchsorted(elements[: len(elements) // 2], np.abs(place)) % (len(elements) // 2)
    errors = Errors(sizes, -off / gap, np.abs(place + off) <= last, 0.0, np.sign(place), steps)
    low += error
    error -= high
    over = np.maximum(error, np.negative(low, out=low), out=error)
    return _Limits(over, scale[:, 0], is_narrow, errors)


@cache
def _gaps(element: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Of every code of a small float its value, and how far below and above it a weight may be, float32.

    The last number is how many of its widest steps are from end to end.
    """
    values = values_of(element)
    sizes = values[: len(values) // 2]
    sizes = sizes[~np.isnan(sizes)]
    half = np.diff(sizes) / 2
    inwards, outwards = np.append(half[0], half), np.append(half, sizes[-1] / 3)
    place = np.searchsorted(sizes, np.abs(np.nan_to_num(values)))
    below = np.where(values < 0, outwards[place], inwards[place])
    above = np.where(values < 0, inwards[place], outwards[place])
    single = np.float32
    return values.astype(single), below.astype(single), above.astype(single), float(sizes[-1] / half.max())


@cache
def _table(bits: int, element: str = "", which: int = 0) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What writes words' codes, or one of the `_gaps` of the elements that those name, into a float32 array.

    A byte holds a whole number of codes of most widths, so that all of them are looked up at once.
    """
    values = _gaps(element)[:3][which] if element else np.arange(2**bits, dtype=np.float32)
    if 8 % bits:
        return lambda words, out: _written(unpack(words, bits), out)
    all_bytes = np.arange(256, dtype=np.uint8)[:, None]
    table = values[all_bytes >> np.arange(0, 8, bits, dtype=np.uint8) & (2**bits - 1)]
    rows = np.ascontiguousarray(table).view(f"V{table.shape[1] * 4}")[:, 0]

    def looked_up(words: np.ndarray, out: np.ndarray) -> np.ndarray:
        numbers = np.ascontiguousarray(words).view(np.uint8).reshape(-1)
        rows.take(numbers, out=out.reshape(-1).view(rows.dtype), mode="clip")  # the default copies what it writes to
        return out

    return looked_up


def _written(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    out[...] = values.reshape(out.shape)
    return out


def _float32(values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Values in float32, in `out` where they are of another dtype."""
    if values.dtype == np.float32:
        return values
    if out is None:
        return values.astype(np.float32)
    if values.dtype.name != "bfloat16":
        return _written(values, out)
    # Its bits are the upper half of a float32's.
    np.left_shift(_written(values.view(np.uint16), bits := out.view(np.uint32)), 16, out=bits)
    return out
