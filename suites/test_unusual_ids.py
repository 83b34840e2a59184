"""Ids from the end of a table and beyond it: which row, and does the gradient go where the row came from?"""

from __future__ import annotations

from dataclasses import replace

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
    table, ids, gradient = assay.golden("table"), assay.golden("ids"), None
    outcome, known = _asked(assay, ids), table
    if outcome.kind == "value":
        values, gradients = outcome.value
        outcome, gradient = replace(outcome, value=values), gradients.get("weight")
    if _is_quantized(assay):
        known = assay.value(_asked(assay, np.arange(len(table), dtype=np.int32)))[0]
    *good, bad = ids.reshape(-1).tolist()
    seen = rows.classify(outcome, known, [*good, bad], len(good), ids.shape)
    if seen.kind is not Kind.ROW and str(seen) not in ("NaN row", "zeros"):
        assay.behaves(str(seen), message=outcome.message)
        return
    told = _place(int(seen.detail), bad, len(table)) if seen.kind is Kind.ROW else str(seen)
    assay.behaves(told if gradient is None else f"{told}, {_gradient(assay, gradient, seen.detail)}")


def _is_quantized(assay: Assay) -> bool:
    return bool(assay.params["layer"].startswith("quantized"))


def _asked(assay: Assay, ids: np.ndarray) -> Outcome:
    """Rows and, of a table that is trained, its gradient."""
    quantized, spelling = _is_quantized(assay), assay.params["spelling"]
    return assay.ask(
        probes.answer_and_gradients,
        layer=assay.params["layer"],
        weight=assay.golden("table"),
        inputs=ids,
        cotangent=None if quantized else assay.golden("cotangent"),
        spelling=None if spelling == unusual_ids.ITSELF else spelling,
        scheme=assay.scheme if quantized else None,
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
