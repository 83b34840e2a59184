"""Gradients: are they the oracle's, are untouched rows exactly zero, and is what is frozen frozen?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden import bounds, oracle
from touchstone.golden.cases import gradients, lookup, quantized
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import assay_gradients
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement


def _table_gradient(assay: Assay) -> np.ndarray:
    outcome = assay.ask(
        probes.vjp,
        layer=assay.params["layer"],
        weight=assay.golden("table"),
        inputs=assay.golden("ids"),
        cotangent=assay.golden("cotangent"),
    )
    return assay.value(outcome)["weight"]


@requirement("GRAD-TABLE-1", gradients.TABLE_CASES)
def test_table(assay: Assay) -> None:
    ids, dtype, want = assay.golden("ids"), assay.params["dtype"], assay.golden("gradient")
    terms = int(np.bincount(ids.reshape(-1)).max()) if ids.size else 0
    bound = bounds.linear(want, assay.golden("magnitude"), terms, dtype)
    assay.within(_table_gradient(assay), want, bound, dtype, "gradient")


@requirement("GRAD-TABLE-2", gradients.TABLE_CASES)
def test_untouched_rows(assay: Assay) -> None:
    got, table = _table_gradient(assay), assay.golden("table")
    untouched = np.setdiff1d(np.arange(len(table)), assay.golden("ids"))
    assay.same_bits(got[untouched], np.zeros((len(untouched), table.shape[1]), table.dtype), "table", signed_zero=False)


@requirement("GRAD-TABLE-3", gradients.ONES_CASES)
def test_a_thousand_ones(assay: Assay) -> None:
    got, table = _table_gradient(assay), assay.golden("table")
    want = np.zeros_like(table)
    want[5] = 1000
    assay.same_bits(got, want, "table")


def _assay_linear(assay: Assay, x: Any, weight: Any) -> None:
    """The gradient that the case is about, of x, weight or bias, within its bound."""
    dtype, cotangent = assay.params["dtype"], assay.golden("cotangent")
    bias = assay.golden("bias") if assay.params["bias"] else None
    outcome = assay.ask(probes.vjp, layer="linear", weight=weight, inputs=x, cotangent=cotangent, bias=bias)
    of, rows = assay.params["of"], cotangent.size // cotangent.shape[-1]
    terms = cotangent.shape[-1] if of == "x" else rows
    want, magnitude = assay.golden(f"d_{of}"), assay.golden(f"d_{of}_magnitude")
    bound = bounds.linear(want, magnitude, terms, dtype)
    assay.within(assay.value(outcome).get(of), want, bound, dtype, f"d_{of}")


@requirement("GRAD-LINEAR-1", gradients.LINEAR_CASES)
def test_linear(assay: Assay) -> None:
    _assay_linear(assay, assay.golden("x"), assay.golden("weight"))


@requirement("GRAD-LAYOUT-1", gradients.LAYOUT_CASES)
def test_layouts(assay: Assay) -> None:
    operands: dict[str, Any] = {"x": assay.golden("x"), "weight": assay.golden("weight")}
    operands[assay.params["operand"]] = lay_out(operands[assay.params["operand"]], assay.params["layout"])
    _assay_linear(assay, **operands)


@requirement("GRAD-LAYOUT-1", gradients.TABLE_LAYOUT_CASES)
def test_layouts_of_a_table_s_cotangent(assay: Assay) -> None:
    """Integers whose sums every dtype holds."""
    ids, table, cotangent = assay.golden("ids"), assay.golden("table"), assay.golden("cotangent")
    laid_out = lay_out(cotangent, assay.params["layout"])
    if assay.params["layout"] == "broadcast":
        ids = np.broadcast_to(ids, (3, *ids.shape)).copy()
    outcome = assay.ask(probes.vjp, layer=assay.params["layer"], weight=table, inputs=ids, cotangent=laid_out)
    want = oracle.table_gradient(table, ids, np.broadcast_to(cotangent, (*ids.shape, table.shape[1])))
    assay_gradients(assay, assay.value(outcome), {"weight": want}, assay.params["dtype"])


@requirement("GRAD-NEGATIVE-1", lookup.NEGATIVE_GRADIENT_CASES)
def test_negative_ids(assay: Assay) -> None:
    table = assay.golden("table")
    chosen = -1 if assay.params["ids"] == "-1" else -len(table)
    ids, cotangent = np.array([3, chosen], np.int32), np.array([[1, 2], [4, 8]], np.float32)
    outcome = assay.ask(probes.vjp, layer=assay.params["layer"], weight=table, inputs=ids, cotangent=cotangent)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    dropped = np.zeros_like(table)
    dropped[3] = cotangent[0]
    named = dropped.copy()
    named[chosen] += cotangent[1]
    ways = {"the row that it names": named, "dropped": dropped}
    found = outcome.value["weight"]
    shown = next((name for name, want in ways.items() if np.array_equal(found, want)), "another row")
    assay.behaves(shown, message=f"id {chosen} changed rows {np.flatnonzero(found.any(axis=1)).tolist()}")


@requirement("GRAD-QUANT-1", quantized.FROZEN_CASES)
def test_quantized_parameters_are_frozen(assay: Assay) -> None:
    layer = assay.adapter.layer(assay.params["layer"], assay.golden("table"), scheme=assay.scheme)
    trainable = sorted(layer.trainable())
    stored = sorted(layer.parameters())
    assay.behaves(
        f"trainable: {', '.join(trainable)}" if trainable else "frozen",
        conforms=not trainable and {"weight", "scales"} <= set(stored),
        message=f"stores {', '.join(stored)}",
    )
