"""Rows of a pair held against each other: how many differ, by how much, and where most. Nothing is named here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Literal

import numpy as np

from touchstone.golden.packing import Format
from touchstone.migration import bounds, screening
from touchstone.migration.checkpoint import Rows
from touchstone.migration.leaning import Lean
from touchstone.migration.mapping.expressions import read_as, slack_of
from touchstone.migration.mapping.rules import COMPUTED, NORMALIZED
from touchstone.migration.pairing import Pair, rope_axis, rope_order
from touchstone.migration.parameters import Dequantized, Parameter, itemsize, named

How = Literal["bits", "rounded", "widened", "quantized", "dequantized", "values", "no bound", "kinds differ"]
"""What the target must show: its source's bits; its values rounded to a narrower dtype, or kept in a wider one; codes
within bound of them; values of the source's codes; equal integers. Nothing can be asked of an encoding for which no
bound is derived, nor of numbers of different kinds."""
UNASKED: tuple[How, ...] = ("no bound", "kinds differ")

ROWS_BYTES = 1 << 23
"""Bytes of one side that a comparison of bits holds at once."""
ELEMENTS = 1 << 15
"""Elements that a comparison of values holds at once, so that a dozen float64 arrays of them stay in cache."""
SCREENED_ELEMENTS = 1 << 20
"""Elements of codes that are read at once."""
TRANSPOSED_ELEMENTS = 1 << 22
"""Elements of a transposed target that are gathered from the whole source in one pass over it."""


@dataclass(frozen=True)
class Worst:
    """The element furthest beyond its bound, or nearest to it."""

    ratio: float
    index: tuple[int, ...]
    got: float
    want: float
    error: float
    bound: float

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts what is further beyond its bound later; of what is infinitely far, the larger finite error."""
        return self.ratio, self.error if math.isfinite(self.error) else 0.0


@dataclass
class Compared:
    """What is known of some rows; of several parts of one pair the sum.

    beyond: elements whose bits are not the source's, or that are beyond their bound. infinite, nan: those of them that
    the target made infinite or NaN. nan_target, zeros: NaN and zeros in the target.
    """

    elements: int = 0
    beyond: int = 0
    infinite: int = 0
    nan: int = 0
    nan_target: int = 0
    zeros: int = 0
    worst: Worst | None = None
    bad_rows: list[int] = field(default_factory=list)
    """Rows with an element beyond its bound; the first `MOST_ROWS` of each part."""
    lean: Lean = field(default_factory=Lean)
    """Of codes, how far they are from their weights on average."""

    def add(self, other: Compared) -> None:
        for name in ("elements", "beyond", "infinite", "nan", "nan_target", "zeros"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.worst and (self.worst is None or other.worst.rank > self.worst.rank):
            self.worst = other.worst
        self.bad_rows = sorted([*self.bad_rows, *other.bad_rows])[:MOST_ROWS]
        self.lean.add(other.lean)

    @property
    def conforms(self) -> bool:
        return not (self.beyond or self.lean.is_too_far)


MOST_ROWS = 4096


def how(source: Parameter, target: Parameter) -> How:
    """What the target must show, by how both sides store their values."""
    if target.encoding:
        same = target.is_packed and source.is_packed and target.form == source.form
        same_parts = same and [p.dtype for p in source.parts] == [p.dtype for p in target.parts]
        blocks = target.encoding == source.encoding and not source.is_packed
        if same_parts or blocks:
            return "bits"
        return "quantized" if target.is_packed or target.parts[0].step else "no bound"
    if source.encoding:
        return "dequantized" if target.dtype in bounds.SIGNIFICAND else "kinds differ"
    if source.dtype == target.dtype:
        return "bits"
    floats = [d in bounds.SIGNIFICAND for d in (source.dtype, target.dtype)]
    if all(floats):
        return "widened" if _holds(target.dtype, source.dtype) else "rounded"
    kinds = {np.dtype(named(d)).kind for d in (source.dtype, target.dtype)}
    return "values" if kinds <= {"i", "u"} else "kinds differ"


def _holds(wide: str, narrow: str) -> bool:
    """Whether every number of `narrow` is one of `wide`."""
    largest = {"float8_e4m3fn": 9, "float16": 16, "float8_e5m2": 16, "bfloat16": 128, "float32": 128, "float64": 1024}
    return (
        bounds.SIGNIFICAND[wide] >= bounds.SIGNIFICAND[narrow]
        and bounds.SMALLEST[wide] <= bounds.SMALLEST[narrow]
        and largest[wide] >= largest[narrow]
    )


def comparable(pair: Pair) -> bool:
    """Whether every element of one side has one of the other."""
    return pair.wanted_shape == pair.target.shape


def common_rows(pair: Pair) -> int:
    """Rows of the target that the source has too; all where shapes agree, none where rows have other lengths."""
    wanted, have = pair.wanted_shape, pair.target.shape
    if wanted[1:] != have[1:] or not (wanted and have):
        return pair.target.length if wanted == have else 0
    return min(wanted[0], have[0])


def compare(pair: Pair, start: int, stop: int) -> Compared:
    """Hold rows [start, stop) of the target against the source's. Raises CheckpointError where they cannot be read."""
    out, kind = Compared(), how(pair.source, pair.target)
    if kind in UNASKED:
        return Compared(elements=(stop - start) * _width(pair.target), beyond=1)
    for a, b in _blocks(pair, start, stop, kind):
        out.add(_bits(pair, a, b) if kind == "bits" else _values(pair, a, b, kind))
    return out


def _width(parameter: Parameter) -> int:
    return max(1, int(np.prod(parameter.shape[1:], dtype=np.int64)))


def _blocks(pair: Pair, start: int, stop: int, kind: How) -> Iterator[tuple[int, int]]:
    """Row ranges that fit into memory at once."""
    if pair.transposed:
        rows = TRANSPOSED_ELEMENTS // _width(pair.target)
    elif kind == "bits":
        rows = ROWS_BYTES // (_width(pair.target) * itemsize(pair.target.dtype))
    else:
        rows = _at_once(pair, kind) // _width(pair.target)
    rows = max(1, rows)
    for a in range(start, stop, rows):
        yield a, min(stop, a + rows)


def _at_once(pair: Pair, kind: How) -> int:
    """Elements whose values are compared at once."""
    return SCREENED_ELEMENTS if kind == "quantized" and pair.target.form else ELEMENTS


def source_rows(pair: Pair, start: int, stop: int) -> np.ndarray:
    """The source's values for rows [start, stop) of the target, in the target's order and orientation."""
    order = rope_order(pair)
    if not pair.transposed:
        return _in_order(pair.source.rows, order, start, stop)
    if order is None or rope_axis(pair) == 1:
        return _in_order(lambda a, b: columns(pair.source, a, b), order, start, stop)
    return columns(pair.source, start, stop)[:, order]


def _in_order(rows: Rows, order: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """Rows order[start:stop], or [start, stop) without an order, of what `rows` reads."""
    if order is None:
        return rows(start, stop)
    wanted = order[start:stop]
    low, high = (int(wanted.min()), int(wanted.max()) + 1) if len(wanted) else (start, start)
    return rows(low, high)[wanted - low]


def source_corner(pair: Pair, start: int, stop: int, width: int) -> np.ndarray:
    """Of a transposed pair, the first `width` columns of `source_rows`, without reading the whole source."""
    order = rope_order(pair)
    by_rows = order is not None and rope_axis(pair) == 0
    corner = _in_order(pair.source.rows, order if by_rows else None, 0, width).T
    return _in_order(lambda a, b: corner[a:b], None if by_rows else order, start, stop)


def columns(parameter: Parameter, start: int, stop: int) -> np.ndarray:
    """Columns [start, stop) of a matrix as rows, read a block of its rows at a time."""
    height, width = parameter.shape
    step = max(1, ROWS_BYTES // (8 * width))
    parts = [
        np.ascontiguousarray(parameter.rows(a, min(height, a + step))[:, start:stop]) for a in range(0, height, step)
    ]
    return np.concatenate(parts).T if parts else np.empty((stop - start, 0), named(parameter.dtype))


def _bits(pair: Pair, start: int, stop: int) -> Compared:
    plain = not (pair.transposed or rope_order(pair) is not None)
    if plain and len(pair.source.parts) == len(pair.target.parts):
        both = [
            (a.rows(start, stop), b.rows(start, stop))
            for a, b in zip(pair.source.parts, pair.target.parts, strict=True)
        ]
        if all(same_bytes(a, b) for a, b in both):
            return _all_equal(pair, both[0][1])
    return _values(pair, start, stop, "bits")


def _all_equal(pair: Pair, rows: np.ndarray) -> Compared:
    """Rows with equal bytes. NaN and zeros are counted only where the first row has nothing else."""
    out = Compared(elements=rows.size if not pair.target.encoding else len(rows) * _width(pair.target))
    first = rows[:1]
    if pair.target.encoding or not first.size or (first.flat[0] == first.flat[0] and first.any()):
        return out
    return Compared(elements=out.elements, nan_target=int((rows != rows).sum()), zeros=int((rows == 0).sum()))


def same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether both hold the same bytes in C order, of whatever dtypes and shapes: -0 is not 0, NaN is its own bits."""
    if a.nbytes != b.nbytes:
        return False
    left, right = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    whole = left.size // 8 * 8
    return bool(
        np.array_equal(left[:whole].view(np.uint64), right[:whole].view(np.uint64))
        and np.array_equal(left[whole:], right[whole:])
    )


def _values(pair: Pair, start: int, stop: int, kind: How) -> Compared:
    before, out = source_rows(pair, start, stop), Compared()
    most = _at_once(pair, kind)
    if len(pair.target.shape) > 2 and _width(pair.target) > most and pair.target.parts[0].step is None:
        for row in range(start, stop):
            out.add(_inner_values(pair, before[row - start : row - start + 1], row, kind))
        return out
    rows = max(1, most // _width(pair.target))
    for a in range(start, stop, rows):
        b = min(stop, a + rows)
        some = np.ascontiguousarray(before[a - start : b - start])
        out.add(_some_values(pair, some, a, kind, partial(_read, start=a, stop=b)))
    return out


def _read(rows: Rows, start: int, stop: int) -> np.ndarray:
    return rows(start, stop)


def _stretch(whole: Callable[[Rows], np.ndarray], start: int, stop: int, rows: Rows) -> np.ndarray:
    """Places [start, stop) of the second axis of what `whole` reads of some rows."""
    return np.ascontiguousarray(whole(rows)[:, start:stop])


def _inner_values(pair: Pair, before: np.ndarray, row: int, kind: How) -> Compared:
    """One row of a tensor of three axes or more, an expert's matrix, a stretch of its own rows at a time."""
    whole: Callable[[Rows], np.ndarray] = cache(partial(_read, start=row, stop=row + 1))
    inner = before.shape[1]
    step = max(1, _at_once(pair, kind) * inner // _width(pair.target))
    out = Compared()
    for a in range(0, inner, step):
        some = np.ascontiguousarray(before[:, a : a + step])
        found = _some_values(pair, some, row, kind, partial(_stretch, whole, a, a + step))
        if found.worst:
            index = found.worst.index
            found.worst = replace(found.worst, index=(index[0], index[1] + a, *index[2:]))
        out.add(found)
    return out


def _some_values(pair: Pair, before: np.ndarray, start: int, kind: How, take: Take) -> Compared:
    """take: reads these rows of what holds the target."""
    if kind == "bits" and not pair.target.encoding:
        got = take(pair.target.rows)
        return _all_equal(pair, got) if same_bytes(before, got) else _differing(before, got, start)
    if kind == "rounded":
        with np.errstate(over="ignore"):
            nearest = before.astype(named(pair.target.dtype))
        if np.isfinite(nearest).all() and same_bytes(nearest, take(pair.target.rows)):
            return Compared(elements=nearest.size)
    if kind == "quantized" and (form := pair.target.form) and _is_sure(pair.source):
        return _codes(pair, before, form, [take(p.rows) for p in pair.target.parts], start)
    want = before.astype(np.float64)
    return _against(want, *target_and_bound(pair, want, kind, take), start)


def _codes(pair: Pair, before: np.ndarray, form: Format, parts: list[np.ndarray], start: int) -> Compared:
    """Exactly only where a faster look left it undecided, and at the group that is nearest to its bound."""
    if not before.size:
        return Compared()
    dtype, through = pair.target.dtype, pair.through
    screened = screening.screened(before, parts, form, dtype, through)
    chosen = np.arange(before.size // form.group_size) if screened is None else screened.chosen
    of_groups = parts[1].shape[-1]
    grouped = before.reshape(-1, form.group_size)[chosen]
    some = [p.reshape(-1, p.shape[-1] // of_groups)[chosen] for p in parts]
    want, found = grouped.astype(np.float64), Dequantized.of(some, form)
    out = _against(want, found.values, bounds.quantized(want, found, dtype, through), 0)
    if out.worst:
        flat = int(chosen[out.worst.index[0]]) * form.group_size + out.worst.index[1]
        index = [int(i) for i in np.unravel_index(flat, before.shape)]
        out.worst = replace(out.worst, index=(index[0] + start, *index[1:]))
    per_row = before.size // max(1, len(before) * form.group_size)
    out.bad_rows = sorted({int(chosen[g]) // per_row + start for g in out.bad_rows})
    if screened is not None:
        out.elements = before.size
        out.lean = screened.lean
    return out


Take = Callable[[Rows], np.ndarray]
"""Which rows to read of every tensor that holds the target."""


def target_and_bound(pair: Pair, want: np.ndarray, kind: How, take: Take) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the target, and the bound on their distance from `want` (the source's for them), both float64."""
    target = pair.target
    if target.is_packed and target.form:
        found = Dequantized.of([take(p.rows) for p in target.parts], target.form)
        if kind == "bits":
            return found.values, np.zeros(want.shape)
        return found.values, bounds.quantized(want, found, target.dtype, pair.through) + _slack(pair, want, take)
    got = take(target.parts[0].rows).astype(np.float64)
    if kind == "quantized":
        assert target.parts[0].step is not None
        return got, bounds.blocks(want, take(target.parts[0].step), target.encoding)
    if kind == "rounded":
        return got, bounds.narrowing(want, target.dtype)
    if kind == "dequantized" and not _is_sure(pair.source):
        return got, bounds.narrowing(want, target.dtype) + _slack(pair, want, take)
    if kind == "dequantized" and pair.source.encoding == COMPUTED:
        return got, bounds.computed(want, target.dtype)
    if kind == "dequantized":
        form = pair.source.form
        group = 0 if form is None else None if pair.transposed else form.group_size
        return got, bounds.dequantized(want, pair.source.dtype, target.dtype, group)
    return got, np.zeros(got.shape)


def _is_sure(source: Parameter) -> bool:
    """Whether its values are the same whoever computes them."""
    return not source.fusion and source.encoding != NORMALIZED


def _slack(pair: Pair, want: np.ndarray, take: Take) -> np.ndarray | float:
    """How far the source's values may be from a library's own, in the target's order."""
    if pair.source.encoding == NORMALIZED:
        return bounds.normalized(want, max(pair.source.shape))
    if not pair.source.fusion:
        return 0.0
    whole = replace(pair, source=read_as(slack_of, pair.source))
    return take(lambda start, stop: source_rows(whole, start, stop))


def _differing(before: np.ndarray, got: np.ndarray, start: int) -> Compared:
    """Bit for bit, in one dtype; -0.0 and NaN payloads count."""
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    differs = before.view(unsigned) != np.ascontiguousarray(got).view(unsigned)
    want, have = before.astype(np.float64), got.astype(np.float64)
    return _counted(want, have, np.abs(have - want), np.zeros(got.shape), differs, start)


def _against(want: np.ndarray, got: np.ndarray, bound: np.ndarray, start: int) -> Compared:
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(got - want)
        if (error <= bound).all():
            out = Compared(elements=got.size)
            out.zeros = int(got.size - np.count_nonzero(got))
            if got.size:
                ratio = np.where(error == 0, 0.0, error / bound) if not bound.all() else error / bound
                out.worst = _worst(ratio, int(np.argmax(ratio)), got, want, error, bound, start)
            return out
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        error = np.where(same, 0.0, error)
        return _counted(want, got, error, bound, ~(error <= bound), start)


def _worst(
    ratio: np.ndarray,
    flat: int,
    got: np.ndarray,
    want: np.ndarray,
    error: np.ndarray,
    bound: np.ndarray,
    start: int,
) -> Worst:
    index = tuple(int(i) for i in np.unravel_index(flat, ratio.shape))
    values = (float(a[index]) for a in (got, want, error, bound))
    return Worst(float(ratio[index]), (index[0] + start, *index[1:]), *values)


def _counted(
    want: np.ndarray,
    got: np.ndarray,
    error: np.ndarray,
    bound: np.ndarray,
    beyond: np.ndarray,
    start: int,
) -> Compared:
    out = Compared(elements=got.size, beyond=int(beyond.sum()))
    out.zeros = int((got == 0).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, error / bound)
    ratio = np.where(np.isnan(ratio) | (beyond & (ratio <= 1)), np.inf, ratio)
    if got.size:
        # Of elements that are infinitely far beyond a bound, the one with the largest finite error.
        size = np.where(np.isfinite(error), error, 0.0)
        flat = int(np.argmax(np.where(ratio == ratio.max(), size, -1.0)))
        out.worst = _worst(ratio, flat, got, want, error, bound, start)
    nan_target = np.isnan(got)
    out.nan_target = int(nan_target.sum())
    if out.beyond:
        out.infinite = int((beyond & np.isinf(got) & np.isfinite(want)).sum())
        out.nan = int((beyond & nan_target & ~np.isnan(want)).sum())
        rows = beyond.reshape(len(beyond), -1).any(axis=1)
        out.bad_rows = [int(r) + start for r in np.flatnonzero(rows)[:MOST_ROWS]]
    return out
