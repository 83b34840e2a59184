"""The behaviour matrix: what every target showed for every requirement, counted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from touchstone.reports.cases import LAYERS, by_requirement, catalogue, layer_of, size
from touchstone.reports.model import Column, Report
from touchstone.reports.page.payload import IN_FLIGHT
from touchstone.reports.records import EndLine, Requirement, StartLine

NO_RECORD = "no record"
RANK = (
    "deviates",
    "crashed",
    "timed out",
    "stale deviation",
    IN_FLIGHT,
    NO_RECORD,
    "unreviewed",
    "known deviation",
    "conforms",
    "unsupported",
    "not run",
)
"""Verdicts and what stands in for one, worst first."""
LINES = 4
"""Lines of a cell that are shown at first."""
_MOST_LINES = 20


@dataclass
class Part:
    """Cases of one layer in a line of a cell."""

    count: int = 0
    headroom: float | None = None


@dataclass
class Line:
    """Cases of a cell with one verdict and behaviour, by layer (an index into LAYERS)."""

    verdict: str
    behaviour: str
    parts: dict[int, Part] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(p.count for p in self.parts.values())

    @property
    def headroom(self) -> float | None:
        return max((p.headroom for p in self.parts.values() if p.headroom is not None), default=None)

    @property
    def coded(self) -> str:
        """Every part as "layer:count:headroom", for the page's filters."""
        parts = sorted(self.parts.items())
        return " ".join(f"{n}:{p.count}:{'' if p.headroom is None else format(p.headroom, '.3g')}" for n, p in parts)


@dataclass
class Cell:
    """What one column showed for one requirement, worst first; no line where it was not asked."""

    column: int
    lines: list[Line]

    @property
    def verdict(self) -> str:
        return self.lines[0].verdict if self.lines else ""


@dataclass
class Row:
    """A requirement. `differs`: whether moving between two of the targets shows a difference."""

    number: int
    name: str
    requirement: Requirement
    cells: list[Cell]
    differs: bool


@dataclass
class Group:
    """Requirements of one group."""

    name: str
    rows: list[Row]


def groups(report: Report, differing: Collection[str]) -> list[Group]:
    """The requirements that were asked, with a cell per column of the report.

    differing: those in which a move between two targets shows a difference.
    """
    requirements = catalogue(report)
    found = {name: records for name, records in by_requirement(report).items() if any(records)}
    rows = [
        Row(
            number,
            name,
            requirement,
            [
                Cell(index, _lines(name, requirement, column, records))
                for index, (column, records) in enumerate(zip(report.columns, found[name], strict=True))
            ],
            name in differing,
        )
        for number, (name, requirement) in enumerate(requirements.items())
        if name in found
    ]
    return [Group(name, list(members)) for name, members in groupby(rows, key=lambda r: r.requirement.group)]


def _lines(name: str, requirement: Requirement, column: Column, records: Sequence[EndLine | StartLine]) -> list[Line]:
    lines: dict[tuple[str, str], Line] = {}
    for record in records:
        ended = record if isinstance(record, EndLine) else None
        key = (ended.verdict, ended.behaviour) if ended else (IN_FLIGHT, "no answer")
        layer = LAYERS.index(layer_of(requirement, record.params))
        part = lines.setdefault(key, Line(*key)).parts.setdefault(layer, Part())
        part.count += 1
        if ended and ended.headroom is not None:
            headroom = size(ended.headroom)
            part.headroom = headroom if part.headroom is None else max(part.headroom, headroom)
    missing = min(column.missing, requirement.cases - len(records)) if column.missing else 0
    if missing > 0:
        layer = LAYERS.index(layer_of(requirement, {}))
        lines[NO_RECORD, ""] = Line(NO_RECORD, "", {layer: Part(missing)})
    out = sorted(lines.values(), key=lambda line: (RANK.index(line.verdict), -line.count))
    return out if len(out) <= _MOST_LINES else [*out[: _MOST_LINES - 1], *_rest(out[_MOST_LINES - 1 :])]


def _rest(lines: Sequence[Line]) -> Iterator[Line]:
    """One line per verdict for behaviours that are too many to list."""
    for verdict in dict.fromkeys(line.verdict for line in lines):
        alike = [line for line in lines if line.verdict == verdict]
        rest = Line(verdict, f"{len(alike):,} other behaviours")
        for line in alike:
            for layer, part in line.parts.items():
                into = rest.parts.setdefault(layer, Part())
                into.count += part.count
                values = [v for v in (into.headroom, part.headroom) if v is not None]
                into.headroom = max(values, default=None)
        yield rest
