"""Is a converted checkpoint what its source says? A progress bar, a verdict per tensor, and a summary to read."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from touchstone import checking, command, files
from touchstone.migration.check import Check, headline
from touchstone.migration.findings import COMPARED
from touchstone.migration.inputs import CheckpointInput
from touchstone.migration.mapping import writing
from touchstone.migration.mapping.templates import template
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
        key=options.key,
        lora=options.lora,
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
        if given.source_target:
            asked = ", ".join(t.id for t in given.targets[1:]) or "none"
            print(f"layers: the source's of {given.source_target.id}, the target's of {asked}")
        if bar.resumed:
            print(f"resumed: {bar.resumed:,} verdicts were reached before the check was interrupted")
        print()
    _show(found, every=options.all)
    for remark in remarks(given.check, found):
        print(remark)
    if report:
        print(f"report: {report / 'report.html'}")
    if options.write_map:
        files.write(Path(options.write_map), writing.written(given.check.rules))
        print(f"map: {options.write_map}")
    red = sum(r.verdict.is_red for r in found)
    share = f"in share {options.shard} alone, " if options.shard else ""
    print(f"verdict: {share}{_verdict(given.check, red, len(found))}")
    untold = given.check.inferred or given.check.pairing.ignored
    return int(bool(red) or bool(options.strict and untold))


def _verdict(check: Check, red: int, cases: int) -> str:
    """What was found, and what was not compared or is believed for the values' sake alone."""
    pairing = check.pairing
    every, ignored = len(pairing.source) + len(pairing.target), len(pairing.ignored)
    if red:
        said = f"{red:,} of {cases:,} cases deviate"
    elif ignored:
        said = f"agrees in what was compared: {every - ignored:,} of {every:,} tensors of both sides"
    else:
        said = "the target holds what its source says"
    counts = {"inferred from values": check.inferred, "ignored by the map": ignored, "left out": check.dropped}
    rest = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"{said}; {rest}" if rest else said


_MOST = 0.8
"""Share of the tensors that show one thing from which it is said of the whole."""


def remarks(check: Check, found: Sequence[EndLine]) -> Iterator[str]:
    """What is wrong with the two as a whole, a sentence each."""
    if not any(r.verdict.is_red for r in found):
        return
    pairing = check.pairing
    packed = [any(p.is_packed for p in side.values()) for side in (pairing.source, pairing.target)]
    if packed == [True, False]:
        yield "the source is quantized and the target is not: are the two the wrong way round? the source comes first"
    smaller = min(len(pairing.source), len(pairing.target))
    if len(pairing.pairs) < (1 - _MOST) * smaller:
        yield f"only {len(pairing.pairs):,} of {smaller:,} tensors have a partner: are they the same model?"
    paired = {p.name for p in pairing.pairs}
    shown = Counter(r.behaviour for r in found if r.requirement in COMPARED and str(r.params["tensor"]) in paired)
    said = {
        "unrelated values": "hardly any tensor of the target has its source's values: are they the same model?",
        "zeros everywhere": "nearly every tensor of the target is zero: nothing was loaded into what was saved",
        "stale": "nearly every tensor is near its source and not its source: is the target of another training step?",
    }
    for behaviour, sentence in said.items():
        if shown[behaviour] > _MOST * sum(shown.values()):
            yield sentence


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.parser_of("check", __doc__)
    parser.add_argument("source", metavar="A", help="the checkpoint that was converted: a file or a folder")
    parser.add_argument("target", metavar="B", help="what it was converted to")
    parser.add_argument("--map", metavar="FILE", help="pairs of names that no convention knows (docs/migration.md)")
    parser.add_argument("--key", default="", help="where a PyTorch file keeps the weights: params_ema, or a.b.c")
    parser.add_argument("--lora", metavar="PATH", help="a LoRA adapter: B must be its sum with A")
    parser.add_argument("--report", metavar="DIR", help="write records and report.html; an interrupted check goes on")
    parser.add_argument("--shard", metavar="I/N", help="check share I of N; `touchstone report merge` joins reports")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME", help="whose layers B goes through")
    parser.add_argument("--source-adapter", metavar="NAME", help="whose layers A goes through")
    parser.add_argument("--tensors-only", action="store_true", help="load no framework, and put nothing through layers")
    parser.add_argument("--all", action="store_true", help="print every tensor, with how it was paired")
    parser.add_argument("--strict", action="store_true", help="exit 1 for what is inferred from values, or ignored")
    parser.add_argument("--write-map", metavar="FILE", help="write the rules that were found, to be confirmed by --map")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and no word but verdicts")
    return parser.parse_args(arguments)


def _show(found: Sequence[EndLine], *, every: bool) -> None:
    """Every record, or of the red ones one of each kind; then how many there are of each verdict and behaviour."""
    if every:
        for record in found:
            _print(record, str(record.params["tensor"]))
    else:
        alike: dict[tuple[str, str, str], list[EndLine]] = {}
        for record in found:
            if record.verdict.is_red:
                key = (record.requirement, template(str(record.params["tensor"]))[0], record.behaviour)
                alike.setdefault(key, []).append(record)
        for group in alike.values():
            name = str(group[0].params["tensor"])
            rest = f" and {len(group) - 1:,} like it (--all shows them)" if len(group) > 1 else ""
            _print(group[0], f"{name}{rest}")
    counts = Counter((r.verdict, r.behaviour) for r in found)
    for (verdict, behaviour), count in sorted(counts.items(), key=lambda item: (not item[0][0].is_red, -item[1])):
        print(f"{count:>7,}  {verdict:<16} {behaviour}")


def _print(record: EndLine, name: str) -> None:
    print(f"{record.verdict:<16} {name}  {record.behaviour}")
    print(f"    {record.message or record.note}")
