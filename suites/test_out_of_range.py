"""Out of range: what happens to an id that names no row, forward, in the gradient, and compiled?"""

from __future__ import annotations

from typing import Any

import numpy as np

from adapters.interface import Packed, Scheme
from golden.cases import lookup
from suites import probes
from suites.assay import Assay
from suites.layouts import SENTINEL, guarded
from suites.requirements import requirement
from suites.rows import classify

HARMLESS = ("NaN row",)


def _guarded_weight(assay: Assay) -> tuple[Any, np.ndarray]:
    """The table inside a buffer of sentinels, and the rows that good ids give."""
    table, capabilities = assay.golden("table"), assay.target.cls.capabilities
    if not assay.params["layer"].startswith("quantized"):
        return guarded(table, capabilities), table
    # Codes count 0, 1, 2, …; a scale and a bias of their own per row make every row recognisable.
    rows, dims, scheme = *table.shape, Scheme(4, 32)
    words = np.tile(np.array([0x76543210, 0xFEDCBA98], np.uint32), (rows, dims // 16))
    biases = np.repeat(table[:, :1], dims // 32, axis=1)
    scales = np.full_like(biases, 0.25)
    codes = np.tile(np.arange(16), dims // 16)
    rows_of_table = (codes * 0.25 + table[:, :1].astype(np.float32)).astype(table.dtype)
    parts = ((words, 0), (scales, SENTINEL), (biases, SENTINEL))
    words, scales, biases = (guarded(part, capabilities, sentinel) for part, sentinel in parts)
    return Packed(words, scales, biases, scheme), rows_of_table


def conclude(assay: Assay, behaviour: str, message: str, size: int) -> None:
    """Name clamping, and judge: an error or a NaN row conforms."""
    clamps = {f"row {size - 1}": "clamps to last row", "row 0": "clamps to first row"}
    behaviour = clamps.get(behaviour, "another row" if behaviour.startswith("row ") else behaviour)
    assay.behaves(behaviour, conforms=behaviour in HARMLESS or behaviour.startswith("raises "), message=message)


def _arrange(assay: Assay) -> tuple[np.ndarray, list[int], int]:
    ids, shape, dtype = lookup.outside_ids(assay.case)
    return np.array(ids, dtype).reshape(shape), ids, len(ids) // 2


@requirement("EMB-OOR-1", lookup.OUTSIDE_CASES)
def test_lookup(assay: Assay) -> None:
    weight, rows = _guarded_weight(assay)
    given, ids, bad = _arrange(assay)
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=weight, inputs=given)
    behaviour = classify(outcome, rows, ids, bad, given.shape)
    conclude(assay, behaviour, f"id {ids[bad]} of {len(rows)} rows; {outcome.message}", len(rows))


@requirement("EMB-OOR-3", lookup.OUTSIDE_COMPILED_CASES)
def test_compiled_lookup(assay: Assay) -> None:
    weight, rows = _guarded_weight(assay)
    given, ids, bad = _arrange(assay)
    outcome = assay.ask(
        probes.compiled_call,
        layer=assay.params["layer"],
        weight=weight,
        inputs=given,
        compiler=assay.params["compiler"],
    )
    behaviour = classify(outcome, rows, ids, bad, given.shape)
    conclude(assay, behaviour, f"id {ids[bad]} of {len(rows)} rows; {outcome.message}", len(rows))


@requirement("EMB-OOR-2", lookup.OUTSIDE_GRADIENT_CASES)
def test_gradient(assay: Assay) -> None:
    table = assay.golden("table")
    given, ids, bad = _arrange(assay)
    cotangent = np.ones((*given.shape, table.shape[1]), table.dtype)
    outcome = assay.ask(probes.vjp, layer=assay.params["layer"], weight=table, inputs=given, cotangent=cotangent)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, conforms=outcome.kind == "raised", message=outcome.message)
        return
    gradient = outcome.value["weight"]
    asked = [i for n, i in enumerate(ids) if n != bad]
    want = np.zeros_like(table)
    want[asked] = 1
    message = f"id {ids[bad]} of {len(table)} rows"
    if gradient.tobytes() == want.tobytes():
        # The array that comes back cannot show a write beside it, so a target that does not check ids deviates.
        silent = assay.target.cls.corrupts_memory
        assay.behaves("unchecked write" if silent else "dropped", conforms=not silent, message=message)
        return
    touched = np.flatnonzero((gradient != want).any(axis=1))
    assay.behaves("another row's gradient", conforms=False, message=f"{message} changed rows {touched.tolist()}")
