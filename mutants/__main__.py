"""``python -m mutants run | own | list | page``: plant defects and see whether the suites turn red."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

from mutants import defects, own_tests, page, running, score
from mutants.defects import Defect
from mutants.running import Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m mutants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="plant defects, one at a time, and run the suites on each")
    run.add_argument("patterns", nargs="*", default=["*"], metavar="ID", help="which, as patterns (default: all)")
    run.add_argument("-n", type=int, default=1, metavar="PROCESSES", help="how many runs at a time")
    run.add_argument("--cases", choices=running.CASES, default="stored", help="which cases are asked (default: stored)")
    run.add_argument("--output", type=Path, metavar="FILE", help="outcomes, a line of JSON each; known ones are kept")
    own = commands.add_parser("own", help="the same with the frameworks' own tests, where they are at hand")
    own.add_argument("patterns", nargs="*", default=["*"], metavar="ID")
    own.add_argument("--tests", action="append", default=[], metavar="TARGET=FOLDER", help="where their files are")
    own.add_argument("--output", type=Path, metavar="FILE")
    writing = commands.add_parser("page", help="docs/detection.md and the report's summary, from recorded outcomes")
    writing.add_argument("--write", action="store_true", help="write them (default: check that they are current)")
    listing = commands.add_parser("list", help="print the defects")
    listing.add_argument("patterns", nargs="*", default=["*"], metavar="ID")
    options = parser.parse_args(arguments)
    if options.command == "page":
        return _page(options.write)
    try:
        chosen = [d for d in defects.load() if any(fnmatchcase(d.id, p) for p in options.patterns)]
        known = score.read(options.output) if getattr(options, "output", None) and options.output.exists() else {}
    except (defects.DefectError, score.ScoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not chosen:
        print(
            f"error: no defect is called {' or '.join(options.patterns)}; see python -m mutants list", file=sys.stderr
        )
        return 2
    if options.command == "list":
        for defect in chosen:
            mark = "held out" if defect.held_out else ""
            print(f"{defect.id:45} {defect.target:6} {defect.kind:22} {mark:9} {defect.what}")
        return 0
    if options.command == "own":
        return _own(chosen, options.tests, options.output, known)
    return _run(chosen, options.cases, options.n, options.output, known)


def _tell(outcome: Outcome, output: Path | None) -> None:
    what = outcome.requirement or outcome.case
    print(f"{outcome.verdict:16} {outcome.id:45} {outcome.seconds:6.1f} s  {what} {outcome.why}", flush=True)
    if output:
        with output.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")


def _run(chosen: Sequence[Defect], cases: str, processes: int, output: Path | None, known: dict[str, Outcome]) -> int:
    """`known`: outcomes of an earlier run, which is gone on with."""
    with ThreadPoolExecutor(processes) as pool:
        for outcome in pool.map(lambda d: running.run(d, cases), [d for d in chosen if d.id not in known]):
            known[outcome.id] = outcome
            _tell(outcome, output)
    missed = [d for d in chosen if known[d.id].verdict != running.CAUGHT and not d.equivalent]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} are caught, or proven to be equivalent")
    return 1 if missed else 0


def _own(chosen: Sequence[Defect], tests: Sequence[str], output: Path | None, known: dict[str, Outcome]) -> int:
    folders = {name: Path(folder) for name, _, folder in (t.partition("=") for t in tests)}
    try:
        for target in sorted({d.target for d in chosen}):
            given = own_tests.arguments(target, folders)
            if given is None:
                print(f"{target}: its own tests are nowhere; name their folder: --tests {target}=FOLDER")
                continue
            own_tests.control(target, given)
            for defect in chosen:
                if defect.target == target and defect.in_framework and defect.id not in known:
                    _tell(own_tests.run(defect, given), output)
    except own_tests.OwnTestsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _page(write: bool) -> int:
    try:
        files = page.files(score.recorded(defects.load()))
    except (defects.DefectError, score.ScoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, content in files.items():
        if write:
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text(content)
            os.replace(temporary, path)
        elif not path.exists() or path.read_text() != content:
            print(f"error: {path} is not current; run python -m mutants page --write", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
