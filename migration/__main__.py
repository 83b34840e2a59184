"""``python -m migration check | guide | record``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from migration import command, guide, guide_observations


def _guide(options: argparse.Namespace) -> int:
    if options.write:
        changed = guide.write()
        print("\n".join(map(str, changed)) or "every guide is current")
        return 0
    if options.check:
        stale = guide.check()
        print("\n".join(stale) or "every guide is current")
        return 1 if stale else 0
    print(guide.guide(options.source, options.target).render(), end="")
    return 0


def _record(options: argparse.Namespace) -> int:
    for path in guide_observations.record(options.report):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print("now: python -m migration guide --write")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 where a check finds something, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m migration", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command.add_parser(commands)

    guiding = commands.add_parser("guide", help="what behaves differently in another framework, from observations")
    guiding.add_argument("source", nargs="?", metavar="SOURCE", help="mlx, jax, torch or reference, or NAME@DEVICE")
    guiding.add_argument("target", nargs="?", metavar="TARGET")
    which = guiding.add_mutually_exclusive_group()
    which.add_argument("--write", action="store_true", help="write docs/guides: every pair, and an index")
    which.add_argument("--check", action="store_true", help="say which page of docs/guides is stale: exit status 1")
    guiding.set_defaults(run=_guide)

    recording = commands.add_parser("record", help="keep the observations of a whole, green run for the guides")
    recording.add_argument("report", type=Path, metavar="DIR", help="the folder that a run with --report wrote")
    recording.set_defaults(run=_record)

    options = parser.parse_args(arguments)
    if options.command == "guide":
        every = options.write or options.check
        if every and options.source:
            guiding.error("--write and --check are about every pair: name no target")
        if not every and not options.target:
            guiding.error("name SOURCE and TARGET, such as torch mlx")
    try:
        return int(options.run(options))
    except (guide.GuideError, guide_observations.ObservationsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
