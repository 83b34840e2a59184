"""Quantized layers over given parts: are lookups, products and input gradients right?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.adapters.interface import Packed, Scheme
from touchstone.golden import bounds, rounding
from touchstone.golden.cases import quantized
from touchstone.golden.store import GoldenError
from touchstone.golden.streams import SIGNIFICAND_BITS
from touchstone.suites import codes, probes, similarity
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement


def given_parts(assay: Assay) -> Packed:
    """Packed parts from the case's own arrays."""
    biases = assay.golden("biases") if "biases" in assay.case.arrays else None
    return Packed(assay.golden("weight"), assay.golden("scales"), biases, assay.scheme)


def _method(assay: Assay) -> Any:
    return "call" if assay.params["layer"] == "quantized_linear" else "as_linear"


def _probe(assay: Assay) -> Any:
    return probes.call if assay.params["layer"] == "quantized_linear" else probes.as_linear


def assay_rows(assay: Assay, packed: Packed) -> None:
    """The rows of the case's ids within the bound."""
    ids = assay.golden("ids")
    outcome = assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids)
    codes.assay_lookup(assay, assay.value(outcome), packed, ids)


@requirement("QNT-LOOKUP-1", quantized.LOOKUP_CASES)
def test_lookup(assay: Assay) -> None:
    assay_rows(assay, codes.recorded(assay))


@requirement("QNT-DEQUANT-1", quantized.DEQUANTIZE_CASES)
def test_dequantization_rounds_as_stated(assay: Assay) -> None:
    packed, ids = given_parts(assay), assay.golden("ids")
    outcome = assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids)
    got, dtype = assay.value(outcome), codes.row_dtype(packed)
    codes.assay_lookup(assay, got, packed, ids)
    ways = {"exact": codes.dequantized(packed).astype(got.dtype)}
    if packed.biases is not None:
        biases = np.repeat(packed.biases.astype(np.float64), packed.scheme.group_size, axis=-1)
        no_bias = replace(packed, biases=np.zeros_like(packed.biases))
        scaled = codes.dequantized(no_bias)
        once = rounding.to_dtype(rounding.add_to_odd(scaled, biases), dtype)
        product = rounding.to_dtype(scaled, dtype).astype(np.float64)
        twice = rounding.to_dtype(rounding.add_to_odd(product, biases), dtype)
        same = once.tobytes() == twice.tobytes()
        ways = {"exact": once} if same else {"one rounding": once, "two roundings": twice}
    shares = {name: float((got == want).mean()) for name, want in ways.items()}
    found = [name for name, share in shares.items() if share == 1]
    message = ", ".join(f"{share:.2%} of elements as by {name}" for name, share in shares.items())
    assay.behaves(found[0] if found else "another rounding", message=message)


def assay_given_product(assay: Assay, x_layout: str = "dense", parts_layout: str = "dense") -> None:
    """x times the case's parts within the bound."""
    packed, x = given_parts(assay), assay.golden("x")
    bias = assay.bias
    parts = {p: lay_out(getattr(packed, p), parts_layout) for p in quantized.parts_of(codes.form_of(packed))}
    weight = Packed(parts["weight"], parts["scales"], parts.get("biases"), packed.scheme)
    layer, inputs = assay.params["layer"], lay_out(x, x_layout)
    outcome = assay.ask(_probe(assay), layer=layer, weight=weight, inputs=inputs, bias=bias)
    codes.assay_product(assay, assay.value(outcome), x, packed, bias, random_signs=True, given=True)


_LAYOUTS = {
    "x strided": ("inner strided", "dense"),
    "parts strided": ("dense", "inner strided"),
    "swapped": ("transposed", "dense"),
}
"""Layout of a case -> that of x, and that of the parts; dense where it is neither."""


@requirement("QNT-LINEAR-1", quantized.PRODUCT_CASES)
def test_products(assay: Assay) -> None:
    assay_given_product(assay, *_LAYOUTS.get(assay.params["layout"], ()))


@requirement("QNT-LINEAR-1", quantized.SWAPPED_CASES)
def test_products_of_a_view_with_exchanged_axes(assay: Assay) -> None:
    assay_given_product(assay, *_LAYOUTS[assay.params["layout"]])


@requirement("QNT-LINEAR-1", quantized.VECTOR_CASES)
def test_products_of_a_vector(assay: Assay) -> None:
    assay_given_product(assay)


@requirement("QNT-LINEAR-1", quantized.TILED_CASES)
def test_products_of_several_tiles(assay: Assay) -> None:
    assay_given_product(assay)


@requirement("QNT-CAST-1", quantized.MIXED_CASES)
def test_mixed_dtypes(assay: Assay) -> None:
    packed, x = replace(given_parts(assay), scheme=Scheme(4, 64)), assay.golden("x")
    outcome = assay.ask(_probe(assay), layer=assay.params["layer"], weight=packed, inputs=x)
    if (
        outcome.kind == "value"
        and isinstance(outcome.value, np.ndarray)
        and outcome.value.dtype.name in SIGNIFICAND_BITS
    ):
        got = outcome.value
        codes.assay_product(assay, got, x, packed, None, got.dtype.name)
        assay.behaves(got.dtype.name)
        return
    assay.behaves(outcome.behaviour, message=outcome.message)


@requirement("QNT-EMPTY-1", quantized.EMPTY_CASES)
def test_no_rows(assay: Assay) -> None:
    packed, x = given_parts(assay), assay.golden("x")
    bias = assay.bias
    outcome = assay.ask(_probe(assay), layer=assay.params["layer"], weight=packed, inputs=x, bias=bias)
    assay.same_bits(assay.value(outcome), np.zeros((0, assay.params["n"]), x.dtype), "x")


@requirement("QNT-EMPTY-2", quantized.UNTRANSPOSED_EMPTY_CASES)
def test_no_rows_of_the_cotangent(assay: Assay) -> None:
    packed, x, cotangent = given_parts(assay), assay.golden("x"), assay.golden("cotangent")
    layer = assay.params["layer"]
    outcome = assay.ask(probes.vjp, layer=layer, weight=packed, inputs=x, cotangent=cotangent, method=_method(assay))
    assay.same_bits(assay.value(outcome).get("x"), np.zeros((0, assay.params["n"]), x.dtype), "x")


def assay_given_gradient(assay: Assay) -> None:
    """The gradient of x through the case's parts within the bound."""
    packed, x, cotangent = given_parts(assay), assay.golden("x"), assay.golden("cotangent")
    layer = assay.params["layer"]
    outcome = assay.ask(probes.vjp, layer=layer, weight=packed, inputs=x, cotangent=cotangent, method=_method(assay))
    codes.assay_input_gradient(assay, assay.value(outcome).get("x"), cotangent, packed, given=True)


@requirement("GRAD-QUANT-2", quantized.UNTRANSPOSED_CASES)
def test_input_gradients(assay: Assay) -> None:
    assay_given_gradient(assay)


@requirement("QNT-SIMILAR-1", quantized.ORDINARY_CASES)
def test_rows_point_the_same_way(assay: Assay) -> None:
    packed, table = codes.recorded(assay), assay.golden("table")
    ids = np.arange(len(table), dtype=np.int32)
    outcome = assay.ask(probes.call, layer="quantized_embedding", weight=packed, inputs=ids)
    similarity.assay_direction(assay, assay.value(outcome), table, packed)


@requirement("QNT-TOP-1", quantized.ORDINARY_CASES)
def test_largest_tied_logits(assay: Assay) -> None:
    packed, table = codes.recorded(assay), assay.golden("table")
    outcome = assay.ask(probes.as_linear, layer="quantized_embedding", weight=packed, inputs=table)
    similarity.assay_largest(assay, assay.value(outcome), table, table, packed)


def _exact(assay: Assay, product: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """An integer product rounded once; GoldenError where it is not exact in float32, overflows or vanishes."""
    dtype = assay.params["dtype"]
    if np.abs(product).max() >= bounds.LARGEST[dtype] or not product.any() or magnitude.max() >= 2**24:
        raise GoldenError(f"{assay.where('weight')}: these sums overflow {dtype}, vanish, or round on the way")
    return rounding.to_dtype(product, dtype)


@requirement("QNT-EXACT-1", quantized.EXACT_CASES)
def test_exact_products(assay: Assay) -> None:
    packed, x = given_parts(assay), assay.golden("x")
    outcome = assay.ask(_probe(assay), layer=assay.params["layer"], weight=packed, inputs=x)
    wide, table = x.astype(np.float64), codes.dequantized(packed)
    exact = _exact(assay, wide @ table.T, np.abs(wide) @ np.abs(table).T)
    assay.same_bits(assay.value(outcome), exact, signed_zero=False)


@requirement("QNT-EXACT-2", quantized.EXACT_GRADIENT_CASES)
def test_exact_input_gradients(assay: Assay) -> None:
    packed, x, cotangent = given_parts(assay), assay.golden("x"), assay.golden("cotangent")
    layer = assay.params["layer"]
    outcome = assay.ask(probes.vjp, layer=layer, weight=packed, inputs=x, cotangent=cotangent, method=_method(assay))
    wide, table = cotangent.astype(np.float64), codes.dequantized(packed)
    exact = _exact(assay, wide @ table, np.abs(wide) @ np.abs(table))
    assay.same_bits(assay.value(outcome).get("x"), exact, signed_zero=False)


@requirement("QNT-SAVE-1", quantized.SAVE_CASES)
def test_save_and_load(assay: Assay) -> None:
    table, layer = assay.golden("table"), assay.params["layer"]
    saved, other = (assay.adapter.layer(layer, weight, scheme=assay.scheme) for weight in (table, -2 * table[::-1]))
    product_of = other.as_linear if layer == "quantized_embedding" else other
    x = np.eye(2, table.shape[1], dtype=table.dtype)
    product_of(x)  # so that a product that keeps something of the former parts would show
    probes.hand_over(saved, other)
    got, want = probes.packed_of(other, assay.scheme), probes.packed_of(saved, assay.scheme)
    for part in quantized.parts_of(codes.form_of(want)):
        assay.same_bits(getattr(got, part), getattr(want, part))
    codes.assay_product(assay, product_of(x), x, want, None)


@requirement("QNT-DIMS-1", quantized.INDIVISIBLE_CASES)
def test_indivisible_dims(assay: Assay) -> None:
    outcome = assay.ask(probes.quantize, layer=assay.params["layer"], weight=assay.golden("table"), scheme=assay.scheme)
    sizes = {str(assay.params["dims"]), str(assay.params["group_size"])}
    clear = outcome.kind == "raised" and any(size in outcome.message for size in sizes)
    if outcome.kind == "raised" and not clear:
        assay.behaves("unclear error", conforms=False, message=outcome.message)
    assay.behaves(outcome.behaviour, conforms=clear, message=outcome.message)


@requirement("QNT-ONE-1", quantized.ONE_GROUP_CASES)
def test_a_single_group(assay: Assay) -> None:
    table, layer = assay.golden("table"), assay.params["layer"]
    outcome = assay.ask(probes.quantize, layer=layer, weight=table, scheme=assay.scheme)
    packed = assay.value(outcome)
    codes.assay_weights(assay, table, packed)
    x = np.ones((1, table.shape[1]), table.dtype)
    product = assay.value(assay.ask(_probe(assay), layer=layer, weight=packed, inputs=x))
    codes.assay_product(assay, product, x, packed, None)
