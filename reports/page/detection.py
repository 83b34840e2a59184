"""What the suites catch: the score of defects that were planted on purpose, as it was last recorded."""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec


class Measured(msgspec.Struct, frozen=True):
    """Where the score was recorded, and with which versions."""

    recorded: str
    machine: str
    versions: str
    suite_hash: str
    golden_hash: str


class Detection(msgspec.Struct, frozen=True):
    """``reports/detection.json``, which `python -m tools.mutants page --write` writes; counts are (caught, planted).

    first: of those held out, in the first run of all; the others are what is recorded now.
    """

    first: tuple[int, int]
    held_out: tuple[int, int]
    all: tuple[int, int]
    classes: dict[str, tuple[int, int]]
    measured: Measured


@cache
def detection() -> Detection:
    """The score that the installed package carries, read once in a process."""
    return msgspec.json.decode(
        resources.files("touchstone.reports").joinpath("detection.json").read_bytes(), type=Detection
    )
