"""Generated products: linear layers, tied heads and their gradients.

Numbers are at most 2**`SPREAD`, so that no sum of 100 products overflows float16: what happens beyond is no question
of the forward error bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from touchstone.adapters.interface import Capabilities
from touchstone.golden import bounds
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case
from touchstone.golden.recipes import Recipe
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import rounded_once
from touchstone.suites.generated.drawn import Draw, Example, Property, layout, stream
from touchstone.suites.layouts import lay_out
from touchstone.suites.test_linear import rounded_twice

INPUTS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (2,), (5,), (17,), (2, 3), (3, 1, 2))
"""Leading dimensions of x."""
SIZES = ((1, 1), (2, 3), (7, 8), (32, 17), (33, 3), (100, 8))
"""Input and output features: few, because a framework may compile for each shape."""
SPREAD = 4
LAYOUTS = ("offset", "inner offset", "strided", "inner strided", "reversed", "transposed")


def _operand(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Recipe:
    options = draw(st.sampled_from(({"spread": 0}, {"spread": SPREAD}, {"spread": SPREAD, "sparse": 4})))
    return Recipe("uneven", dtype, shape, options, stream(draw))


def _sizes(draw: Draw) -> tuple[tuple[int, ...], int, int]:
    return draw(st.sampled_from(INPUTS)), *draw(st.sampled_from(SIZES))


def _layouts(draw: Draw, capabilities: Capabilities, x: tuple[int, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
    names = LAYOUTS if len(x) == 2 and x[0] else ("broadcast",) if x[0] else ()
    params = {"x_layout": layout(draw, capabilities, names), "weight_layout": layout(draw, capabilities, LAYOUTS)}
    return params, tuple(need for name in params.values() for need in LAYOUT_NEEDS[name])


def _linear(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    dtype, (leading, k, n) = case.params["dtype"], _sizes(draw)
    arrays = {"x": _operand(draw, dtype, (*leading, k)), "weight": _operand(draw, dtype, (n, k))}
    if draw(st.booleans()):
        arrays["bias"] = _operand(draw, dtype, (n,))
    params, needs = _layouts(draw, capabilities, (*leading, k))
    return Example({"bias": "bias" in arrays, **params}, arrays, needs)


def _exact(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    dtype, (leading, k, n) = case.params["dtype"], _sizes(draw)
    k = max(k, 2)
    arrays = {
        "x": Recipe("wide integers", dtype, (*leading, k), {"phase": 0}, stream(draw)),
        "weight": Recipe("wide integers", dtype, (n, k), {"phase": 1}, stream(draw)),
    }
    if draw(st.booleans()):
        arrays["bias"] = Recipe("wide integers", dtype, (n,), {"phase": 0}, stream(draw))
    params, needs = _layouts(draw, capabilities, (*leading, k))
    return Example({"bias": "bias" in arrays, **params}, arrays, needs)


def _tied(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    dtype, (leading, k, n) = case.params["dtype"], _sizes(draw)
    arrays = {"x": _operand(draw, dtype, (*leading, k)), "weight": _operand(draw, dtype, (n, k))}
    return Example({"bias": False, "x_layout": "dense", "weight_layout": "dense"}, arrays)


def _product(assay: Assay) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x Wᵀ and |x||W|ᵀ in float64, 2**-29 of a float32 rounding away from exact, and the bias."""
    x, weight = (assay.golden(role).astype(np.float64) for role in ("x", "weight"))
    if assay.params["x_layout"] == "broadcast":
        x = np.broadcast_to(x, (3, *x.shape))
    bias = assay.golden("bias").astype(np.float64) if "bias" in assay.case.arrays else None
    return x @ weight.T, np.abs(x) @ np.abs(weight).T, bias


def _result(assay: Assay) -> np.ndarray:
    x, weight = (lay_out(assay.golden(role), assay.params[f"{role}_layout"]) for role in ("x", "weight"))
    bias = assay.bias
    return assay.value(assay.ask(probes.call, layer="linear", weight=weight, inputs=x, bias=bias))


def _assay_within(assay: Assay, got: np.ndarray) -> None:
    dtype, terms = assay.params["dtype"], assay.golden("x").shape[-1]
    product, magnitude, bias = _product(assay)
    if bias is None:
        assay.within(got, product, bounds.linear(product, magnitude, terms, dtype), dtype, "x")
    else:
        bound = bounds.linear_with_bias(product, magnitude, bias, terms, dtype)
        assay.within(got, product + bias, bound, dtype, "x")


def _ask_linear(assay: Assay) -> None:
    _assay_within(assay, _result(assay))


def _ask_tied(assay: Assay) -> None:
    x, weight = assay.golden("x"), assay.golden("weight")
    _assay_within(assay, assay.value(assay.ask(probes.as_linear, layer="embedding", weight=weight, inputs=x)))


def _ask_exact(assay: Assay) -> None:
    """One rounding or, with a bias, two."""
    got, dtype = _result(assay), assay.params["dtype"]
    product, _, bias = _product(assay)
    want = rounded_once(product, bias, dtype)
    if bias is not None and isinstance(got, np.ndarray):
        twice = rounded_twice(product, bias, dtype)
        want = twice if got.tobytes() == twice.tobytes() else want
    assay.same_bits(got, want, "x", signed_zero=False)


def _gradient(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    """In half precision not of the bias: JAX sums that in the cotangent's own dtype (GRAD-LINEAR-1, enumerated)."""
    dtype, (leading, k, n) = case.params["dtype"], _sizes(draw)
    leading = leading if leading and leading[0] else (3,)
    arrays = {
        "x": _operand(draw, dtype, (*leading, k)),
        "weight": _operand(draw, dtype, (n, k)),
        "cotangent": _operand(draw, dtype, (*leading, n)),
    }
    of = draw(st.sampled_from(("weight", "x", "bias") if dtype == "float32" else ("weight", "x")))
    if of == "bias" or draw(st.booleans()):
        arrays["bias"] = _operand(draw, dtype, (n,))
    return Example({"bias": "bias" in arrays, "of": of}, arrays)


def _ask_gradient(assay: Assay) -> None:
    dtype, of = assay.params["dtype"], assay.params["of"]
    given = {name: assay.golden(name) for name in ("x", "weight", "cotangent")}
    bias = assay.bias
    outcome = assay.ask(
        probes.vjp,
        layer="linear",
        weight=given["weight"],
        inputs=given["x"],
        cotangent=given["cotangent"],
        bias=bias,
    )
    x, weight, cotangent = (a.astype(np.float64) for a in given.values())
    flat_x, flat_g = x.reshape(-1, x.shape[-1]), cotangent.reshape(-1, cotangent.shape[-1])
    if of == "weight":
        want, magnitude, terms = flat_g.T @ flat_x, np.abs(flat_g).T @ np.abs(flat_x), len(flat_x)
    elif of == "x":
        want, magnitude, terms = cotangent @ weight, np.abs(cotangent) @ np.abs(weight), len(weight)
    else:
        want, magnitude, terms = flat_g.sum(0), np.abs(flat_g).sum(0), len(flat_g)
    assay.within(assay.value(outcome).get(of), want, bounds.linear(want, magnitude, terms, dtype), dtype, "cotangent")


LINEAR = Property("linear", "LIN-ERROR-1", _linear, _ask_linear)
EXACT = Property("exact linear", "LIN-EXACT-1", _exact, _ask_exact)
TIED = Property("tied head", "TIED-ERROR-1", _tied, _ask_tied)
GRADIENT = Property("linear gradients", "GRAD-LINEAR-1", _gradient, _ask_gradient)
PROPERTIES = (LINEAR, EXACT, TIED, GRADIENT)
