"""Is a converted checkpoint what its source says? A progress bar, a verdict per tensor, and a summary to read."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from touchstone import checking, command
from touchstone.migration.check import Check, headline
from touchstone.migration.inputs import CheckpointInput
from touchstone.reports.records import EndLine


class Bar:
    """Shows on a terminal how far the check is, and counts what an earlier one had found."""

    def __init__(self, quiet: bool) -> None:
        self.hidden = quiet or not sys.stderr.isatty()
        self.bar: Any = None
        self.resumed = 0

    def begin(self, check: Check, nbytes: int) -> None:
        self.bar = tqdm(total=nbytes, unit="B", unit_scale=True, desc="reading", disable=self.hidden, leave=False)

    def done(self, nbytes: int, *, resumed: bool) -> None:
        self.bar.update(nbytes)
        self.resumed += resumed

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where a case deviates."""
    options = _options(arguments)
    given = CheckpointInput.open(
        *(options.source, options.target, options.map, options.shard, options.source_adapter, options.adapter),
        tensors_only=options.tensors_only,
    )
    report = Path(options.report) if options.report else None
    bar = Bar(options.quiet)
    try:
        found = list(checking.check(given, ["touchstone", "check", *arguments], report, bar))
    finally:
        bar.close()
    assert given.check
    if not options.quiet:
        print("\n".join(headline(given.check)))
        if bar.resumed:
            print(f"resumed: {bar.resumed:,} verdicts were reached before the check was interrupted")
        print()
    _show(found, every=options.all)
    if report:
        print(f"report: {report / 'report.html'}")
    red = sum(r.verdict.is_red for r in found)
    share = f"in share {options.shard} alone, " if options.shard else ""
    said = f"{red:,} of {len(found):,} cases deviate" if red else "the target holds what its source says"
    print(f"verdict: {share}{said}")
    return int(bool(red))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.parser_of("check", __doc__)
    parser.add_argument("source", metavar="A", help="the checkpoint that was converted: a file or a folder")
    parser.add_argument("target", metavar="B", help="what it was converted to")
    parser.add_argument("--map", metavar="FILE", help="pairs of names that no convention knows (docs/migration.md)")
    parser.add_argument("--report", metavar="DIR", help="write records and report.html; an interrupted check goes on")
    parser.add_argument("--shard", metavar="I/N", help="check share I of N; `touchstone report merge` joins reports")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME", help="whose layers B goes through")
    parser.add_argument("--source-adapter", metavar="NAME", help="whose layers A goes through")
    parser.add_argument("--tensors-only", action="store_true", help="load no framework, and put nothing through layers")
    parser.add_argument("--all", action="store_true", help="print every tensor, with how it was paired")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and no word but verdicts")
    return parser.parse_args(arguments)


def _show(found: Sequence[EndLine], *, every: bool) -> None:
    """Each red case, or every one, then how many there are of each verdict and behaviour."""
    for record in found:
        if every or record.verdict.is_red:
            print(f"{record.verdict:<16} {record.params['tensor']}  {record.behaviour}")
            print(f"    {record.message or record.note}")
    counts = Counter((r.verdict, r.behaviour) for r in found)
    for (verdict, behaviour), count in sorted(counts.items(), key=lambda item: (not item[0][0].is_red, -item[1])):
        print(f"{count:>7,}  {verdict:<16} {behaviour}")
