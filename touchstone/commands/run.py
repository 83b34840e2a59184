"""The suites, from any folder. Every argument of pytest can be given too (pytest --help).

Cases and files are named as in reports: suites/test_linear.py. Exit status: 0, 1 where a case is red, 2 where the
run did not come to its end.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import pytest

from touchstone import command, plugin
from touchstone.places import SUITES

_WITH_VALUE = {name for name, settings in plugin.OPTIONS.items() if "metavar" in settings}


def main(arguments: Sequence[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        parser = command.parser_of("run", __doc__)
        parser.add_argument("cases", nargs="*", metavar="CASE", help="a folder, file or id of cases (default: all)")
        for name, settings in plugin.OPTIONS.items():
            parser.add_argument(name, **settings)
        parser.print_help()
        return 0
    command.find_adapters_here()
    status = pytest.main([*_settings(), *_placed(arguments)])
    return int(status) if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else 2


def _settings() -> list[str]:
    """pytest reads no configuration of the folder it is called in, and names cases from the suites' folder."""
    cache = Path(platformdirs.user_cache_dir("touchstone")) / "pytest"
    root = SUITES.parent
    return ["-p", plugin.NAME, "-c", os.devnull, f"--rootdir={root}", "-o", f"cache_dir={cache}"]


def _placed(arguments: Sequence[str]) -> list[str]:
    """The arguments with full paths for cases; all of the suites where none is named."""
    placed, found = [], False
    for before, argument in zip(["", *arguments], arguments, strict=False):
        path, colons, rest = argument.partition("::")
        is_case = before not in _WITH_VALUE and path.split("/")[0] == SUITES.name
        found = found or is_case
        placed.append(f"{SUITES.parent / path}{colons}{rest}" if is_case else argument)
    return placed if found else [*placed, str(SUITES)]
