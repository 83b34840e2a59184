"""Records as a run writes them, made up: what the tests of reports/ read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from touchstone.reports import records
from touchstone.reports.recorder import Recorder
from touchstone.reports.records import SCHEMA
from touchstone.verdict import rule

MACHINE = records.Machine(
    id="aaaaaaaaaaaa",
    chip="Apple M1",
    model="Mac13,1",
    architecture="arm64",
    cores=8,
    memory=2**34,
    os="macOS 15.7",
    os_build="24G222",
    virtual=False,
    python="3.11.7",
)
DEVICE = records.Device(
    name="Apple M1", chip="Apple M1", os="macOS 15.7", os_build="24G222", paravirtual=False, precision={"tf32": "0"}
)
REQUIREMENTS = {
    "EMB-1": records.Requirement(
        group="Embedding lookup",
        level="required",
        sentence="A lookup returns rows.",
        source="https://example.org/embedding",
        difference="",
        advice="",
        cases=2,
        layer="embedding",
    ),
    "LIN-1": records.Requirement(
        group="Linear",
        level="characterised",
        sentence="The bias is added with one rounding or with two.",
        source="https://example.org/linear",
        difference="rounding",
        advice="Compare within the bound.",
        cases=2,
        layer="linear",
    ),
}


def target(name: str, **changed: Any) -> records.Target:
    facts: dict[str, Any] = {
        "spec": name.partition("@")[0],
        "framework": True,
        "versions": {"mlx": "1.0"},
        "device": DEVICE,
    }
    return records.Target(**facts | changed)


def run_line(run: str = "run1", **changed: Any) -> records.RunLine:
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run,
        "process": "main",
        "started": "2026-11-20T03:00:00+00:00",
        "command": ["pytest", "suites/"],
        "suite_hash": "5017e0000000",
        "golden_hash": "901de0000000",
        "machine": MACHINE,
        "packages": {"mlx": "1.0", "numpy": "2.4.6"},
        "targets": {"mlx@gpu": target("mlx@gpu")},
        "requirements": REQUIREMENTS,
        "planned": {"mlx@gpu": 4},
    }
    return records.RunLine(**facts | changed)


def case(name: str, requirement: str = "EMB-1", target: str = "mlx@gpu") -> str:
    return f"suites/test_{requirement[:3].lower()}.py::test_it[{target}-{name}]"


def start(name: str, requirement: str = "EMB-1", target: str = "mlx@gpu", run: str = "run1") -> records.StartLine:
    identifier = case(name, requirement, target)
    return records.StartLine(
        schema=SCHEMA,
        run=run,
        id=identifier,
        target=target,
        requirement=requirement,
        params={"layer": "embedding"},
        rerun=f"pytest '{identifier}'",
    )


def end(
    name: str, requirement: str = "EMB-1", target: str = "mlx@gpu", run: str = "run1", **changed: Any
) -> records.EndLine:
    identifier = case(name, requirement, target)
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run,
        "id": identifier,
        "target": target,
        "spec": target.partition("@")[0],
        "versions": {"mlx": "1.0"},
        "device": DEVICE,
        "machine": MACHINE.id,
        "suite_hash": "5017e0000000",
        "golden_hash": "901de0000000",
        "requirement": requirement,
        "params": {"layer": "embedding", "name": name},
        "verdict": "conforms",
        "behaviour": "exact",
        "conforms": True,
        "rerun": f"pytest '{identifier}'",
        "duration": 0.01,
        "cases": 2,
        "marked": False,
        "dtype": "float32",
        "headroom": 0.5,
    }
    return records.EndLine(**facts | changed)


def finish(run: str = "run1", **changed: Any) -> records.FinishLine:
    facts: dict[str, Any] = {"schema": SCHEMA, "run": run, "process": "main", "exit_status": 0, "duration": 1.0}
    return records.FinishLine(**facts | changed)


DEVIATES: dict[str, Any] = {"verdict": "deviates", "behaviour": "wrong bits", "conforms": False}
KNOWN: dict[str, Any] = {
    "verdict": "known deviation",
    "behaviour": "foreign memory",
    "conforms": False,
    "note": "Nothing checks the bounds.",
    "advice": "Check ids first.",
}


def whole(run: str = "run1", *ends: records.EndLine, **changed: Any) -> list[records.Line]:
    """A run that came to its end: four cases that conform, but for those given."""
    given = {line.id: line for line in ends}
    usual = [end(name, req, run=run) for req in REQUIREMENTS for name in ("a", "b")]
    lines = [given.pop(line.id, line) for line in usual] + list(given.values())
    red = any(line.verdict in rule.RED for line in lines)
    header = run_line(run, **{"planned": {"mlx@gpu": len(lines)}} | changed)
    return [header, *lines, finish(run, exit_status=int(red))]


def folder(path: Path, lines: Sequence[records.Line], process: str = "main", stem: str = "results") -> Path:
    """Write the lines as a run does; `path` is returned."""
    recorder = Recorder(path, process, stem)
    for line in lines:
        recorder.write(line)
    recorder.close()
    return path
