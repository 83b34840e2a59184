"""What is made of the records of runs.

Exit status: 0; 1 where `diff` finds a new deviation; 2 for input that cannot be used, or compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tqdm import tqdm

from touchstone import command
from touchstone.reports import changes, history, markdown, model, schema
from touchstone.reports import merge as merging
from touchstone.reports import render as rendering
from touchstone.reports.reading import Progress, ReportError


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    quiet = argparse.ArgumentParser(add_help=False)
    quiet.add_argument("--quiet", action="store_true", help="no progress, and no word of what was written")
    parser = command.parser_of("report", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    render = commands.add_parser(
        "render", parents=[quiet], help="make results.json, ctrf.json, junit.xml, summary.md and report.html"
    )
    render.add_argument("folder", type=Path, metavar="DIR", help="a folder that a run with --report wrote")
    render.add_argument("--trend", default="", metavar="HREF", help="link the page to this trend page")
    before = render.add_mutually_exclusive_group()
    before.add_argument("--history", type=Path, metavar="HISTORY", help="compare with the latest night before this run")
    before.add_argument("--previous", type=Path, metavar="OLD", help="compare with this folder or night")

    diff = commands.add_parser(
        "diff", parents=[quiet], help="what changed from one run to another; 1 on a new deviation"
    )
    diff.add_argument("old", type=Path, metavar="OLD", help="a report folder, a night, or a history")
    diff.add_argument("new", type=Path, metavar="NEW", help="a report folder, or a night")

    merge = commands.add_parser("merge", parents=[quiet], help="several report folders as one")
    merge.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    merge.add_argument("--output", "-o", type=Path, required=True, metavar="OUT", help="a folder without records")
    merge.add_argument(
        "--allow-truncated", action="store_true", help="take in runs that died; the result says so and is never green"
    )
    merge.add_argument(
        "--problem", action="append", default=[], metavar="TEXT", help="say that something is missing; repeatable"
    )

    trend = commands.add_parser("trend", parents=[quiet], help="a page of all nights of a history; adds one to it")
    trend.add_argument("history", type=Path, metavar="HISTORY", help="the folder of nights")
    trend.add_argument("--add", type=Path, metavar="DIR", help="first append this report to the history")
    trend.add_argument(
        "--found", action="append", default=[], metavar="LEG=TARGET", help="a target that answered in a leg; repeatable"
    )
    trend.add_argument("--output", "-o", type=Path, metavar="FILE", help="default: HISTORY/trend.html")

    summary = commands.add_parser("summary", parents=[quiet], help="print a report as Markdown")
    summary.add_argument("folder", type=Path, metavar="DIR")
    summary.add_argument("--history", type=Path, metavar="HISTORY", help="compare with the latest night before it")

    commands.add_parser("schema", help="print the JSON schema of the lines of results.jsonl")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where `diff` finds a new deviation, else 0. Raises ReportError."""
    options = _arguments(arguments)
    return int(_COMMANDS[options.command](options) or 0)


@contextmanager
def _progress(options: argparse.Namespace, *inputs: Path) -> Iterator[Progress]:
    """A bar over the bytes of the records, on standard error."""
    paths = [p for i in inputs for p in (i.glob("*.jsonl") if i.is_dir() else [i]) if p.exists()]
    total = sum(path.stat().st_size for path in paths)
    with tqdm(
        total=total, unit="B", unit_scale=True, desc="reading", disable=options.quiet, delay=1, leave=False
    ) as bar:
        yield bar.update


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        print(text)


def _render(options: argparse.Namespace) -> None:
    with _progress(options, options.folder) as progress:
        report = rendering.render(
            options.folder,
            previous=options.previous,
            nights=options.history,
            trend_page=options.trend,
            progress=progress,
        )
    _say(options, f"{options.folder / 'report.html'}: {markdown.STATES[report.state]}")


def _diff(options: argparse.Namespace) -> int:
    with _progress(options, options.old, options.new) as progress:
        found = changes.compare_inputs(options.old, options.new, progress)
    print(markdown.changes(found), end="")
    if not found.compared:
        raise ReportError(f"{options.old} and {options.new}: no case could be compared")
    return 1 if found.worse else 0


def _merge(options: argparse.Namespace) -> None:
    with _progress(options, *options.folders, *options.folders) as progress:
        report = merging.merge(
            options.folders,
            options.output,
            allow_truncated=options.allow_truncated,
            problems=options.problem,
            progress=progress,
        )
    _say(options, f"{options.output}: {len(options.folders)} folders, {markdown.STATES[report.state]}")


def _trend(options: argparse.Namespace) -> None:
    if options.add:
        with _progress(options, options.add) as progress:
            night = history.night_of(model.load(options.add, progress))
        found: dict[str, list[str]] = {}
        for text in options.found:
            leg, _, target = text.rpartition("=")
            found.setdefault(leg, []).append(target)
        path = history.append(options.history, msgspec.structs.replace(night, found=found))
        _say(options, f"{path}: added")
    page = options.output or options.history / "trend.html"
    rendering.trend(options.history, page)
    _say(options, f"{page}: written")


def _summary(options: argparse.Namespace) -> None:
    with _progress(options, options.folder) as progress:
        report = model.load(options.folder, progress)
    known = rendering.since(report, nights=options.history)
    print(markdown.render(report, known.changes, known.speed), end="")


def _schema(options: argparse.Namespace) -> None:
    print(schema.render(), end="")


_COMMANDS = {
    "render": _render,
    "diff": _diff,
    "merge": _merge,
    "trend": _trend,
    "summary": _summary,
    "schema": _schema,
}
