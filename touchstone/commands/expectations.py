"""Bring the files of known deviations and pins in line with a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from touchstone import command
from touchstone.adapters import update


def main(arguments: Sequence[str]) -> int:
    """Edit the files and print what changed; the exit status is 0. Raises InputError."""
    parser = command.parser_of("expectations", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    updating = commands.add_parser(
        "update", help="add candidates from a run, drop what is stale", description=update.__doc__
    )
    updating.add_argument("report", type=Path, metavar="DIR", help="the folder that a run with --report wrote")
    options = parser.parse_args(arguments)
    command.find_adapters_here(update.specs(options.report))
    print(update.update(options.report))
    return 0
