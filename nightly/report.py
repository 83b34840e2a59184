"""``python -m nightly report RECORDS``: one report of every leg, compared with the night before, as a site.

Every step runs, whatever the steps before it said, so that a page says what went wrong.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from nightly import BROKEN, GREEN, RED, outcome
from reports import history

PUBLISHED = {"report.html": "index.html", "results.json": "results.json", "summary.md": "summary.md"}
"""Files of a report -> their names on the site."""
SIGNS = {GREEN: "🟢", RED: "🔴", BROKEN: "⚫"}


def run(records: Path, output: Path, nights: Path, site: Path, expected: Sequence[str] = ()) -> int:
    """Merge ``RECORDS/LEG/TARGET`` into `output`, append the night to the history `nights`, publish into `site`.

    expected: legs that must have left something. Writes ``night.md``, for a job's summary, and the night's file of the
    history into `output`. Returns 0; 1 where a deviation is new since the night before; 2 where a step failed, of which
    the others' results stand.
    """
    folders, left_out = _folders(records)
    site.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    gone = [name for name in expected if not (records / name).is_dir()]
    steps = _Steps()
    text = _legs(records, left_out, gone)
    if folders and steps.run("merge", *folders, "--output", output, "--allow-truncated"):
        before = _files(nights)
        if before:
            steps.run("diff", nights, output)
        steps.run("trend", nights, "--add", output, "--output", site / "trend.html")
        known = ("--history", nights) if nights.is_dir() else ()
        steps.run("render", output, "--trend", "trend.html", *known)
        steps.run("summary", output, *known)
        text += steps.printed
        for path in _files(nights)[len(before) :]:
            shutil.copy(path, output / path.name)
        for name, published in PUBLISHED.items():
            if (output / name).exists():
                shutil.copy(output / name, site / published)
    else:
        text += "**There is no report: no record could be taken in.**\n"
    (output / "night.md").write_text(text + steps.told)
    print(f"{output / 'night.md'}: written; {site / 'index.html'}: the page", flush=True)
    return max(steps.status, BROKEN if gone or left_out or not (site / "index.html").exists() else GREEN)


def _folders(records: Path) -> tuple[list[Path], list[Path]]:
    """Folders of targets that hold a record, and those that hold none: a process died before its first line."""
    found: tuple[list[Path], list[Path]] = ([], [])
    for folder in sorted(p for p in records.glob("*/*") if p.is_dir() and p.name != "candidates"):
        found[not any(_has_line(path) for path in folder.glob("*.jsonl"))].append(folder)
    return found


def _has_line(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


def _files(nights: Path) -> list[Path]:
    """The nights of a history, oldest first; their names begin with the time."""
    return sorted(nights.glob(history.PATTERN))


class _Steps:
    """``python -m reports`` several times. status: the worst; printed: by the last; told: errors, as Markdown."""

    def __init__(self) -> None:
        self.status, self.printed, self.told = GREEN, "", ""

    def run(self, *arguments: str | Path) -> bool:
        """Run and show one; whether it exited with 0."""
        command = ["-m", "reports", *map(str, arguments)]
        print(f"\n$ python {shlex.join(command)}", flush=True)
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        print(done.stdout, end="", flush=True)
        print(done.stderr, end="", file=sys.stderr, flush=True)
        # What Python exits with after an exception, 1, is what `diff` says of a new deviation.
        crashed = done.returncode < 0 or "Traceback" in done.stderr
        self.status = max(self.status, BROKEN if crashed else done.returncode)
        if crashed or done.returncode == BROKEN:
            last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
            self.told += f"\n- {SIGNS[BROKEN]} {arguments[0]}: {_plain(last)}\n"
        self.printed = done.stdout
        return done.returncode == 0


def _legs(records: Path, left_out: Iterable[Path], gone: Iterable[str]) -> str:
    """What became of every leg, as Markdown."""
    lines = ["| leg | target |", "|---|---|"]
    for folder in sorted(p for p in records.glob("*") if p.is_dir()):
        leg = outcome.read(folder)
        if leg is None:
            lines.append(f"| {SIGNS[BROKEN]} {folder.name} | died before its first target ended |")
        ran = leg.ran if leg else ()
        lines += [f"| {SIGNS[r.status()]} {folder.name} | {_plain(str(r))} |" for r in ran]
    lines += [f"| {SIGNS[BROKEN]} {p.parent.name} | {p.name}: left no record |" for p in left_out]
    lines += [f"| {SIGNS[BROKEN]} {name} | left nothing: it did not start, or was lost |" for name in gone]
    return "\n".join(lines) + "\n\n"


def _plain(text: str) -> str:
    """Text from outside as part of a Markdown row."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
