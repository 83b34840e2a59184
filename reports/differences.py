"""Every behaviour that differs between two targets, with what to do: what a move from one to the other meets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from touchstone.reports.cases import UNKNOWN, case_name, size
from touchstone.reports.model import Column, Report
from touchstone.reports.records import EndLine, Scalar
from touchstone.reports.severity import ORDER, Severity, advice, between, departs

Case = tuple[EndLine, EndLine]
"""What the source and the target showed in one case."""


@dataclass(frozen=True)
class Difference:
    """Cases of one requirement that differ alike. `before` and `after` are the behaviours of source and target.

    where: parameter -> its values in these cases, for each that tells them from the requirement's other cases.
    """

    severity: Severity
    requirement: str
    before: str
    after: str
    advice: str
    cases: Sequence[Case]
    where: Mapping[str, Sequence[Scalar]]

    @cached_property
    def example(self) -> Case:
        """The case furthest from its bound on the target, else the first."""
        return max(self.cases, key=lambda pair: size(pair[1].headroom))


Pairs = Mapping[tuple[int, int], Sequence[Difference]]
"""(place of the source among the report's columns, place of the target) -> what differs."""


def by_name(column: Column) -> dict[str, EndLine]:
    """The column's cases by the name that they share with other targets."""
    return {case_name(r.id, r.target): r for r in column.cases.values()}


def differences(report: Report, source: Column, target: Column) -> list[Difference]:
    """What differs for who moves from `source` to `target`, worst first.

    Of equally bad ones departures come before permitted choices, then the order of the requirements decides.
    """
    groups: dict[tuple[Severity, str, str, str, str], list[Case]] = {}
    both: dict[str, list[EndLine]] = {}
    others = by_name(target)
    for name, before in by_name(source).items():
        after = others.get(name)
        if after is None:
            continue
        both.setdefault(before.requirement, []).append(before)
        requirement = report.requirements.get(before.requirement, UNKNOWN)
        if severity := between(before, after, requirement):
            what = advice(before, after, requirement, severity)
            key = (severity, before.requirement, before.behaviour, after.behaviour, what)
            groups.setdefault(key, []).append((before, after))
    order = {name: index for index, name in enumerate(report.requirements)}
    out = [
        Difference(*key, cases=cases, where=_where([a.params for a, _ in cases], [r.params for r in both[key[1]]]))
        for key, cases in groups.items()
    ]

    def rank(d: Difference) -> tuple[int, bool, int, int]:
        place = order.get(d.requirement, len(order))
        return ORDER.index(d.severity), not departs(d.cases[0][1]), place, -len(d.cases)

    return sorted(out, key=rank)


def pairs(report: Report) -> Pairs:
    """`differences` of every two columns that hold cases of targets that were there."""
    ran = [i for i, c in enumerate(report.columns) if c.facts.unavailable is None and c.cases]
    return {
        (i, j): differences(report, report.columns[i], report.columns[j]) for i, j in itertools.permutations(ran, 2)
    }


def _where(some: Sequence[Mapping[str, Scalar]], among: Sequence[Mapping[str, Scalar]]) -> dict[str, Sequence[Scalar]]:
    """Parameter -> its values in `some`, where those are fewer than in `among`."""
    names = {name: None for params in some for name in params}
    values = {n: {repr(p[n]): p[n] for p in some if n in p} for n in names}
    every = {n: {repr(p[n]) for p in among if n in p} for n in names}
    return {n: list(values[n].values()) for n in names if len(values[n]) < len(every[n])}
