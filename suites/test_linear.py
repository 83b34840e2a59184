"""Linear: is x Wᵀ + b within its bound, exact where it must be, and with how many roundings?"""

from __future__ import annotations

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import linear
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import rounded_once
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement


def assay_within(assay: Assay, got: np.ndarray, product: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    """Compare with x Wᵀ (+ b where the case has one) by the forward error bound."""
    dtype = assay.params["dtype"]
    if assay.params.get("bias"):
        bias = assay.golden("bias").astype(np.float64)
        bound = bounds.linear_with_bias(product, magnitude, bias, terms, dtype)
        assay.within(got, product + bias, bound, dtype, "product")
    else:
        assay.within(got, product, bounds.linear(product, magnitude, terms, dtype), dtype, "product")


@requirement("LIN-ERROR-1", linear.ERROR_CASES)
def test_forward_error(assay: Assay) -> None:
    x = assay.golden("x")
    outcome = assay.ask(probes.call, layer="linear", weight=assay.golden("weight"), inputs=x, bias=assay.bias)
    assay_within(assay, assay.value(outcome), assay.golden("product"), assay.golden("magnitude"), x.shape[-1])


def rounded_twice(product: np.ndarray, bias: np.ndarray, dtype: str) -> np.ndarray:
    """The product rounded to the dtype, then the sum with the bias rounded again."""
    first = rounded_once(product, None, dtype)
    return rounded_once(first.astype(np.float64), bias, dtype)


def assay_exact(assay: Assay, got: np.ndarray) -> None:
    """The case's exact integer product, rounded once, or with a bias twice."""
    dtype, product, bias = assay.params["dtype"], assay.golden("product"), assay.bias
    want = rounded_once(product, bias, dtype)
    if bias is not None and isinstance(got, np.ndarray) and got.shape == want.shape:
        twice = rounded_twice(product, bias, dtype)
        want = twice if got.tobytes() == twice.tobytes() else want
    assay.same_bits(got, want, "product", signed_zero=False)


@requirement("LIN-EXACT-1", linear.EXACT_CASES)
def test_exact_integers(assay: Assay) -> None:
    weight, x = assay.golden("weight"), assay.golden("x")
    assay_exact(assay, assay.value(assay.ask(probes.call, layer="linear", weight=weight, inputs=x, bias=assay.bias)))


@requirement("LIN-ROUND-1", linear.ROUNDING_CASES)
def test_roundings(assay: Assay) -> None:
    dtype, product, bias = assay.params["dtype"], assay.golden("product"), assay.golden("bias")
    outcome = assay.ask(probes.call, layer="linear", weight=assay.golden("weight"), inputs=assay.golden("x"), bias=bias)
    got = assay.value(outcome)
    once, twice = rounded_once(product, bias, dtype), rounded_twice(product, bias, dtype)
    assert (once != twice).any(), "these operands cannot tell one rounding from two"
    names = {once.tobytes(): "one rounding", twice.tobytes(): "two roundings"}
    assay.behaves(names.get(got.tobytes(), "neither one rounding nor two"))


@requirement("LIN-LAYOUT-1", linear.LAYOUT_CASES)
def test_layouts(assay: Assay) -> None:
    layout, operand = assay.params["layout"], assay.params["operand"]
    operands = {"x": assay.golden("x"), "weight": assay.golden("weight")}
    terms = operands["x"].shape[-1]
    operands[operand] = lay_out(operands[operand], layout)  # type: ignore[assignment]
    bias = assay.golden("bias")
    outcome = assay.ask(probes.call, layer="linear", weight=operands["weight"], inputs=operands["x"], bias=bias)
    product, magnitude = assay.golden("product"), assay.golden("magnitude")
    if layout == "broadcast":
        product, magnitude = (np.broadcast_to(a, (3, *a.shape)) for a in (product, magnitude))
    wide, dtype = bias.astype(np.float64), assay.params["dtype"]
    bound = bounds.linear_with_bias(product, magnitude, wide, terms, dtype)
    assay.within(assay.value(outcome), product + wide, bound, dtype, "product")


@requirement("LIN-DEGENERATE-1", linear.DEGENERATE_CASES)
def test_degenerate(assay: Assay) -> None:
    x, weight = {
        "rank-0 x": (np.array(1, np.float32), np.ones((4, 1), np.float32)),
        "zero in_features": (np.ones((2, 0), np.float32), np.ones((4, 0), np.float32)),
        "zero out_features": (np.ones((4, 3), np.float32), np.ones((0, 3), np.float32)),
    }[assay.params["what"]]
    outcome = assay.ask(probes.call, layer="linear", weight=weight, inputs=x)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
    elif outcome.value.size == 0:
        assay.behaves(f"shape {outcome.value.shape}")
    else:
        assay.behaves(f"zeros of shape {outcome.value.shape}" if not outcome.value.any() else "other values")


@requirement("LIN-PRECISION-1", linear.PRECISION_CASES)
def test_default_precision(assay: Assay) -> None:
    """Asked in the isolated worker, whose environment leaves the framework's precision variables alone."""
    outcome = assay.ask(
        probes.call_with_defaults, layer="linear", weight=assay.golden("weight"), inputs=assay.golden("x")
    )
    got, want = assay.value(outcome), assay.golden("product")
    if np.array_equal(got.astype(np.float64), want):
        assay.behaves("float32 products")
        return
    slack = (
        2.0**-10 * np.abs(assay.golden("x").astype(np.float64)) @ np.abs(assay.golden("weight").astype(np.float64)).T
    )
    close = (np.abs(got - want) <= slack).all()
    assay.behaves("TF32-class products" if close else "other values")
