"""Real input: the same requirements on the user's own table or weight (``--table``, ``--linear``)."""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Packed
from touchstone.golden import bounds
from touchstone.suites import codes, probes, real, similarity
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("EMB-SHAPE-1", real.TABLE)
def test_lookup(assay: Assay) -> None:
    table = assay.golden("weight")
    ids = real.sample_ids(len(table)).reshape(2, -1)
    outcome = assay.ask(probes.call, layer="embedding", weight=table, inputs=ids)
    assay.same_bits(assay.value(outcome), table[ids], "weight")


@requirement("EMB-CHECKED-1", real.TABLE)
def test_checked_lookup(assay: Assay) -> None:
    table = assay.golden("weight")
    refused = assay.value(assay.ask(probes.checked, weight=table, ids=np.array([0, len(table)])))
    wanted = f"id {len(table)} at position (1,) is outside a table of {len(table)} rows"
    right = refused.get("error") == wanted and refused["calls"] == 0
    assay.behaves("raises IndexError" if right else "not refused", conforms=right, message=str(refused))


def _assay_product(assay: Assay, outcome_of: object, layer: str) -> None:
    weight = assay.golden("weight")
    bias = assay.bias
    x = real.sample_inputs(weight.shape[1], weight.dtype.name)
    outcome = assay.ask(outcome_of, layer=layer, weight=weight, inputs=x, bias=bias)  # type: ignore[arg-type]
    # float64 products here differ from exact ones by about K * 2**-53, far inside a float32 bound.
    wide, table = x.astype(np.float64), weight.astype(np.float64)
    product, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
    terms, dtype = weight.shape[1], weight.dtype.name
    if bias is None:
        assay.within(assay.value(outcome), product, bounds.linear(product, magnitude, terms, dtype), dtype)
        return
    bound = bounds.linear_with_bias(product, magnitude, bias.astype(np.float64), terms, dtype)
    assay.within(assay.value(outcome), product + bias.astype(np.float64), bound, dtype)


@requirement("TIED-ERROR-1", real.TABLE)
def test_tied_output(assay: Assay) -> None:
    _assay_product(assay, probes.as_linear, "embedding")


@requirement("LIN-ERROR-1", real.LINEAR)
def test_linear(assay: Assay) -> None:
    _assay_product(assay, probes.call, "linear")


def _quantized(assay: Assay, layer: str) -> Packed:
    key = (assay.target.id, layer, assay.where("weight"), assay.scheme)
    if key not in assay.bench.kept:
        outcome = assay.ask(probes.quantize, layer=layer, weight=assay.golden("weight"), scheme=assay.scheme)
        assay.bench.kept[key] = assay.value(outcome)
    return assay.bench.kept[key]


@requirement("QNT-BOUND-1", real.QUANTIZED_TABLE)
def test_quantized_table(assay: Assay) -> None:
    codes.assay_weights(assay, assay.golden("weight"), _quantized(assay, "quantized_embedding"))


@requirement("QNT-BOUND-1", real.QUANTIZED_LINEAR)
def test_quantized_linear_weight(assay: Assay) -> None:
    codes.assay_weights(assay, assay.golden("weight"), _quantized(assay, "quantized_linear"))


@requirement("QNT-MEAN-1", real.QUANTIZED_TABLE)
def test_mean_signed_error(assay: Assay) -> None:
    codes.assay_mean_error(assay, assay.golden("weight"), _quantized(assay, "quantized_embedding"))


@requirement("QNT-LOOKUP-1", real.QUANTIZED_TABLE)
def test_quantized_lookup(assay: Assay) -> None:
    packed = _quantized(assay, "quantized_embedding")
    ids = real.sample_ids(len(assay.golden("weight")))
    outcome = assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids)
    rows = _rows_of(packed, ids)
    codes.assay_lookup(assay, assay.value(outcome), rows, np.arange(len(ids)))


def _rows_of(packed: Packed, ids: np.ndarray) -> Packed:
    biases = None if packed.biases is None else packed.biases[ids]
    return Packed(packed.weight[ids], packed.scales[ids], biases, packed.scheme)


@requirement("QNT-SIMILAR-1", real.QUANTIZED_TABLE)
def test_quantized_rows_point_the_same_way(assay: Assay) -> None:
    packed, weight = _quantized(assay, "quantized_embedding"), assay.golden("weight")
    ids = real.sample_ids(len(weight))
    rows = assay.value(assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids))
    similarity.assay_direction(assay, rows, weight[ids], _rows_of(packed, ids))


@requirement("QNT-TOP-1", real.QUANTIZED_TABLE)
def test_largest_tied_logits(assay: Assay) -> None:
    packed, weight = _quantized(assay, "quantized_embedding"), assay.golden("weight")
    x = weight[real.sample_ids(len(weight))[: similarity.QUERIES]]
    outcome = assay.ask(probes.as_linear, layer="quantized_embedding", weight=packed, inputs=x)
    similarity.assay_largest(assay, assay.value(outcome), x, weight, packed)


@requirement("QNT-LINEAR-1", real.QUANTIZED_TABLE)
def test_quantized_tied_output(assay: Assay) -> None:
    packed, weight = _quantized(assay, "quantized_embedding"), assay.golden("weight")
    x = real.sample_inputs(weight.shape[1], weight.dtype.name)
    outcome = assay.ask(probes.as_linear, layer="quantized_embedding", weight=packed, inputs=x)
    codes.assay_product(assay, assay.value(outcome), x, packed, None)


@requirement("QNT-LINEAR-1", real.QUANTIZED_LINEAR)
def test_quantized_linear(assay: Assay) -> None:
    packed, weight = _quantized(assay, "quantized_linear"), assay.golden("weight")
    bias = assay.bias
    x = real.sample_inputs(weight.shape[1], weight.dtype.name)
    outcome = assay.ask(probes.call, layer="quantized_linear", weight=packed, inputs=x, bias=bias)
    codes.assay_product(assay, assay.value(outcome), x, packed, bias)
