"""The drawings of the trend page: verdicts per night, and small lines of a number over nights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from touchstone.reports.history import Night, NightColumn
from touchstone.reports.page.headline import when
from touchstone.reports.page.looks import LOOKS, STATES
from touchstone.reports.page.svg import Linear, Log, element, picture
from touchstone.verdict.rule import RED

LEFT, TOP, HEIGHT, BOTTOM = 54, 26, 150, 34
STACK = ("conforms", "known deviation", "unsupported", "not run", "unreviewed", "no record", "red")
"""From the bottom; "red" is every verdict that is a fault."""
_LEAST = 3.0
"""Height of what must not be overlooked, however few cases it is."""
LINE_WIDTH, LINE_HEIGHT = 240, 30


@dataclass(frozen=True)
class InNight:
    """One column in one night, None where it did not run. `breaks`: why the night before cannot be compared.

    moved: framework versions that differ from those of the column's night before. chip: where it is another than then.
    """

    night: Night
    column: NightColumn | None
    breaks: str
    moved: Sequence[str]
    chip: str = ""

    @property
    def words(self) -> str:
        """The state, and the chip where it changed."""
        state = STATES[self.column.state if self.column else ""]
        return f"{state}, on {self.chip}" if self.chip else state


def amounts(column: NightColumn) -> dict[str, int]:
    """Cases by what STACK names."""
    out = {name: column.counts.get(name, 0) for name in STACK}
    out["red"] = sum(column.counts.get(v, 0) for v in RED - {"unreviewed"})
    ended = sum(column.counts.values())
    out["no record"] = max(0, column.planned - ended)
    return out


def step(nights: int) -> float:
    """Width of a night."""
    return min(30.0, max(9.0, 900 / max(nights, 1)))


def verdicts(nights: Sequence[InNight], label: str) -> Markup:
    """A stacked bar per night, its state above; lines where versions moved, and where nights cannot be compared."""
    width = step(len(nights))
    most = max((sum(amounts(n.column).values()) for n in nights if n.column), default=1) or 1
    scale = Linear(0, most, 0, HEIGHT)
    base = TOP + HEIGHT
    total = LEFT + width * len(nights) + 10
    marks = [
        element("text", f"{value:,}", x=LEFT - 6, y=base - scale(value) + 4, text_anchor="end", class_="tick")
        for value in (0, most)
    ]
    marks += [
        element("line", x1=LEFT, x2=total, y1=base - scale(v), y2=base - scale(v), class_="grid") for v in (0, most)
    ]
    every = max(1, math.ceil(70 / width))
    for i, n in enumerate(nights):
        x = LEFT + i * width
        marks += _bar(n, x + width * 0.1, width * 0.8, base, scale)
        if n.breaks:
            marks.append(element("line", x1=x, x2=x, y1=2, y2=base + 6, class_="break", title=n.breaks))
        if n.moved:
            title = f"{when(n.night.started)}: {', '.join(n.moved)}"
            marks.append(element("line", x1=x + width / 2, x2=x + width / 2, y1=TOP - 4, y2=base, class_="moved"))
            points = (
                f"{x + width / 2 - 4:.1f},{base + 9} {x + width / 2 + 4:.1f},{base + 9} {x + width / 2:.1f},{base + 2}"
            )
            marks.append(element("polygon", points=points, class_="moved", title=title))
        if i % every == 0 and x + 60 < total:
            day = n.night.started[:10]
            marks.append(element("text", day, x=x, y=base + 24, class_="tick"))
    return picture(
        total, base + BOTTOM, *marks, label=f"{label}: verdicts of {len(nights)} nights; the table has the numbers"
    )


def _bar(n: InNight, x: float, width: float, base: float, scale: Linear) -> list[Markup]:
    state = n.column.state if n.column else ""
    title = f"{when(n.night.started)}: {n.words}"
    tone, icon = LOOKS[state]
    size = min(width, 14.0)
    use = element("use", href=f"#i-{icon}", x=x + (width - size) / 2, y=4, width=size, height=size)
    marks = [element("g", use, class_=f"state {tone}", title=title)]
    y = base
    for name, count in amounts(n.column).items() if n.column else ():
        if not count:
            continue
        look = "red" if name == "red" else LOOKS[name][0]
        height = scale(count)
        if look in ("red", "unreviewed", "incomplete"):
            height = max(height, _LEAST)
        y -= height
        spoken = f"{title}; {name}: {count:,}"
        marks.append(element("rect", x=x, y=y, width=width, height=height, class_=f"part {look}", title=spoken))
    return marks


@dataclass(frozen=True)
class Point:
    """A value in the night number `place`; `breaks`: it cannot be compared with the one before."""

    place: int
    value: float
    breaks: bool


def line(points: Sequence[Point], nights: int, label: str, limit: float, low: float, high: float) -> Markup:
    """Values over nights on a log axis from `low` to `high`, a line at `limit`; interrupted where a break is."""
    across = Linear(0, max(nights - 1, 1), 6, LINE_WIDTH - 6)
    up = Log(low, high, LINE_HEIGHT - 4, 4)
    marks = [element("line", x1=0, x2=LINE_WIDTH, y1=up(limit), y2=up(limit), class_="limit")]
    pieces: list[list[Point]] = []
    for point in points:
        if point.breaks or not pieces:
            pieces.append([])
        pieces[-1].append(point)
    for piece in pieces:
        path = " ".join(f"{across(p.place):.1f},{up(p.value):.1f}" for p in piece)
        marks.append(element("polyline", points=path, class_="line"))
    last = points[-1]
    marks.append(element("circle", cx=across(last.place), cy=up(last.value), r=2.6, class_="dot"))
    return picture(LINE_WIDTH, LINE_HEIGHT, *marks, label=label, class_="strip")
