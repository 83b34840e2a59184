"""What a report shows: columns, each one target on one machine, with their cases, and whether the run is whole."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from touchstone.reports import reading
from touchstone.reports.reading import Progress, ReportError
from touchstone.reports.records import (
    BenchmarkLine,
    EndLine,
    FinishLine,
    Line,
    Machine,
    ProblemLine,
    Requirement,
    RunLine,
    StartLine,
    Target,
)
from touchstone.reports.stale import not_seen_here, stale_deviations, unconfirmed
from touchstone.verdict.rule import RED, UNANSWERED

State = Literal["conforms", "deviates", "unreviewed", "incomplete", "empty", "unsupported"]
"""Of a column or a report; only the first is green. unsupported: the target declares that it cannot answer any of the
cases it was asked, or was asked none; a report is not in this state."""

_EXIT = {2: "was interrupted", 3: "met an internal error", 4: "was started wrongly", 5: "collected no case"}
"""https://docs.pytest.org/en/stable/reference/exit-codes.html"""


@dataclass
class Column:
    """One target on one machine. `in_flight`: cases that began and did not end."""

    target: str
    machine: Machine
    facts: Target
    label: str = ""
    cases: dict[str, EndLine] = field(default_factory=dict)
    in_flight: list[StartLine] = field(default_factory=list)
    planned: int = 0
    collected: int = 0
    """Cases that one run of the whole selection had, those that it deselected included; shards have the same."""
    benchmarks: list[BenchmarkLine] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Stable between nights on runners of one kind: target, system without its minor version, chip."""
        return f"{self.target} · {self.system} · {self.machine.chip}"

    @property
    def system(self) -> str:
        """The operating system by its major version ("macOS 15"), Ubuntu's with both parts ("Ubuntu 24.04")."""
        return re.sub(r"^(macOS \d+).*", r"\1", self.machine.os)

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(r.verdict for r in self.cases.values())

    @cached_property
    def stale(self) -> dict[str, int]:
        """Deviations some of whose cases may conform, of which every case does -> how many those are."""
        return stale_deviations(self.cases.values())

    @cached_property
    def unconfirmed(self) -> dict[str, int]:
        """As `stale`, of those that are assumed on this device, where nobody has seen them."""
        return unconfirmed(self.cases.values())

    @cached_property
    def not_seen_here(self) -> dict[str, int]:
        """Remark on an entry that holds on other machines -> number of its cases that ran and do not show it."""
        return not_seen_here(self.cases.values())

    @property
    def deselected(self) -> int:
        return max(0, self.collected - self.planned)

    @property
    def answered(self) -> int:
        return sum(n for verdict, n in self.counts.items() if verdict not in UNANSWERED)

    @property
    def missing(self) -> int:
        """Cases that were to run and have no record."""
        return max(0, self.planned - len(self.cases))

    @property
    def state(self) -> State:
        if self.missing or self.in_flight:
            return "incomplete" if self.answered else "empty"
        if not self.answered:
            return "unsupported"
        if any(self.counts[v] for v in RED - {"unreviewed"}) or self.stale:
            return "deviates"
        return "unreviewed" if self.counts["unreviewed"] or self.unconfirmed or self.facts.bootstrap else "conforms"


@dataclass
class Report:
    """Several runs, of one machine or many, as one. `problems` says why it is not whole, a sentence each."""

    columns: list[Column]
    runs: list[RunLine]
    requirements: dict[str, Requirement]
    problems: list[str]

    @property
    def missing_shares(self) -> list[str]:
        """Shares of a divided run that are not here, a sentence for each number of shares."""
        held: dict[int, set[int]] = {}
        for run in self.runs:
            if run.share:
                held.setdefault(run.share[1], set()).add(run.share[0])
        out = []
        for count, shares in held.items():
            if lacking := sorted(set(range(1, count + 1)) - shares):
                out.append(f"share {', '.join(map(str, lacking))} of {count} is missing: merge its report too")
        return out

    @property
    def suite_hash(self) -> str:
        return next((r.suite_hash for r in self.runs if r.planned or r.requirements), "")

    @property
    def golden_hash(self) -> str:
        return next((r.golden_hash for r in self.runs if r.golden_hash), "")

    @property
    def started(self) -> str:
        """When the first of the runs of suites began, or of any where there is none."""
        return min(r.started for r in self.suite_runs)

    @property
    def suite_runs(self) -> list[RunLine]:
        """The runs that asked cases, or all where they only timed benchmarks."""
        return [r for r in self.runs if r.requirements] or self.runs

    @property
    def id(self) -> str:
        """The run's own, or a hash of several runs' ids."""
        ids = sorted(r.run for r in self.suite_runs)
        return ids[0] if len(ids) == 1 else hashlib.sha256(" ".join(ids).encode()).hexdigest()[:32]

    @property
    def state(self) -> State:
        """Empty where no framework answered a case; else the worst of its parts."""
        if not any(c.answered for c in self.columns if c.facts.framework):
            return "empty"
        states: set[State] = {c.state for c in self.columns}
        if self.problems or "incomplete" in states or "empty" in states:
            return "incomplete" if "deviates" not in states else "deviates"
        return next((s for s in ("deviates", "unreviewed") if s in states), "conforms")

    @property
    def faults(self) -> list[str]:
        """Why the report is not green, apart from its cases: for formats that know nothing but cases."""
        stale = [
            f"{column.label}: all {count} cases of {origin} conform: remove it"
            for column in self.columns
            for origin, count in column.stale.items()
        ]
        assumed = [
            f"{column.label}: {origin} was assumed here, and none of its {count} cases shows it: narrow where it holds"
            for column in self.columns
            for origin, count in column.unconfirmed.items()
        ]
        first = [
            f"{column.label}: a first run under --bootstrap, which nobody has reviewed"
            for column in self.columns
            if column.facts.bootstrap
        ]
        empty = ["no framework answered a single case"] if self.state == "empty" else []
        return [*self.problems, *stale, *assumed, *first, *empty]

    @property
    def asked(self) -> list[str]:
        """Requirements with a case, in their order of definition."""
        seen = {r.requirement for c in self.columns for r in c.cases.values()}
        return [name for name in self.requirements if name in seen]

    @property
    def records(self) -> Iterable[EndLine]:
        return (r for c in self.columns for r in c.cases.values())


def load(folders: Path | Sequence[Path], progress: Progress = lambda _: None) -> Report:
    """The report of one folder, or of several as one.

    Raises ReportError, naming the file, for folders that are no reports, malformed lines, a case that ended twice, and
    runs of other suites, golden data or framework versions than the rest.
    """
    builder = _Builder()
    paths = [p for f in ([folders] if isinstance(folders, Path) else folders) for p in reading.files(f)]
    for path in paths:
        for line in reading.lines(path, progress):
            builder.add(line, path)
    if not builder.runs:
        raise ReportError(f"{paths[0]}: holds no record: the run ended before its first case")
    return builder.report()


class _Builder:
    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], RunLine] = {}
        self.finished: dict[tuple[str, str], FinishLine] = {}
        self.columns: dict[str, Column] = {}
        self.begun: dict[tuple[str, str], StartLine] = {}
        self.ended_in: dict[tuple[str, str], Path] = {}
        self.origin: dict[str, Path] = {}
        self.told: list[str] = []

    def add(self, line: Line, path: Path) -> None:
        if isinstance(line, RunLine):
            self._begin(line, path)
        elif isinstance(line, ProblemLine):
            self.told.append(line.text)
        elif isinstance(line, FinishLine):
            self.finished[line.run, line.process] = line
        elif isinstance(line, StartLine):
            self.begun[line.run, line.id] = line
        elif isinstance(line, BenchmarkLine):
            self._once(line, path).benchmarks.append(line)
        else:
            self._end(line, path)

    def _begin(self, line: RunLine, path: Path) -> None:
        for other in self.runs.values():
            asks = line.requirements and other.requirements
            for name in ("suite_hash", "golden_hash"):
                ours, theirs = getattr(line, name), getattr(other, name)
                if asks and ours != theirs:
                    raise ReportError(
                        f"{path}: {name} {ours} differs from {theirs} of {self.origin[other.run]}; "
                        "runs of other suites or golden data cannot be shown as one"
                    )
        known = [r for r in self.runs.values() if r.run == line.run]
        self.runs[line.run, line.process] = line
        self.origin[line.run] = path
        plans = line.planned and not any(r.planned for r in known)  # parallel workers all hold the one plan
        for name, facts in line.targets.items():
            column = self._column(line.run, name, path, facts)
            if plans:
                planned = line.planned.get(name, 0)
                column.planned += planned
                column.collected = max(column.collected, planned + line.deselected.get(name, 0))

    def _column(self, run: str, target: str, path: Path, facts: Target | None = None) -> Column:
        header = next((r for r in self.runs.values() if r.run == run), None)
        if header is None:
            raise ReportError(f"{path}: records of run {run} come before its run line, or without one")
        facts = facts or header.targets.get(target)
        if facts is None:
            raise ReportError(f"{path}: records of {target}, which is no target of their run")
        new = Column(target, header.machine, facts)
        column = self.columns.setdefault(new.key, new)
        if column.facts.versions != facts.versions:
            raise ReportError(
                f"{path}: {target} {_spell(facts)} here, {_spell(column.facts)} elsewhere on the same kind of machine; "
                "versions cannot be shown as one"
            )
        return column

    def _once(self, line: EndLine | BenchmarkLine, path: Path) -> Column:
        """The line's column, where it is the first of its id there."""
        column = self._column(line.run, line.target, path)
        if first := self.ended_in.get((column.key, line.id)):
            raise ReportError(f"{path}: {line.id} on {column.key} has a record already, in {first}")
        self.ended_in[column.key, line.id] = path
        return column

    def _end(self, line: EndLine, path: Path) -> None:
        self._once(line, path).cases[line.id] = line
        self.begun.pop((line.run, line.id), None)

    def report(self) -> Report:
        for (run, _), line in self.begun.items():
            self._column(run, line.target, self.origin.get(run, Path())).in_flight.append(line)
        columns = sorted(self.columns.values(), key=lambda c: (not c.facts.framework, c.target.split("@")[0], c.key))
        _label(columns)
        requirements: dict[str, Requirement] = {}
        for header in self.runs.values():
            for name, requirement in header.requirements.items():
                if name not in requirements or requirement.cases > requirements[name].cases:
                    requirements[name] = requirement
        report = Report(columns, self._headers(), requirements, [*self.told, *self._problems(columns)])
        report.problems += report.missing_shares
        return report

    def _headers(self) -> list[RunLine]:
        """One line per run: that of a process that planned cases, else any."""
        best: dict[str, RunLine] = {}
        for line in self.runs.values():
            if line.run not in best or (line.planned and not best[line.run].planned):
                best[line.run] = line
        return sorted(best.values(), key=lambda r: r.started)

    def _problems(self, columns: Sequence[Column]) -> Iterable[str]:
        for run in self._headers():
            origin = self.origin[run.run]
            end = self.finished.get((run.run, "main"))
            if end is None:
                yield f"{origin}: the run did not come to its end: it was killed, or is still running"
            elif end.exit_status not in (0, 1):
                meaning = _EXIT.get(end.exit_status, "ended")
                yield f"{origin}: the run {meaning} (exit status {end.exit_status} of pytest)"
            elif end.exit_status == 1 and run.requirements and not _explains(run, columns):
                yield f"{origin}: the run failed for a reason that no verdict shows"
            if (
                run.requirements
                and not run.planned
                and any(r.run == run.run for c in columns for r in c.cases.values())
            ):
                yield f"{origin}: no process of the run says how many cases were planned"
        for column in columns:
            for line in column.in_flight:
                yield f"{column.label}: {line.id} began and did not end; rerun it with: {line.rerun}"
            if (rest := column.missing - len(column.in_flight)) > 0:
                yield f"{column.label}: {rest:,} of {column.planned:,} cases have no record"


def _explains(run: RunLine, columns: Sequence[Column]) -> bool:
    """Whether the run's exit status 1 follows from what is recorded of it."""
    for column in columns:
        if column.facts.bootstrap and column.target in run.targets:
            return True
        own = [r for r in column.cases.values() if r.run == run.run]
        stale = any(r.sometimes in column.stale or r.sometimes in column.unconfirmed for r in own)
        if stale or any(r.verdict in RED for r in own) or any(line.run == run.run for line in column.in_flight):
            return True
    return not any(c.answered for c in columns if c.facts.framework and c.target in run.targets)


def _spell(facts: Target) -> str:
    return ", ".join(f"{n} {v}" for n, v in facts.versions.items()) or "not installed"


def _label(columns: Sequence[Column]) -> None:
    """The shortest of target, target and system, and the key that tells a column from the others."""
    ways = (lambda c: c.target, lambda c: f"{c.target} · {c.system}", lambda c: c.key)
    for column in columns:
        for way in ways:
            column.label = way(column)
            if sum(way(c) == column.label for c in columns) == 1:
                break
