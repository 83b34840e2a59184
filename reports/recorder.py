"""``results.jsonl``: one line when a case starts and one when it ends, flushed, so that a killed run can be read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCHEMA = 1


class RecorderError(Exception):
    """The report folder cannot be written; the message names it."""


class Recorder:
    """Appends records to a new file in `folder`: ``results.jsonl``, or a shard per parallel worker.

    Closing the main one takes in the shards, which are then removed.

    Raises RecorderError where the folder cannot be made or written, and where a write or the taking in fails later.
    """

    def __init__(self, folder: Path, worker: str | None = None) -> None:
        self.path = folder / (f"results.{worker}.jsonl" if worker else "results.jsonl")
        self._is_main = worker is None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self._is_main:
                for stray in self._shards():
                    stray.unlink()
            self._file = self.path.open("w")
        except OSError as error:
            raise RecorderError(f"--report {folder}: cannot write there ({error.strerror})") from error

    def _line(self, record: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps({"schema": SCHEMA, **record}) + "\n")
            self._file.flush()
        except OSError as error:
            raise RecorderError(f"{self.path}: cannot be written ({error.strerror})") from error

    def start(self, identifier: str) -> None:
        self._line({"event": "start", "id": identifier})

    def finish(self, record: dict[str, Any]) -> None:
        self._line({"event": "end", **record})

    def _shards(self) -> list[Path]:
        return sorted(self.path.parent.glob("results.*.jsonl"))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: said when the line was written
            self._file.close()
        if self._is_main and (shards := self._shards()):
            self._take_in(shards)

    def _take_in(self, shards: Sequence[Path]) -> None:
        """Replace the file by itself and the shards, which stay where that fails."""
        merged = self.path.with_suffix(".partial")
        try:
            merged.write_text("".join(part.read_text() for part in (self.path, *shards)))
            os.replace(merged, self.path)
            for shard in shards:
                shard.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                merged.unlink()
            raise RecorderError(f"{self.path}: cannot be written ({error.strerror})") from error
