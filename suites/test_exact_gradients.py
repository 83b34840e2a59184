"""Gradients of small integers: exact for heads alone, every id dtype and rank, and tables of one row or column?"""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Method
from touchstone.golden.cases import exact_gradients
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("GRAD-EXACT-1", exact_gradients.LOOKUP_CASES)
def test_lookups(assay: Assay) -> None:
    weight, ids, cotangent = (assay.golden(role) for role in ("weight", "ids", "cotangent"))
    outcome = assay.ask(probes.vjp, layer=assay.params["layer"], weight=weight, inputs=ids, cotangent=cotangent)
    want = np.zeros(weight.shape)
    np.add.at(want, ids.astype(np.int64), cotangent.astype(np.float64))
    assay.same_bits(assay.value(outcome).get("weight"), want.astype(weight.dtype), signed_zero=False)


@requirement("GRAD-EXACT-1", exact_gradients.PRODUCT_CASES)
def test_products(assay: Assay) -> None:
    """Of every operand, in the operand's shape and dtype."""
    weight, x, cotangent = (assay.golden(role) for role in ("weight", "x", "cotangent"))
    bias = assay.golden("bias") if "bias" in assay.case.arrays else None
    method: Method = "call" if assay.params["layer"] == "linear" else "as_linear"
    outcome = assay.ask(
        probes.vjp,
        layer=assay.params["layer"],
        weight=weight,
        inputs=x,
        cotangent=cotangent,
        bias=bias,
        method=method,
    )
    g = cotangent.astype(np.float64).reshape(-1, len(weight))
    want = {
        "weight": g.T @ x.astype(np.float64).reshape(-1, x.shape[-1]),
        "x": (g @ weight.astype(np.float64)).reshape(x.shape),
    } | ({} if bias is None else {"bias": g.sum(0)})
    found = assay.value(outcome)
    for role, value in want.items():
        assay.same_bits(found.get(role), value.astype(weight.dtype), signed_zero=False)


@requirement("SPELLING-1", exact_gradients.SPELLED_CASES)
def test_other_functions(assay: Assay) -> None:
    """The answer, and the gradient of every operand."""
    weight, cotangent = assay.golden("weight"), assay.golden("cotangent")
    bias = assay.golden("bias") if "bias" in assay.case.arrays else None
    layer = assay.adapter.spelled(assay.params["layer"], assay.params["spelling"], weight, bias)
    wide, g = weight.astype(np.float64), cotangent.astype(np.float64)
    if assay.params["layer"] == "raw_lookup":
        ids = assay.golden("ids")
        assay.same_bits(layer(ids), weight[ids.astype(np.int64)])
        want = {"weight": np.zeros(weight.shape)}
        np.add.at(want["weight"], ids.astype(np.int64), g)
        found = layer.vjp(ids, cotangent)
    else:
        x = assay.golden("x")
        product = x.astype(np.float64) @ wide.T + assay.golden("bias").astype(np.float64)
        assay.same_bits(layer(x), product.astype(weight.dtype), signed_zero=False)
        flat = g.reshape(-1, len(weight))
        want = {
            "weight": flat.T @ x.astype(np.float64).reshape(-1, x.shape[-1]),
            "x": (flat @ wide).reshape(x.shape),
            "bias": flat.sum(0),
        }
        found = layer.vjp(x, cotangent)
    for role, value in want.items():
        assay.same_bits(found.get(role), value.astype(weight.dtype), signed_zero=False)
