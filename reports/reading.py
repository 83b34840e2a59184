"""Records of one folder, validated line by line; a file that a killed process left is read as far as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from touchstone.errors import InputError
from touchstone.reports.records import SCHEMA, Line

_DECODER = msgspec.json.Decoder(Line)
Progress = Callable[[int], object]
"""Told the number of bytes read since it was told last."""


class ReportError(InputError):
    """Input that is no report, or none that can be used; the message names the file and what to do."""


class _Version(msgspec.Struct):
    schema: int = SCHEMA


def files(folder: Path) -> list[Path]:
    """The files of records in `folder`, shards of parallel workers included.

    Raises ReportError where there is none.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder")
    found = [p for stem in ("results", "benchmarks") for p in sorted(folder.glob(f"{stem}*.jsonl"))]
    if not found:
        raise ReportError(f"{folder}: no report, it holds no results.jsonl; pytest suites/ --report DIR writes one")
    return found


def lines(path: Path, progress: Progress = lambda _: None) -> Iterator[Line]:
    """Every line of one file. Raises ReportError, naming file and line, for one that is malformed.

    Half a line at the very end is what a killed process leaves, and is passed over.
    """
    try:
        with path.open("rb") as file:
            for count, raw in enumerate(file, 1):
                progress(len(raw))
                try:
                    line = _DECODER.decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    if not raw.endswith(b"\n"):
                        return
                    raise ReportError(f"{path}:{count}: {_fault(raw, error)}") from error
                if line.schema != SCHEMA:
                    raise ReportError(f"{path}:{count}: {_other(line.schema)}")
                yield line
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error


def _fault(raw: bytes, error: Exception) -> str:
    """What is wrong with a line: of another version, or not of this one's form."""
    try:
        version = msgspec.json.decode(raw, type=_Version).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"not a record ({error})"
    if version != SCHEMA:
        return _other(version)
    return f"not a record of schema {SCHEMA} ({error})"


def _other(version: int) -> str:
    return f"a record of schema {version}, this version of Touchstone reads {SCHEMA}; run the suites again"
