"""Which rule makes a family of the target's tensors? Names propose, values decide, one rule holds in all layers.

A candidate is tried on a few layers. A documented one is taken whatever the values say, so that a model in which every
layer departs from it is red; of the others the one that most layers support, and names where several do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import chain, permutations

from touchstone.migration import hypotheses
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.hypotheses import Sample
from touchstone.migration.mapping.expressions import Part, Permute, Range, Reshape, Shape, Step, after
from touchstone.migration.mapping.knowledge import Knowledge
from touchstone.migration.mapping.rules import Basis, Rule
from touchstone.migration.mapping.templates import Family, Index, canonical, kinship, likeness
from touchstone.migration.pairing import Pair, settled
from touchstone.migration.parameters import Parameter

MOST_TRIED = 5
"""Layers on which a candidate is tried."""
MOST_PARTS = 8
MOST_SOURCES = 32
"""Sources that are tried for a target, of many that have no partner."""
ALIKE = 0.5
"""`likeness` from which a name alone says what a tensor is."""


@dataclass(frozen=True)
class Candidate:
    """A rule, how like its names are, and the shapes of one of its sources and of its target."""

    rule: Rule
    score: float
    cost: int

    @property
    def key(self) -> tuple[bool, float, int]:
        """Sorts the most likely first, before values are looked at."""
        return (not self.rule.page, -self.score, self.cost)


def best(
    target: str,
    family: Family,
    sources: Mapping[str, Family],
    knowledge: Knowledge,
    taken: Collection[Rule] = (),
    *,
    whole: bool = False,
) -> Rule | None:
    """The rule that makes the family, None where nothing does.

    taken: rules of other families, whose sources they use. whole: of one source, all of whose elements are used.
    """
    used = {(r.sources, r.over, r.part_of, r.steps) for r in taken}
    found = [
        c
        for c in sorted(candidates(target, family, sources, knowledge), key=lambda c: c.key)
        if (c.rule.sources, c.rule.over, c.rule.part_of, c.rule.steps) not in used and (not whole or _is_whole(c.rule))
    ]
    documented = [c for c in found if c.rule.page]
    if documented:
        alike = [c for c in documented if c.score == documented[0].score]
        chosen = max(alike, key=lambda c: support(c.rule, family, sources)) if len(alike) > 1 else alike[0]
        return chosen.rule
    tried = [(support(c.rule, family, sources), c) for c in found]
    if good := [(s, c) for s, c in tried if s >= 0.5]:
        share = max(s for s, _ in good)
        chosen = min((c for s, c in good if s == share), key=lambda c: c.key)
        if knowledge.is_known and (better := _named_better(target, chosen, found)):
            return replace(better, basis="names")
        plain = chosen.rule.is_rename or (
            _is_whole(chosen.rule) and chosen.rule.over is None and _squeezes(chosen.rule)
        )
        is_said = plain and chosen.score >= ALIKE
        return replace(chosen.rule, basis="names" if is_said else "values")
    named = [c for c in found if c.score >= ALIKE and c.rule.is_rename]
    if named:
        return replace(named[0].rule, basis="names")
    return None if whole else _by_name(target, family, sources)


def _named_better(target: str, chosen: Candidate, found: Sequence[Candidate]) -> Rule | None:
    """Of plain renames one whose name says more clearly than the chosen one's that it is this tensor.

    Where a converter is known to keep values, two tensors that changed places in every layer fit each other's names
    worse than their own.
    """
    if not (_is_whole(chosen.rule) and len(chosen.rule.sources) == 1):
        return None
    alike = {
        c.rule.sources[0]: (c.score, kinship(c.rule.sources[0], target))
        for c in found
        if c.rule.over == chosen.rule.over and c.rule.steps == chosen.rule.steps and _is_whole(c.rule)
    }
    best_named = max(alike, key=lambda name: alike[name])
    if alike[best_named] <= alike.get(chosen.rule.sources[0], (0.0, 0.0)):
        return None
    return next(c.rule for c in found if c.rule.sources == (best_named,) and c.rule.steps == chosen.rule.steps)


def _squeezes(rule: Rule) -> bool:
    """Whether the rule does no more than write the same numbers in another shape."""
    return all(isinstance(s, Reshape) for s in rule.steps)


def _is_whole(rule: Rule) -> bool:
    return len(rule.sources) == 1 and rule.uses_all


def _by_name(target: str, family: Family, sources: Mapping[str, Family]) -> Rule | None:
    """Tensors that are called alike though their shapes do not fit: one that lost an expert, or rows."""
    index = _usual_one(family)
    for name, held in sources.items():
        if canonical(name) != canonical(target):
            continue
        for over, part_of, _ in _arrangements(index, family, held):
            if part_of is None:
                return Rule(target, (name,), over, basis="names")
    return None


def support(rule: Rule, family: Family, sources: Mapping[str, Family]) -> float:
    """The share of the layers tried in which the target is what the rule says."""
    every = sorted(family)
    some = [
        every[i * (len(every) - 1) // max(1, min(MOST_TRIED, len(every)) - 1)]
        for i in range(min(MOST_TRIED, len(every)))
    ]
    return sum(holds(rule, index, family, sources) for index in some) / len(some)


def holds(rule: Rule, index: Index, family: Family, sources: Mapping[str, Family]) -> bool:
    """Whether the target with these numbers is, at its ends, what the rule says."""
    made = rule.made(index, sources, parts_of(rule, family))
    if made is None:
        return False
    pair = Pair(*settled(made, family[index]), "its values")
    try:
        return pair.wanted_shape == pair.target.shape and hypotheses.explains(pair, Sample.ends(pair))
    except CheckpointError:  # its own question will say so
        return False


def parts_of(rule: Rule, family: Family) -> int:
    """Into how many parts the source is divided, of a rule that takes parts in order."""
    return len({index[rule.part_of] for index in family}) if rule.part_of is not None else 0


def candidates(target: str, family: Family, sources: Mapping[str, Family], knowledge: Knowledge) -> Iterator[Candidate]:
    """Every way in which shapes and numbers allow the family to be made, of one source or of several."""
    index = _usual_one(family)
    for name in _likely(target, family[index], sources):
        score, held = likeness(name, target), sources[name]
        for over, part_of, shape in _arrangements(index, family, held):
            wanted = _shapes(family[index], shape)
            said, _ = knowledge.steps(_one(held).name, family[index].name, len(family[index].shape))
            for want in wanted:
                ways = _steps(shape, want) if over is None else _uncut(shape, want)
                if cut := knowledge.cut(_one(held).name, family[index].name, shape, want):
                    ways = chain([cut], ways)
                for cost, steps in enumerate(chain([said] * bool(said and shape == want), ways)):
                    rule = Rule(target, (name,), over, part_of, 0, steps)
                    stored = _one(held)
                    page = knowledge.documents(rule, stored.shape, want, in_blocks=stored.is_packed)
                    basis: Basis = "documented" if page else "values"
                    yield Candidate(replace(rule, page=page, basis=basis), score, cost)
    yield from _concatenations(target, family[index], index, sources)


def _likely(target: str, wanted: Parameter, sources: Mapping[str, Family]) -> list[str]:
    """Sources that the target may be made of: those with the likeliest names, and those with as many elements."""
    size = math.prod(wanted.shape)
    alike = [name for name, held in sources.items() if math.prod(_one(held).shape) == size]
    named = nlargest(MOST_SOURCES, sources, key=lambda name: likeness(name, target))
    return list(dict.fromkeys((*named, *alike[:MOST_SOURCES])))


def _usual_one(family: Family) -> Index:
    """The numbers of a tensor that has the shape which most have."""
    shapes = Counter(p.shape for p in family.values())
    usual = shapes.most_common(1)[0][0]
    return next(i for i in sorted(family) if family[i].shape == usual)


def _one(family: Family) -> Parameter:
    return next(iter(family.values()))


def _shapes(target: Parameter, source: Shape) -> list[Shape]:
    """Shapes that the target may have: of packed parts each that fits as many bits."""
    if not target.is_packed or not target.possible:
        return [target.shape]
    groups = target.parts[1].shape
    every = dict.fromkeys((*groups[:-1], groups[-1] * form.group_size) for form in target.possible)
    size = math.prod(source)
    fitting = [s for s in every if math.prod(s) <= size]
    return [target.shape] if target.form and target.shape in fitting else fitting[:3]


def _arrangements(index: Index, family: Family, held: Family) -> Iterator[tuple[int | None, int | None, Shape]]:
    """(which number of the source runs, which of the target says the part, the shape to begin with).

    It is the last number, which counts what is inside a layer.
    """
    theirs = next(iter(held))
    if len(theirs) == len(index) and index in held:
        yield None, None, held[index].shape
    if len(theirs) == len(index) + 1:
        running = [i for i in held if i[:-1] == index]
        if running:
            yield len(index), None, (len(running), *held[running[0]].shape)
    if len(theirs) + 1 == len(index) and index[:-1] in held:
        shape, count = held[index[:-1]].shape, len({i[-1] for i in family})
        if shape and shape[0] % count == 0:
            yield None, len(index) - 1, (shape[0] // count, *shape[1:])


def _uncut(before: Shape, want: Shape) -> Iterator[tuple[Step, ...]]:
    """Ways from one shape to another that keep every element, the plainest first."""
    if before == want:
        yield ()
    yield from (steps for steps in _turned(before, want) if steps)
    is_vector = sum(n != 1 for n in before) <= 1
    if math.prod(before) == math.prod(want) and before != want and (is_vector or _ones_apart(before, want)):
        yield (Reshape(want),)


def _steps(before: Shape, want: Shape) -> Iterator[tuple[Step, ...]]:
    """Ways from one shape to another, the plainest first; some use a part of the elements."""
    yield from _uncut(before, want)
    for axis, size in enumerate(before):
        for n in range(2, min(size, MOST_PARTS) + 1):
            if size % n == 0 and math.prod(before) == n * math.prod(want):
                for is_interleaved in (False, True):
                    for k in range(n):
                        split = Part(axis, k, n, is_interleaved)
                        shape = split.shape(before)
                        assert shape is not None
                        yield from ((split, *turned) for turned in _turned(shape, want))
    yield from _ranges(before, want)
    yield from _heads(before, want)


def _turned(before: Shape, want: Shape) -> Iterator[tuple[Step, ...]]:
    """Orders of axes that give the shape; the one that leaves them first."""
    if len(before) != len(want) or len(before) > 5:
        return
    for axes in permutations(range(len(before))):
        if tuple(before[a] for a in axes) == want:
            yield () if axes == tuple(range(len(before))) else (Permute(axes),)


def _ones_apart(before: Shape, want: Shape) -> bool:
    """Whether only axes of one element differ."""
    return [n for n in before if n != 1] == [n for n in want if n != 1]


def _ranges(before: Shape, want: Shape) -> Iterator[tuple[Step, ...]]:
    """A stretch at either end, or after as much again, along one axis."""
    for axis, size in enumerate(before):
        rest = math.prod(before) // max(1, size)
        if not rest or math.prod(want) % rest or not 0 < (own := math.prod(want) // rest) < size:
            continue
        for start in dict.fromkeys((0, size - own, own, size - 2 * own)):
            if 0 <= start <= size - own:
                split = Range(axis, start, start + own)
                shape = split.shape(before)
                assert shape is not None
                yield from ((split, *turned) for turned in _turned(shape, want))


def _heads(before: Shape, want: Shape) -> Iterator[tuple[Step, ...]]:
    """Heads to an axis of their own, or from it; of each head all rows, or those at either end."""
    if len(want) == len(before) + 1 and before and want[0] and before[0] % want[0] == 0:
        apart = Reshape((want[0], before[0] // want[0], *before[1:]))
        splits: list[tuple[Step, ...]] = [(apart,)]
        for start, own in _ends(apart.to[1], math.prod(want), math.prod(apart.to)):
            splits.append((apart, Range(1, start, start + own)))
        for steps in splits:
            yield from ((*steps, *turned) for turned in _turned(after(before, steps) or (), want))
    if math.prod(before) != math.prod(want):
        return
    if {len(before), len(want)} == {1, 2}:
        yield (Reshape(want),)
    if len(before) == 2 and len(want) == 3:
        yield (Permute((1, 0)), Reshape(want))
        yield (Reshape(want),)
    if len(before) == 3 and len(want) == 2:
        for merged in ((before[0] * before[1], before[2]), (before[0], before[1] * before[2])):
            yield from ((Reshape(merged), *turned) for turned in _turned(merged, want))


def _ends(size: int, wanted: int, whole: int) -> Iterator[tuple[int, int]]:
    """(start, length) of the stretches at either end of an axis that have as many elements as are wanted."""
    own = size * wanted // max(1, whole)
    if 0 < own < size and own * whole == size * wanted:
        yield from dict.fromkeys(((0, own), (size - own, own)))


def _concatenations(target: str, wanted: Parameter, index: Index, sources: Mapping[str, Family]) -> Iterator[Candidate]:
    """Up to four sources of one module, one after the other."""
    by_module: dict[tuple[str, ...], list[str]] = {}
    for name, held in sources.items():
        if index in held and len(held[index].shape) == len(wanted.shape):
            by_module.setdefault((*canonical(name)[:-2], canonical(name)[-1]), []).append(name)
    for names in by_module.values():
        if not 2 <= len(names) <= 6:
            continue
        for count in range(2, min(4, len(names)) + 1):
            for chosen in permutations(names, count):
                shapes = [sources[n][index].shape for n in chosen]
                for axis in range(len(wanted.shape)):
                    rest = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
                    total = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
                    if len(rest) == 1 and total == wanted.shape:
                        score = sum(likeness(n, target) for n in chosen) / count
                        order = sum(a > b for a, b in zip(map(_usual, chosen), map(_usual, chosen[1:]), strict=False))
                        yield Candidate(Rule(target, chosen, axis=axis), score, 10 + order)


def _usual(name: str) -> int:
    """The place that a part has in a fused tensor."""
    word = canonical(name)[-2] if len(canonical(name)) > 1 else ""
    order = ("q_proj", "query", "q", "k_proj", "key", "k", "v_proj", "value", "v", "gate_proj", "up_proj")
    return order.index(word) if word in order else len(order)
