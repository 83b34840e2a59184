"""Sizes: are results right on both sides of the numbers of ids, rows, outputs and groups at which kernels switch?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import sizes
from touchstone.golden.streams import DTYPES
from touchstone.suites import codes, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.suites.test_quantized_layers import given_parts


def _weight(assay: Assay) -> tuple[Any, np.ndarray]:
    """(what the layer is made of, its values in float32)."""
    if assay.params["layer"].startswith("quantized"):
        packed = given_parts(assay)
        return packed, codes.dequantized(packed).astype(np.float32)
    return assay.golden("weight"), assay.golden("weight").astype(np.float32)


@requirement("EMB-SIZE-1", sizes.LOOKUP_CASES)
def test_lookups(assay: Assay) -> None:
    weight, values = _weight(assay)
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=weight, inputs=assay.golden("ids"))
    assay.same_bits(assay.value(outcome), values.astype(DTYPES[assay.params["dtype"]])[assay.golden("ids")])


def _product(assay: Assay) -> None:
    """x Wᵀ + b of small integers, which float32 holds in every order of additions."""
    weight, values = _weight(assay)
    probe = probes.as_linear if assay.params["layer"].endswith("embedding") else probes.call
    outcome = assay.ask(probe, layer=assay.params["layer"], weight=weight, inputs=assay.golden("x"), bias=assay.bias)
    want = assay.golden("x").astype(np.float32) @ values.T
    if assay.bias is not None:
        want = want + assay.bias.astype(np.float32)
    assay.same_bits(assay.value(outcome), want.astype(DTYPES[assay.params["dtype"]]), signed_zero=False)


@requirement("SIZE-PRODUCT-1", sizes.PRODUCT_CASES)
def test_products(assay: Assay) -> None:
    _product(assay)


@requirement("SIZE-PRODUCT-1", sizes.QUANTIZED_PRODUCT_CASES)
def test_quantized_products(assay: Assay) -> None:
    _product(assay)


@requirement("SIZE-GRADIENT-1", sizes.GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    dtype, weight, cotangent = assay.params["dtype"], assay.golden("weight"), assay.golden("cotangent")
    inputs = assay.golden("x" if "x" in assay.case.arrays else "ids")
    outcome = assay.ask(
        probes.vjp, layer=assay.params["layer"], weight=weight, inputs=inputs, cotangent=cotangent, bias=assay.bias
    )
    found = assay.value(outcome)
    for role, (want, magnitude, terms) in _wanted(assay).items():
        bound = bounds.linear(want, magnitude, terms, dtype)
        assay.within(found.get(role), want, bound, dtype)


def _wanted(assay: Assay) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Role -> the gradient in float64, the sum of magnitudes, and how many terms a sum has."""
    g, weight = assay.golden("cotangent").astype(np.float64), assay.golden("weight").astype(np.float64)
    if "ids" in assay.case.arrays:
        ids, total, magnitude = assay.golden("ids"), np.zeros_like(weight), np.zeros_like(weight)
        np.add.at(total, ids, g)
        np.add.at(magnitude, ids, np.abs(g))
        return {"weight": (total, magnitude, int(np.bincount(ids).max()))}
    x = assay.golden("x").astype(np.float64)
    return {
        "weight": (g.T @ x, np.abs(g).T @ np.abs(x), len(x)),
        "x": (g @ weight, np.abs(g) @ np.abs(weight), len(weight)),
        "bias": (g.sum(0), np.abs(g).sum(0), len(x)),
    }
