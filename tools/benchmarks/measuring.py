"""One run of the benchmarks: its targets, the limits of their devices, the lines it writes, its closing table."""

from __future__ import annotations

import math
import shlex
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from tools.benchmarks import limits
from tools.benchmarks.calls import FRAMEWORKS
from tools.benchmarks.layers import Placed
from tools.benchmarks.limits import Limit
from tools.benchmarks.workloads import Workload
from touchstone.adapters.discovery import machine, registry
from touchstone.adapters.discovery.registry import Target, TargetError
from touchstone.reports import records, render
from touchstone.reports.recorder import Recorder
from touchstone.reports.records import SCHEMA, BenchmarkLine
from touchstone.suites.identity import hash_of

HERE = Path(__file__).parent
ROUND_SECONDS = 1e-3
"""Shorter calls are repeated within a round, so that reading the clock takes a ten-thousandth of it."""
TARGET_SECONDS = 0.25
FEWEST, MOST = 5, 51
"""Rounds: as many as fit into TARGET_SECONDS. Of five, the quartiles are the second and the fourth."""


@cache
def _hash() -> str:
    return hash_of(HERE.glob("*.py"), HERE)


def plan(call: Callable[[], Any]) -> tuple[int, int]:
    """(rounds, calls in each), from the fastest of a few calls; `call` has been made before."""
    once, began = float("inf"), time.perf_counter()
    for _ in range(FEWEST):
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        once = min(once, max(end - start, 1e-9))
        if end - began > TARGET_SECONDS:
            break
    calls = math.ceil(ROUND_SECONDS / once)
    return min(MOST, max(FEWEST, math.ceil(TARGET_SECONDS / (calls * once)))), calls


def resolve(specs: Sequence[str]) -> list[Target]:
    """The selected targets, or every framework on its best device. Raises TargetError."""
    targets = [t for t in registry.resolve(specs) if specs or t.cls.is_framework]
    if strangers := [t.spec for t in targets if t.cls.name not in FRAMEWORKS]:
        raise TargetError(
            f"--adapter {strangers[0]}: the benchmarks can wait for results of {', '.join(FRAMEWORKS)} only"
        )
    return targets


class Measuring:
    """What the benchmarks of one process share. Raises TargetError and RecorderError."""

    def __init__(self, specs: Sequence[str], report: str | None, command: Sequence[str]) -> None:
        self.targets = resolve(specs)
        self._recorded = {t.id: msgspec.convert(t.describe(), records.Target) for t in self.targets}
        self.lines: list[BenchmarkLine] = []
        self._run, self._started = uuid.uuid4().hex, time.time()
        self._limits: dict[tuple[str, str], Limit] = {}
        self._placed: tuple[Any, Placed] | None = None
        self._recorder = Recorder(Path(report), stem="benchmarks") if report else None
        if self._recorder:
            self._recorder.write(self._run_line(command))

    def _run_line(self, command: Sequence[str]) -> records.RunLine:
        return records.RunLine(
            schema=SCHEMA,
            run=self._run,
            process="main",
            started=datetime.fromtimestamp(self._started, UTC).isoformat(timespec="seconds"),
            command=["pytest", *command],
            suite_hash=_hash(),
            golden_hash="",
            machine=msgspec.convert(machine.describe(), records.Machine),
            packages={d.name: d.version for d in metadata.distributions()},
            targets=self._recorded,
        )

    def placed(self, target: Target, workload: Workload) -> Placed:
        """The workload's layer; one is alive at a time, since a table of the largest takes 256 MiB."""
        key = (target.id, *Placed.key(workload))
        if self._placed is None or self._placed[0] != key:
            self._placed = None
            self._placed = (key, Placed(target.adapter, workload))
        return self._placed[1]

    def limits(self, target: Target, dtype: str) -> tuple[Limit, Limit]:
        """(copy, product in this dtype), measured when first asked for; they are lines of the run, too."""
        new = [name for name in ("", dtype) if (target.id, name) not in self._limits]
        for name in new:
            self._limits[target.id, name] = limits.matmul(target.adapter, name) if name else limits.copy(target.adapter)
        copy, product = self._limits[target.id, ""], self._limits[target.id, dtype]
        for name in new:
            limit, operation = (product, "matmul") if name else (copy, "copy")
            self._add(
                target,
                id=f"{operation}[{target.id}-{name or 'float32'}]",
                operation=operation,
                scheme="",
                dtype=name or "float32",
                workload=limit.name,
                sizes=limit.sizes,
                minimum=min(limit.seconds),
                median=limit.median,
                q1=limit.quartiles[0],
                q3=limit.quartiles[1],
                rounds=len(limit.seconds),
                bytes=limit.bytes,
                flops=limit.flops,
                copy_bandwidth=copy.bandwidth,
                matmul_peak=product.peak,
            )
        return copy, product

    def add(self, identifier: str, target: Target, workload: Workload, stats: Any) -> None:
        """Keep what pytest-benchmark measured. stats: its statistics, of seconds per call."""
        copy, product = self.limits(target, workload.dtype)
        self._add(
            target,
            id=identifier,
            operation=workload.operation,
            scheme=workload.scheme,
            dtype=workload.dtype,
            workload=workload.name,
            sizes=workload.sizes,
            minimum=stats.min,
            median=stats.median,
            q1=stats.q1,
            q3=stats.q3,
            rounds=stats.rounds,
            bytes=workload.bytes,
            flops=workload.flops,
            copy_bandwidth=copy.bandwidth,
            matmul_peak=product.peak,
        )

    def _add(self, target: Target, **fields: Any) -> None:
        what = fields["id"] if "::" in fields["id"] else "benchmarks/"
        line = BenchmarkLine(
            schema=SCHEMA,
            run=self._run,
            target=target.id,
            versions=target.versions,
            machine=machine.describe()["id"],
            device=self._recorded[target.id].device,
            suite_hash=_hash(),
            rerun=shlex.join(["pytest", what, "--adapter", target.selector]),
            **fields,
        )
        self.lines.append(line)
        if self._recorder:
            self._recorder.write(line)

    def finish(self, exit_status: int) -> None:
        if self._recorder:
            seconds = round(time.time() - self._started, 3)
            end = records.FinishLine(
                schema=SCHEMA, run=self._run, process="main", exit_status=exit_status, duration=seconds
            )
            self._recorder.write(end)

    def close(self) -> None:
        """Render the folder, in which suites may have left records, too. Raises RecorderError and ReportError."""
        if self._recorder:
            self._recorder.close()
            render.render(self._recorder.folder)

    def table(self) -> list[str]:
        """A line per measurement, with headings; and one per target that is not here."""
        out = [f"not run: {t.id}: {t.unavailable}" for t in self.targets if t.unavailable]
        if self.lines:
            names = ("target", "operation", "scheme", "dtype", "workload", "median", "GB/s", "of copy", "of peak")
            out.append(_row(*names, rounds="rounds"))
        return out + [_line(line) for line in self.lines]


def _line(line: BenchmarkLine) -> str:
    return _row(
        line.target,
        line.operation,
        line.scheme or "dense",
        line.dtype,
        line.workload,
        f"{1e3 * line.median:.3f} ms",
        f"{line.bytes / line.median / 1e9:.2f}",
        f"{line.bytes / line.median / line.copy_bandwidth:.0%}",
        f"{line.flops / line.median / line.matmul_peak:.0%}" if line.flops else "",
        rounds=str(line.rounds),
    )


def _row(*cells: str, rounds: str) -> str:
    texts = "".join(f"{cell:<{width}}" for cell, width in zip(cells, (11, 20, 11, 9, 13), strict=False))
    numbers = zip((*cells[5:], rounds), (13, 8, 8, 8, 7), strict=True)
    return texts + "".join(f"{cell:>{width}}" for cell, width in numbers)
