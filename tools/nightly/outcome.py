"""What became of each target of a leg, kept as ``leg.json`` beside its records, and the leg's exit status."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tools.nightly import BROKEN, GREEN, RED
from touchstone import files
from touchstone.reports import model
from touchstone.reports.reading import ReportError

FILE = "leg.json"
ONCE_FOUND = "required once a night has found it"


class Ran(msgspec.Struct, kw_only=True):
    """One target of a leg.

    required: otherwise it is required once a night has found it, which its leg does not know and the report does.
    absent: why it cannot run here. suites, benchmarks: exit status of the process, negative for a signal, None where
    there was none. state: of its records (`touchstone.reports.model.State`), or why they cannot be read.
    """

    target: str
    required: bool
    first_night: bool = False
    absent: str = ""
    suites: int | None = None
    benchmarks: int | None = None
    answered: int = 0
    state: str = "did not run"

    def read(self, folder: Path) -> None:
        """Fill in what the records in `folder` say."""
        try:
            report = model.load(folder)
        except ReportError as error:
            self.state = str(error)
            return
        self.answered = sum(c.answered for c in report.columns if c.target == self.target)
        self.state = report.state

    def status(self, *, accept_unreviewed: bool = False) -> int:
        if self.absent:
            return BROKEN if self.required else GREEN
        ended = self.suites in (0, 1) and self.benchmarks in (None, 0, 1)
        if not self.answered or not ended or self.state not in ("conforms", "deviates", "unreviewed"):
            return BROKEN
        green = self.state == "conforms" or (self.state == "unreviewed" and accept_unreviewed)
        return GREEN if green and not self.benchmarks else RED

    def __str__(self) -> str:
        if self.absent:
            note = "" if self.required else f" ({ONCE_FOUND})"
            return f"{self.target}: {'required, but ' * self.required}absent: {self.absent}{note}"
        parts = [f"{self.answered} cases answered, {self.state}"]
        parts += ["first night: no verdict of this device has been reviewed"] * self.first_night
        for name, status in (("suites", self.suites), ("benchmarks", self.benchmarks)):
            if status not in (None, 0) and not (name == "suites" and status == 1 and self.answered):
                parts.append(f"{name} {spell(status)}")
        return f"{self.target}: {'; '.join(parts)}"


class Leg(msgspec.Struct, kw_only=True):
    """The content of leg.json. status: the leg's exit status."""

    name: str
    status: int
    ran: list[Ran]


def spell(status: int) -> str:
    """In words, as "killed by SIGKILL", "exited with 4"."""
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def worst(ran: Sequence[Ran], *, accept_unreviewed: bool = False) -> int:
    """The exit status of a leg."""
    return max(r.status(accept_unreviewed=accept_unreviewed) for r in ran)


def write(leg: Leg, folder: Path) -> None:
    """Whole or not at all: a leg may be killed at any moment."""
    files.write(folder / FILE, msgspec.json.format(msgspec.json.encode(leg), indent=1) + b"\n")


def read(folder: Path) -> Leg | None:
    """None where there is none that can be read, or it names no target: the leg died."""
    try:
        leg = msgspec.json.decode((folder / FILE).read_bytes(), type=Leg)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return leg if leg.ran else None
