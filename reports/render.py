"""From a folder of records to what is read: results.json, ctrf.json, junit.xml, summary.md and report.html."""

from __future__ import annotations

import os
from pathlib import Path

from reports import ctrf, junit, markdown, model, results
from reports.reading import Progress, ReportError


def render(folder: Path, progress: Progress = lambda _: None) -> model.Report:
    """Write every rendering of the records in `folder` into it.

    Raises ReportError for a folder that is no report, or where it cannot be written.
    """
    report = model.load(folder, progress)
    renderings = {
        "results.json": results.render,
        "ctrf.json": ctrf.render,
        "junit.xml": junit.render,
        "summary.md": markdown.render,
    }
    for name, make in renderings.items():
        write(folder / name, make(report))
    return report


def write(path: Path, content: bytes | str) -> None:
    """Write to a temporary name, then rename. Raises ReportError."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        raise ReportError(f"{path}: cannot be written ({error.strerror})") from error
