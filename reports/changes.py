"""What changed between two nights, and for how many nights each departure has been seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from touchstone.reports import history, model
from touchstone.reports.history import Night, NightColumn, Seen, night_of
from touchstone.reports.model import Report
from touchstone.reports.reading import Progress, ReportError
from touchstone.verdict.rule import RED, UNANSWERED

_NAMED = 3
"""Most requirements that are named where other cases of them ran."""
NOT_THERE = ("not run", "not in the previous run")
"""Verdict and behaviour of a case of which the earlier run says nothing."""
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
    compared: int = 0
    """Columns whose cases were compared."""
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
        if key not in pairs:
            out.not_compared[column.label] = "not in the previous run"
            continue
        previous = old.columns[pairs[key]]
        out.versions += _moved(column.label, previous.versions, column.versions)
        out.packages += _moved(column.label, previous.packages, column.packages, column.versions.keys())
        out.environment += _moved(column.label, _facts(previous), _facts(column))
        if not reason:
            out.compared += 1
            if incomplete := next((c for c in (previous, column) if c.state in ("incomplete", "empty")), None):
                which = "previous" if incomplete is previous else "newer"
                out.not_compared[column.label] = f"the {which} run is {incomplete.state}"
            _changes(column.label, previous, column, out)
    for key in old.columns.keys() - pairs.values():
        out.not_compared[old.columns[key].label] = "only in the previous run"
    return out


def compare_reports(old: Report, new: Report) -> Changes:
    """As `compare`, of two reports whose every record is at hand.

    Compared are the cases that both hold, and what is red only in the newer one.
    """
    pairs = match(night_of(old), night_of(new))
    before, after = ({c.key: c for c in report.columns} for report in (old, new))
    both = {key: before[pairs[key]].cases.keys() & after[key].cases.keys() for key in pairs}
    out = compare(night_of(old, {pairs[key]: ids for key, ids in both.items()}), night_of(new, both))
    for key, ids in both.items():
        column = after[key]
        rest = [r for r in column.cases.values() if r.id not in ids]
        gone = len(before[pairs[key]].cases) - len(ids)
        if rest or gone:
            out.not_compared[f"{column.label} cases"] = (
                f"{gone:,} ran in the previous run only, {len(rest):,} in the newer run only"
            )
        for record in rest:
            if record.verdict in RED:
                seen = Seen(record.requirement, record.verdict, record.behaviour)
                before_it = Seen(record.requirement, *NOT_THERE)
                out.changes.append(Change("new", column.label, record.requirement, record.id, before_it, seen))
    return out


def compare_inputs(old: Path, new: Path, progress: Progress = lambda _: None) -> Changes:
    """As `compare`, of two report folders or nights; `old` may be a history, of which the latest whole night counts.

    Raises ReportError for input that is none of these, holds no answered case or is truncated.
    """
    if new.is_file():
        after = usable(history.read(new), new)
        return compare(_before(old, after, progress), after)
    return compare_previous(old, _loaded(new, progress), progress)


def compare_previous(old: Path, new: Report, progress: Progress = lambda _: None) -> Changes:
    """As `compare`, of an earlier folder, night or history and a report at hand. Raises ReportError likewise."""
    if old.is_file() or history.is_history(old):
        tonight = night_of(new)
        return compare(_before(old, tonight, progress), tonight)
    return compare_reports(_loaded(old, progress), new)


def _before(old: Path, night: Night, progress: Progress) -> Night:
    """What `night` is compared with: a night's file, the latest of a history, or a folder's report."""
    if old.is_file():
        return usable(history.read(old), old)
    if not history.is_history(old):
        return night_of(_loaded(old, progress))
    earlier = history.before(history.load(old), night)
    if not earlier:
        raise ReportError(f"{old}: holds no night before {night.started}")
    return history.latest(earlier)


def _loaded(folder: Path, progress: Progress) -> Report:
    return usable(model.load(folder, progress), folder)


Whole = TypeVar("Whole", Report, Night)


def usable(report: Whole, path: Path) -> Whole:
    """The report or night, where it can be compared.

    Raises ReportError, naming `path`, where it is empty or truncated.
    """
    if report.state == "empty":
        raise ReportError(f"{path}: no framework answered a case, there is nothing to compare")
    if report.problems:
        raise ReportError(f"{path}: truncated: {report.problems[0]}")
    return report


def match(old: Night, new: Night) -> dict[str, str]:
    """Newer column's key -> that of its predecessor: the same key, else the only one of that target and system."""
    out = {key: key for key in new.columns if key in old.columns}
    rest = {key: column for key, column in new.columns.items() if key not in out}
    free = {key: column for key, column in old.columns.items() if key not in out}
    for key, column in rest.items():
        candidates = [k for k, c in free.items() if (c.target, c.system) == (column.target, column.system)]
        rivals = [k for k, c in rest.items() if (c.target, c.system) == (column.target, column.system)]
        if len(candidates) == len(rivals) == 1:
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
            length, since, at_least = 1, night.started, True
            for started, previous in chain:
                if case not in previous.listed and _cases_differ(previous, column, seen.requirement):
                    continue  # it says nothing of this case
                if case not in previous.listed or _kind(previous.listed[case], seen) not in (None, "varies"):
                    at_least = False
                    break
                length, since = length + 1, started
            out[key, case] = Streak(length, since, at_least)
    return out


def _chain(key: str, earlier: Sequence[Night], night: Night) -> Iterator[tuple[str, NightColumn]]:
    """(start, column) of each comparable night before, newest first."""
    for old in reversed(earlier):
        if night.comparable(old):
            return
        column = old.columns.get(match(old, night).get(key, ""))
        if column is None or column.state in ("incomplete", "empty"):
            continue  # a night without this machine, or that died, says nothing
        yield old.started, column


def _cases_differ(old: NightColumn, new: NightColumn, requirement: str) -> bool:
    return old.cases.get(requirement) != new.cases.get(requirement)


def _changes(label: str, old: NightColumn, new: NightColumn, out: Changes) -> None:
    """Append what changed in the cases of one column; of requirements of which other cases ran only what is red."""
    other = {name for name in {*old.cases, *new.cases} if _cases_differ(old, new, name)}
    if other:
        counts = [
            f"{name} ({old.cases[name].count if name in old.cases else 0:,} before,"
            f" {new.cases[name].count if name in new.cases else 0:,} now)"
            for name in sorted(other)
        ]
        more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
        out.not_compared.setdefault(label, f"other cases ran of {', '.join(counts[:_NAMED])}{more}")
    for case in {**old.listed, **new.listed}:
        before, after = old.listed.get(case), new.listed.get(case)
        requirement = (after or before).requirement  # type: ignore[union-attr]
        if after is None and requirement in other:
            continue  # it conforms, or did not run
        conforms = Seen(requirement, "conforms", "")
        unknown = before is None and requirement in other
        before = Seen(requirement, *NOT_THERE) if unknown else before or conforms
        after = after or conforms
        kind = _kind(before, after)
        if kind and (not unknown or after.verdict in RED):
            out.changes.append(Change(kind, label, requirement, case, before, after))
    for origin, requirement in new.stale.items():
        if origin not in old.stale:
            stale = Seen(requirement, "stale deviation", "every case conforms")
            out.changes.append(
                Change("new", label, requirement, origin, Seen(requirement, "known deviation", ""), stale)
            )


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
        **machine.facts,
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
