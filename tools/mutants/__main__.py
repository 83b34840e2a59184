"""``python -m tools.mutants list | run | own | page``: plant defects and see whether the suites turn red."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tools.mutants import defects, own_tests, page, recording, running, score
from tools.mutants.defects import Defect
from tools.mutants.own_tests import OwnTestsError
from tools.mutants.running import Outcome
from touchstone import files

BAD_INPUT = (defects.DefectError, score.ScoreError, recording.RecordingError, OwnTestsError, page.PageError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a defect is not caught, a run says nothing, or a page is stale; 2 for bad input."""
    parser = argparse.ArgumentParser("python -m tools.mutants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print the defects")
    listing.set_defaults(do=_list)
    run = commands.add_parser("run", help="plant defects, one at a time, and run the suites on each")
    run.add_argument("-n", type=_count, default=1, metavar="PROCESSES", help="how many runs at a time")
    run.add_argument("--cases", choices=running.CASES, default="stored", help="which cases are asked (default: stored)")
    run.set_defaults(do=_run)
    own = commands.add_parser("own", help="the same with the frameworks' own tests, where they are at hand")
    own.add_argument("--tests", action="append", default=[], metavar="TARGET=FOLDER", help="where their files are")
    own.set_defaults(do=_own)
    for each in (listing, run, own):
        each.add_argument("patterns", nargs="*", default=["*"], metavar="ID", help="which, as patterns (default: all)")
    for each in (run, own):
        each.add_argument(
            "--record", action="store_true", help="keep the outcomes in tools/mutants/measured, for the page"
        )
    paging = commands.add_parser("page", help="docs/detection.md and what README.md and reports show of it")
    which = paging.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", action="store_true", help="write them")
    which.add_argument("--check", action="store_true", help="exit status 1 where one is stale")
    paging.set_defaults(do=_page)
    options = parser.parse_args(arguments)
    try:
        return int(options.do(options))
    except BAD_INPUT as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 or more")
    return int(text)


def _list(options: argparse.Namespace) -> int:
    for defect in defects.chosen(defects.load(), options.patterns):
        mark = "held out" if defect.held_out else ""
        print(f"{defect.id:45} {defect.target:6} {defect.kind:22} {mark:9} {defect.what}")
    return 0


def _run(options: argparse.Namespace) -> int:
    every = defects.load()
    chosen = defects.chosen(every, options.patterns)
    keep = _keeper(options, options.cases, every, chosen)
    pool = ThreadPoolExecutor(options.n)
    try:
        found = list(keep(pool.map(lambda defect: running.run(defect, options.cases), chosen)))
    finally:
        pool.shutdown(cancel_futures=True)
    missed = [d for d, outcome in zip(chosen, found, strict=True) if outcome.verdict != running.CAUGHT]
    missed = [d for d in missed if not d.equivalent]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} are caught, or proven to be equivalent")
    return 1 if missed else 0


def _own(options: argparse.Namespace) -> int:
    every, folders = defects.load(), own_tests.folders(options.tests)
    chosen = [d for d in defects.chosen(every, options.patterns) if d.in_framework]
    if not chosen:
        raise OwnTestsError(f"{' '.join(options.patterns)}: in adapters only, whose code no framework tests")
    given = {target: own_tests.arguments(target, folders) for target in sorted({d.target for d in chosen})}
    for target in [target for target, arguments in given.items() if arguments is None]:
        print(f"{target}: its own tests are nowhere; name their folder: --tests {target}=FOLDER")
    at_hand = {target: arguments for target, arguments in given.items() if arguments is not None}
    chosen = [d for d in chosen if d.target in at_hand]
    if not chosen:
        raise OwnTestsError("nothing was run: name the folder of the tests")
    keep = _keeper(options, "own", every, chosen)
    for target, arguments in at_hand.items():
        own_tests.control(target, arguments)
    found = list(keep(own_tests.run(defect, at_hand[defect.target]) for defect in chosen))
    return int(any(outcome.verdict == running.BROKEN for outcome in found))


def _keeper(
    options: argparse.Namespace, cases: str, every: Iterable[Defect], chosen: Iterable[Defect]
) -> Callable[[Iterable[Outcome]], Iterable[Outcome]]:
    """What prints each outcome as it comes, and records it where that was asked for; fails before anything runs."""
    kept = recording.Recording(cases, every, score.MEASURED) if options.record else None
    if kept:
        kept.begin(recording.facts(sorted({d.target for d in chosen})))

    def keep(outcomes: Iterable[Outcome]) -> Iterable[Outcome]:
        for outcome in outcomes:
            what = outcome.requirement or outcome.case
            print(f"{outcome.verdict:16} {outcome.id:45} {outcome.seconds:6.1f} s  {what} {outcome.why}", flush=True)
            if kept:
                kept.add(outcome)
            yield outcome
        if kept:
            kept.end()

    return keep


def _page(options: argparse.Namespace) -> int:
    stale = page.stale(score.recorded(defects.load(), score.MEASURED))
    for path, content in stale.items():
        if options.write:
            files.write(path, content)
        print(f"{path}: {'written' if options.write else 'is stale; run ' + page.WRITE}")
    if not stale:
        print("docs/detection.md, README.md and reports/detection.json: are current")
    return int(bool(stale) and not options.write)


if __name__ == "__main__":
    sys.exit(main())
