"""``results.jsonl``: one line when a case starts and one when it ends, flushed, so that a killed run can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMA = 1


class RecorderError(Exception):
    """The report folder cannot be written; the message names it."""


class Recorder:
    """Appends records to a new file in `folder`, ``results.jsonl``, or a shard per parallel worker.

    Raises RecorderError where the folder cannot be made or written, and where a write fails later.
    """

    def __init__(self, folder: Path, worker: str | None = None) -> None:
        self.path = folder / (f"results.{worker}.jsonl" if worker else "results.jsonl")
        try:
            folder.mkdir(parents=True, exist_ok=True)
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

    def close(self) -> None:
        self._file.close()
