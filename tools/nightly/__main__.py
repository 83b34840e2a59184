"""``python -m tools.nightly leg | report | no-report | keep | first-night``: what a night runs (docs/nightly.md)."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tools.nightly import BROKEN, MINUTES, NightlyError


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.nightly", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    leg = commands.add_parser("leg", help="run a leg: 0 green, 1 red, 2 where a required target answered no case")
    leg.add_argument("name", metavar="LEG", help="a leg of tools/nightly/legs.toml")
    leg.add_argument("--output", type=Path, required=True, metavar="DIR", help="records go to DIR/TARGET")
    limit = f"what one target's suites may take, and its benchmarks a third of (default: {MINUTES:g})"
    leg.add_argument("--minutes", type=float, default=MINUTES, help=limit)
    leg.add_argument("--accept-unreviewed", action="store_true", help="a first night on a device is no failure")

    report = commands.add_parser("report", help="one report of every leg: 1 on a new deviation, 2 where a step failed")
    report.add_argument("records", type=Path, metavar="RECORDS", help="the folder of RECORDS/LEG/TARGET")
    report.add_argument("--output", type=Path, required=True, metavar="OUT", help="a folder without records")
    report.add_argument("--history", type=Path, required=True, metavar="HISTORY", help="the folder of nights")
    report.add_argument("--site", type=Path, required=True, metavar="SITE", help="what is published")
    report.add_argument(
        "--expect", action="append", default=[], metavar="LEG", help="a leg that must have left something; repeatable"
    )

    none = commands.add_parser("no-report", help="a page that says there is no report, until there is one")
    none.add_argument("--site", type=Path, required=True, metavar="SITE", help="what is published")
    none.add_argument("--reason", default="The job that makes the report did not come to its end.", metavar="TEXT")

    keep = commands.add_parser("keep", help="append nights to the data branch, and push it")
    keep.add_argument("files", type=Path, nargs="+", metavar="FILE")
    keep.add_argument("--branch", default="nightly-data")

    first = commands.add_parser("first-night", help="which of these targets nobody has reviewed on a system yet")
    first.add_argument("targets", nargs="+", metavar="NAME@DEVICE")
    first.add_argument(
        "--system", default="", help='as in tools/nightly/reviewed.toml, "Darwin arm64" (default: this one)'
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of a command; `BROKEN` for every fault of the command itself."""
    options = _arguments(arguments)
    try:
        return _run(options)
    except NightlyError as error:
        print(f"error: {error}", file=sys.stderr)
        return BROKEN
    except Exception:
        traceback.print_exc()  # Python's own exit status of an exception, 1, is RED here
        return BROKEN


def _run(options: argparse.Namespace) -> int:
    """Each command imports what it needs: `report` needs no framework, `keep` and `no-report` nothing but Python."""
    if options.command == "leg":
        from tools.nightly import leg

        accept = options.accept_unreviewed
        return leg.run(options.name, options.output, minutes=options.minutes, accept_unreviewed=accept)
    if options.command == "report":
        from tools.nightly import report

        return report.run(options.records, options.output, options.history, options.site, options.expect)
    if options.command == "no-report":
        from tools.nightly import placeholder

        placeholder.write(options.site, [options.reason])
        return 0
    if options.command == "keep":
        from tools.nightly import keep

        print(keep.keep(options.files, options.branch))
        return 0
    from tools.nightly import candidates

    print(*(t for t in options.targets if candidates.is_first_night(t, options.system)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
