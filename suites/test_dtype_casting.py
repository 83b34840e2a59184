"""Dtype casting: which dtype results from each pair, and what does casting a module change?"""

from __future__ import annotations

import numpy as np

from touchstone.golden.cases import linear
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("CAST-RESULT-1", linear.LINEAR_PAIR_CASES)
def test_pairs(assay: Assay) -> None:
    """Operands are integers below 8 and sums below 512, so only a float result of 8 bits may round."""
    layer = assay.params["layer"]
    probe = probes.call if layer == "linear" else probes.as_linear
    outcome = assay.ask(probe, layer=layer, weight=assay.golden("weight"), inputs=assay.golden("x"))
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    got, want = outcome.value, assay.golden("product")
    right = want.astype(np.float32).astype(DTYPES.get(got.dtype.name, np.float32))
    assay.behaves(got.dtype.name if np.array_equal(got, right) else f"wrong values in {got.dtype.name}")


@requirement("CAST-RESULT-1", linear.WIDE_PAIR_CASES)
def test_pairs_of_wide_operands(assay: Assay) -> None:
    """Each operand is in the result's dtype, rounded to it where that is narrower, and the product is rounded once."""
    layer, x, weight = assay.params["layer"], assay.golden("x"), assay.golden("weight")
    outcome = assay.ask(probes.call if layer == "linear" else probes.as_linear, layer=layer, weight=weight, inputs=x)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    dtype = outcome.value.dtype
    product = x.astype(dtype).astype(np.float64) @ weight.astype(dtype).astype(np.float64).T
    right = np.array_equal(outcome.value, product.astype(np.float32).astype(dtype))
    assay.behaves(dtype.name if right else f"wrong values in {dtype.name}")


@requirement("CAST-RESULT-2", linear.LOOKUP_PAIR_CASES)
def test_lookup_pairs(assay: Assay) -> None:
    weight, ids = assay.golden("weight"), assay.golden("ids")
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=weight, inputs=ids)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    right = np.array_equal(outcome.value, weight[ids.astype(int)].astype(outcome.value.dtype))
    assay.behaves(outcome.value.dtype.name if right else f"wrong values in {outcome.value.dtype.name}")


def _cast(assay: Assay) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The parameters by role after the module was cast, and its answer to an input of the new dtype."""
    name, bias = assay.params["layer"], assay.golden("bias") if assay.params["layer"] == "linear" else None
    layer = assay.adapter.layer(name, assay.golden("weight"), bias=bias)
    layer.cast(assay.params["to"])
    x = np.ones((2, 8), DTYPES[assay.params["to"]])
    answer = layer(np.array([4, 0], np.int32) if name == "embedding" else x)
    return probes.by_role(layer, layer.parameters()), answer


@requirement("CAST-MODULE-1", linear.CAST_CASES)
def test_cast_values(assay: Assay) -> None:
    parameters, _ = _cast(assay)
    for role, value in parameters.items():
        assay.same_bits(value, assay.golden(role).astype(np.float32).astype(DTYPES[assay.params["to"]]), role)


@requirement("CAST-MODULE-2", linear.CAST_CASES)
def test_cast_results(assay: Assay) -> None:
    _, result = _cast(assay)
    assay.behaves(result.dtype.name)
