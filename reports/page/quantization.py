"""Quantization error against bits and group size, with the bound drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from touchstone.reports.cases import catalogue, size
from touchstone.reports.model import Column, Report
from touchstone.reports.page.svg import Log, decades, element, marker, picture, power
from touchstone.reports.records import EndLine
from touchstone.verdict.rule import RED

_LEAST_PLACES = 4
SHAPES = ("circle", "square", "triangle", "diamond")
"""Of the group sizes, smallest first."""


@dataclass(frozen=True)
class Figure:
    """Quantization error of one requirement: a drawing per target."""

    requirement: str
    sentence: str
    panels: Sequence[tuple[Column, Markup]]


@dataclass(frozen=True)
class Scheme:
    """Where a mark stands: at its bits, or at its mode where that has no other."""

    mode: str
    bits: int
    group_size: int

    @property
    def place(self) -> str:
        return str(self.bits) if self.mode == "affine" else self.mode


def quantization(report: Report) -> list[Figure]:
    """One figure per requirement that measures an error against a bound at several bits and group sizes."""
    requirements = catalogue(report)
    found: dict[str, dict[int, dict[Scheme, EndLine]]] = {}
    for number, column in enumerate(report.columns):
        for r in column.cases.values():
            scheme = _scheme(r)
            if scheme and r.error is not None and r.bound is not None:
                points = found.setdefault(r.requirement, {}).setdefault(number, {})
                points[scheme] = max(points.get(scheme, r), r, key=_weight)
    figures = []
    for name in requirements:
        columns = found.get(name, {})
        schemes = {s for points in columns.values() for s in points}
        if len({s.place for s in schemes}) >= _LEAST_PLACES:
            panels = [(report.columns[n], _panel(points, columns, report.columns[n])) for n, points in columns.items()]
            figures.append(Figure(name, requirements[name].sentence, panels))
    return figures


def _scheme(record: EndLine) -> Scheme | None:
    """Of a case with ordinary weights, else None."""
    p = record.params
    bits, group_size = p.get("bits"), p.get("group_size")
    if "weights" in p or not isinstance(bits, int) or not isinstance(group_size, int):
        return None
    return Scheme(str(p.get("mode", "affine")), bits, group_size)


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 250, 46, 4, 16, 40


def _panel(points: dict[Scheme, EndLine], columns: dict[int, dict[Scheme, EndLine]], column: Column) -> Markup:
    """Error and bound of every scheme; all panels of a figure share their axes."""
    records = [r for c in columns.values() for r in c.values()]
    schemes = {s for c in columns.values() for s in c}
    places = sorted({s.place for s in schemes}, key=lambda p: (not p.isdigit(), p.zfill(4)))
    sizes = sorted({s.group_size for s in schemes})
    low, high = decades([size(v) for r in records for v in (r.error, r.bound)], 1e-9, 1e9)
    scale = Log(low, high, HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(places)
    marks = [element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=scale(t), y2=scale(t), class_="grid") for t in scale.ticks]
    every = math.ceil(len(scale.ticks) / 6)
    marks += [
        element("text", power(t), x=LEFT - 5, y=scale(t) + 4, text_anchor="end", class_="tick")
        for t in scale.ticks[::every]
    ]
    for i, place in enumerate(places):
        x = LEFT + (i + 0.5) * step
        marks.append(element("text", place, x=x, y=HEIGHT - BOTTOM + 16, text_anchor="middle", class_="tick"))
    marks.append(element("text", "error", x=4, y=10, class_="axis"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    marks.append(element("text", "bits, or mode", x=middle, y=HEIGHT - 6, text_anchor="middle", class_="axis"))
    for scheme, record in sorted(points.items(), key=lambda item: (item[0].place, item[0].group_size)):
        alike = [s for s in sizes if any(o.place == scheme.place and o.group_size == s for o in schemes)]
        offset = (alike.index(scheme.group_size) - (len(alike) - 1) / 2) * min(12.0, step / (len(alike) + 0.5))
        x = LEFT + (places.index(scheme.place) + 0.5) * step + offset
        marks += _point(x, scale, scheme, record, sizes.index(scheme.group_size))
    worst = max(points.values(), key=lambda r: size(r.headroom))
    nearest = f"nearest to it, {size(worst.headroom):.3g} of the bound"
    label = f"{column.label}: error of each scheme against its bound; {nearest}"
    return picture(WIDTH, HEIGHT, *marks, label=label)


def _point(x: float, scale: Log, scheme: Scheme, record: EndLine, shape: int) -> Iterable[Markup]:
    error, bound = size(record.error), size(record.bound)
    name = f"{scheme.mode} {scheme.bits} bits, group {scheme.group_size}, {record.params.get('dtype', '')}"
    title = f"{name}: error {error:.3g}, bound {bound:.3g}, error/bound {size(record.headroom):.3g} ({record.verdict})"
    tone = "red" if record.verdict in RED else "known" if record.verdict != "conforms" else "ok"
    yield element("line", x1=x, x2=x, y1=scale(error), y2=scale(bound), class_="link")
    yield marker(SHAPES[shape % len(SHAPES)], x, scale(error), f"dot {tone}", title)
    yield element("line", x1=x - 6, x2=x + 6, y1=scale(bound), y2=scale(bound), class_="bound")


def legend(report: Report) -> list[tuple[int, Markup]]:
    """(group size, its mark), for every group size in the figures."""
    sizes = sorted(
        {s.group_size for r in report.records if r.error is not None and r.bound is not None and (s := _scheme(r))}
    )
    return [
        (size, picture(12, 12, marker(SHAPES[i % len(SHAPES)], 6, 6, "dot ok"), label="", class_="key"))
        for i, size in enumerate(sizes)
    ]


def _weight(record: EndLine) -> tuple[int, float]:
    """Red before known before conforming, then by error."""
    rank = 2 if record.verdict in RED else record.verdict != "conforms"
    return rank, size(record.error)
