"""From a folder of records to what is read: results.json, ctrf.json, junit.xml, summary.md and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from touchstone import files
from touchstone.reports import changes, ctrf, history, junit, markdown, model, regressions, results
from touchstone.reports.changes import Changes, Streak
from touchstone.reports.history import Night
from touchstone.reports.model import Report
from touchstone.reports.page import report as page
from touchstone.reports.page import trend as trends
from touchstone.reports.reading import Progress, ReportError


@dataclass(frozen=True)
class Since:
    """What is known of the time before a run; `changes` is None where nothing is. `nights`: oldest first."""

    changes: Changes | None = None
    speed: Sequence[regressions.Change] = ()
    streaks: Mapping[tuple[str, str], Streak] = field(default_factory=dict)
    nights: Sequence[Night] = ()


def since(report: Report, *, previous: Path | None = None, nights: Path | None = None) -> Since:
    """Compare with `previous`, a folder or a night, or with the latest night of the history `nights` before the run.

    Raises ReportError for input that is neither. A run that died before is skipped in a history; as `previous` it is
    an error.
    """
    if previous:
        return Since(changes.compare_previous(previous, report))
    if nights is None:
        return Since()
    tonight = history.night_of(report)
    earlier = history.before(history.load(nights), tonight)
    if not earlier:
        return Since()
    return Since(
        changes=changes.compare(history.latest(earlier), tonight),
        speed=regressions.between(earlier, tonight),
        streaks=changes.streaks(earlier, tonight),
        nights=earlier,
    )


def render(
    folder: Path,
    *,
    previous: Path | None = None,
    nights: Path | None = None,
    trend_page: str = "",
    progress: Progress = lambda _: None,
) -> Report:
    """Write every rendering of the records in `folder` into it. trend_page: what report.html links to as the trend.

    Raises ReportError for a folder that is no report, or where it cannot be written.
    """
    report = model.load(folder, progress)
    known = since(report, previous=previous, nights=nights)
    write(folder / "results.json", results.render(report))
    write(folder / "ctrf.json", ctrf.render(report))
    write(folder / "junit.xml", junit.render(report))
    write(folder / "summary.md", markdown.render(report, known.changes, known.speed))
    html = page.render(report, known.changes, known.streaks, known.speed, known.nights, trend_page)
    write(folder / "report.html", html)
    return report


def trend(nights: Path, path: Path) -> None:
    """Write the page of a history. Raises ReportError where it holds no night."""
    found = history.load(nights)
    if not found:
        raise ReportError(f"{nights}: holds no night; touchstone report trend {nights} --add DIR appends one")
    write(path, trends.render(found))


def write(path: Path, content: bytes | str) -> None:
    """Whole or not at all. Raises ReportError."""
    try:
        files.write(path, content)
    except OSError as error:
        raise ReportError(f"{path}: cannot be written ({error.strerror})") from error
