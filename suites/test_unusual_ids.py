"""Ids from the end of a table and beyond it: which row, and does the gradient go where the row came from?"""

from __future__ import annotations

import numpy as np

from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden import oracle
from touchstone.golden.cases import unusual_ids
from touchstone.suites import probes, rows
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.verdict.behaviour import Kind


@requirement("LOOKUP-ID-1", unusual_ids.CASES)
def test_ids_from_the_end_and_beyond(assay: Assay) -> None:
    table, ids = assay.golden("table"), assay.golden("ids")
    outcome, known = _asked(assay, ids, assay.golden("cotangent")), table
    if assay.params["layer"].startswith("quantized"):
        every = np.arange(len(table), dtype=np.int32)
        known = assay.value(_asked(assay, every, np.zeros_like(table)))["rows"]
    *good, bad = ids.reshape(-1).tolist()
    seen = rows.classify(outcome, known, [*good, bad], len(good), ids.shape)
    if seen.kind is not Kind.ROW and str(seen) not in ("NaN row", "zeros"):
        assay.behaves(str(seen), message=outcome.message)
        return
    gradient = outcome.value["gradient"]
    told = _place(int(seen.detail), bad, len(table)) if seen.kind is Kind.ROW else str(seen)
    assay.behaves(told if gradient is None else f"{told}, {_gradient(assay, gradient, seen.detail)}")


def _asked(assay: Assay, ids: np.ndarray, cotangent: np.ndarray) -> Outcome:
    quantized = assay.params["layer"].startswith("quantized")
    return assay.ask(
        probes.rows_and_gradient,
        layer=assay.params["layer"],
        spelling="" if assay.params["spelling"] == unusual_ids.ITSELF else assay.params["spelling"],
        weight=assay.golden("table"),
        scheme=assay.scheme if quantized else None,
        ids=ids,
        cotangent=cotangent,
    )


def _place(row: int, identifier: int, count: int) -> str:
    """In words: the row that the id counts to from the end, the first, the last, or another."""
    if row == identifier + count:
        return "counted from the end"
    return {0: "the first row", count - 1: "the last row", identifier % count: "modulo the size"}.get(row, f"row {row}")


def _gradient(assay: Assay, gradient: np.ndarray, row: str) -> str:
    """Where the cotangent of the last id went, beside those of the others."""
    ids, cotangent = assay.golden("ids").reshape(-1), assay.golden("cotangent").reshape(-1, unusual_ids.DIMS)
    rest = gradient - oracle.table_gradient(assay.golden("table"), ids[:-1], cotangent[:-1])
    if not rest.any():
        return "without gradient"
    (places,) = np.nonzero(rest.any(1))
    if len(places) == 1 and np.array_equal(rest[places[0]], cotangent[-1]):
        return "with its gradient" if str(places[0]) == row else f"with the gradient of row {places[0]}"
    return "with another gradient"
