"""Embedding lookup: are the named rows returned, bit for bit, whatever the shape, size or layout?"""

from __future__ import annotations

import numpy as np

from touchstone.golden.cases import exact_gradients, lookup
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement


def _assay_rows(assay: Assay) -> None:
    layer, spelling = assay.params["layer"], assay.params.get("spelling")
    outcome = assay.ask(
        probes.call, layer=layer, weight=assay.golden("table"), inputs=assay.golden("ids"), spelling=spelling
    )
    assay.same_bits(assay.value(outcome), assay.golden("rows"), "rows")


@requirement("EMB-SHAPE-1", lookup.SHAPE_CASES)
def test_shapes(assay: Assay) -> None:
    _assay_rows(assay)


@requirement("EMB-SIZE-1", lookup.SIZE_CASES)
def test_sizes(assay: Assay) -> None:
    _assay_rows(assay)


@requirement("EMB-BITS-1", lookup.SPECIAL_CASES)
def test_special_values(assay: Assay) -> None:
    _assay_rows(assay)


@requirement("EMB-BITS-1", exact_gradients.COPIED_CASES)
def test_copies_by_other_functions(assay: Assay) -> None:
    _assay_rows(assay)


@requirement("EMB-LAYOUT-1", lookup.LAYOUT_CASES)
def test_layouts(assay: Assay) -> None:
    layout, rows = assay.params["layout"], assay.golden("rows")
    operands = {"table": assay.golden("table"), "ids": assay.golden("ids")}
    operands[assay.params["operand"]] = lay_out(operands[assay.params["operand"]], layout)  # type: ignore[assignment]
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=operands["table"], inputs=operands["ids"])
    if layout == "broadcast":
        rows = np.broadcast_to(rows, (3, *rows.shape))
    assay.same_bits(assay.value(outcome), rows, "rows")


@requirement("EMB-COMPILED-1", lookup.COMPILED_CASES)
def test_compiled(assay: Assay) -> None:
    outcome = assay.ask(
        probes.recompiled_call,
        layer=assay.params["layer"],
        weight=assay.golden("table"),
        inputs=assay.golden("ids"),
        compiler=assay.params["compiler"],
    )
    assay.same_bits(assay.value(outcome), assay.golden("rows"), "rows")
