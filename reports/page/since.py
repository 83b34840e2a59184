"""The changes since an earlier run as the page lists them: alike ones as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from touchstone.reports.changes import NOT_THERE, Change, Changes, Moved
from touchstone.reports.model import Report
from touchstone.reports.regressions import Change as SpeedChange

UNKNOWN = "unknown"
"""The group of new ones of which the earlier run says nothing."""
NOT_COMPARABLE = "not comparable before"
TITLES: dict[str, tuple[str, str]] = {
    "new": ("New", "not so before"),
    UNKNOWN: ("New", NOT_COMPARABLE),
    "changed": ("Changed", "departs in another way"),
    "lost": ("Lost", "no longer answered"),
    "fixed": ("Fixed", "conforms again"),
    "gained": ("Gained", "newly answered"),
    "varies": ("Varies", "shows another of the behaviours that are registered for it"),
}
"""In the order of the page."""


@dataclass(frozen=True)
class Alike:
    """Changes of one kind, target, requirement and before and after. `column`: its place in the report."""

    change: Change
    column: int
    count: int


@dataclass(frozen=True)
class Move:
    """Versions or facts that moved alike in several columns."""

    name: str
    before: str
    after: str
    columns: Sequence[str]


def is_unknown(change: Change) -> bool:
    """Whether the earlier run says nothing of the case."""
    return (change.before.verdict, change.before.behaviour) == NOT_THERE


def by_kind(report: Report, changes: Changes) -> dict[str, list[Alike]]:
    """Every kind of TITLES that occurs, with its changes."""
    places = {c.label: i for i, c in enumerate(report.columns)}
    found: dict[str, dict[tuple[str, ...], list[Change]]] = {kind: {} for kind in TITLES}
    for c in changes.changes:
        seen = (c.before.verdict, c.before.behaviour, c.after.verdict, c.after.behaviour)
        groups = found[UNKNOWN if c.kind == "new" and is_unknown(c) else c.kind]
        groups.setdefault((c.column, c.requirement, *seen), []).append(c)
    return {
        kind: [Alike(g[0], places.get(g[0].column, -1), len(g)) for g in groups.values()]
        for kind, groups in found.items()
        if groups
    }


def moves(moved: Sequence[Moved]) -> list[Move]:
    """Alike moves of several columns as one."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for m in moved:
        groups.setdefault((m.name, m.before, m.after), []).append(m.column)
    return [Move(*key, columns) for key, columns in groups.items()]


@dataclass(frozen=True)
class Speed:
    """A benchmark whose time changed: seconds before and now, their ratio and the largest that noise explains."""

    target: str
    name: str
    earlier: float
    median: float
    ratio: float
    band: float
    nights: int
    moved: str


def speed(changes: Sequence[SpeedChange]) -> list[tuple[str, str, list[Speed]]]:
    """(title, tone, benchmarks) of those that became slower, then faster."""
    kinds = (("Slower", "red", "regression"), ("Faster", "ok", "improvement"))
    return [(title, tone, [_speed(c) for c in changes if c.kind == kind]) for title, tone, kind in kinds]


def _speed(change: SpeedChange) -> Speed:
    before = change.earlier_versions
    moved = [f"{n} {before.get(n, 'not there')} → {v}" for n, v in change.versions.items() if before.get(n) != v]
    name = " · ".join(filter(None, (change.operation, change.scheme, change.dtype, change.workload)))
    return Speed(
        change.target,
        name,
        change.earlier,
        change.median,
        change.ratio,
        change.band,
        change.nights,
        ", ".join(moved) or "as before",
    )
