"""Gradients of small integers: exact for heads alone, every id dtype and rank, and tables of one row or column?"""

from __future__ import annotations

from touchstone.adapters.interface import Method
from touchstone.golden.cases import exact_gradients
from touchstone.suites import exact, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("GRAD-EXACT-1", exact_gradients.LOOKUP_CASES)
def test_lookups(assay: Assay) -> None:
    _assay_gradients(assay)


@requirement("GRAD-EXACT-1", exact_gradients.PRODUCT_CASES)
def test_products(assay: Assay) -> None:
    """Of every operand, in the operand's shape and dtype."""
    _assay_gradients(assay)


def _assay_gradients(assay: Assay) -> None:
    looks_up = exact.looks_up(assay)
    method: Method = "call" if looks_up or assay.params["layer"] == "linear" else "as_linear"
    outcome = assay.ask(
        probes.vjp,
        layer=assay.params["layer"],
        weight=assay.golden("weight"),
        inputs=assay.golden("ids" if looks_up else "x"),
        cotangent=assay.golden("cotangent"),
        bias=assay.bias,
        method=method,
    )
    exact.assay_gradients(assay, assay.value(outcome), exact.gradients(assay), assay.params["dtype"])


@requirement("SPELLING-1", exact_gradients.SPELLED_CASES)
def test_other_functions(assay: Assay) -> None:
    """The answer, and the gradient of every operand."""
    dtype, given = assay.params["dtype"], assay.golden("ids" if exact.looks_up(assay) else "x")
    parts = {"bias": assay.bias, "spelling": assay.params["spelling"]}
    layer = assay.adapter.layer(assay.params["layer"], assay.golden("weight"), **parts)
    assay.same_bits(layer(given), exact.answer(assay, dtype), signed_zero=exact.looks_up(assay))
    exact.assay_gradients(assay, layer.vjp(given, assay.golden("cotangent")), exact.gradients(assay), dtype)
