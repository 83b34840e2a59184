"""What a converter may have done instead: other parts, other axes, another tensor under the same rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

from touchstone.migration.hypotheses import Cause, Sample, exchanged, explains
from touchstone.migration.mapping.expressions import (
    Flip,
    Part,
    Permute,
    Reshape,
    Step,
    View,
    applied,
    parameter_of,
    view_of,
)
from touchstone.migration.mapping.orders import noun_of, reordered
from touchstone.migration.pairing import Pair, Pairing
from touchstone.migration.parameters import Parameter


def cause(pair: Pair, pairing: Pairing, sample: Sample, heads: int) -> Cause | None:
    """The first other thing that the target holds. heads: of q by a configuration, 0 where unknown."""
    if pair.wanted_shape != pair.target.shape:
        return None
    return (
        _exchanged(pair, pairing, sample)
        or _turned(pair, sample)
        or _other_parts(pair, pairing, sample)
        or reordered(pair, heads)
        or _memory(pair, sample)
    )


def _exchanged(pair: Pair, pairing: Pairing, sample: Sample) -> Cause | None:
    """What another rule of the program makes: the gate's where the up projection should be, another layer's."""
    if pair.rule is None:
        return None
    first = Sample(sample.blocks[:1])
    for other in pairing.pairs:
        if other is pair or other.rule is None or other.source.shape != pair.source.shape:
            continue
        moved = replace(pair, source=other.source)
        if not (explains(moved, first) and explains(moved, sample)):
            continue
        back = replace(other, source=pair.source)
        if back.wanted_shape == back.target.shape and explains(back, Sample.ends(back)):
            kind = exchanged(pair.target.name, other.target.name)
            return Cause(kind, f"holds {other.source.name} of the source, and {other.target.name} holds its own")
        return Cause(
            "another tensor", f"holds {other.source.name} of the source, which {other.target.name} should hold"
        )
    return None


def _turned(pair: Pair, sample: Sample) -> Cause | None:
    """Axes in another order, or one of them from its end."""
    axes = len(pair.target.shape)
    if axes < 3:
        return None
    orders: list[Step] = [Permute(p) for p in permutations(range(axes)) if p != tuple(range(axes))]
    for step in (*orders, *(Flip(a) for a in range(1, axes))):
        if step.shape(pair.source.shape) != pair.target.shape:
            continue
        if explains(replace(pair, source=_changed(pair.source, step)), sample):
            if isinstance(step, Flip):
                nouns = f"{noun_of(pair, step.axis)}s"
                return Cause(f"{nouns} reversed", f"{nouns} lie in reversed order, along axis {step.axis}")
            return Cause("axes in another order", f"holds what it should with {step}: permuted twice, or not at all")
    return None


def _other_parts(pair: Pair, pairing: Pairing, sample: Sample) -> Cause | None:
    """Another part of a fused tensor, or its rows in turns where they lie in halves."""
    rule = pair.rule
    if rule is None or len(rule.sources) != 1:
        return None
    whole = pairing.source.get(pair.source.name.partition(" (")[0])
    split = next((s for s in rule.steps if isinstance(s, Part)), None)
    if whole is None or split is None:
        return None
    place = rule.steps.index(split)
    for other in _splits(split):
        steps = (*rule.steps[:place], other, *rule.steps[place + 1 :])
        changed = replace(pair, source=_named(pair.source, applied(view_of(whole), steps)))
        if explains(changed, sample):
            if other.is_interleaved == split.is_interleaved:
                return Cause("parts exchanged", f"holds {other} of {whole.name}, and should hold {split}")
            kind = "interleaved for halves" if other.is_interleaved else "halves for interleaved"
            return Cause(kind, f"was cut out of {whole.name} as {other}, and should be {split}")
    return None


def _splits(split: Part) -> Iterator[Part]:
    for is_interleaved in (split.is_interleaved, not split.is_interleaved):
        for k in (split.k, *(k for k in range(split.n) if k != split.k)):
            if (k, is_interleaved) != (split.k, split.is_interleaved):
                yield replace(split, k=k, is_interleaved=is_interleaved)


def _memory(pair: Pair, sample: Sample) -> Cause | None:
    """The numbers of another view of the source as they lie in memory, under the shape that it should have."""
    shape = pair.source.shape
    if not 2 <= len(shape) <= 5:
        return None
    plain = replace(pair, transposed=False, rope=None)
    for axes in permutations(range(len(shape))):
        step = Permute(axes)
        if step.shape(shape) == pair.target.shape and not pair.transposed:
            continue
        view = applied(view_of(pair.source), (step, Reshape(pair.target.shape)))
        if explains(replace(plain, source=_named(pair.source, view)), sample):
            text = "holds the numbers in the order in which another view of its source lies in memory"
            return Cause("memory order", f"{text}; copy it before it is saved (numpy.ascontiguousarray)")
    return None


def _changed(source: Parameter, step: Step) -> Parameter:
    return _named(source, step.apply(view_of(source)))


def _named(source: Parameter, view: View) -> Parameter:
    """A parameter of other rows under the old name."""
    return parameter_of(source.name, view, source, source.encoding)
