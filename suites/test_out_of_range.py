"""Out of range: what happens to an id that names no row, forward, in the gradient, and compiled?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from touchstone.adapters.interface import Packed, Scheme
from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden.cases import lookup
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import SENTINEL, guarded
from touchstone.suites.requirements import requirement
from touchstone.suites.rows import classify, conclude

REPEATS = 32


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


def _arrange(assay: Assay) -> tuple[np.ndarray, list[int], int]:
    ids, shape, dtype = lookup.outside_ids(assay.case)
    return np.array(ids, dtype).reshape(shape), ids, lookup.bad_place(assay.case)


def _assay_lookup(assay: Assay, probe: Callable[..., Any], **arguments: Any) -> None:
    weight, rows = _guarded_weight(assay)
    given, ids, bad = _arrange(assay)

    def ask(ids: np.ndarray) -> Outcome:
        return assay.ask(probe, layer=assay.params["layer"], weight=weight, inputs=ids, **arguments)

    outcome = ask(given)
    behaviour = classify(outcome, rows, ids, bad, given.shape, SENTINEL)
    message = f"id {ids[bad]} of {len(rows)} rows" + (f"; {outcome.message}" if outcome.message else "")
    conclude(assay, behaviour, message, len(rows), lambda: ask(np.zeros_like(given)))


@requirement("EMB-OOR-1", lookup.OUTSIDE_CASES)
def test_lookup(assay: Assay) -> None:
    _assay_lookup(assay, probes.call)


@requirement("EMB-OOR-3", lookup.OUTSIDE_COMPILED_CASES)
def test_compiled_lookup(assay: Assay) -> None:
    _assay_lookup(assay, probes.compiled_call, compiler=assay.params["compiler"])


@requirement("EMB-OOR-2", lookup.OUTSIDE_GRADIENT_CASES)
def test_gradient(assay: Assay) -> None:
    """Asked many times of a target that checks nothing, so that its allocator notices most writes outside."""
    table = assay.golden("table")
    given, ids, bad = _arrange(assay)
    cotangent = np.ones((*given.shape, table.shape[1]), table.dtype)
    unchecked = assay.target.cls.corrupts_memory
    times = REPEATS if unchecked else 1

    def ask(ids: np.ndarray) -> Outcome:
        layer = assay.params["layer"]
        return assay.ask(probes.vjp_repeated, layer=layer, weight=table, inputs=ids, cotangent=cotangent, times=times)

    outcome, message = ask(given), f"id {ids[bad]} of {len(table)} rows"
    if outcome.kind != "value":
        conclude(
            assay, outcome.behaviour, f"{message}; {outcome.message}", len(table), lambda: ask(np.zeros_like(given))
        )
        return
    gradient = outcome.value["weight"]
    want = np.zeros_like(table)
    np.add.at(want, [i for n, i in enumerate(ids) if n != bad], 1)
    if gradient.tobytes() != want.tobytes():
        touched = np.flatnonzero((gradient != want).any(axis=1)).tolist()
        assay.behaves("another row's gradient", conforms=False, message=f"{message} changed rows {touched}")
    # Where the framework checks nothing, a right gradient does not show that nothing was written beside it.
    assay.behaves("write not observed" if unchecked else "dropped", conforms=not unchecked, message=message)
