"""What a tensor that is not its source may hold instead, each idea tried on a few rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from touchstone.migration import bounds, rope
from touchstone.migration.comparing import (
    Compared,
    How,
    Take,
    how,
    same_bytes,
    source_corner,
    source_rows,
    target_and_bound,
)
from touchstone.migration.conventions import Name, Rope
from touchstone.migration.pairing import Pair, Pairing, rope_axis
from touchstone.migration.parameters import Dequantized, Parameter

AGREES = 0.999
"""Share of a sample's elements that must be within bound for an idea to explain a tensor: corruption of a few elements
on top does not hide what happened to the rest."""
_SAMPLE = 256
"""Elements that a block of sampled rows has at least."""
_COLUMNS = 128
_MOST_IN_ROW = 1 << 16
"""Elements inside of one row of three axes or more from which only some of its own rows are tried."""


@dataclass(frozen=True)
class Cause:
    """What a tensor holds. behaviour: the class in a few words; text: the sentence for who has to repair it."""

    behaviour: str
    text: str


@dataclass(frozen=True)
class Sample:
    """Row ranges of the target on which ideas are tried: where it is wrong, and its two ends."""

    blocks: Sequence[tuple[int, int]]

    @classmethod
    def ends(cls, pair: Pair) -> Sample:
        """The first and the last rows."""
        return cls.of(pair, Compared(), pair.target.length)

    @classmethod
    def of(cls, pair: Pair, compared: Compared, rows: int) -> Sample:
        width = max(1, int(np.prod(pair.target.shape[1:], dtype=np.int64)))
        size = min(rows, max(4, -(-_SAMPLE // width)))
        bad = compared.bad_rows
        places = {0, rows - size, *(bad[i * (len(bad) - 1) // 2] for i in range(3) if bad)}
        return cls([(a, a + size) for a in sorted(max(0, min(p, rows - size)) for p in places)])


def agreement(pair: Pair, start: int, stop: int, shift: int = 0, factor: int = 1) -> float:
    """Share of the target's rows [start, stop) that are within bound of the source's.

    The source's rows are those `shift` further down, times `factor`. Of a transposed pair only the first columns are
    read; of large matrices inside of a row, as experts are, some of their rows.
    """
    kind = how(pair.source, pair.target)
    inner = pair.target.shape[1:]
    if len(inner) > 1 and not pair.transposed and math.prod(inner) > _MOST_IN_ROW:
        some = np.linspace(0, inner[0] - 1, max(1, _MOST_IN_ROW // math.prod(inner[1:]))).astype(int)
        want = factor * source_rows(pair, start + shift, stop + shift)[:, some].astype(np.float64)
        return _share(pair, want, np.ones(want.shape, bool), kind, lambda rows: rows(start, stop)[:, some])
    got_shape = (stop - start, *pair.target.shape[1:])
    want = np.full(got_shape, np.nan)
    known = np.zeros(got_shape, bool)
    if pair.transposed:
        last = min(pair.source.shape[0], _COLUMNS)
        want[:, :last] = source_corner(pair, start + shift, stop + shift, last)
        known[:, :last] = True
    else:
        want[...] = source_rows(pair, start + shift, stop + shift)
        known[...] = True
    return _share(pair, factor * want, known, kind, lambda rows: rows(start, stop))


def _share(pair: Pair, want: np.ndarray, known: np.ndarray, kind: How, take: Take) -> float:
    with np.errstate(invalid="ignore"):
        got, bound = target_and_bound(pair, want, kind, take)
        good = (np.abs(got - want) <= bound) | (got == want) | (np.isnan(got) & np.isnan(want))
    return float(good[known].mean()) if known.any() else 0.0


def explains(pair: Pair, sample: Sample, shift: int = 0) -> bool:
    """Whether the target is what `pair` says on every block of the sample that the shift leaves inside."""
    rows = pair.wanted_shape[0] if pair.wanted_shape else 1
    inside = [(a, b) for a, b in sample.blocks if a + shift >= 0 and b + shift <= rows]
    return bool(inside) and all(agreement(pair, a, b, shift) >= AGREES for a, b in inside)


def sign(pair: Pair, sample: Sample) -> Cause | None:
    """The source's values with the other sign."""
    if all(agreement(pair, a, b, factor=-1) >= AGREES for a, b in sample.blocks):
        return Cause("sign changed", "holds the negative of its source")
    return None


def orientation(pair: Pair, sample: Sample) -> Cause | None:
    """The transpose where it should not be, or not where it should."""
    shape = pair.target.shape
    if len(shape) != 2 or pair.source.shape not in (shape, shape[::-1]):
        return None
    flipped = replace(pair, transposed=not pair.transposed, rope=None)
    if flipped.wanted_shape != shape or not explains(flipped, sample):
        return None
    if pair.transposed:
        return Cause("not transposed", "holds its source as it is, and should hold the transpose")
    return Cause("transposed", "holds the transpose of its source")


def rotation(pair: Pair) -> Cause | None:
    """Rows of q and k in the order of the other kind of RoPE."""
    rows = pair.source.shape[rope_axis(pair)]
    if len(pair.target.shape) > 2 or pair.wanted_shape != pair.target.shape:
        return None
    sample = _several_heads(pair)
    if pair.rope and explains(replace(pair, rope=None), sample):
        return Cause(
            "q/k not permuted", f"holds its source's rows in their order; {pair.rope} RoPE needs them permuted"
        )
    counts = dict.fromkeys([pair.heads, *rope.possible_heads(rows)] if pair.heads else rope.possible_heads(rows))
    orders: tuple[Rope, ...] = ("half", "interleaved")
    for heads in counts:
        for order in orders:
            if (order, heads) == (pair.rope, pair.heads) or rows % (2 * heads):
                continue
            if explains(replace(pair, rope=order, heads=heads), sample):
                where = f"{heads} heads of {rows // heads}"
                if pair.rope == order:
                    return Cause("q/k permuted for other heads", f"its rows were permuted as of {where}")
                return Cause(
                    "q/k permuted", f"its rows are in the order of {order} RoPE ({where}), its source's are not"
                )
    return None


def with_heads(pair: Pair) -> Pair:
    """A pair of q or k whose number of heads no configuration says, with the one that its values show, if any does."""
    if pair.rope is None or pair.heads or pair.wanted_shape != pair.target.shape:
        return pair
    sample = _several_heads(pair)
    for heads in rope.possible_heads(pair.source.shape[rope_axis(pair)]):
        if explains(found := replace(pair, heads=heads), sample):
            return found
    return pair


def consistent_heads(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, those of q and of k without a configured number of heads with the one that the first of each shows."""
    found: dict[str, Pair] = {}
    out = []
    for p in pairs:
        if p.rope is None or p.heads:
            out.append(p)
            continue
        kind = Name.of(p.target.name).module[-1]
        if kind not in found:
            found[kind] = with_heads(p)
        shown = found[kind]
        why = f"{p.how}; {shown.heads} heads, by the values of {shown.target.name}" if shown.heads else p.how
        out.append(replace(p, heads=shown.heads, how=why))
    return out


def _several_heads(pair: Pair) -> Sample:
    """Rows enough to tell how large a head is: the first thousand, and the last."""
    rows, step = pair.target.length, 64
    starts = [*range(0, max(1, min(rows, 1024)), step), max(0, rows - step)]
    return Sample([(a, min(rows, a + step)) for a in starts])


def row_shift(pair: Pair, sample: Sample, compared: Compared) -> Cause | None:
    """All rows, or those from one on, moved up or down."""
    for shift in (1, -1, 2, -2):
        if explains(pair, sample, shift):
            return Cause("rows shifted", f"row r holds its source's row r {shift:+d}: every row is off by {abs(shift)}")
    if not compared.bad_rows:
        return None
    later = Sample([(a, b) for a, b in sample.blocks if a >= compared.bad_rows[0]])
    for shift in (1, -1):
        if len(later.blocks) > 1 and explains(pair, later, shift):
            first = compared.bad_rows[0]
            return Cause("rows shifted", f"from row {first} on, row r holds its source's row r {shift:+d}")
    return None


def misplaced_rows(pair: Pair, compared: Compared) -> Cause | None:
    """A few rows that hold another row of the source, or zeros."""
    bad = compared.bad_rows
    if not bad or len(bad) > max(4, pair.target.length // 20) or len(pair.target.shape) != 2:
        return None
    found = {r: _row_of(pair, r, bad) for r in bad[:8]}
    if all(s is not None for s in found.values()):
        (row, other) = next(iter(found.items()))
        assert other is not None
        near = all(s is not None and abs(s - r) == 1 for r, s in found.items())
        rest = f" ({len(bad)} rows are like this)" if len(bad) > 1 else ""
        if len(bad) == 2 and found[bad[0]] == bad[1] and found[bad[1]] == bad[0]:
            return Cause("rows swapped", f"rows {bad[0]} and {bad[1]} are exchanged")
        return Cause("row off by one" if near else "rows misplaced", f"row {row} holds its source's row {other}{rest}")
    zeros = [r for r in bad[:8] if not pair.target.rows(r, r + 1).any()]
    if len(zeros) == len(bad[:8]):
        return Cause("rows of zeros", f"{len(bad)} rows are zero, the first is row {bad[0]}")
    return None


def _row_of(pair: Pair, row: int, bad: Sequence[int]) -> int | None:
    """The source's row that the target's row holds: a neighbour, another bad row, else none."""
    near = [row + d for d in (1, -1, 2, -2)] + [r for r in bad if r != row]
    for other in near:
        if 0 <= other < pair.wanted_shape[0] and agreement(pair, row, row + 1, other - row) >= AGREES:
            return other
    return None


def another(pair: Pair, pairing: Pairing, sample: Sample) -> Cause | None:
    """The values of another tensor of the source; exchanged, where that one's partner holds this one's."""
    first = Sample(sample.blocks[:1])
    for other in pairing.source.values():
        if other.name == pair.source.name or other.shape != pair.source.shape:
            continue
        moved = replace(pair, source=other)
        if not (explains(moved, first) and explains(moved, sample)):
            continue
        theirs = pairing.by_source.get(other.name)
        if theirs and theirs.target.shape == pair.target.shape:
            back = replace(theirs, source=pair.source, transposed=pair.transposed, rope=pair.rope, heads=pair.heads)
            if explains(back, sample):
                kind = exchanged(pair.target.name, theirs.target.name)
                return Cause(kind, f"holds {other.name} of the source, and {theirs.target.name} holds its own")
        return Cause("another tensor", f"holds {other.name} of the source")
    return None


_PARTS = {"gate_proj": "gate", "up_proj": "up", "w1": "gate", "w3": "up", "q_proj": "q", "k_proj": "k", "v_proj": "v"}


def exchanged(one: str, other: str) -> str:
    """What it is called when two tensors of the target hold each other's values, by their names.

    >>> exchanged("layers.0.mlp.up_proj.weight", "layers.0.mlp.gate_proj.weight")
    'gate and up exchanged'
    """
    paths = [Name.of(name).module for name in (one, other)]
    words = [_PARTS.get(path[-1], "") if path else "" for path in paths]
    if all(words) and words[0] != words[1] and paths[0][:-1] == paths[1][:-1]:
        first, second = sorted(words, key=[*_PARTS.values()].index)
        return f"{first} and {second} exchanged"
    return "swapped"


def parts(pair: Pair, pairing: Pairing, sample: Sample) -> Cause | None:
    """Codes that fit the source with other scales, or read in another order."""
    target = pair.target
    if not target.is_packed or target.form is None or pair.transposed:
        return None
    for other in _alike(target, pairing):
        if all(_same_scales(target, other, a, b) for a, b in sample.blocks):
            return Cause("scales of another tensor", f"its scales are those of {other.name}")
    for changed in _other_parts(target):
        if all(_fits(pair, changed, a, b) for a, b in sample.blocks):
            return Cause(changed.behaviour, changed.text)
    return None


def _alike(target: Parameter, pairing: Pairing) -> Iterator[Parameter]:
    """Other packed parameters of the same form and shape."""
    for other in pairing.target.values():
        if other.name != target.name and other.form == target.form and other.shape == target.shape:
            yield other


def _same_scales(target: Parameter, other: Parameter, start: int, stop: int) -> bool:
    both = zip(target.parts[1:], other.parts[1:], strict=True)
    return all(same_bytes(a.rows(start, stop), b.rows(start, stop)) for a, b in both)


@dataclass(frozen=True)
class Changed:
    """How a quantized tensor's parts may have been mixed up.

    scales, biases: (groups, rows) from which they really are, relative to where they belong; rows: which row of the
    source the codes belong to; reverse: codes lie in the other order within their bytes.
    """

    behaviour: str
    text: str
    scales: tuple[int, int] = (0, 0)
    biases: tuple[int, int] = (0, 0)
    rows: int = 0
    reverse: bool = False


def _other_parts(target: Parameter) -> Iterator[Changed]:
    wrong, has_biases = "scales of the wrong group", len(target.parts) == 3
    for step in (1, -1):
        for place, where in (((step, 0), f"{step:+d} group along the row"), ((0, step), f"of row r {step:+d}")):
            yield Changed(wrong, f"its codes fit with the scales {where}", place, place)
            if has_biases:
                yield Changed(wrong, f"its codes and biases fit with the scales {where}", scales=place)
                yield Changed(
                    "biases of the wrong group", f"its codes and scales fit with the biases {where}", biases=place
                )
        text = f"the codes of row r are those of row r {step:+d}, its scales are not"
        yield Changed("codes of the wrong row", text, (0, step), (0, step), step)
    if target.form and target.form.bits in (1, 2, 4):
        yield Changed("bits in reversed order", "its codes fit when read high bits first", reverse=True)


def _fits(pair: Pair, changed: Changed, start: int, stop: int) -> bool:
    """Whether the changed parts of rows [start, stop) are within bound of the source; true where a row is outside."""
    target = pair.target
    assert target.form is not None
    moves = (changed.scales, changed.biases)[: len(target.parts) - 1]
    moved = [rows for _, rows in moves] + [changed.rows]
    if start + min(0, *moved) < 0 or stop + max(0, *moved) > target.length:
        return True
    words = target.parts[0].rows(start, stop)
    if changed.reverse:
        words = _reversed(words, target.form.bits)
    rest = [
        np.roll(part.rows(start + rows, stop + rows), -groups, axis=-1)
        for part, (groups, rows) in zip(target.parts[1:], moves, strict=True)
    ]
    found = Dequantized.of([words, *rest], target.form)
    want = source_rows(pair, start + changed.rows, stop + changed.rows).astype(np.float64)
    with np.errstate(invalid="ignore"):
        good = np.abs(found.values - want) <= bounds.quantized(want, found, target.dtype, pair.through)
    size = target.form.group_size
    if size < want.shape[-1] and any(groups for groups, _ in moves):
        # The group that came round from the other end of the row may have a scale of its own.
        good = good[..., :-size] if max(groups for groups, _ in moves) > 0 else good[..., size:]
    return bool(good.mean() >= AGREES)


def _reversed(words: np.ndarray, bits: int) -> np.ndarray:
    data = np.ascontiguousarray(words).view(np.uint8)
    out = np.zeros_like(data)
    for place in range(8 // bits):
        out |= ((data >> (place * bits)) & (2**bits - 1)) << (8 - bits - place * bits)
    return out.view(np.uint32)
