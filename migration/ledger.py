"""Verdicts that an interrupted check has reached already: a file beside its report, deleted when the check ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from touchstone import files
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.findings import Finding

_PATTERN = "check-*.ledger"


def fingerprint(files: Iterable[Path], settings: Sequence[str]) -> str:
    """A hash of the files' names, sizes and times, of `settings`, and of this package's code.

    Raises CheckpointError for a file that is gone.
    """
    digest = hashlib.sha256("\0".join(settings).encode())
    for path in files:
        try:
            stat = path.stat()
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        digest.update(f"\0{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    for module in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()


class Ledger:
    """Lines of JSON, one per verdict, flushed; of every process one file. A last line that was cut off is ignored."""

    def __init__(self, folder: Path, process: str, key: str) -> None:
        self.folder, self.key = folder, key
        self.found = dict(_read(folder, key))
        self._path = folder / f"check-{process}.ledger"

    def open(self) -> None:
        """Begin this process's file with what is known. Raises CheckpointError where it cannot be written."""
        try:
            lines = [self.key, *(_line(case, finding) for case, finding in self.found.items())]
            files.write(self._path, "".join(f"{line}\n" for line in lines))
            self._file = self._path.open("a")
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot be written ({error.strerror})") from error

    def add(self, case: str, finding: Finding) -> None:
        try:
            self._file.write(_line(case, finding) + "\n")
            self._file.flush()
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        self._file.close()


def forget(folder: Path) -> None:
    """Delete what a check that came to its end has no more use for."""
    for path in folder.glob(_PATTERN):
        path.unlink(missing_ok=True)


def _line(case: str, finding: Finding) -> str:
    return json.dumps({"case": case, **asdict(finding)})


def _read(folder: Path, key: str) -> Iterable[tuple[str, Finding]]:
    for path in sorted(folder.glob(_PATTERN)):
        try:
            first, *lines = path.read_text().split("\n")
        except (OSError, UnicodeDecodeError):
            continue
        if first != key:
            continue
        for line in lines[:-1]:
            if entry := _entry(line):
                yield entry


def _entry(line: str) -> tuple[str, Finding] | None:
    try:
        fields: dict[str, Any] = json.loads(line)
        case = fields.pop("case")
        for name in ("shape", "worst_index"):
            fields[name] = tuple(fields[name]) if fields[name] is not None else None
        return case, Finding(**fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
