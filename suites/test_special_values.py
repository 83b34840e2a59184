"""Special values: do NaN, infinity, overflow and subnormals come out right, and do casts and steps round?"""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Method
from touchstone.golden import oracle
from touchstone.golden.cases import specials
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import rounded_once
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement

RATE = 0.1


def _to_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return values.astype(np.float32).astype(DTYPES[dtype])


@requirement("SPECIAL-PRODUCT-1", specials.PRODUCT_CASES)
def test_products(assay: Assay) -> None:
    _product(assay)


@requirement("SPECIAL-SUBNORMAL-1", specials.SUBNORMAL_CASES)
def test_subnormal_numbers(assay: Assay) -> None:
    _product(assay)


def _product(assay: Assay) -> None:
    """Elsewhere operands are small integers, so that every other element is exact."""
    layer, dtype = assay.params["layer"], assay.params["dtype"]
    x, weight = specials.with_special(assay.case, assay.golden("x"), assay.golden("weight"))
    spelling = assay.params.get("spelling")
    bias = np.zeros(len(weight), weight.dtype) if spelling else None
    made = assay.adapter.layer(layer, weight, bias=bias, spelling=spelling)
    method: Method = "call" if layer == "linear" else "as_linear"
    got = (made.compiled("default", method) if assay.params["compiled"] else probes.method_of(made, method))(x)
    with np.errstate(invalid="ignore", over="ignore"):
        terms = x.astype(np.float64)[:, None, :] * weight.astype(np.float64)[None]
        want = _to_dtype(terms.sum(-1), dtype)
    _same_numbers(assay, got, want)


def _same_numbers(assay: Assay, got: np.ndarray, want: np.ndarray) -> None:
    """The same bits, but for those of a NaN; where subnormal numbers are due, zeros are told apart."""
    with np.errstate(invalid="ignore"):
        wide, right = got.astype(np.float64), want.astype(np.float64)
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        assay.behaves("another shape or dtype", conforms=False, message=f"{got.dtype} {got.shape}")
    wrong = ~((wide == right) | (np.isnan(wide) & np.isnan(right)))
    if not wrong.any():
        assay.behaves("as arithmetic says")
        return
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    message = f"{int(wrong.sum())} of {wrong.size} elements, first {place}: got {wide[place]:g}, want {right[place]:g}"
    zeros = bool((wide[wrong] == 0).all() and assay.params.get("special") == "subnormal")
    assay.behaves("subnormal numbers become zero" if zeros else "other values", conforms=zeros, message=message)


@requirement("SPECIAL-ROW-1", specials.ROW_CASES)
def test_rows_beside_special_ones(assay: Assay) -> None:
    layer, dtype, rows = assay.params["layer"], assay.params["dtype"], assay.params["rows"]
    x, weight = assay.golden("x"), assay.golden("weight")
    want = rounded_once(oracle.linear(x, weight), None, dtype)
    given, plain = x.copy(), np.ones(len(x), bool)
    if rows in specials.ROW_VALUES:
        plain[1::3] = False
        given[~plain] = float(rows)
    made = assay.adapter.layer(layer, weight)
    method: Method = "call" if layer == "linear" else "as_linear"
    got = probes.method_of(made, method)(lay_out(given, "strided" if rows == "around" else "dense"))
    assay.same_bits(np.array(got[plain]), want[plain], signed_zero=False)


@requirement("CAST-MODULE-1", specials.CAST_CASES)
def test_casts(assay: Assay) -> None:
    weight = assay.golden("weight")
    layer = assay.adapter.layer(assay.params["layer"], weight)
    layer.cast(assay.params["to"])
    _same_numbers(assay, probes.weight_of(layer), _to_dtype(weight, assay.params["to"]))


@requirement("STATE-STEP-1", specials.STEP_CASES)
def test_a_step_that_rounds(assay: Assay) -> None:
    """Rate and product are rounded to the dtype at most once each, and the difference once."""
    name, dtype, weight = assay.params["layer"], assay.params["dtype"], assay.golden("weight")
    layer = assay.adapter.layer(name, weight)
    inputs = assay.golden("ids" if name == "embedding" else "x")
    gradient = probes.by_role(layer, layer.vjp(inputs, assay.golden("cotangent")))["weight"].astype(np.float64)
    layer.sgd_step(RATE)
    want = weight.astype(np.float64) - RATE * gradient
    unit = 2.0 ** -SIGNIFICAND_BITS[dtype]
    bound = unit * (3 * np.abs(RATE * gradient) + np.abs(want)) * (1 + 4 * unit)
    assay.within(probes.weight_of(layer), want, bound, dtype, "weight")
