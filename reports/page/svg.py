"""SVG made of escaped elements, and the scales that place marks in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from touchstone.reports.page.visible import visible


def element(name: str, *children: str, title: str = "", **attributes: object) -> Markup:
    """One element. Attributes that are None are left out; ``class_`` is written class, ``stroke_width`` stroke-width.

    title: a tooltip, read aloud as the mark's name.
    """
    spelled = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(_plain(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = (element("title", title) if title else Markup()) + Markup().join(
        child if isinstance(child, Markup) else visible(child) for child in children
    )
    return Markup(f"<{name}{spelled}>{inside}</{name}>" if inside else f"<{name}{spelled}/>")


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def picture(width: float, height: float, *children: str, label: str, class_: str = "plot") -> Markup:
    """A whole drawing, named `label`; without one it is decoration, which is not read aloud."""
    size = f"0 0 {width:g} {height:g}"
    spoken = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return element("svg", *children, class_=class_, viewBox=size, width=width, height=height, **spoken)


@dataclass(frozen=True)
class Linear:
    """Places `low` at `start` and `high` at `end`; what lies outside is placed at the nearer of the two."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


@dataclass(frozen=True)
class Log:
    """As Linear, in powers of ten; zero is placed with `low`, an infinity with `high`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if value <= self.low or self.high <= self.low:
            return self.start
        if value >= self.high:
            return self.end
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """The powers of ten in range."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0**n for n in range(first, last + 1)]


def decades(values: Sequence[float], lowest: float, highest: float) -> tuple[float, float]:
    """Powers of ten around the finite positive values, within `lowest` and `highest`."""
    finite = [v for v in values if 0 < v < math.inf]
    if not finite:
        return lowest, highest
    low = 10.0 ** math.floor(math.log10(min(finite)))
    high = 10.0 ** math.ceil(math.log10(max(finite)))
    low = min(max(low, lowest), highest / 10)
    return low, max(min(high, highest), low * 10)


def power(value: float) -> str:
    """A power of ten as a tick's label: "0.01", "1", "1e-5"."""
    return f"{value:g}" if 1e-3 <= value <= 1e4 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def marker(shape: str, x: float, y: float, class_: str, title: str = "") -> Markup:
    """A circle, square, triangle or diamond about (x, y)."""
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=3.6, class_=class_, title=title)
    corners = {
        "square": [(-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)],
        "triangle": [(0, -4.4), (4.2, 3.2), (-4.2, 3.2)],
        "diamond": [(0, -4.8), (4.8, 0), (0, 4.8), (-4.8, 0)],
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return element("polygon", points=points, class_=class_, title=title)
