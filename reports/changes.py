"""What changed between two nights, and for how many nights each departure has been seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reports import history, model
from reports.history import Night, NightColumn, Seen, night_of
from reports.model import Report
from reports.reading import Progress, ReportError
from reports.records import RED, UNANSWERED

_NAMED = 3
"""Most requirements that are named where other cases of them ran."""
_NOT_THERE = Seen("", "not run", "not in the previous run")
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
        if key not in pairs:
            out.not_compared[column.label] = "not in the previous run"
            continue
        previous = old.columns[pairs[key]]
        out.versions += _moved(column.label, previous.versions, column.versions)
        out.packages += _moved(column.label, previous.packages, column.packages, column.versions.keys())
        out.environment += _moved(column.label, _facts(previous), _facts(column))
        if not reason:
            if incomplete := next((c for c in (previous, column) if c.state in ("incomplete", "empty")), None):
                which = "previous" if incomplete is previous else "newer"
                out.not_compared[column.label] = f"the {which} run is {incomplete.state}"
            _changes(column.label, previous, column, out)
    for key in old.columns.keys() - pairs.values():
        out.not_compared[old.columns[key].label] = "only in the previous run"
    return out


def compare_reports(old: Report, new: Report) -> Changes:
    """As `compare`, of two reports whose every record is at hand: the cases that both hold, and what is red only in
    the newer one."""
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
                out.changes.append(Change("new", column.label, record.requirement, record.id, _NOT_THERE, seen))
    return out


def compare_inputs(old: Path, new: Path, progress: Progress = lambda _: None) -> Changes:
    """As `compare`, of two report folders or nights; `old` may be a history, of which the latest whole night counts.

    Raises ReportError for input that is none of these, holds no answered case or is truncated.
    """
    if new.is_file():
        after = history.read(new)
        before = history.read(old) if old.is_file() else night_of(usable(model.load(old, progress), old))
        return compare(before, after)
    return compare_previous(old, usable(model.load(new, progress), new), progress)


def compare_previous(old: Path, new: Report, progress: Progress = lambda _: None) -> Changes:
    """As `compare`, of an earlier folder, night or history and a report at hand. Raises ReportError likewise."""
    if old.is_file():
        return compare(history.read(old), night_of(new))
    if history.is_history(old):
        tonight = night_of(new)
        earlier = history.before(history.load(old), tonight)
        if not earlier:
            raise ReportError(f"{old}: holds no night before {tonight.started}")
        return compare(history.latest(earlier), tonight)
    return compare_reports(usable(model.load(old, progress), old), new)


def usable(report: Report, path: Path) -> Report:
    """The report, where it can be compared. Raises ReportError, naming `path`, where it is empty or truncated."""
    if report.state == "empty":
        raise ReportError(f"{path}: no framework answered a case, there is nothing to compare")
    if report.problems:
        raise ReportError(f"{path}: truncated: {report.problems[0]}")
    return report


def match(old: Night, new: Night) -> dict[str, str]:
    """Newer column's key -> that of its predecessor: the same key, else the only one of that target and system, else
    of that target."""
    out = {key: key for key in new.columns if key in old.columns}
    for alike in (lambda c: (c.target, c.system), lambda c: c.target):
        rest = {key: column for key, column in new.columns.items() if key not in out}
        free = {key: column for key, column in old.columns.items() if key not in out.values()}
        for key, column in rest.items():
            candidates = [k for k, c in free.items() if alike(c) == alike(column)]
            rivals = [k for k, c in rest.items() if alike(c) == alike(column)]
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
        column = old.columns.get(match(old, night).get(key, ""))
        if column is None or column.state in ("incomplete", "empty"):
            continue  # a night without this machine, or that died, says nothing
        yield old.started, column


def _changes(label: str, old: NightColumn, new: NightColumn, out: Changes) -> None:
    """Append what changed in the cases of one column; of requirements of which other cases ran only what is red."""
    other = {name for name in {*old.cases, *new.cases} if old.cases.get(name) != new.cases.get(name)}
    if other:
        counts = [
            f"{name} ({old.cases[name].count if name in old.cases else 0:,} before,"
            f" {new.cases[name].count if name in new.cases else 0:,} now)"
            for name in sorted(other)
        ]
        more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
        out.not_compared.setdefault(label, f"other cases ran of {', '.join(counts[:_NAMED])}{more}")
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
