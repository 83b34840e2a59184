"""Quantization elsewhere: do torchao, Keras, qwix and GGUF keep their own bounds, and what does conversion lose?"""

from __future__ import annotations

import numpy as np

from adapters import conversion
from adapters.interface import Packed, Scheme
from golden import bounds
from golden.cases import elsewhere as cases
from golden.cases import quantized
from golden.packing import format_of
from suites import elsewhere, probes
from suites.assay import Assay
from suites.observation import Deviates, Observation
from suites.requirements import requirement


def _rows(assay: Assay, weight: np.ndarray | Packed, layer: str) -> np.ndarray:
    columns = assay.golden("table").shape[1]
    outcome = assay.ask(probes.rows, layer=layer, weight=weight, scheme=assay.scheme, columns=columns)
    return assay.value(outcome)


def _refuse_zeros(values: np.ndarray) -> None:
    if not values.any():
        raise Deviates(Observation("all zeros", False, message="every weight is zero"))


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
    _refuse_zeros(rows)
    outcome = assay.ask(probes.call, layer="quantized_linear", weight=table, inputs=x, bias=bias, scheme=assay.scheme)
    elsewhere.assay_product(assay, assay.value(outcome), rows, x, bias)


def _recorded(assay: Assay) -> Packed:
    """What MLX made of the ordinary table, in its affine format of this case's size."""
    scheme, store = assay.scheme, assay.bench.recorded[-1]
    form = format_of("affine", scheme.bits, scheme.group_size)
    words, scales, biases = (store[quantized.recorded(form, assay.params["dtype"], part)] for part in quantized.PARTS)
    return Packed(words, scales, biases, Scheme(scheme.bits, scheme.group_size))


@requirement("ELSE-CONVERT-1", cases.INTO_CASES)
def test_conversion_into(assay: Assay) -> None:
    source, scheme, table = _recorded(assay), assay.scheme, assay.golden("table")
    slack = bounds.unit_roundoff(table.dtype.name) + 2.0**-23 if scheme.bits > 1 else np.inf
    if assay.params["through"] != "none":
        source = conversion.convert(
            source, Scheme(scheme.bits, scheme.group_size, assay.params["through"]), table.dtype
        )
        slack += 2 * bounds.unit_roundoff("float16")
    parts = conversion.convert(source, scheme, table.dtype)
    got, want = _rows(assay, parts, "quantized_embedding").astype(np.float64), conversion.values(source)
    _refuse_zeros(got)
    bound = elsewhere.conversion_bound(source, scheme, table.dtype.name, slack)
    bound = bound + elsewhere.reading_bound(parts, table.dtype.name)
    assay.within(got, want, bound, "float64", "table")
    elsewhere.describe(assay, conversion.values(parts), want, conversion.read(source))


@requirement("ELSE-CONVERT-2", cases.OUT_OF_CASES)
def test_conversion_out_of(assay: Assay) -> None:
    table, p = assay.golden("table"), assay.params
    source = assay.value(assay.ask(probes.parts, layer="quantized_embedding", weight=table, scheme=assay.scheme))
    scheme = Scheme(p["bits"], p["group_size"], p["to"])
    got = conversion.values(conversion.convert(source, scheme, table.dtype))
    want = _rows(assay, source, "quantized_embedding").astype(np.float64)
    if table.any():
        _refuse_zeros(want)
    bound = elsewhere.conversion_bound(source, scheme, table.dtype.name, np.inf)
    bound = bound + elsewhere.reading_bound(source, table.dtype.name)
    assay.within(got, want, bound, "float64", "table")
    elsewhere.describe(assay, got, conversion.values(source), conversion.read(source))


@requirement("ELSE-CONVERT-3", cases.BACK_CASES)
def test_conversion_there_and_back(assay: Assay) -> None:
    table, scheme = assay.golden("table"), assay.scheme
    outcome = assay.ask(probes.parts, layer="quantized_embedding", weight=table, scheme=scheme)
    source = assay.value(outcome)
    there = conversion.convert(source, Scheme(scheme.bits, scheme.group_size, assay.params["through"]), table.dtype)
    back = conversion.convert(there, scheme, table.dtype)
    for part in ("weight", "scales", "biases"):
        if getattr(source, part) is not None:
            assay.same_bits(getattr(back, part), getattr(source, part))
