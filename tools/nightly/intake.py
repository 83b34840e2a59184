"""What the legs of a night left: the folders that make one report, and what is missing from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.nightly import BROKEN, GREEN, outcome
from touchstone.reports import model
from touchstone.reports.reading import ReportError


@dataclass(frozen=True)
class Row:
    """What became of one target of a leg, or of the whole leg. missing: whether the report lacks something by it."""

    leg: str
    status: int
    text: str
    missing: bool


@dataclass
class Intake:
    """`folders` can be shown as one report."""

    folders: list[Path] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)
    """Leg -> its targets that answered a case."""

    @property
    def problems(self) -> list[str]:
        """What the report lacks, a sentence each."""
        return [f"{row.leg}: {row.text}" for row in self.rows if row.missing]


def take(
    records: Path, expected: Sequence[str] = (), found_before: Mapping[str, Collection[str]] | None = None
) -> Intake:
    """Look through ``RECORDS/LEG/TARGET``.

    expected: legs that must have left something, the yardstick first. found_before: leg -> targets that an earlier
    night has found, which are required from then on.

    A folder that is no report is left out, and so is one that cannot be shown with those before it, as where a leg ran
    another checkout.
    """
    found = sorted(p.name for p in records.glob("*") if p.is_dir())
    names = list(dict.fromkeys((*expected, *found)))
    targets = [folder for name in names for folder in _targets(records / name)]
    left_out = _left_out(targets)
    before = found_before or {}
    rows = [row for name in names for row in _rows(records / name, left_out, before.get(name, ()))]
    legs = {name: leg for name in names if (leg := outcome.read(records / name))}
    answered = {name: [ran.target for ran in leg.ran if ran.answered] for name, leg in legs.items()}
    return Intake([folder for folder in targets if folder not in left_out], rows, answered)


def _targets(leg: Path) -> list[Path]:
    return sorted(p for p in leg.glob("*") if p.is_dir() and p.name != "candidates")


def _left_out(folders: Sequence[Path]) -> dict[Path, str]:
    """Folders that the report cannot take in -> why."""
    out = {folder: why for folder in folders if (why := _fault([folder]))}
    alone = [folder for folder in folders if folder not in out]
    if not alone or not _fault(alone):
        return out
    together: list[Path] = []
    for folder in alone:
        if why := _fault([*together, folder]):
            out[folder] = why
        else:
            together.append(folder)
    return out


def _fault(folders: Sequence[Path]) -> str:
    """Why the folders cannot be shown as one report; "" where they can."""
    try:
        report = model.load(folders)
    except ReportError as error:
        return str(error)
    recorded = any(c.cases or c.benchmarks for c in report.columns) or report.problems
    return "" if recorded else f"{folders[-1]}: holds no finished case"


def _rows(folder: Path, left_out: dict[Path, str], found_before: Collection[str]) -> Iterator[Row]:
    """What became of one leg."""
    if not folder.is_dir():
        yield Row(folder.name, BROKEN, "left nothing: it did not start, or was lost", missing=True)
        return
    leg = outcome.read(folder)
    if leg is None:
        text = f"died: it left no {outcome.FILE} that can be read, so that nobody knows what it ran"
        yield Row(folder.name, BROKEN, text, missing=True)
    told = {ran.target for ran in leg.ran} if leg else set()
    for ran in leg.ran if leg else ():
        if ran.absent and not ran.required and ran.target in found_before:
            text = f"{ran.target}: required, for an earlier night has found it, but absent: {ran.absent}"
            yield Row(folder.name, BROKEN, text, missing=True)
            continue
        path = folder / ran.target
        why = "" if ran.absent else left_out.get(path, "") if path in _targets(folder) else "left no records"
        missing = bool(why) or ran.status() == BROKEN or ran.benchmarks not in (None, 0)
        yield Row(folder.name, BROKEN if why else ran.status(), f"{ran}; left out: {why}" if why else str(ran), missing)
    for path in _targets(folder):
        if path.name not in told:
            why = left_out.get(path, "")
            text = f"{path.name}: {f'left out: {why}' if why else 'taken in, though the leg does not name it'}"
            yield Row(folder.name, BROKEN if why else GREEN, text, bool(why))
