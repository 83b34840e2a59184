"""``report.html``: the whole report as one page that needs nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from touchstone.reports import differences
from touchstone.reports.cases import LAYERS, catalogue
from touchstone.reports.changes import Changes, Streak
from touchstone.reports.differences import Pairs
from touchstone.reports.history import Night
from touchstone.reports.model import Column, Report
from touchstone.reports.page import headline, matrix, since
from touchstone.reports.page.detection import detection
from touchstone.reports.page.headroom import headroom
from touchstone.reports.page.looks import LOOKS, STATES
from touchstone.reports.page.payload import payload, script_safe
from touchstone.reports.page.quantization import legend, quantization
from touchstone.reports.page.speed_table import benchmarks
from touchstone.reports.page.svg import element, picture
from touchstone.reports.page.templating import asset
from touchstone.reports.page.templating import render as render_template
from touchstone.reports.regressions import Change as SpeedChange
from touchstone.reports.severity import MEANINGS, ORDER, TITLES
from touchstone.verdict.rule import Verdict

_BAR_WIDTH, _BAR_HEIGHT = 160, 14
_SHOWN = {"problems_shown": 20, "attention_shown": 30, "changes_shown": 100}
"""Rows of the lists that could grow without end."""


def render(
    report: Report,
    changes: Changes | None = None,
    streaks: Mapping[tuple[str, str], Streak] | None = None,
    regressions: Sequence[SpeedChange] = (),
    previous_nights: Sequence[Night] = (),
    trend_page: str = "",
) -> str:
    """The page.

    streaks: (column key, case id) -> how long it has lasted; previous_nights: oldest first; trend_page: where the
    trend page is, relative to this one.
    """
    streaks = streaks or {}
    pairs = differences.pairs(report)
    groups = matrix.groups(report, _differing(report.columns, pairs))
    return render_template(
        "report.html",
        {"theme": asset("theme.js"), "script": asset("page.js")},
        report=report,
        trend_page=trend_page,
        STATES=STATES,
        numbers={name: i for i, name in enumerate(catalogue(report))},
        moves=bool(pairs),
        data=Markup(script_safe(_document(report, streaks, pairs))),
        **_first_screen(report, changes, streaks, previous_nights),
        **_since(report, changes, regressions),
        **_matrix(groups),
        **_plots(report),
        **_SHOWN,
    )


def _first_screen(
    report: Report, changes: Changes | None, streaks: Mapping[tuple[str, str], Streak], nights: Sequence[Night]
) -> dict[str, Any]:
    rows = headline.targets(report, nights)
    return {
        "headline": headline.headline(report, changes),
        "targets": [{**_fields(row), "denominator": row.denominator, "drawing": _bar(row)} for row in rows],
        "has_nights": bool(nights),
        "verdicts": Verdict,
        "attention": headline.attention(report, streaks),
        "stale": [(c.label, origin, count) for c in report.columns for origin, count in c.stale.items()],
        "unconfirmed": [(c.label, origin, count) for c in report.columns for origin, count in c.unconfirmed.items()],
        "not_seen": [(c.label, remark, count) for c in report.columns for remark, count in c.not_seen_here.items()],
        "unanswered": [(c, headline.unanswered(c)) for c in report.columns],
        "not_asked": headline.not_asked(report),
        "cases": sum(len(c.cases) for c in report.columns),
        "deselected": sum(c.deselected for c in report.columns),
    }


def _since(report: Report, changes: Changes | None, regressions: Sequence[SpeedChange]) -> dict[str, Any]:
    return {
        "changes": changes,
        "kinds": since.by_kind(report, changes) if changes else {},
        "kind_titles": since.TITLES,
        "not_comparable": since.NOT_COMPARABLE,
        "versions": since.moves(changes.versions) if changes else [],
        "packages": since.moves(changes.packages) if changes else [],
        "environment_moves": since.moves(changes.environment) if changes else [],
        "speed": since.speed(regressions),
    }


def _matrix(groups: Sequence[matrix.Group]) -> dict[str, Any]:
    seen = {line.verdict for g in groups for r in g.rows for c in r.cells for line in c.lines}
    return {
        "matrix": groups,
        "lines_shown": matrix.LINES,
        "legend": [verdict for verdict in matrix.RANK if verdict in seen],
        "layers": LAYERS,
    }


def _plots(report: Report) -> dict[str, Any]:
    return {
        "headroom": headroom(report),
        "figures": quantization(report),
        "quantization_legend": legend(report),
        "benchmarks": benchmarks(report),
        "detection": detection(),
    }


def _document(report: Report, streaks: Mapping[tuple[str, str], Streak], pairs: Pairs) -> dict[str, Any]:
    """What the page's script reads."""
    return payload(report, streaks, pairs) | {
        "looks": LOOKS,
        "rank": matrix.RANK,
        "lines": matrix.LINES,
        "severities": [(s, TITLES[s], MEANINGS[s]) for s in ORDER],
        "first": _first_pair(report.columns),
    }


def _differing(columns: Sequence[Column], pairs: Pairs) -> set[str]:
    """Requirements in which a move between two frameworks shows a difference."""
    both = (found for (i, j), found in pairs.items() if columns[i].facts.framework and columns[j].facts.framework)
    return {d.requirement for found in both for d in found}


def _fields(row: headline.TargetRow) -> dict[str, Any]:
    return {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}


def _first_pair(columns: Sequence[Column]) -> tuple[int, int]:
    """Where the view of moves starts: from PyTorch to MLX where both ran, else from the first column to the next."""
    ran = [i for i, c in enumerate(columns) if c.facts.unavailable is None] or [0]
    source = next((i for i in ran if columns[i].target.startswith("torch")), ran[0])
    others = [i for i in ran if i != source] or [source]
    return source, next((i for i in others if columns[i].target.startswith("mlx")), others[0])


def _bar(row: headline.TargetRow) -> Markup:
    """What was planned, by verdict."""
    x = 0.0
    parts = []
    for verdict, share in row.share:
        width = share * _BAR_WIDTH
        title = f"{verdict}: {share:.1%}"
        look = f"part {LOOKS[verdict][0]}"
        parts.append(element("rect", x=x, y=0, width=width, height=_BAR_HEIGHT, class_=look, title=title))
        x += width
    spoken = ", ".join(f"{verdict} {share:.1%}" for verdict, share in row.share) or "no case"
    return picture(_BAR_WIDTH, _BAR_HEIGHT, *parts, label=f"{row.column.label}: {spoken}", class_="strip")
