"""The suites, from any folder. Every argument of pytest can be given too (pytest --help).

Cases and files are named as in reports: suites/test_linear.py. Settings of pytest in the current folder or in
PYTEST_ADDOPTS do not count. Exit status: 0, 1 where a case is red or no framework answered, 2 where the run did not
come to its end.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import pytest

from touchstone import command, plugin
from touchstone.errors import InputError
from touchstone.places import SUITES

_FLAGS = {name for name, settings in plugin.OPTIONS.items() if "metavar" not in settings} | {
    *("-v", "-vv", "-q", "-qq", "-x", "-s", "-l", "--co", "--collect-only", "--pdb", "--trace", "--lf", "--ff", "--sw"),
    *("--exitfirst", "--last-failed", "--failed-first", "--stepwise", "--no-header", "--no-summary", "--setup-show"),
}
"""Options that take no value: what follows another one is its value, and no case."""
_OF_FILES = ("--ignore", "--ignore-glob")


def main(arguments: Sequence[str]) -> int:
    """pytest's exit status where it is 0 or 1, for all else 2; ``PYTEST_ADDOPTS`` is taken out of the environment."""
    parser = command.parser_of("run", __doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a folder, file or id of cases (default: all)")
    for name, settings in plugin.OPTIONS.items():
        parser.add_argument(name, **settings)
    if "-h" in arguments or "--help" in arguments:
        parser.print_help()
        return 0
    command.find_adapters_here(_own(parser, arguments).adapter)
    os.environ.pop("PYTEST_ADDOPTS", None)
    status = pytest.main([*_settings(), *_placed(arguments)])
    return int(status) if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else 2


def _own(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The suites' own options; ends the process, as for every part, where one lacks its value."""
    return parser.parse_known_args(arguments)[0]


def _settings() -> list[str]:
    """pytest reads no configuration of the folder it is called in, and names cases from the suites' folder."""
    cache = Path(platformdirs.user_cache_dir("touchstone")) / "pytest"
    loaded = "ignore::pytest.PytestAssertRewriteWarning"  # of this package, which pytest would have loaded itself
    return ["-p", plugin.NAME, "-c", os.devnull, f"--rootdir={SUITES.parent}", "-o", f"cache_dir={cache}", "-W", loaded]


def _placed(arguments: Sequence[str]) -> list[str]:
    """The arguments with full paths for cases; all of the suites where none is named. Raises InputError."""
    placed, found = [], False
    for before, argument in zip(["", *arguments], arguments, strict=False):
        is_value = before.startswith("-") and "=" not in before and before not in _FLAGS
        if argument.startswith("-") or (is_value and before not in _OF_FILES):
            placed.append(argument)
            continue
        found = found or not is_value
        placed.append(_path(argument))
    return placed if found else [*placed, str(SUITES)]


def _path(case: str) -> str:
    """A case's full path, with its id. Raises InputError where there is no such file."""
    path, colons, rest = case.partition("::")
    for place in (SUITES.parent / path, SUITES / path, Path(path).absolute()):
        if place.exists() and (place == SUITES or SUITES in place.resolve().parents):
            return f"{place}{colons}{rest}"
    raise InputError(f"{path}: no such file or folder of the suites; name one as {SUITES.name}/test_lookup.py")
