"""The program of a conversion: a rule for every family of tensors that is not simply the same tensor."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from touchstone.migration.conventions import Name
from touchstone.migration.mapping import search
from touchstone.migration.mapping.expressions import Add
from touchstone.migration.mapping.knowledge import Knowledge, is_convolution
from touchstone.migration.mapping.likenesses import by_values
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.mapping.templates import Family, Index, families, likeness, path_of, spelled, template
from touchstone.migration.pairing import Alone, Pair, Pairing, cast_before, settled
from touchstone.migration.parameters import Parameter


@dataclass(frozen=True)
class Programmed:
    """A pairing with its rules applied. rules: rule -> how many tensors of the target it makes."""

    pairing: Pairing
    rules: Mapping[Rule, int]


def programmed(pairing: Pairing, knowledge: Knowledge) -> Programmed:
    """Find a rule for what has no partner, or one of another shape, and pair by it."""
    pairs, rules = _of_namesakes(pairing, knowledge)
    parts = {part for name in pairing.target for part in path_of(name)}
    dropped = {
        a.parameter.name: reason
        for a in pairing.alone
        if a.side == "source" and not a.reason and (reason := knowledge.drops(a.parameter.name, parts))
    }
    free = families(
        a.parameter for a in pairing.alone if a.side == "source" and not (a.reason or a.parameter.name in dropped)
    )
    wanted = families(a.parameter for a in pairing.alone if a.side == "target" and not a.reason)
    found = _solved(wanted, free, knowledge, pairing.rules)
    used: Counter[str] = Counter()
    made: list[Pair] = []
    for name, rule in found.items():
        family = wanted[name]
        count = search.parts_of(rule, family)
        for index, parameter in family.items():
            new = rule.made(index, free, count)
            if new is None:
                continue  # something of it is missing, and it stays without a partner
            made.append(_pair(new, parameter, rule, pairing))
            for source in rule.parameters(index, free):
                used[source.name] += _size(source if rule.uses_all else parameter)
        rules[rule] = sum(p.rule is rule for p in made[-len(family) :])
    partly = {n for f in free.values() for p in f.values() if 0 < used[n := p.name] < _size(p)}
    paired = {p.target.name for p in made}
    alone = [replace(a, reason=dropped.get(a.parameter.name, a.reason)) for a in pairing.alone]
    alone = [a for a in alone if not _is_used(a, paired, used, partly)]
    order = {name: i for i, name in enumerate(pairing.target)}
    every = sorted([*pairs, *made], key=lambda p: (p.is_tied, order[p.target.name]))
    by_source = {p.source.name: p for p in every if not p.is_tied}
    done = replace(pairing, pairs=cast_before(every), alone=alone, by_source=by_source)
    return Programmed(done, {rule: count for rule, count in rules.items() if count})


def _is_used(alone: Alone, paired: set[str], used: Mapping[str, int], partly: set[str]) -> bool:
    name = alone.parameter.name
    return name in paired if alone.side == "target" else bool(used.get(name)) and name not in partly


def _size(parameter: Parameter) -> int:
    return math.prod(parameter.shape)


def _solved(
    wanted: Mapping[str, Family], free: Mapping[str, Family], knowledge: Knowledge, own: Sequence[Rule]
) -> dict[str, Rule]:
    """Template of the target -> its rule; the best-named choose first, so that none takes what is another's."""
    found = {rule.target: rule for rule in own if rule.target in wanted}
    if not knowledge.is_known:
        told = {s for rule in found.values() for s in rule.sources}
        rest = {t: f for t, f in wanted.items() if t not in found}
        found |= by_values(rest, {s: f for s, f in free.items() if s not in told})
    likely = {t: max((likeness(s, t) for s in free), default=0.0) for t in wanted}
    for name in sorted((t for t in wanted if t not in found), key=lambda t: -likely[t]):
        rule = search.best(name, wanted[name], free, knowledge, tuple(found.values()))
        if rule:
            found[name] = rule
    return {name: found[name] for name in wanted if name in found}


def _pair(source: Parameter, target: Parameter, rule: Rule, pairing: Pairing) -> Pair:
    a, b = settled(source, target)
    is_table = target.name in (pairing.table[1], pairing.head[1])
    return Pair(a, b, said(rule), is_table=is_table, rule=rule)


def said(rule: Rule) -> str:
    """The rule and why it is believed, in words."""
    return f"{rule} ({rule.why})"


def lines(rules: Mapping[Rule, int]) -> list[str]:
    """The program, a line for all rules that do the same thing for the same reason."""
    alike: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        alike.setdefault((rule.how, rule.why), []).append(rule)
    out = []
    for (how, why), group in alike.items():
        shown = list(dict.fromkeys(map(_renaming if not how else _making, group)))
        more = f", and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        count = sum(rules[rule] for rule in group)
        out.append(f"{count:,} {how or 'renamed'} ({why}): {'; '.join(shown[:_SHOWN])}{more}")
    return out


_SHOWN = 3
"""Names that a line of the program shows."""


def _making(rule: Rule) -> str:
    if (rule.target,) == rule.sources:
        return spelled(rule.target)
    target, *names = (spelled(text).split(".") for text in (rule.target, *rule.sources))
    while all(len(name) > 1 and name[0] == target[0] for name in (target, *names)):
        target, names = target[1:], [name[1:] for name in names]
    return f"{' + '.join('.'.join(name) for name in names)} to {'.'.join(target)}"


def _renaming(rule: Rule) -> str:
    """What of the name is replaced, without the end that both have."""
    old, new = (spelled(t).split(".") for t in (rule.sources[0], rule.target))
    while len(old) > 1 and len(new) > 1 and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return f"{'.'.join(old)} to {'.'.join(new)}"


def _of_namesakes(pairing: Pairing, knowledge: Knowledge) -> tuple[list[Pair], dict[Rule, int]]:
    """The pairs, with a rule where the namesake has other axes or a convention says that it changes."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for p in pairing.pairs:
        if not (p.is_tied or p.transposed or p.rope or p.target.name in pairing.mapped):
            groups.setdefault((template(p.source.name)[0], template(p.target.name)[0]), []).append(p)
    found = {names: _of_group(*names, group, knowledge) for names, group in groups.items()}
    found |= _other_norms(groups, found, knowledge)
    rules: dict[Rule, int] = {}
    changed: dict[str, Pair] = {}
    for names, rule in found.items():
        if rule is None or rule.is_rename:
            continue
        sources = {names[0]: {template(p.source.name)[1]: p.source for p in groups[names]}}
        for p in groups[names]:
            if made := rule.made(template(p.target.name)[1], sources):
                a, b = settled(made, p.target)
                changed[p.target.name] = replace(p, source=a, target=b, how=said(rule), rule=rule)
        rules[rule] = len(groups[names])
    return [p if p.is_tied else changed.get(p.target.name, p) for p in pairing.pairs], rules


def _other_norms(
    groups: Mapping[tuple[str, str], Sequence[Pair]],
    found: Mapping[tuple[str, str], Rule | None],
    knowledge: Knowledge,
) -> dict[tuple[str, str], Rule]:
    """Norms of which there is one alone, where those of all layers were found to be moved by a constant."""
    steps = {r.steps for r in found.values() if r and r.basis == "values" and isinstance(r.steps[0], Add)}
    if len(steps) != 1 or knowledge.says_of_vectors:
        return {}
    out = {}
    for (old, new), group in groups.items():
        if found[old, new] is None and len(group) == 1 and len(group[0].target.shape) == 1:
            rule = Rule(new, (old,), steps=next(iter(steps)))
            family = {template(group[0].target.name)[1]: group[0].target}
            sources = {old: {template(group[0].source.name)[1]: group[0].source}}
            plain = search.support(replace(rule, steps=()), family, sources)
            if not plain and search.support(rule, family, sources):
                out[old, new] = rule
    return out


def _of_group(old: str, new: str, group: Sequence[Pair], knowledge: Knowledge) -> Rule | None:
    one = group[len(group) // 2]
    family: dict[Index, Parameter] = {template(p.target.name)[1]: p.target for p in group}
    sources = {old: {template(p.source.name)[1]: p.source for p in group}}
    axes = len(one.target.shape)
    said_of = {knowledge.steps(p.source.name, p.target.name, axes) for p in group}
    steps, page = said_of.pop()
    if steps and not said_of:
        return Rule(new, (old,), steps=steps, basis="documented", page=page)
    differs = [p for p in group if p.wanted_shape != p.target.shape]
    fits_if_changed = 2 * len(differs) > len(group) and _size(one.source) == _size(one.target)
    is_turned = axes >= 3 and (
        (knowledge.to_mlx and is_convolution(new)) or Name.of(old).is_kernel != Name.of(new).is_kernel
    )
    if (fits_if_changed and (axes, len(one.source.shape)) != (2, 2)) or is_turned:
        return search.best(new, family, sources, knowledge, whole=True)
    if (
        axes == 1
        and len(group) > 1
        and not knowledge.says_of_vectors
        and one.target.dtype in ("float32", "bfloat16", "float16")
    ):
        return _offset(old, new, family, sources)
    return None


def _offset(old: str, new: str, family: Family, sources: Mapping[str, Family]) -> Rule | None:
    """A norm whose weights are one more, or one less, in every layer."""
    plain = Rule(new, (old,), basis="names")
    if search.support(plain, family, sources) > 0:
        return None
    offsets: Iterable[Rule] = (Rule(new, (old,), steps=(Add(value),)) for value in (1.0, -1.0))
    return next((rule for rule in offsets if search.support(rule, family, sources) == 1), None)
