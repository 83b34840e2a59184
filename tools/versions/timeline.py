"""What changed in which release: classes of behaviour and headroom, per requirement, from observations alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tools.versions.observed import NOTHING, Observed, Outcome, Ran
from touchstone.adapters.update import UNDEFINED as HEAP
from touchstone.reports.records import Scalar

UNDEFINED = HEAP | {"memory outside the table", "write not observed"}
"""What a read or write outside the table may show, by the state of the heap; from one to another is no change."""
ALIKE = 1e-3
"""Relative difference of headroom up to which sums are the same: observations keep four digits."""

Kind = Literal["fixed", "regression", "changed", "arithmetic"]
"""fixed, regression: a requirement's cases conform now, or no longer. changed: another class, of a characterised
requirement or between two that do not conform. arithmetic: the class is the same, and the error is another."""
KINDS: tuple[Kind, ...] = ("regression", "fixed", "changed", "arithmetic")

Params = Mapping[str, Scalar]


@dataclass(frozen=True)
class Change:
    """Cases of one requirement that changed in one release in one way.

    where: parameter -> its values among these cases, where they are not all of the requirement's. before, after: the
    classes of behaviour, or for "arithmetic" the largest headroom. count, of: how many cases, of how many.
    """

    kind: Kind
    requirement: str
    where: Mapping[str, tuple[Scalar, ...]]
    before: str
    after: str
    count: int
    of: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One release, the one that ran before it, and what changed between them."""

    release: Ran
    previous: Ran
    changes: tuple[Change, ...]

    def counts(self) -> Counter[Kind]:
        """Cases by kind of change."""
        out: Counter[Kind] = Counter()
        for change in self.changes:
            out[change.kind] += change.count
        return out


def steps(observed: Observed) -> list[Step]:
    """A step for every release that ran but the first, oldest first."""
    ran = observed.ran
    return [Step(ran[n], ran[n - 1], tuple(_changes(observed, n))) for n in range(1, len(ran))]


def by_release(observed: Observed) -> Iterator[tuple[Ran, list[Outcome], Step | None]]:
    """Every release, oldest first: its outcomes in the cases it was asked, and its step; neither where none ran."""
    found = {step.release.version: step for step in steps(observed)}
    place = 0
    for release in observed.head.releases:
        if release.error:
            yield release, [], None
            continue
        yield (
            release,
            [row[place] for _, _, row in observed.cases.values() if row[place] != NOTHING],
            found.get(release.version),
        )
        place += 1


def _changes(observed: Observed, number: int) -> Iterator[Change]:
    """Changes from release `number` - 1 to `number`, by requirement."""
    everything: dict[str, list[tuple[str, Params, Outcome, Outcome]]] = {}
    for name, (requirement, params, row) in observed.cases.items():
        everything.setdefault(requirement, []).append((name, params, row[number - 1], row[number]))
    for requirement, cases in sorted(everything.items()):
        required = observed.head.required.get(requirement, True)
        groups: dict[tuple[Kind, str, str], list[tuple[str, Params, Outcome, Outcome]]] = {}
        for case in cases:
            kind = kind_of(case[2], case[3], required=required)
            if kind:
                same = kind == "arithmetic"
                key = (kind, "" if same else case[2].behaviour, "" if same else case[3].behaviour)
                groups.setdefault(key, []).append(case)
        for (kind, before, after), found in groups.items():
            if kind == "arithmetic":
                before = f"{max(_size(old) for _, _, old, _ in found):.3g}"
                after = f"{max(_size(new) for _, _, _, new in found):.3g}"
            where = places([params for _, params, _, _ in found], [params for _, params, _, _ in cases])
            names = tuple(name for name, *_ in found)
            yield Change(kind, requirement, where, before, after, len(found), len(cases), names)


def kind_of(before: Outcome, after: Outcome, *, required: bool) -> Kind | None:
    """How the outcome of one case changed; None where it did not, or where either release was not asked."""
    if not before.behaviour or not after.behaviour:
        return None
    if before.behaviour != after.behaviour and not {before.behaviour, after.behaviour} <= UNDEFINED:
        if required and before.conforms != after.conforms:
            return "fixed" if after.conforms else "regression"
        return "changed"
    if before.behaviour != after.behaviour or before.headroom is None or after.headroom is None:
        return None
    alike = before.headroom == after.headroom or math.isclose(_size(before), _size(after), rel_tol=ALIKE)
    return None if alike else "arithmetic"


def _size(outcome: Outcome) -> float:
    return float(outcome.headroom or 0)


def places(changed: Sequence[Params], everything: Sequence[Params]) -> dict[str, tuple[Scalar, ...]]:
    """The parameters that tell the changed cases from the rest, and their values, as far as single ones do."""
    out = {}
    for name in dict.fromkeys(name for params in changed for name in params):
        among = {params[name] for params in changed if name in params}
        if len(among) < len({params[name] for params in everything if name in params}):
            out[name] = tuple(sorted(among, key=lambda value: (str(type(value)), value if value is not None else 0)))
    return out
