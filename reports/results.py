"""``results.json``: the whole report as one document, what cases share written once."""

from __future__ import annotations

from typing import Any

import msgspec

from touchstone.reports.model import Column, Report
from touchstone.reports.records import SCHEMA

SHARED = ("event", "schema", "run", "spec", "versions", "device", "machine", "suite_hash", "golden_hash")
"""Fields of a record that its column and the document hold."""


def document(report: Report) -> dict[str, Any]:
    """Keys: schema, state, problems, suite_hash, golden_hash, runs, requirements, columns (each with its cases)."""
    return {
        "schema": SCHEMA,
        "state": report.state,
        "problems": report.problems,
        "suite_hash": report.suite_hash,
        "golden_hash": report.golden_hash,
        "runs": [
            {
                "run": run.run,
                "started": run.started,
                "command": run.command,
                "suite_hash": run.suite_hash,
                "golden_hash": run.golden_hash,
                "machine": msgspec.to_builtins(run.machine),
                "packages": run.packages,
            }
            for run in report.runs
        ],
        "requirements": msgspec.to_builtins(report.requirements),
        "columns": [_column(column) for column in report.columns],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "label": column.label,
        "target": column.target,
        "state": column.state,
        "planned": column.planned,
        "deselected": column.deselected,
        "counts": dict(column.counts),
        "stale": column.stale,
        "machine": msgspec.to_builtins(column.machine),
        **msgspec.to_builtins(column.facts),
        "in_flight": [_without_shared(line) for line in column.in_flight],
        "cases": [_without_shared(record) for record in column.cases.values()],
        "benchmarks": [_without_shared(line) for line in column.benchmarks],
    }


def _without_shared(line: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(line)
    return {name: value for name, value in fields.items() if name not in SHARED}


def render(report: Report) -> bytes:
    """The content of ``results.json``: `document`, UTF-8, in one line."""
    return msgspec.json.encode(document(report))
