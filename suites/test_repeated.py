"""Repeated calls: does the same question have the same answer, whatever was asked before and whatever memory held?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from touchstone.adapters.interface import Packed
from touchstone.golden import rounding
from touchstone.golden.cases import extents
from touchstone.suites import codes, dirt, probes
from touchstone.suites.assay import Assay
from touchstone.suites.exact import rounded_once
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement
from touchstone.suites.test_linear import assay_exact
from touchstone.suites.test_quantized_layers import given_parts

TIMES = 6


def _weight(assay: Assay) -> Any:
    packed = assay.params["layer"].startswith("quantized")
    return given_parts(assay) if packed else assay.golden(assay.weight_role)


def _assay_alike(assay: Assay, answers: Sequence[np.ndarray]) -> None:
    """Every answer has the first one's bits, and the first is an answer."""
    first, *others = answers
    assert others
    assert first.size
    for other in others:
        assay.same_bits(other, first, "x")


@requirement("REPEAT-1", extents.REPEAT_CASES)
def test_calls(assay: Assay) -> None:
    bias = assay.bias
    layer = assay.params["layer"]
    outcome = assay.ask(
        dirt.repeated, times=TIMES, layer=layer, weight=_weight(assay), inputs=assay.golden("x"), bias=bias
    )
    _assay_alike(assay, assay.value(outcome))


@requirement("REPEAT-2", extents.REPEAT_GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    outcome = assay.ask(
        dirt.repeated_vjp,
        times=TIMES,
        layer=assay.params["layer"],
        weight=assay.golden("weight"),
        inputs=assay.golden("x"),
        cotangent=assay.golden("cotangent"),
    )
    answers = assay.value(outcome)
    for role in ("weight", "x"):
        _assay_alike(assay, [answer[role] for answer in answers])


@requirement("REPEAT-3", extents.DIRTY_CASES)
def test_memory_that_held_nan(assay: Assay) -> None:
    """Exact results, so that any read beyond an operand, and any element left as it was, shows."""
    layer, inputs = assay.params["layer"], assay.golden("ids" if "ids" in assay.case.arrays else "x")
    arguments = {"layer": layer, "inputs": inputs, "weight": _weight(assay)}
    if "bias" in assay.case.arrays:
        arguments["bias"] = assay.golden("bias")
    if "layout" in assay.params:
        arguments["inputs"] = lay_out(inputs, assay.params["layout"])
    want = _want(assay, arguments["weight"], inputs)
    sizes = dirt.sizes_of(arguments["weight"], inputs, want)
    question = probes.as_linear if layer == "quantized_embedding" else probes.call
    got = assay.value(assay.ask(dirt.after_dirt, sizes=sizes, question=question, arguments=arguments))
    if layer == "linear":
        assay_exact(assay, got)
    else:
        assay.same_bits(got, want, signed_zero=False)


def _want(assay: Assay, weight: Any, inputs: np.ndarray) -> np.ndarray:
    if "rows" in assay.case.arrays:
        return assay.golden("rows")
    if isinstance(weight, Packed):
        return rounding.to_dtype(inputs.astype(np.float64) @ codes.dequantized(weight).T, assay.params["dtype"])
    return rounded_once(assay.golden("product"), None, assay.params["dtype"])
