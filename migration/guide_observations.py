"""What was observed, kept in the repository: one compressed file per system, from a whole and green run.

``migration/observations/<system>.jsonl.xz``: a head, the outcomes that cases share, then a line per case with each
target's outcome. No machine is named, only its system and architecture; the same run gives the same bytes.
"""

from __future__ import annotations

import lzma
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from touchstone import files
from touchstone.errors import InputError
from touchstone.reports import kept, model
from touchstone.reports.cases import case_name
from touchstone.reports.model import Column, Report
from touchstone.reports.reading import ReportError
from touchstone.reports.records import SCHEMA, Device, EndLine, Machine, Number, Requirement, RunLine, Scalar, Target
from touchstone.verdict.rule import RED, Verdict

FOLDER = Path(__file__).parent / "observations"
SUFFIX = ".jsonl.xz"
FORMAT = 2
TARGETS = ("mlx", "jax", "torch", "reference")
"""Of each, one target must have run; a guide leads from any of them to any other."""
RECORD = "python -m tools.guides record DIR"
FULL_RUN = f"TOUCHSTONE_REQUIRE=mlx,jax,torch pytest suites/ --report DIR && {RECORD}"
_MOST = 256 * 2**20


class ObservationsError(InputError):
    """Observations that cannot be kept or used; the message names the file and what to do."""


class _Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    spec: str
    framework: bool
    versions: dict[str, str]
    date: str
    facts: dict[str, str] = {}
    """What the run recorded of the device: instructions and threads; empty in observations of before that."""


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    system: str
    suite_hash: str
    golden_hash: str
    targets: dict[str, _Recorded]
    requirements: dict[str, Requirement]


class _Outcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a case may come to; the texts are those of the deviation or pin that the verdict rests on."""

    verdict: Verdict
    behaviour: str
    conforms: bool
    note: str
    advice: str
    reproduction: str
    upstream: str
    page: str
    sometimes: str


class _Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The place of the target in the head, the place of the outcome, and max(error / bound)."""

    target: int
    outcome: int
    headroom: Number | None


class _Case(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    requirement: str
    params: dict[str, Scalar]
    cases: int
    answers: list[_Answer]


@dataclass(frozen=True)
class Observations:
    """One system's observations: a report whose columns hold their cases, and when each target was observed."""

    path: Path
    system: str
    dates: dict[str, str]
    report: Report

    def column(self, target: str) -> Column | None:
        """The column of ``name`` or ``name@device``."""
        return next((c for c in self.report.columns if target in (c.target, c.facts.spec)), None)

    def stamp(self, column: Column) -> str:
        """What each line of a guide rests on: ``torch@cpu, torch 2.13.0+cpu, Linux x86-64, 2026-11-21``."""
        versions = ", ".join(f"{name} {version}" for name, version in column.facts.versions.items())
        return f"{column.target}, {versions}, {self.system}, {self.dates[column.target]}"


def record(folder: Path, into: Path = FOLDER) -> list[Path]:
    """Keep the observations of a run's ``--report`` folder; the files written, one per system.

    Raises ObservationsError for a report that is not whole, not green, or not of every target in `TARGETS`.
    """
    try:
        report = model.load(folder)
    except ReportError as error:
        raise ObservationsError(str(error)) from error
    _refuse_unless_green(folder, report)
    systems: dict[str, list[Column]] = {}
    for column in report.columns:
        if column.facts.spec in TARGETS:
            systems.setdefault(kept.system_of(column.machine), []).append(column)
    for system, columns in systems.items():
        for name in TARGETS:
            if not any(column.facts.spec == name for column in columns):
                raise ObservationsError(f"{folder}: no case of {name} ran on {system}; {FULL_RUN}")
    written = []
    for system, columns in systems.items():
        path = into / f"{system.lower().replace(' ', '-')}{SUFFIX}"
        try:
            files.write(path, _encode(folder, report, system, columns))
        except OSError as error:
            raise ObservationsError(f"{path}: cannot be written ({error.strerror})") from error
        written.append(path)
    return written


def load(folder: Path = FOLDER) -> list[Observations]:
    """Every system's observations, by name. Raises ObservationsError for a folder without any, or a damaged file."""
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise ObservationsError(f"{folder}: holds no observations; {FULL_RUN}")
    return [_decode(path) for path in paths]


def _refuse_unless_green(folder: Path, report: Report) -> None:
    """Raises ObservationsError with the first reason."""
    for column in report.columns:
        if column.facts.unavailable:
            raise ObservationsError(f"{folder}: {column.label} was not run: {column.facts.unavailable}; {FULL_RUN}")
        if red := next((r for r in column.cases.values() if r.verdict in RED), None):
            raise ObservationsError(f"{folder}: not green: {red.verdict}: {red.id}; only green runs are recorded")
        if column.missing or column.in_flight:
            count = column.missing + len(column.in_flight)
            raise ObservationsError(
                f"{folder}: not whole: {count:,} cases of {column.label} have no answer; {FULL_RUN}"
            )
        _refuse_selection(folder, report, column)
    if report.state != "conforms":
        why = (report.faults or [f"its state is {report.state}"])[0]
        raise ObservationsError(f"{folder}: not green and whole: {why}; only such runs are recorded")


def _refuse_selection(folder: Path, report: Report, column: Column) -> None:
    """A run of some cases, or of a user's own tables, says less, or more, than the suites."""
    asked = Counter(r.requirement for r in _everywhere(column))
    for name, requirement in report.requirements.items():
        if asked[name] < requirement.cases:
            raise ObservationsError(
                f"{folder}: not whole: {asked[name]} of {requirement.cases} cases of {name} on "
                f"{column.label}; {FULL_RUN}"
            )
    for line in _everywhere(column):
        if not line.rerun.endswith(_rerun(line.id, line.target)):
            raise ObservationsError(f"{folder}: {line.id} needs more than the suites ({line.rerun}); {FULL_RUN}")


def _everywhere(column: Column) -> list[EndLine]:
    """Cases of every run: marked ones, such as generated cases, are asked with options of their own, or not here."""
    return [line for line in column.cases.values() if not line.marked]


def _rerun(identifier: str, target: str) -> str:
    return shlex.join(["touchstone", "run", identifier, "--adapter", target])


def _identifier(name: str, target: str) -> str:
    """The id of a case on a target; `touchstone.reports.cases.case_name` takes the target out again."""
    test, bracket, rest = name.partition("[")
    return f"{test}[{target}-{rest}" if bracket else f"{test}[{target}]"


def _encode(folder: Path, report: Report, system: str, columns: Sequence[Column]) -> bytes:
    columns = sorted(columns, key=lambda c: (TARGETS.index(c.facts.spec), c.target))
    started = {target: run.started[:10] for run in report.runs for target in run.planned}
    head = _Head(
        format=FORMAT,
        system=system,
        suite_hash=report.suite_hash,
        golden_hash=report.golden_hash,
        targets={
            c.target: _Recorded(
                spec=c.facts.spec,
                framework=c.facts.framework,
                versions=c.facts.versions,
                date=started[c.target],
                facts=c.facts.device.facts,
            )
            for c in columns
        },
        requirements=report.requirements,
    )
    outcomes: dict[_Outcome, int] = {}
    cases: dict[str, _Case] = {}
    for place, column in enumerate(columns):
        for line in _everywhere(column):
            name = case_name(line.id, line.target)
            if _identifier(name, line.target) != line.id:
                raise ObservationsError(f"{folder}: {line.id!r} does not begin with its target")
            fields = {f: getattr(line, f) for f in _Outcome.__struct_fields__}
            outcome = outcomes.setdefault(_Outcome(**fields), len(outcomes))
            one = cases.setdefault(name, _Case(name, line.requirement, line.params, line.cases, []))
            if (one.requirement, one.params) != (line.requirement, line.params):
                raise ObservationsError(f"{folder}: {name!r} has other parameters on {line.target}")
            one.answers.append(_Answer(place, outcome, kept.short(line.headroom)))
    ranked = sorted(outcomes, key=msgspec.json.encode)
    places = {outcomes[outcome]: place for place, outcome in enumerate(ranked)}
    lines: list[Any] = [head, ranked]
    for _, one in sorted(cases.items()):
        answers = [_Answer(a.target, places[a.outcome], a.headroom) for a in one.answers]
        lines.append(msgspec.structs.replace(one, answers=answers))
    return kept.encode(lines)


def _decode(path: Path) -> Observations:
    try:
        found = kept.lines(path, _MOST)
        head = msgspec.json.decode(found[0], type=_Head)
        if head.format != FORMAT:
            raise ObservationsError(f"{path}: has format {head.format}, this version reads {FORMAT}; {FULL_RUN}")
        outcomes = msgspec.json.decode(found[1], type=list[_Outcome])
        cases = [msgspec.json.decode(line, type=_Case) for line in found[2:]]
        return Observations(
            path,
            head.system,
            {target: recorded.date for target, recorded in head.targets.items()},
            _report(path, head, outcomes, cases),
        )
    except (lzma.LZMAError, OSError, EOFError, ValueError, IndexError, KeyError) as error:
        raise ObservationsError(
            f"{path}: is damaged ({error}); restore it from version control, or: {FULL_RUN}"
        ) from error


def _report(path: Path, head: _Head, outcomes: Sequence[_Outcome], cases: Sequence[_Case]) -> Report:
    name, _, architecture = head.system.partition(" ")
    machine = Machine(
        id="",
        chip="",
        model="",
        architecture=architecture,
        cores=0,
        memory=0,
        os=name,
        os_build="",
        virtual=False,
        python="",
    )
    device = Device(name="", chip="", os=name, os_build="", paravirtual=False, precision={})
    facts = kept.facts_of(head.system)
    columns = [
        Column(
            target,
            machine,
            Target(
                spec=recorded.spec,
                framework=recorded.framework,
                versions=recorded.versions,
                device=msgspec.structs.replace(device, facts={**facts, **recorded.facts}),
            ),
            target,
        )
        for target, recorded in head.targets.items()
    ]
    for case in cases:
        for answer in case.answers:
            column = columns[answer.target]
            line = _end(head, column, case, outcomes[answer.outcome], answer)
            column.cases[line.id] = line
            column.planned += 1
    run = RunLine(
        schema=SCHEMA,
        run=path.name,
        process="main",
        started=f"{max(r.date for r in head.targets.values())}T00:00:00+00:00",
        command=[],
        suite_hash=head.suite_hash,
        golden_hash=head.golden_hash,
        machine=machine,
        packages={},
        targets={c.target: c.facts for c in columns},
        requirements=head.requirements,
        planned={c.target: c.planned for c in columns},
    )
    return Report(columns, [run], head.requirements, [])


def _end(head: _Head, column: Column, case: _Case, outcome: _Outcome, answer: _Answer) -> EndLine:
    identifier = _identifier(case.name, column.target)
    return EndLine(
        schema=SCHEMA,
        run="",
        id=identifier,
        target=column.target,
        spec=column.facts.spec,
        versions=column.facts.versions,
        device=column.facts.device,
        machine="",
        suite_hash=head.suite_hash,
        golden_hash=head.golden_hash,
        requirement=case.requirement,
        params=case.params,
        rerun=_rerun(identifier, column.target),
        duration=0,
        cases=case.cases,
        marked=False,
        headroom=answer.headroom,
        **msgspec.structs.asdict(outcome),
    )
