"""What changed between two nights, and for how many nights each departure has been seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reports.history import Night, NightColumn, Seen
from reports.records import RED, UNANSWERED

Kind = Literal["new", "changed", "varies", "fixed", "lost", "gained"]
"""new: conformed and departs now. changed: departs in another way. varies: shows another of the behaviours that are
registered for it. fixed: conforms again. lost, gained: the target no longer, or newly, answers the case."""


@dataclass(frozen=True)
class Change:
    """`column` is the label in the newer run."""

    kind: Kind
    column: str
    requirement: str
    case: str
    before: Seen
    after: Seen


@dataclass(frozen=True)
class Moved:
    """A version or fact that differs: "" stands for what was not there."""

    column: str
    name: str
    before: str
    after: str


@dataclass
class Changes:
    """`not_compared`: column, or "every column", -> why its cases were not compared."""

    previous: str
    changes: list[Change] = field(default_factory=list)
    versions: list[Moved] = field(default_factory=list)
    packages: list[Moved] = field(default_factory=list)
    environment: list[Moved] = field(default_factory=list)
    not_compared: dict[str, str] = field(default_factory=dict)

    def of(self, kind: Kind) -> list[Change]:
        return [c for c in self.changes if c.kind == kind]

    @property
    def worse(self) -> list[Change]:
        """New departures, and departures that changed."""
        return [c for c in self.changes if c.kind in ("new", "changed")]


@dataclass(frozen=True)
class Streak:
    """How long a case has shown what it shows now: nights in a row, tonight included, and when that began.

    at_least: whether it may be longer, because the night before cannot be compared or the history begins there.
    """

    nights: int
    since: str
    at_least: bool


def compare(old: Night, new: Night) -> Changes:
    """Everything that differs between two nights; cases only where suite and golden hashes agree."""
    out = Changes(old.started)
    reason = new.comparable(old)
    if reason:
        out.not_compared["every column"] = reason
    pairs = match(old, new)
    for key, column in new.columns.items():
        previous = pairs.get(key)
        if previous is None:
            out.not_compared[column.label] = "not in the previous run"
            continue
        out.versions += _moved(column.label, previous.versions, column.versions)
        out.packages += _moved(column.label, previous.packages, column.packages, column.versions.keys())
        out.environment += _moved(column.label, _facts(previous), _facts(column))
        if not reason:
            if incomplete := next((c for c in (previous, column) if c.state in ("incomplete", "empty")), None):
                which = "previous" if incomplete is previous else "newer"
                out.not_compared[column.label] = f"the {which} run is {incomplete.state}"
            _changes(column.label, previous, column, out)
    matched = {id(column) for column in pairs.values()}
    for old_column in old.columns.values():
        if id(old_column) not in matched:
            out.not_compared[old_column.label] = "only in the previous run"
    return out


def match(old: Night, new: Night) -> dict[str, NightColumn]:
    """Newer column's key -> its predecessor: the same key, else the only one of that target and system, else of that
    target."""
    out = {key: old.columns[key] for key in new.columns if key in old.columns}
    for alike in (lambda c: (c.target, c.system), lambda c: c.target):
        rest_new = {k: c for k, c in new.columns.items() if k not in out}
        taken = {id(c) for c in out.values()}
        rest_old = [c for c in old.columns.values() if id(c) not in taken]
        for key, column in rest_new.items():
            candidates = [c for c in rest_old if alike(c) == alike(column)]
            rivals = [c for c in rest_new.values() if alike(c) == alike(column)]
            if len(candidates) == 1 and len(rivals) == 1:
                out[key] = candidates[0]
    return out


def streaks(earlier: Sequence[Night], night: Night) -> dict[tuple[str, str], Streak]:
    """(column key, case id) -> how long the case has shown this, for every case that does not plainly conform.

    earlier: oldest first.
    """
    out = {}
    for key, column in night.columns.items():
        chain = list(_chain(key, earlier, night))
        for case, seen in column.listed.items():
            length = 1
            for _, previous in chain:
                if case not in previous.listed or _kind(previous.listed[case], seen) not in (None, "varies"):
                    break
                length += 1
            since = chain[length - 2][0] if length > 1 else night.started
            out[key, case] = Streak(length, since, at_least=length == len(chain) + 1)
    return out


def _chain(key: str, earlier: Sequence[Night], night: Night) -> Iterator[tuple[str, NightColumn]]:
    """(start, column) of each comparable night before, newest first."""
    for old in reversed(earlier):
        if night.comparable(old):
            return
        column = match(old, night).get(key)
        if column is None or column.state in ("incomplete", "empty"):
            continue  # a night without this machine, or that died, says nothing
        yield old.started, column


def _changes(label: str, old: NightColumn, new: NightColumn, out: Changes) -> None:
    """Append what changed in the cases of one column; of requirements of which other cases ran only what is red."""
    other = {name for name in {*old.cases, *new.cases} if old.cases.get(name) != new.cases.get(name)}
    for name in sorted(other):
        counts = [column.cases[name].count if name in column.cases else 0 for column in (old, new)]
        out.not_compared[f"{label} {name}"] = f"other cases ran: {counts[0]:,} before, {counts[1]:,} now"
    for case in {**old.listed, **new.listed}:
        requirement = (new.listed.get(case) or old.listed[case]).requirement
        conforms = Seen(requirement, "conforms", "")
        before, after = old.listed.get(case, conforms), new.listed.get(case, conforms)
        kind = _kind(before, after)
        if kind and (requirement not in other or (kind == "new" and after.verdict in RED)):
            out.changes.append(Change(kind, label, requirement, case, before, after))


def _kind(before: Seen, after: Seen) -> Kind | None:
    """None where nothing changed."""
    if before == after or (before.verdict in UNANSWERED and after.verdict in UNANSWERED):
        return None
    if after.verdict in UNANSWERED:
        return "lost"
    if before.verdict in UNANSWERED:
        return "gained" if after.verdict in ("conforms", "known deviation") else "new"
    if after.verdict == "conforms":
        return "fixed"
    if before.verdict == "conforms":
        return "new"
    return "varies" if before.verdict == after.verdict == "known deviation" else "changed"


def _facts(column: NightColumn) -> Mapping[str, str]:
    machine = column.machine
    return {
        "system": machine.os,
        "system build": machine.os_build,
        "chip": machine.chip,
        "python": machine.python,
        "machine id": machine.id,
    }


def _moved(label: str, old: Mapping[str, str], new: Mapping[str, str], without: Collection[str] = ()) -> list[Moved]:
    return [
        Moved(label, name, old.get(name, ""), new.get(name, ""))
        for name in sorted({*old, *new} - set(without))
        if old.get(name) != new.get(name)
    ]
