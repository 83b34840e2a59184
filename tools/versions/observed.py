"""What every release did in every case, kept in the repository: one compressed file per adapter.

``tools/versions/observations/<adapter>.jsonl.xz``: a head, the classes of behaviour, then a line per case with
what changed from one release to the next. The same records give the same bytes; no machine is named, only its system.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import Version

from tools.versions.releases import Release, VersionsError
from tools.versions.running import ERROR
from touchstone import files
from touchstone.reports import kept, model
from touchstone.reports.cases import case_name
from touchstone.reports.model import Column
from touchstone.reports.reading import ReportError
from touchstone.reports.records import Number, Scalar

FOLDER = Path(__file__).parent / "observations"
SUFFIX = ".jsonl.xz"
FORMAT = 1
_MOST = 256 * 2**20
AGAIN = "run: python -m tools.versions run && python -m tools.versions record"


class Ran(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release: its versions and the day, or the error for which it did not run."""

    version: str
    spelled: str
    date: str = ""
    error: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a file: whose releases were observed, where, and with which suites."""

    format: int
    adapter: str
    target: str
    system: str
    suite_hash: str
    golden_hash: str
    releases: list[Ran]
    required: dict[str, bool]
    """Requirement -> whether its level is required; else characterised."""
    facts: dict[str, str] = {}
    """What the runs recorded of the device: instructions and threads; empty in observations of before that."""


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """From release number `since` on: the place of the class of behaviour, whether it conforms, max(error / bound)."""

    since: int
    behaviour: int
    conforms: bool
    headroom: Number | None


class Case(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A line of a file: one case, and what changed in it from one release to the next."""

    name: str
    requirement: str
    params: dict[str, Scalar]
    answers: list[Answer]


@dataclass(frozen=True)
class Outcome:
    """What one release did in one case; the empty behaviour where it was not asked."""

    behaviour: str
    conforms: bool
    headroom: Number | None


NOTHING = Outcome("", False, None)


@dataclass(frozen=True)
class Observed:
    """One adapter's releases, oldest first, and each case's outcome in each that ran (in the order of `ran`)."""

    head: Head
    cases: Mapping[str, tuple[str, Mapping[str, Scalar], Sequence[Outcome]]]

    @property
    def ran(self) -> list[Ran]:
        return [release for release in self.head.releases if not release.error]


def record(releases: Sequence[Release], records: Path, into: Path = FOLDER) -> list[Path]:
    """Keep what the runs below `records` saw; the files written, one per adapter.

    Raises VersionsError for a release without a run, a run that is not whole, and runs of unlike suites.
    """
    written = []
    for adapter in dict.fromkeys(release.adapter for release in releases):
        path = into / f"{adapter}{SUFFIX}"
        own = [release for release in releases if release.adapter == adapter]
        content = _encode(adapter, [(release, _column(release, records / release.name)) for release in own])
        try:
            files.write(path, content)
        except OSError as error:
            raise VersionsError(f"{path}: cannot be written ({error.strerror})") from error
        written.append(path)
    return written


def load(folder: Path = FOLDER) -> list[Observed]:
    """Every adapter's observations. Raises VersionsError for a folder without any, or a damaged file."""
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise VersionsError(f"{folder}: holds no observations; {AGAIN}")
    return [_decode(path) for path in paths]


@dataclass(frozen=True)
class _Run:
    """One release's records: its column, the day and the hashes."""

    column: Column
    date: str
    suite_hash: str
    golden_hash: str
    required: dict[str, bool]


def _column(release: Release, folder: Path) -> _Run | str:
    """The records of one release, or the error in their place."""
    if (folder / ERROR).is_file():
        return (folder / ERROR).read_text().strip()
    try:
        report = model.load(folder)
    except ReportError as error:
        raise VersionsError(f"{error}; {AGAIN}") from error
    (column,) = report.columns
    seen = next(iter(column.facts.versions.values()), "none")
    if Version(seen).public != Version(release.version).public:
        raise VersionsError(
            f"{folder}: is a run of {seen}, not of {release.name}; run: python -m tools.versions run --again"
        )
    answered = len(column.cases)
    if answered < column.planned:
        raise VersionsError(f"{folder}: not whole: {answered:,} of {column.planned:,} cases have an end; run it again")
    required = {name: r.level == "required" for name, r in report.requirements.items()}
    date = report.started[:10]
    return _Run(column, date, report.suite_hash, report.golden_hash, required)


def _outcomes(run: _Run) -> Iterator[tuple[str, str, Mapping[str, Scalar], Outcome]]:
    """(name, requirement, params, outcome) of every case that was asked."""
    target = run.column.target
    for line in run.column.cases.values():
        if line.verdict in ("unsupported", "not run"):
            continue
        outcome = Outcome(line.behaviour, line.conforms, kept.short(line.headroom))
        yield case_name(line.id, target), line.requirement, line.params, outcome


def _encode(adapter: str, found: Sequence[tuple[Release, _Run | str]]) -> bytes:
    runs = [run for _, run in found if isinstance(run, _Run)]
    if not runs:
        raise VersionsError(f"no release of {adapter} ran: {found[0][1]}")
    first = runs[0]
    for run in runs:
        if (run.suite_hash, run.golden_hash) != (first.suite_hash, first.golden_hash):
            raise VersionsError(f"the releases of {adapter} ran with unlike suites; {AGAIN} --again")
    releases = []
    for release, each in found:
        if isinstance(each, str):
            releases.append(Ran(version=release.version, spelled=release.spelled, error=each))
        else:
            releases.append(Ran(version=release.version, spelled=_spell(release, each), date=each.date))
    head = Head(
        format=FORMAT,
        adapter=adapter,
        target=first.column.target,
        system=kept.system_of(first.column.machine),
        facts=first.column.facts.device.facts,
        suite_hash=first.suite_hash,
        golden_hash=first.golden_hash,
        releases=releases,
        required=dict(sorted(first.required.items())),
    )
    cases: dict[str, tuple[str, Mapping[str, Scalar], list[Outcome]]] = {}
    for number, run in enumerate(runs):
        for name, requirement, params, outcome in _outcomes(run):
            row = cases.setdefault(name, (requirement, params, [NOTHING] * len(runs)))[2]
            row[number] = outcome
    classes = sorted({outcome.behaviour for _, _, row in cases.values() for outcome in row})
    lines: list[Any] = [head, classes]
    for name, (requirement, params, row) in sorted(cases.items()):
        answers = [
            Answer(number, classes.index(outcome.behaviour), outcome.conforms, outcome.headroom)
            for number, outcome in enumerate(row)
            if number == 0 or outcome != row[number - 1]
        ]
        lines.append(Case(name, requirement, dict(params), answers))
    return kept.encode(lines)


def _spell(release: Release, run: _Run) -> str:
    """The versions that the overlay holds; those of the record where the release is the environment's own."""
    if release.install:
        return release.spelled
    return ", ".join(f"{name} {version}" for name, version in run.column.facts.versions.items())


def _decode(path: Path) -> Observed:
    try:
        lines = kept.lines(path, _MOST)
        head = msgspec.json.decode(lines[0], type=Head)
        if head.format != FORMAT:
            raise VersionsError(f"{path}: has format {head.format}, this version reads {FORMAT}; {AGAIN}")
        classes = msgspec.json.decode(lines[1], type=list[str])
        cases = [msgspec.json.decode(line, type=Case) for line in lines[2:]]
        count = sum(not release.error for release in head.releases)
        return Observed(head, {c.name: (c.requirement, c.params, _row(c.answers, classes, count)) for c in cases})
    except (lzma.LZMAError, OSError, EOFError, ValueError, IndexError) as error:
        raise VersionsError(f"{path}: is damaged ({error}); restore it from version control, or {AGAIN}") from error


def _row(answers: Sequence[Answer], classes: Sequence[str], count: int) -> list[Outcome]:
    if not answers or answers[0].since != 0:
        raise ValueError("a case does not begin with the first release")
    row: list[Outcome] = []
    for answer, following in zip(answers, [*answers[1:], None], strict=True):
        until = following.since if following else count
        row += [Outcome(classes[answer.behaviour], answer.conforms, answer.headroom)] * (until - answer.since)
    if len(row) != count:
        raise ValueError("a case has not one outcome for every release")
    return row
