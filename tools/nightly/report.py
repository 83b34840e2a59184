"""``python -m tools.nightly report RECORDS``: one report of every leg, compared with the night before, as a site.

What cannot be used is left out and named, in the report itself, so that the page of such a night is never green. Where
no report can be made the page says that, and why.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tools.nightly import BROKEN, GREEN, NEW_NAMES, RED, intake, placeholder
from tools.nightly.intake import Row
from touchstone.reports import changes, history, model
from touchstone.reports.history import Night
from touchstone.reports.markdown import plain
from touchstone.reports.reading import ReportError

PUBLISHED = {"report.html": "index.html", "results.json": "results.json", "summary.md": "summary.md"}
"""Files of a report -> their names on the site."""
TREND = "trend.html"
SIGNS = {GREEN: "🟢", RED: "🔴", BROKEN: "⚫"}


def run(records: Path, output: Path, nights: Path, site: Path, expected: Sequence[str] = ()) -> int:
    """Merge ``RECORDS/LEG/TARGET`` into `output`, append the night to the history `nights`, publish into `site`.

    expected: legs that must have left something; the first is the yardstick of which suites the night ran. Writes
    ``night.md``, for a job's summary, and the night's file of the history into `output`. Returns 0; 1 where a deviation
    is new since the night before; 2 where something is missing or a step failed, of which the others' results stand.
    """
    for name in (*PUBLISHED.values(), TREND):
        (site / name).unlink(missing_ok=True)
    placeholder.write(site, ["The report did not come to its end."])
    output.mkdir(parents=True, exist_ok=True)
    steps = _Steps()
    past = _readable(nights, output, steps)
    kept = history.load(past) if past.is_dir() else []
    taken = intake.take(records, expected, history.found_in(kept))
    problems = [f"--problem={problem}" for problem in taken.problems]
    merged = bool(taken.folders) and steps.run(
        "merge", *taken.folders, "--output", output, "--allow-truncated", *problems
    )
    whole = made = False
    if merged:
        night = history.night_of(model.load(output))
        whole = not night.problems and night.state not in ("incomplete", "empty")
        _compare(kept, night, steps)
        found = [f"--found={leg}={target}" for leg, targets in taken.found.items() for target in targets]
        _add(kept, night, found, past, nights, output, site / TREND, steps)
        made = _render(output, past, site, steps)
    else:
        _trend(past, site / TREND, steps)
    if not made:
        reasons = [*taken.problems, *steps.told] or [f"{records}: no leg left anything"]
        placeholder.write(site, reasons, TREND if (site / TREND).exists() else "")
    (output / "night.md").write_text(
        _night(taken.rows, [*steps.told, *_new_names(records)], (output / "summary.md") if made else None)
    )
    print(f"{output / 'night.md'}: written; {site / 'index.html'}: {'the page' if made else placeholder.TITLE}")
    return max(steps.status, GREEN if made and whole and not taken.problems else BROKEN)


def _readable(nights: Path, output: Path, steps: _Steps) -> Path:
    """The folder of the nights before; where one of its files cannot be read, a copy of the others."""
    faults = {}
    for path in sorted(nights.glob(history.PATTERN)):
        try:
            history.read(path)
        except ReportError as error:
            faults[path] = str(error)
    if not faults:
        return nights
    for why in faults.values():
        steps.tell(f"left out of the history: {why}", BROKEN)
    copy = output / "history"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in set(nights.glob(history.PATTERN)) - set(faults):
        shutil.copy(path, copy / path.name)
    return copy


def _compare(kept: Sequence[Night], night: Night, steps: _Steps) -> None:
    """What is new since the night before is red. That nothing could be compared is said, and no failure."""
    if not (earlier := history.before(kept, night)):
        return
    found = changes.compare(history.latest(earlier), night)
    if not found.compared:
        reasons = "; ".join(f"{what}: {why}" for what, why in found.not_compared.items())
        steps.tell(f"not compared with the night of {found.previous}: {reasons}", GREEN)
    if found.worse:
        count = len(found.worse)
        steps.tell(f"{count:,} deviation{'s are' if count > 1 else ' is'} new since {found.previous}", RED)


def _add(
    kept: Sequence[Night],
    night: Night,
    found: Sequence[str],
    past: Path,
    nights: Path,
    output: Path,
    page: Path,
    steps: _Steps,
) -> None:
    """Append the night to the history, once, with what its legs have found, and make the page of the history."""
    before = set(past.glob(history.PATTERN))
    if any(old.run == night.run for old in kept):
        steps.tell("this night is in the history already, and is not added twice", GREEN)
    else:
        steps.run("trend", past, "--add", output, "--output", page, *found)
    for path in set(past.glob(history.PATTERN)) - before:
        shutil.copy(path, output / path.name)
        if past != nights:
            shutil.copy(path, nights / path.name)
    _trend(past, page, steps)


def _trend(past: Path, page: Path, steps: _Steps) -> None:
    """The page of the history, where there is none yet."""
    if not page.exists() and history.is_history(past):
        steps.run("trend", past, "--output", page)


def _render(output: Path, past: Path, site: Path, steps: _Steps) -> bool:
    """Render and publish; whether there is a page. A history that cannot be shown does not cost it."""
    trend = ("--trend", TREND) if (site / TREND).exists() else ()
    known = ("--history", past) if past.is_dir() else ()
    made = steps.run("render", output, *trend, *known) or (bool(known) and steps.run("render", output, *trend))
    for name, published in PUBLISHED.items() if made else ():
        shutil.copy(output / name, site / published)
    return made


class _Steps:
    """``touchstone report`` several times. status: the worst; told: what went otherwise than on most nights."""

    def __init__(self) -> None:
        self.status = GREEN
        self.told: list[str] = []

    def tell(self, text: str, status: int) -> None:
        self.told.append(text)
        self.status = max(self.status, status)
        print(text, flush=True)

    def run(self, *arguments: str | Path) -> bool:
        """Run and show one; whether it exited with 0."""
        command = ["-m", "touchstone", "report", *map(str, arguments)]
        print(f"\n$ python {shlex.join(command)}", flush=True)
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        print(done.stdout, end="", flush=True)
        print(done.stderr, end="", file=sys.stderr, flush=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exited with {done.returncode}"])[-1]
            self.tell(f"{arguments[0]}: {last}", BROKEN)
        return done.returncode == 0


def _new_names(records: Path) -> Iterator[str]:
    """A sentence for each leg whose MLX exports names that no list of ours holds."""
    for path in sorted(records.glob(f"*/{NEW_NAMES}")):
        names = path.read_text().split()
        yield f"{path.parent.name}: public names that are in no list of suites/names.toml: {', '.join(names)}"


def _night(rows: Iterable[Row], told: Iterable[str], summary: Path | None) -> str:
    """``night.md``: what became of every leg, what went wrong, and the report's summary."""
    lines = ["| leg | target |", "|---|---|"]
    lines += [f"| {SIGNS[row.status]} {plain(row.leg)} | {plain(row.text)} |" for row in rows]
    lines += ["", *(f"- {plain(text)}" for text in told), ""]
    return "\n".join(lines) + "\n" + (summary.read_text() if summary else f"**{placeholder.TITLE}.**\n")
