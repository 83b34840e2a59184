"""Tied output: is the head x Wᵀ over the same table, and does it stay so when the table changes?"""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Layer
from touchstone.golden import bounds
from touchstone.golden.cases import gradients, linear
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import rounded_once
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement


@requirement("TIED-ERROR-1", linear.TIED_CASES)
def test_forward_error(assay: Assay) -> None:
    x, dtype = assay.golden("x"), assay.params["dtype"]
    outcome = assay.ask(probes.as_linear, layer="embedding", weight=assay.golden("weight"), inputs=x)
    bound = bounds.linear(assay.golden("product"), assay.golden("magnitude"), x.shape[-1], dtype)
    assay.within(assay.value(outcome), assay.golden("product"), bound, dtype, "product")


@requirement("TIED-EXACT-1", linear.TIED_EXACT_CASES)
def test_exact_integers(assay: Assay) -> None:
    outcome = assay.ask(probes.as_linear, layer="embedding", weight=assay.golden("weight"), inputs=assay.golden("x"))
    want = rounded_once(assay.golden("product"), None, assay.params["dtype"])
    assay.same_bits(assay.value(outcome), want, "product", signed_zero=False)


def _assay_both_uses(assay: Assay, layer: Layer, table: np.ndarray) -> None:
    """Lookup gives the rows of `table`, the head x tableᵀ; small integers, so both are exact."""
    ids, x = assay.golden("ids"), assay.golden("x")
    assay.same_bits(layer(ids), table[ids])
    product = x.astype(np.float64) @ table.astype(np.float64).T
    assay.same_bits(layer.as_linear(x), product.astype(np.float32).astype(table.dtype), signed_zero=False)


def _embedding(assay: Assay, role: str = "table") -> Layer:
    """A layer whose tied head was used once, so that a head with a copy of the table would show."""
    layer = assay.adapter.layer("embedding", assay.golden(role))
    layer.as_linear(assay.golden("x"))
    return layer


@requirement("TIED-UPDATE-1", gradients.TIED_CASES)
def test_after_update(assay: Assay) -> None:
    layer, other = _embedding(assay), assay.golden("other_table")
    layer.set_parameters(probes.by_name(layer, {"weight": other}))
    _assay_both_uses(assay, layer, other)


@requirement("TIED-STEP-1", gradients.TIED_STEP_CASES)
def test_after_sgd_step(assay: Assay) -> None:
    """Rate one half on integer gradients: the new table is exact in every dtype."""
    layer = _embedding(assay)
    layer.vjp(assay.golden("ids"), assay.golden("cotangent"), "tied")
    layer.sgd_step(0.5)
    table = assay.golden("table")
    want = (table.astype(np.float64) - 0.5 * assay.golden("gradient")).astype(table.dtype)
    _assay_both_uses(assay, layer, want)


@requirement("TIED-SAVE-1", gradients.TIED_SAVE_CASES)
def test_after_save_and_load(assay: Assay) -> None:
    saved, other = _embedding(assay), _embedding(assay, "other_table")
    probes.hand_over(saved, other)
    _assay_both_uses(assay, other, assay.golden("table"))


@requirement("TIED-SAVE-1", gradients.SAVED_CASES)
def test_every_bit_is_saved(assay: Assay) -> None:
    table = assay.golden("table")
    saved, other = (assay.adapter.layer("embedding", weight) for weight in (table, np.zeros_like(table)))
    probes.hand_over(saved, other)
    assay.same_bits(other(np.arange(len(table), dtype=np.int32)), table, "table")
    assay.same_bits(probes.weight_of(other), table, "table")


@requirement("TIED-SAVE-1", gradients.SAVED_VIEW_CASES)
def test_a_table_that_is_a_view_is_saved(assay: Assay) -> None:
    table = assay.golden("table")
    saved = assay.adapter.layer("embedding", lay_out(table, assay.params["layout"]))
    other = assay.adapter.layer("embedding", np.zeros_like(table))
    probes.hand_over(saved, other)
    assay.same_bits(probes.weight_of(other), table, "table")


@requirement("TIED-OWN-1", gradients.TIED_STEP_CASES)
def test_answers_stay_as_they_were(assay: Assay) -> None:
    roles = {"table": "table", "other": "other_table", "ids": "ids", "x": "x", "cotangent": "cotangent"}
    arguments = {name: assay.golden(role) for name, role in roles.items()}
    for answer, before in assay.value(assay.ask(probes.kept_answers, **arguments)):
        assay.same_bits(answer, before)


@requirement("TIED-GRAD-1", gradients.TIED_GRADIENT_CASES)
def test_gradient(assay: Assay) -> None:
    table = assay.golden("table")
    outcome = assay.ask(
        probes.vjp,
        layer="embedding",
        weight=table,
        inputs=assay.golden("ids"),
        cotangent=assay.golden("cotangent"),
        method="tied",
    )
    want = assay.golden("gradient").astype(table.dtype)
    assay.same_bits(assay.value(outcome)["weight"], want, "gradient", signed_zero=False)
