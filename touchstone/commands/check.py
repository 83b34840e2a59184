"""Is a converted checkpoint what its source says? A progress bar, a verdict per tensor, and a summary to read."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from touchstone import command, plugin
from touchstone.migration.check import Check, headline

RED = ("deviates", "crashed", "timed out", "stale deviation", "unreviewed")


@dataclass
class Watcher:
    """Shows how far the check is, and keeps what it finds."""

    quiet: bool
    check: Check | None = None
    bar: Any = None
    records: list[Any] = field(default_factory=list)
    resumed: int = 0
    faults: list[str] = field(default_factory=list)

    def begin(self, check: Check, nbytes: int) -> None:
        self.check = check
        self.bar = tqdm(total=nbytes, unit="B", unit_scale=True, desc="reading", disable=self.quiet, leave=False)

    def done(self, nbytes: int, *, resumed: bool) -> None:
        self.bar.update(nbytes)
        self.resumed += resumed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = [json.loads(str(text)) for name, text in report.user_properties if name == "touchstone"]
        self.records += found
        if report.failed and not found:
            self.faults.append(report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.faults.append(report.longreprtext)

    def pytest_unconfigure(self) -> None:
        if self.bar is not None:
            self.bar.close()


def main(arguments: Sequence[str]) -> int:
    """Run the suite on two checkpoints; the exit status is 2 where they cannot be checked."""
    parser = command.parser_of("check", __doc__)
    parser.add_argument("source", metavar="A", help="the checkpoint that was converted: a file or a folder")
    parser.add_argument("target", metavar="B", help="what it was converted to")
    parser.add_argument("--map", metavar="FILE", help="pairs of names that no convention knows (docs/migration.md)")
    parser.add_argument("--report", metavar="DIR", help="write records and report.html; an interrupted check goes on")
    parser.add_argument(
        "--shard", metavar="I/N", help="check share I of N only; `touchstone report merge` joins reports"
    )
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME", help="whose layers B goes through")
    parser.add_argument("--source-adapter", metavar="NAME", help="whose layers A goes through")
    parser.add_argument("--tensors-only", action="store_true", help="load no framework, and put nothing through layers")
    parser.add_argument("--all", action="store_true", help="print every tensor, with how it was paired")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and no word but verdicts")
    options = parser.parse_args(arguments)
    watcher = Watcher(options.quiet)
    Check.listeners.append(watcher)
    try:
        status = int(pytest.main(_arguments(options), plugins=[watcher]))
    finally:
        Check.listeners.remove(watcher)
    if watcher.check:
        _show(watcher, options, status)
    return status if status in (0, 1) else 2


def _arguments(options: Namespace) -> list[str]:
    """pytest's own arguments; its terminal output gives way to ours."""
    out = ["-p", plugin.NAME, str(plugin.SUITES / "migration"), "-p", "no:terminalreporter", "-p", "no:cacheprovider"]
    out += ["--tensors-only"] if options.tensors_only else []
    # One word each: what follows a word alone, pytest may take for a path, and load what lies there.
    for name in ("source", "target", "map", "shard", "report", "source_adapter"):
        if (value := getattr(options, name)) is not None:
            out.append(f"--{name.replace('_', '-')}={value}")
    out += [f"--adapter={adapter}" for adapter in options.adapter]
    return out


def _show(watcher: Watcher, options: Namespace, status: int) -> None:
    assert watcher.check
    if not options.quiet:
        for line in headline(watcher.check):
            print(line)
        if watcher.resumed:
            print(f"resumed: {watcher.resumed:,} verdicts were reached before the check was interrupted")
        print()
    red = [r for r in watcher.records if r["verdict"] in RED]
    for record in watcher.records if options.all else red:
        print(f"{record['verdict']:<16} {record['params']['tensor']}  {record['behaviour']}")
        print(f"    {record['message'] or record['note']}")
    for text in watcher.faults:
        print(text, file=sys.stderr)
    counts = Counter((r["verdict"], r["behaviour"]) for r in watcher.records)
    for (verdict, behaviour), count in sorted(counts.items(), key=lambda item: (item[0][0] not in RED, -item[1])):
        print(f"{count:>7,}  {verdict:<16} {behaviour}")
    if options.report:
        print(f"report: {Path(options.report) / 'report.html'}")
    print(f"verdict: {_verdict(red, watcher, status)}")


def _verdict(red: list[Mapping[str, Any]], watcher: Watcher, status: int) -> str:
    if red:
        return f"{len(red):,} of {len(watcher.records):,} cases deviate"
    if status:
        return f"the check did not come to its end (exit status {status} of pytest)"
    return "the target holds what its source says"
