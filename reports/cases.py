"""Names that cases of several targets share, and which layer a case is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from touchstone.reports.model import Report
from touchstone.reports.records import EndLine, Number, Requirement, Scalar, StartLine
from touchstone.verdict.requirement import LAYERS as NAMED

OTHER = "not recorded"
"""Of records from before requirements named their layer."""
LAYERS = (*NAMED, OTHER)
UNKNOWN = Requirement(
    group="Not in the catalogue", level="required", sentence="", source="", difference="", advice="", cases=0
)
"""Stands for a requirement that only a record names."""
_MOST_VALUES = 4


def case_name(identifier: str, target: str) -> str:
    """A case's id without its target: the same for every target that was asked."""
    test, bracket, rest = identifier.partition("[")
    if not bracket or not rest.startswith(target):
        return identifier
    parameters = rest[len(target) :].removesuffix("]").removeprefix("-")
    return f"{test}[{parameters}]" if parameters else test


def layer_of(of: Requirement, params: Mapping[str, Scalar]) -> str:
    """The layer that a case exercises, one of LAYERS: its own parameter, else that of its requirement.

    Where the requirement is of quantized layers, a plain layer is the one that is quantized.
    """
    own = str(params.get("layer", "")).replace("_", " ")
    if of.layer.startswith("quantized") and f"quantized {own}" in LAYERS:
        return f"quantized {own}"
    return next((layer for layer in (own, of.layer) if layer in LAYERS), OTHER)


def size(value: Number | None) -> float:
    """A headroom, error or bound to be ranked or drawn: nothing is 0, and what is no number is infinitely large."""
    number = float(value or 0)
    return number if number == number else math.inf


def catalogue(report: Report) -> dict[str, Requirement]:
    """The report's requirements; one that only a record names is there too, without a sentence."""
    out = dict(report.requirements)
    named = (r.requirement for r in report.records)
    begun = (line.requirement for column in report.columns for line in column.in_flight)
    for name in dict.fromkeys((*named, *begun)):
        out.setdefault(name, UNKNOWN)
    return out


def by_requirement(report: Report) -> dict[str, list[list[EndLine | StartLine]]]:
    """Every requirement of the catalogue -> for each column its records, and the cases in flight."""
    out: dict[str, list[list[EndLine | StartLine]]] = {name: [[] for _ in report.columns] for name in catalogue(report)}
    for number, column in enumerate(report.columns):
        for record in column.cases.values():
            out[record.requirement][number].append(record)
        for begun in column.in_flight:
            out[begun.requirement][number].append(begun)
    return out


def spelled(where: Mapping[str, Sequence[Scalar]]) -> str:
    """Parameters and some of their values, as words: "dtype float16, bfloat16; ids V, V+1, -1, 0 and 3 more"."""
    parts = []
    for name, values in where.items():
        shown = ", ".join("none" if v is None else str(v) for v in values[:_MOST_VALUES])
        rest = len(values) - _MOST_VALUES
        parts.append(f"{name.replace('_', ' ')} {shown}" + (f" and {rest:,} more" if rest > 0 else ""))
    return "; ".join(parts)
