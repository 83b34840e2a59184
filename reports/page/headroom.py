"""How far from the bound: the headroom of every suite and dtype on every target, as strips on one log axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from touchstone.reports.cases import catalogue, size
from touchstone.reports.model import Report
from touchstone.reports.page.svg import Log, decades, element, picture, power
from touchstone.reports.records import EndLine
from touchstone.verdict.rule import RED

STRIP_WIDTH, STRIP_HEIGHT = 170, 28
_LOWEST, _HIGHEST = 1e-4, 1e2


@dataclass(frozen=True)
class Strip:
    """The headrooms of one suite and dtype on one target.

    low, median, high: quantiles at 10, 50 and 90 %. worst: the record where the headroom is largest.
    """

    count: int
    exact: int
    low: float
    median: float
    high: float
    worst: EndLine

    @property
    def top(self) -> float:
        return size(self.worst.headroom)

    @property
    def tone(self) -> str:
        """What the largest headroom means: ok, known or red."""
        return "red" if self.worst.verdict in RED else "known" if self.worst.verdict != "conforms" else "ok"


@dataclass(frozen=True)
class HeadroomRow:
    """One suite and dtype; a strip, drawn, per column of the table, None where nothing was measured."""

    group: str
    dtype: str
    strips: Sequence[tuple[Strip, Markup] | None]


@dataclass(frozen=True)
class Headroom:
    """The whole table: the columns in which something was measured, and the axis that all strips share."""

    columns: Sequence[str]
    rows: Sequence[HeadroomRow]
    axis: Markup


def headroom(report: Report) -> Headroom | None:
    """Every suite and dtype in which some error was measured against a bound, None without one."""
    requirements = catalogue(report)
    found: dict[tuple[str, str], list[list[EndLine]]] = {}
    for number, column in enumerate(report.columns):
        for r in column.cases.values():
            if r.headroom is not None:
                key = (requirements[r.requirement].group, str(r.params.get("dtype", r.dtype or "")))
                found.setdefault(key, [[] for _ in report.columns])[number].append(r)
    order = {name: i for i, name in enumerate(dict.fromkeys(r.group for r in requirements.values()))}
    measured = {key: columns for key, columns in found.items() if any(size(r.headroom) for c in columns for r in c)}
    if not measured:
        return None
    low, high = decades([size(r.headroom) for c in measured.values() for rs in c for r in rs], _LOWEST, _HIGHEST)
    scale = Log(low, max(high, 10.0), 12, STRIP_WIDTH - 12)
    measuring = [n for n in range(len(report.columns)) if any(columns[n] for columns in measured.values())]
    rows = []
    for (group, dtype), columns in sorted(measured.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        strips: list[tuple[Strip, Markup] | None] = []
        for number in measuring:
            column, strip = report.columns[number], _strip(columns[number])
            label = f"{group}, {dtype}, {column.label}"
            strips.append((strip, draw_strip(strip, scale, label)) if strip else None)
        rows.append(HeadroomRow(group, dtype, strips))
    return Headroom([report.columns[n].label for n in measuring], rows, _axis(scale))


def _strip(records: Sequence[EndLine]) -> Strip | None:
    if not records:
        return None
    values = sorted(size(r.headroom) for r in records)
    low, median, high = (values[round(q * (len(values) - 1))] for q in (0.1, 0.5, 0.9))
    exact = sum(v == 0 for v in values)
    rank = {"conforms": 0, "known deviation": 1}
    worst = max(records, key=lambda r: (size(r.headroom), rank.get(r.verdict, 2)))
    return Strip(len(values), exact, low, median, high, worst)


def draw_strip(strip: Strip, scale: Log, label: str) -> Markup:
    """10 to 90 % as a bar, the median as a tick, the largest as a dot, beyond the bound as a diamond."""
    middle = STRIP_HEIGHT / 2
    spread = f"10 to 90 %: {strip.low:.3g} to {strip.high:.3g}; median {strip.median:.3g}"
    marks = [
        *(element("line", x1=scale(t), x2=scale(t), y1=0, y2=STRIP_HEIGHT, class_="grid") for t in scale.ticks),
        element("line", x1=scale(1), x2=scale(1), y1=0, y2=STRIP_HEIGHT, class_="bound", title="the bound: 1"),
    ]
    if strip.high > 0:
        width = max(scale(strip.high) - scale(strip.low), 1.0)
        marks.append(
            element("rect", x=scale(strip.low), y=middle - 3, width=width, height=6, class_="spread", title=spread)
        )
    if strip.median > 0:
        marks.append(element("rect", x=scale(strip.median) - 1, y=middle - 5, width=2, height=10, class_="median"))
    if strip.top > 0:
        marks.append(_dot(scale(strip.top), middle, strip))
    top = f"largest {strip.top:.3g} of its bound" if strip.top else "every element exact"
    return picture(STRIP_WIDTH, STRIP_HEIGHT, *marks, label=f"{label}: {top}; {spread}", class_="strip")


def _dot(x: float, y: float, strip: Strip) -> Markup:
    title = f"largest: {strip.top:.4g} ({strip.worst.requirement}, {strip.worst.verdict})"
    if strip.top <= 1:
        return element("circle", cx=x, cy=y, r=3.5, class_=f"dot {strip.tone}", title=title)
    points = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
    return element("polygon", points=points, class_=f"dot {strip.tone}", title=title)


def _axis(scale: Log) -> Markup:
    labels = [
        element("text", power(t), x=scale(t), y=10, text_anchor="middle", class_="tick strong" if t == 1 else "tick")
        for t in scale.ticks
        if t == 1 or len(scale.ticks) < 5 or round(math.log10(t)) % 2 == 0
    ]
    return picture(STRIP_WIDTH, 12, *labels, label="error as a share of its bound, log scale", class_="strip")
