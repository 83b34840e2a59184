"""Indices that name no element: what is read there, and what is written?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden.cases import array_outside as cases
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import SENTINEL, guarded
from touchstone.suites.requirements import requirement

OUTSIDE = "memory outside the array"
WRITTEN = 99
GUARD = 77
"""What surrounds arrays of integers in their buffer."""


def _rows(assay: Assay) -> np.ndarray:
    """A column, whose elements differ."""
    return np.arange(11, 11 + cases.SIZE).astype(DTYPES[assay.params["dtype"]])[:, None]


def _ask(assay: Assay) -> Outcome:
    name, place = assay.params["operation"], cases.PLACES[assay.params["index"]]
    rows = _rows(assay)
    x = guarded(rows, assay.target.cls.capabilities, SENTINEL if rows.dtype.kind == "f" else GUARD)
    column, start, new = np.array([[place]], np.int32), np.array([place], np.int32), np.array([[WRITTEN]], rows.dtype)
    operands: dict[str, list[Any]] = {
        "take": [x, start],
        "take_along_axis": [x, column],
        "slice": [x, start],
        "put_along_axis": [x, column, new],
        "slice_update": [x, new, start],
    }
    options: dict[str, dict[str, Any]] = {
        "slice": {"axes": (0,), "slice_size": (1, 1)},
        "slice_update": {"axes": (0,)},
    }
    return assay.ask(probes.operation, name=name, operands=operands[name], **options.get(name, {"axis": 0}))


@requirement("ARRAY-OUTSIDE-1", cases.READ_CASES)
def test_reading(assay: Assay) -> None:
    outcome = _ask(assay)
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), conforms=outcome.kind == "raised", message=outcome.message)
        return
    rows, value = _rows(assay).reshape(-1).tolist(), float(outcome.value.reshape(-1)[0])
    told = {rows[0]: "the first element", rows[-1]: "the last element", 0: "zero", SENTINEL: OUTSIDE, GUARD: OUTSIDE}
    told |= dict.fromkeys(rows[1:-1], "another element")
    if outcome.value.dtype.kind in "iu":
        of = np.iinfo(outcome.value.dtype)
        told = {of.min: "the smallest integer", of.max: "the largest integer", **told}
    shown = "NaN" if np.isnan(value) else told.get(value, "foreign memory")
    assay.behaves(shown, conforms="memory" not in shown, message=f"got {value:g}")


@requirement("ARRAY-OUTSIDE-2", cases.WRITE_CASES)
def test_writing(assay: Assay) -> None:
    """What a right answer does not show is whether memory beside it was written."""
    outcome = _ask(assay)
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), conforms=outcome.kind == "raised", message=outcome.message)
        return
    changed = np.flatnonzero(outcome.value != _rows(assay)).tolist()
    told = {0: "the first element", cases.SIZE - 1: "the last element"}
    if not changed:
        unchecked = assay.target.cls.corrupts_memory
        assay.behaves("write not observed" if unchecked else "left out", conforms=not unchecked)
        return
    assay.behaves(told.get(changed[0], "another element"), message=f"elements {changed} changed")
