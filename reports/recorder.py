"""``results.jsonl``: a line when a case starts and one when it ends, flushed, so that a killed run can be read.

Parallel workers write shards, ``results.gw0.jsonl``, which the main process takes in at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from touchstone import files
from touchstone.errors import InputError
from touchstone.reports.records import Line

RENDERED = ("results.json", "ctrf.json", "junit.xml", "summary.md", "report.html")
"""What `touchstone.reports.render` makes of the records in a folder."""


class RecorderError(InputError):
    """The report folder cannot be written; the message names it."""


class Recorder:
    """Appends lines to a new file in `folder`: ``STEM.jsonl``, or the shard of a parallel worker.

    The main process locks the folder, so that no second run writes there, and removes what an earlier run left.

    Raises RecorderError where the folder cannot be made or written, another run writes there, and where a write or
    the taking in fails later.
    """

    def __init__(self, folder: Path, process: str = "main", stem: str = "results") -> None:
        self.folder, self.process, self._stem = folder, process, stem
        self._is_main = process == "main"
        self.path = folder / (f"{stem}.jsonl" if self._is_main else f"{stem}.{process}.jsonl")
        self._lock: BinaryIO | None = None
        if folder.exists() and not folder.is_dir():
            raise RecorderError(f"--report {folder}: is a file; name a folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self._is_main:
                self._lock = _locked(folder / ".lock")
                # Benchmarks go beside the suites' records, and are older than a run of the suites that begins.
                stale = folder.glob("benchmarks*.jsonl") if stem == "results" else ()
                for old in (*self._shards(), *stale, *(folder / name for name in RENDERED)):
                    old.unlink(missing_ok=True)
            self._file = self.path.open("wb")
        except OSError as error:
            self._unlock()
            raise RecorderError(f"--report {folder}: cannot write there ({error.strerror})") from error

    def write(self, line: Line) -> None:
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
            self._file.flush()
        except OSError as error:
            raise RecorderError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self._stem}.*.jsonl"))

    def close(self) -> None:
        """Close the file; the main process takes in the shards first, and lets go of the folder."""
        with contextlib.suppress(OSError):  # a full disk: said when the line was written
            self._file.close()
        try:
            if self._is_main and (shards := self._shards()):
                self._take_in(shards)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock:
            (self.folder / ".lock").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _take_in(self, shards: Sequence[Path]) -> None:
        """Replace the file by itself and the shards, which stay where that fails."""
        try:
            with files.replacing(self.path) as merged:
                concatenate((self.path, *shards), merged)
            for shard in shards:
                shard.unlink()
        except OSError as error:
            raise RecorderError(f"{self.path}: cannot be written ({error.strerror})") from error


def concatenate(parts: Sequence[Path], path: Path) -> None:
    """Write the whole lines of `parts` to `path`; half a line at an end is what a killed process leaves."""
    with path.open("wb") as out:
        for part in parts:
            whole, newline, _ = part.read_bytes().rpartition(b"\n")
            out.write(whole + newline)


def _locked(path: Path) -> BinaryIO:
    """The lock file, open and held until it is closed. Raises RecorderError where another process holds it."""
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise RecorderError(
                f"--report {path.parent}: another run is writing there; choose another folder"
            ) from error
        with contextlib.suppress(OSError):
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                return lock
        lock.close()  # its last holder removed it in between
