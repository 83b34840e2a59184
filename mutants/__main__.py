"""``python -m mutants run | list``: plant defects and see whether the suites turn red."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from mutants import defects, running
from mutants.defects import Defect


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m mutants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="plant defects, one at a time, and run the suites on each")
    run.add_argument("patterns", nargs="*", default=["*"], metavar="ID", help="which, as patterns (default: all)")
    run.add_argument("-n", type=int, default=1, metavar="PROCESSES", help="how many runs at a time")
    run.add_argument("--output", type=Path, metavar="FILE", help="outcomes, a line of JSON each; known ones are kept")
    listing = commands.add_parser("list", help="print the defects")
    listing.add_argument("patterns", nargs="*", default=["*"], metavar="ID")
    options = parser.parse_args(arguments)
    try:
        chosen = [d for d in defects.load() if any(fnmatchcase(d.id, p) for p in options.patterns)]
    except defects.DefectError as error:
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
    return _run(chosen, options.n, options.output)


def _run(chosen: Sequence[Defect], processes: int, output: Path | None) -> int:
    known = {}
    if output and output.exists():
        known = {o["id"]: running.Outcome(**o) for o in map(json.loads, output.read_text().splitlines())}
    waiting = [d for d in chosen if d.id not in known]
    with ThreadPoolExecutor(processes) as pool:
        for outcome in pool.map(running.run, waiting):
            known[outcome.id] = outcome
            print(f"{outcome.verdict:16} {outcome.id:45} {outcome.seconds:6.1f} s  {outcome.requirement} {outcome.why}")
            if output:
                with output.open("a") as file:
                    file.write(json.dumps(outcome.document()) + "\n")
    return 0 if all(known[d.id].verdict == running.CAUGHT for d in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
