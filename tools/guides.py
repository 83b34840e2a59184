"""``python -m tools.guides record DIR | write | check``: docs/guides, and the observations that they rest on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from touchstone.errors import InputError
from touchstone.migration import guide, guide_observations


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 where a page is stale, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tools.guides", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="keep the observations of a whole, green run for the guides")
    recording.add_argument("report", type=Path, metavar="DIR", help="the folder that a run with --report wrote")
    commands.add_parser("write", help="write docs/guides: every pair, and an index")
    commands.add_parser("check", help="say which page of docs/guides is stale: exit status 1")
    options = parser.parse_args(arguments)
    try:
        if options.command == "record":
            for path in guide_observations.record(options.report):
                print(f"{path}: {path.stat().st_size:,} bytes")
            print(f"now: {guide.WRITE}")
            return 0
        if options.command == "write":
            print("\n".join(map(str, guide.write())) or "every guide is current")
            return 0
        stale = guide.check()
        print("\n".join(stale) or "every guide is current")
        return int(bool(stale))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
