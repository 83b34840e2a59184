"""Benchmarks as ratios to the fastest target on the same machine, with the share of what the machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from touchstone.reports.model import Report
from touchstone.reports.page.svg import Linear, element, picture
from touchstone.reports.records import BenchmarkLine
from touchstone.reports.regressions import LIMITS

WIDTH, HEIGHT, MOST = 130, 12, 8.0
"""Of a bar, and the ratio at which it is cut off."""


@dataclass(frozen=True)
class Bar:
    """One target's time of one workload. `ratio`: to the fastest on its machine."""

    line: BenchmarkLine
    ratio: float
    drawing: Markup

    @property
    def time(self) -> str:
        return spell_time(self.line.median)

    @property
    def rate(self) -> str:
        """As "41 GB/s, 63 % of a copy" or "1.2 Tflop/s, 80 % of peak": whichever limit is nearer."""
        line = self.line
        copy = line.bytes / line.median / line.copy_bandwidth if line.copy_bandwidth else 0.0
        peak = line.flops / line.median / line.matmul_peak if line.matmul_peak else 0.0
        bandwidth = f"{line.bytes / line.median / 1e9:.3g} GB/s"
        if peak > copy:
            return f"{bandwidth}, {peak:.0%} of peak"
        return f"{bandwidth}, {copy:.0%} of copy" if copy else bandwidth


@dataclass(frozen=True)
class Workload:
    """One row: what was timed, and a bar per column of the table."""

    name: str
    sizes: str
    bars: Sequence[Bar | None]


@dataclass(frozen=True)
class Operation:
    """Workloads of one operation. `middle`: the median of a column's ratios, with its bar; None where it has none."""

    name: str
    workloads: Sequence[Workload]
    middle: Sequence[tuple[float, Markup] | None]


@dataclass(frozen=True)
class Benchmarks:
    """`columns`: (label, machine) of those that were timed; `machines`: whether there is more than one."""

    columns: Sequence[tuple[str, str]]
    machines: int
    operations: Sequence[Operation]


def spell_time(seconds: float) -> str:
    """Seconds, to three digits, in the largest unit of s, ms and µs that makes 1 or more of them, else in ns."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def benchmarks(report: Report) -> Benchmarks | None:
    """None where nothing was timed."""
    columns = [c for c in report.columns if c.benchmarks]
    if not columns:
        return None
    table: dict[tuple[str, str, str, str], list[BenchmarkLine | None]] = {}
    for number, column in enumerate(columns):
        for line in column.benchmarks:
            key = (line.operation, line.scheme, line.workload, line.dtype)
            table.setdefault(key, [None] * len(columns))[number] = line
    operations: dict[str, list[Workload]] = {}
    for (operation, scheme, workload, dtype), lines in table.items():
        fastest: dict[str, float] = {}
        for timed in filter(None, lines):
            fastest[timed.machine] = min(timed.median, fastest.get(timed.machine, timed.median))
        bars: list[Bar | None] = [None] * len(columns)
        for number, timed_line in enumerate(lines):
            if timed_line:
                bars[number] = _bar(timed_line, fastest[timed_line.machine], columns[number].label)
        sizes = next(line.sizes for line in lines if line)
        name = " · ".join(filter(None, (workload, scheme, dtype)))
        operations.setdefault(operation, []).append(
            Workload(name, ", ".join(f"{n} {v:,}" for n, v in sizes.items()), bars)
        )
    return Benchmarks(
        [(c.label, c.machine.id) for c in columns],
        len({c.machine.id for c in columns}),
        [
            Operation(name, rows, _middle(rows, [c.label for c in columns]))
            for name, rows in sorted(operations.items(), key=lambda item: item[0] in LIMITS)
        ],
    )


def _bar(line: BenchmarkLine, fastest: float, label: str) -> Bar:
    ratio = line.median / fastest if fastest else 1.0
    return Bar(line, ratio, draw_bar(ratio, f"{label}: {ratio:.3g} times the fastest, {spell_time(line.median)}"))


def _middle(rows: Sequence[Workload], labels: Sequence[str]) -> list[tuple[float, Markup] | None]:
    out: list[tuple[float, Markup] | None] = []
    for number, label in enumerate(labels):
        ratios = [bar.ratio for row in rows if (bar := row.bars[number])]
        value = median(ratios) if ratios else None
        out.append(None if value is None else (value, draw_bar(value, f"{label}: {value:.3g} times the fastest")))
    return out


def draw_bar(ratio: float, label: str) -> Markup:
    """From 0, a line at 1; a bar beyond MOST ends in a notch."""
    scale = Linear(0, MOST, 0, WIDTH)
    kind = "fastest" if ratio <= 1 else "slower"
    marks = [element("rect", x=0, y=1, width=scale(ratio), height=HEIGHT - 2, class_=f"bar {kind}", title=label)]
    if ratio > MOST:
        points = f"{WIDTH - 12},0 {WIDTH - 7},0 {WIDTH - 11},{HEIGHT} {WIDTH - 16},{HEIGHT}"
        marks.append(element("polygon", points=points, class_="notch"))
    marks.append(element("line", x1=scale(1), x2=scale(1), y1=0, y2=HEIGHT, class_="bound"))
    return picture(WIDTH, HEIGHT, *marks, label=label, class_="strip")
