"""What is kept of a night: one compact file, enough to compare it with any other night.

Cases that plainly conform are counted, not listed: between nights of one suite and one golden hash the cases of a
column are the same, so that a case which is not listed conformed.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from touchstone.reports.model import Column, Report, State
from touchstone.reports.reading import ReportError
from touchstone.reports.records import BenchmarkLine, Machine

SCHEMA = 1
SUFFIX = ".night.json.gz"
PATTERN = f"*{SUFFIX}"


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What a case that does not plainly conform showed."""

    requirement: str
    verdict: str
    behaviour: str


class CaseSet(msgspec.Struct, frozen=True, array_like=True):
    """Which cases of a requirement ended: their number, and a digest of their ids."""

    count: int
    digest: str


class NightColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One target on one machine in one night.

    listed: case id -> what it showed, of every case whose verdict is not "conforms". headroom: "REQUIREMENT dtype" ->
    the largest finite one. cases: requirement -> those that ended, conforming ones included. stale: deviation that
    no case shows any more -> its requirement.
    """

    target: str
    label: str
    system: str
    framework: bool
    state: State
    machine: Machine
    versions: dict[str, str]
    packages: dict[str, str]
    planned: int
    deselected: int
    counts: dict[str, int]
    cases: dict[str, CaseSet]
    listed: dict[str, Seen]
    stale: dict[str, str]
    headroom: dict[str, float]
    benchmarks: list[BenchmarkLine]


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one night.

    started: UTC, ISO 8601. columns: `reports.model.Column.key` -> column. found: leg of the nightly -> targets that
    answered a case in it.
    """

    schema: int
    started: str
    run: str
    suite_hash: str
    golden_hash: str
    benchmark_hash: str
    state: State
    problems: list[str]
    columns: dict[str, NightColumn]
    found: dict[str, list[str]] = {}

    def comparable(self, other: Night) -> str:
        """Why cases of the two nights cannot be compared, "" where they can."""
        names = [n for n in ("suite_hash", "golden_hash") if getattr(self, n) != getattr(other, n)]
        return " and ".join(f"{n} {getattr(other, n)} became {getattr(self, n)}" for n in names)


def night_of(report: Report, only: Mapping[str, Collection[str]] | None = None) -> Night:
    """The compact form of a report; of each column just the cases in `only`, where that is given."""
    packages = {run.run: run.packages for run in report.runs}
    benchmark_runs = [r for r in report.runs if not r.requirements]
    return Night(
        schema=SCHEMA,
        started=report.started,
        run=report.id,
        suite_hash=report.suite_hash,
        golden_hash=report.golden_hash,
        benchmark_hash=benchmark_runs[0].suite_hash if benchmark_runs else "",
        state=report.state,
        problems=report.problems,
        columns={
            c.key: _column(c, packages, None if only is None else only.get(c.key, ()))
            for c in report.columns
            if c.facts.unavailable is None
        },
    )


def _column(column: Column, packages: dict[str, dict[str, str]], only: Collection[str] | None) -> NightColumn:
    records = [r for r in column.cases.values() if only is None or r.id in only]
    cases: dict[str, list[str]] = {}
    headroom: dict[str, float] = {}
    for record in records:
        cases.setdefault(record.requirement, []).append(record.id)
        value = float(record.headroom) if record.headroom is not None else 0.0
        if 0 < value < float("inf"):
            name = f"{record.requirement} {record.dtype or ''}".strip()
            headroom[name] = max(headroom.get(name, 0.0), float(f"{value:.4g}"))
    own = next((packages[r.run] for r in records), {})
    return NightColumn(
        target=column.target,
        label=column.label,
        system=column.system,
        framework=column.facts.framework,
        state=column.state,
        machine=column.machine,
        versions=column.facts.versions,
        packages=own,
        planned=column.planned,
        deselected=column.deselected,
        counts=dict(column.counts),
        cases={name: CaseSet(len(ids), _digest(ids)) for name, ids in cases.items()},
        listed={r.id: Seen(r.requirement, r.verdict, r.behaviour) for r in records if r.verdict != "conforms"},
        stale={r.sometimes: r.requirement for r in records if r.sometimes in column.stale},
        headroom=headroom,
        benchmarks=column.benchmarks,
    )


def _digest(ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:12]


def is_history(folder: Path) -> bool:
    """Whether the folder holds at least one night's file."""
    return next(folder.glob(PATTERN), None) is not None


def load(folder: Path) -> list[Night]:
    """Every night of a history, oldest first. Raises ReportError; an empty folder is an empty history."""
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; touchstone report trend {folder} --add DIR makes it")
    return sorted((read(path) for path in folder.glob(PATTERN)), key=lambda n: n.started)


def read(path: Path) -> Night:
    """One night's file. Raises ReportError, naming it, where it is malformed or of another schema."""
    try:
        night = msgspec.json.decode(gzip.decompress(path.read_bytes()), type=Night)
    except (gzip.BadGzipFile, EOFError, zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: not a night of a history ({error})") from error
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    if night.schema != SCHEMA:
        raise ReportError(f"{path}: a night of schema {night.schema}, this version of Touchstone reads {SCHEMA}")
    return night


def append(folder: Path, night: Night) -> Path:
    """Write the night's file, named by its start; nothing that is there is changed.

    Raises ReportError where that night is there already, and for a night without an answered case.
    """
    if night.state == "empty":
        raise ReportError("a run in which no framework answered a case is not added to a history")
    stamp = re.sub(r"[^0-9T]", "", night.started.partition("+")[0])
    path = folder / f"{stamp}Z-{re.sub('[^0-9A-Za-z]', '', night.run)[:8]}{SUFFIX}"
    if any(old.run == night.run for old in (load(folder) if folder.is_dir() else ())):
        raise ReportError(f"{path}: this run is in the history already")
    temporary = path.with_name(f".{path.name}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(gzip.compress(msgspec.json.encode(night), mtime=0))
        os.link(temporary, path)  # unlike a rename this fails where the name is taken
    except FileExistsError as error:
        raise ReportError(f"{path}: is there already; a history is only appended to") from error
    except OSError as error:
        raise ReportError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def found_in(nights: Iterable[Night]) -> dict[str, set[str]]:
    """Leg -> targets that answered a case in any of the nights."""
    out: dict[str, set[str]] = {}
    for night in nights:
        for leg, targets in night.found.items():
            out.setdefault(leg, set()).update(targets)
    return out


def before(nights: Sequence[Night], night: Night) -> list[Night]:
    """Those that began before `night`, oldest first."""
    return [n for n in nights if n.started < night.started and n.run != night.run]


def latest(earlier: Sequence[Night]) -> Night:
    """The latest night that is whole and deselected nothing, else the latest that is whole, else the latest."""
    whole = [n for n in earlier if n.state not in ("incomplete", "empty")]
    full = [n for n in whole if not any(c.deselected for c in n.columns.values())]
    return (full or whole or earlier)[-1]
