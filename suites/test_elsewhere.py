"""Quantization elsewhere: do torchao, Keras, qwix and GGUF keep their own bounds, and what does conversion lose?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from touchstone.adapters.interface import Packed
from touchstone.golden import bounds
from touchstone.golden.cases import elsewhere as cases
from touchstone.golden.cases import quantized
from touchstone.suites import codes, elsewhere, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


def _rows(assay: Assay, weight: np.ndarray | Packed, layer: str) -> np.ndarray:
    columns = assay.golden("table").shape[1]
    outcome = assay.ask(probes.rows, layer=layer, weight=weight, scheme=assay.scheme, columns=columns)
    return assay.value(outcome)


def _parts(assay: Assay) -> Packed:
    """What the library makes of the table, whose rows it gives out as those parts."""
    layer, table = "quantized_embedding", assay.golden("table")
    parts = assay.value(assay.ask(probes.parts, layer=layer, weight=table, scheme=assay.scheme))
    elsewhere.assay_reading(assay, _rows(assay, parts, layer), parts)
    return parts


@requirement("ELSE-BOUND-1", cases.BOUND_CASES)
def test_bound(assay: Assay) -> None:
    table = assay.golden("table")
    elsewhere.assay_rows(assay, _rows(assay, table, assay.params["layer"]), table, assay.scheme)


@requirement("ELSE-MEAN-1", cases.ORDINARY_CASES)
def test_mean_signed_error(assay: Assay) -> None:
    table = assay.golden("table")
    elsewhere.assay_mean_error(assay, _rows(assay, table, assay.params["layer"]), table, assay.scheme)


@requirement("ELSE-LINEAR-1", cases.LINEAR_CASES)
def test_products(assay: Assay) -> None:
    table, x, bias = (assay.golden(role) for role in ("table", "x", "bias"))
    rows = _rows(assay, table, "quantized_linear")
    outcome = assay.ask(probes.call, layer="quantized_linear", weight=table, inputs=x, bias=bias, scheme=assay.scheme)
    elsewhere.assay_product(assay, assay.value(outcome), rows, x, bias)


@requirement("ELSE-CONVERT-1", cases.INTO_CASES)
def test_conversion_into(assay: Assay) -> None:
    source = codes.recorded(assay, replace(assay.scheme, mode="affine"))
    through, dtype = assay.params["through"], assay.params["dtype"]
    slack = bounds.unit_roundoff(dtype) + 2.0**-23 if assay.scheme.bits > 1 else np.inf
    if through != "none":
        source = elsewhere.converted(assay, source, through, slack)
        slack += 2 * bounds.unit_roundoff("float16")
    parts = elsewhere.converted(assay, source, assay.scheme.mode, slack)
    elsewhere.assay_reading(assay, _rows(assay, parts, "quantized_embedding"), parts)
    elsewhere.describe(assay, source, parts)


@requirement("ELSE-CONVERT-2", cases.OUT_OF_CASES)
def test_conversion_out_of(assay: Assay) -> None:
    source = _parts(assay)
    elsewhere.describe(assay, source, elsewhere.converted(assay, source, assay.params["to"]))


@requirement("ELSE-CONVERT-3", cases.BACK_CASES)
def test_conversion_there_and_back(assay: Assay) -> None:
    source = _parts(assay)
    there = elsewhere.converted(assay, source, assay.params["through"])
    back = elsewhere.converted(assay, there, assay.scheme.mode)
    for part in quantized.PARTS:
        if getattr(source, part) is not None:
            assay.same_bits(getattr(back, part), getattr(source, part))
