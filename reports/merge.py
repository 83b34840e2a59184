"""Several folders of records as one: shards of a run, adapters run one by one, machines of a night."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from touchstone.reports import model, reading
from touchstone.reports.reading import Progress, ReportError
from touchstone.reports.recorder import RENDERED, concatenate
from touchstone.reports.records import SCHEMA, ProblemLine


def merge(
    folders: Sequence[Path],
    output: Path,
    *,
    allow_truncated: bool = False,
    problems: Sequence[str] = (),
    progress: Progress = lambda _: None,
) -> model.Report:
    """Write the records of `folders` to `output`, a folder that must not hold any.

    allow_truncated: take in runs that died; what they lack stays visible, and the whole is not green. problems: what
    else is missing from the whole, such as a machine that was lost.

    Raises ReportError, naming the folder, for one that is no report, holds no answered case or is truncated, for a case
    that two folders hold, and for runs of other suites, golden data or versions than the rest. Nothing is written then.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ReportError("a folder is given twice")
    if output.exists() and (not output.is_dir() or any(output.glob("*.jsonl"))):
        raise ReportError(f"{output}: is there already; merge into a new folder")
    for folder in folders:
        _check(model.load(folder, progress), folder, allow_truncated=allow_truncated)
    model.load(folders, progress)
    temporary = output.with_name(f".{output.name}.partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for stem in ("results", "benchmarks"):
            parts = [p for folder in folders for p in reading.files(folder) if p.name.startswith(stem)]
            if parts:
                concatenate(parts, temporary / f"{stem}.jsonl")
        with (temporary / "results.jsonl").open("ab") as out:
            for text in problems:
                out.write(msgspec.json.encode(ProblemLine(schema=SCHEMA, text=text)) + b"\n")
        output.mkdir(parents=True, exist_ok=True)
        for name in RENDERED:
            (output / name).unlink(missing_ok=True)
        for path in temporary.iterdir():
            os.replace(path, output / path.name)
        temporary.rmdir()
    except OSError as error:
        raise ReportError(f"{output}: cannot be written ({error.strerror})") from error
    return model.load(output)


def _check(report: model.Report, folder: Path, *, allow_truncated: bool) -> None:
    benchmarks = any(c.benchmarks for c in report.columns)
    if not any(c.cases for c in report.columns) and not benchmarks and not (allow_truncated and report.problems):
        raise ReportError(f"{folder}: holds no finished case")
    if report.state == "empty" and not benchmarks and not allow_truncated:
        raise ReportError(f"{folder}: no framework answered a case")
    problems = [p for p in report.problems if p not in report.missing_shares]
    if problems and not allow_truncated:
        raise ReportError(
            f"{folder}: truncated: {problems[0]}; run it again, or merge with --allow-truncated, which shows it"
        )
