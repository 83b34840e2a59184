"""``ctrf.json``: the report in the Common Test Report Format (https://ctrf.io), for tools that read that."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from touchstone.reports.model import Column, Report
from touchstone.reports.records import EndLine, StartLine
from touchstone.verdict.rule import RED

SPECIFICATION = "0.0.0"
"""The version whose schema the documents are checked against (https://github.com/ctrf-io/ctrf-js)."""
_STATUS = {"conforms": "passed", "known deviation": "other", "unsupported": "skipped", "not run": "skipped"}
"""Verdicts that are not red -> CTRF's statuses; a known deviation is neither passed nor skipped."""


def _document(report: Report) -> dict[str, Any]:
    tests = [
        *(_test(column, record) for column in report.columns for record in column.cases.values()),
        *(_in_flight(column, line) for column in report.columns for line in column.in_flight),
        *({"name": name, "status": "failed", "duration": 0, "rawStatus": report.state} for name in report.faults),
    ]
    counts = Counter(test["status"] for test in tests)
    started = round(datetime.fromisoformat(report.started).timestamp() * 1000)
    machine = report.runs[0].machine
    return {
        "reportFormat": "CTRF",
        "specVersion": SPECIFICATION,
        "runId": report.id,
        "generatedBy": "touchstone",
        "results": {
            "tool": {"name": "touchstone", "extra": {"suite_hash": report.suite_hash}},
            "summary": {
                "tests": len(tests),
                **{name: counts[name] for name in ("passed", "failed", "skipped", "pending", "other")},
                "start": started,
                "stop": started + sum(test["duration"] for test in tests),
            },
            "tests": tests,
            "environment": {
                "osPlatform": machine.architecture,
                "osVersion": machine.os,
                "osRelease": machine.os_build,
                "healthy": report.state == "conforms",
                "extra": {
                    "state": report.state,
                    "problems": report.problems,
                    "suite_hash": report.suite_hash,
                    "golden_hash": report.golden_hash,
                },
            },
        },
    }


def _test(column: Column, record: EndLine) -> dict[str, Any]:
    test = {
        "name": record.id,
        "status": "failed" if record.verdict in RED else _STATUS[record.verdict],
        "duration": round(record.duration * 1000),
        "rawStatus": record.verdict,
        "suite": [column.label, record.requirement],
        "message": ": ".join(part for part in (record.behaviour, record.message) if part),
        "parameters": record.params,
        "device": record.device.name,
        "filePath": record.id.partition("::")[0],
        "extra": {
            name: value
            for name, value in msgspec.to_builtins(record).items()
            if name not in ("event", "schema", "id", "params", "message", "duration") and value not in ("", None)
        },
    }
    return test


def _in_flight(column: Column, line: StartLine) -> dict[str, Any]:
    return {
        "name": line.id,
        "status": "failed",
        "duration": 0,
        "rawStatus": "in flight",
        "suite": [column.label, line.requirement],
        "message": f"the case began and did not end; rerun it with: {line.rerun}",
        "parameters": line.params,
    }


def render(report: Report) -> bytes:
    """The content of ``ctrf.json``, UTF-8; durations and times of day are whole milliseconds, as CTRF has them."""
    return msgspec.json.encode(_document(report))
