"""Observations that are kept in the repository: lines of JSON in one compressed file, by system."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from touchstone.reports.records import Machine, Number


def encode(lines: Iterable[Any]) -> bytes:
    """One line of JSON for each, as an xz file that is the same for the same lines."""
    return lzma.compress(b"".join(msgspec.json.encode(line) + b"\n" for line in lines), preset=9 | lzma.PRESET_EXTREME)


def lines(path: Path, most: int) -> list[bytes]:
    """The lines of a file of at most `most` bytes. Raises OSError, EOFError, lzma.LZMAError or ValueError."""
    with lzma.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return content.splitlines()


def short(value: Number | None) -> Number | None:
    """A number to four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def facts_of(system: str) -> dict[str, str]:
    """What the name that `system_of` gives says of the facts that entries of known deviations name.

    >>> facts_of("macOS arm64")
    {'system': 'Darwin', 'machine': 'arm64'}
    """
    name, _, architecture = system.partition(" ")
    return {"system": name.replace("macOS", "Darwin"), "machine": architecture.replace("-", "_")}


def system_of(machine: Machine) -> str:
    """``Linux x86-64``, ``macOS arm64``."""
    name = "macOS" if machine.os.startswith("macOS") else "Linux"
    return f"{name} {machine.architecture.replace('_', '-')}"
