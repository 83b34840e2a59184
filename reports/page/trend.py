"""``trend.html``: what became of every target over the nights of a history, as one page that needs nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from markupsafe import Markup

from touchstone.reports.changes import match
from touchstone.reports.history import Night, NightColumn
from touchstone.reports.page import templating
from touchstone.reports.page.looks import STATES
from touchstone.reports.page.speed_table import spell_time
from touchstone.reports.page.trend_plots import InNight, Point, line, verdicts
from touchstone.reports.records import BenchmarkLine
from touchstone.reports.regressions import Key, key
from touchstone.verdict.rule import Verdict

NIGHTS = 120
"""Most nights that are drawn, the latest."""
_MOST_LINES = 8
_CHANGED = 1.5
"""Largest over smallest headroom from which a requirement is said to have moved."""
_LOWEST, _HIGHEST = 1e-3, 1e2
"""Ends of the headroom axis; what lies outside is drawn there."""


@dataclass(frozen=True)
class Line:
    """A number over nights: its name, drawing, and what it was first and last."""

    name: str
    drawing: Markup
    first: str
    last: str
    note: str = ""


@dataclass(frozen=True)
class Target:
    """A column over the nights: of one target and system. `versions`: (start of the night, what moved)."""

    name: str
    label: str
    chips: Sequence[str]
    nights: Sequence[InNight]
    drawing: Markup
    versions: Sequence[tuple[str, str]]
    headroom: Sequence[Line]

    @property
    def state(self) -> str:
        """Of the latest night, "" where the target did not run in it."""
        column = self.nights[-1].column
        return column.state if column else ""


@dataclass(frozen=True)
class Machine:
    """The benchmarks of one machine, by operation."""

    id: str
    chip: str
    operations: Sequence[tuple[str, Sequence[Line]]]


def render(nights: Sequence[Night]) -> str:
    """The page. `nights`: oldest first."""
    shown = nights[-NIGHTS:]
    return templating.render(
        "trend.html",
        {"theme": templating.asset("theme.js")},
        nights=shown,
        total=len(nights),
        targets=targets(shown),
        breaks=[(n.started, why) for n, why in zip(shown, _breaks(shown), strict=True) if why],
        machines=_machines(shown),
        verdicts=Verdict,
        STATES=STATES,
    )


def _breaks(nights: Sequence[Night]) -> list[str]:
    """For each night why it cannot be compared with the one before, "" where it can."""
    return [""] * bool(nights) + [new.comparable(old) for old, new in itertools.pairwise(nights)]


def targets(nights: Sequence[Night]) -> list[Target]:
    """A line per target and system; per chip too where a night has several of these."""
    breaks = _breaks(nights)
    out = []
    for columns in _lines(nights):
        row = list(_over_nights(columns, nights, breaks))
        latest = next(c for c in reversed(columns) if c)
        versions = [(n.night.started, moved) for n in row for moved in n.moved]
        chips = list(dict.fromkeys(c.machine.chip for c in columns if c))
        name = f"{latest.target} · {latest.system}"
        out.append(Target(name, latest.label, chips, row, verdicts(row, latest.label), versions, _headroom(row)))
    return out


def _lines(nights: Sequence[Night]) -> list[list[NightColumn | None]]:
    """The columns that follow one another, a place per night, those of the latest night first."""
    latest: dict[str, NightColumn] = {}
    lines: dict[str, list[NightColumn | None]] = {}
    for place, night in reversed(list(enumerate(nights))):
        before = {old: new for new, old in match(night, msgspec.structs.replace(night, columns=latest)).items()}
        for own, column in night.columns.items():
            name = before.get(own, own)
            latest.setdefault(name, column)
            lines.setdefault(name, [None] * len(nights))[place] = column
    return list(lines.values())


def _over_nights(
    columns: Sequence[NightColumn | None], nights: Sequence[Night], breaks: Sequence[str]
) -> Iterator[InNight]:
    before: NightColumn | None = None
    for night, column, why in zip(nights, columns, breaks, strict=True):
        if not column or not before:
            yield InNight(night, column, why, [])
        else:
            old, new = before.versions, column.versions
            moved = [
                f"{n} {old.get(n, 'not there')} → {new.get(n, 'not there')}"
                for n in sorted({*old, *new})
                if old.get(n) != new.get(n)
            ]
            chip = column.machine.chip
            yield InNight(night, column, why, moved, chip if chip != before.machine.chip else "")
        before = column or before


def _headroom(row: Sequence[InNight]) -> list[Line]:
    """The requirements that came nearest to their bound last, then those that moved most."""
    series: dict[str, list[Point]] = {}
    broken: dict[str, bool] = {}
    for place, n in enumerate(row):
        if n.breaks:
            broken = dict.fromkeys(series, True)
        for name, value in n.column.headroom.items() if n.column else ():
            points = series.setdefault(name, [])
            points.append(Point(place, value, broken.pop(name, False)))
    if not series:
        return []
    nearest = sorted(series, key=lambda s: -series[s][-1].value)[:_MOST_LINES]
    moves = {name: _spread(points) for name, points in series.items()}
    moved = [n for n in sorted(moves, key=lambda s: -moves[s]) if moves[n] >= _CHANGED and n not in nearest]
    values = [p.value for name in (*nearest, *moved[:_MOST_LINES]) for p in series[name]]
    low, high = max(_LOWEST, min(0.1, *values)), min(_HIGHEST, max(2.0, *values))
    return [
        Line(
            name,
            line(series[name], len(row), _spoken(name, series[name]), 1.0, low, high),
            f"{series[name][0].value:.3g}",
            f"{series[name][-1].value:.3g}",
        )
        for name in (*nearest, *moved[:_MOST_LINES])
    ]


def _spread(points: Sequence[Point]) -> float:
    values = [p.value for p in points]
    return max(values) / min(values)


def _spoken(name: str, points: Sequence[Point]) -> str:
    return f"{name} over {len(points)} nights: first {points[0].value:.3g}, last {points[-1].value:.3g}"


def _machines(nights: Sequence[Night]) -> list[Machine]:
    """Median times as ratios to the first night of each line, for every machine with more than one night."""
    series: dict[Key, list[tuple[int, BenchmarkLine, bool]]] = {}
    chips: dict[str, str] = {}
    for place, night in enumerate(nights):
        for column in night.columns.values():
            chips[column.machine.id] = column.machine.chip
            for timed in column.benchmarks:
                past = series.setdefault(key(timed), [])
                breaks = bool(past) and night.benchmark_hash != nights[past[-1][0]].benchmark_hash
                past.append((place, timed, breaks))
    machines: dict[str, dict[str, list[Line]]] = {}
    for name, past in series.items():
        machines.setdefault(name.machine, {}).setdefault(name.operation, []).append(_benchmark(name, past, len(nights)))
    return [
        Machine(identifier, chips.get(identifier, ""), list(operations.items()))
        for identifier, operations in machines.items()
    ]


def _benchmark(name: Key, past: Sequence[tuple[int, BenchmarkLine, bool]], nights: int) -> Line:
    first = past[0][1].median
    points = [Point(place, timed.median / first, breaks) for place, timed, breaks in past]
    label = " · ".join(filter(None, (name.target, name.workload, name.scheme, name.dtype)))
    low, high = min(0.5, *(p.value for p in points)), max(2.0, *(p.value for p in points))
    return Line(
        label,
        line(points, nights, _spoken(label, points), 1.0, low, high),
        spell_time(first),
        spell_time(past[-1][1].median),
        f"{points[-1].value:.2f}×",
    )
