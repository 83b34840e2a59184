"""Extents: are results right where 16- and 32-bit indices overflow, and at sizes that kernels' tiles do not fill?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from touchstone.adapters.interface import Operand, Packed
from touchstone.golden.cases import extents
from touchstone.golden.streams import DTYPES
from touchstone.suites import codes, probes
from touchstone.suites import extents as large
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement
from touchstone.suites.test_linear import assay_exact
from touchstone.suites.test_quantized_layers import assay_given_gradient, assay_given_product
from touchstone.verdict.observation import Deviates, NotAsked, Observation


def _product(assay: Assay) -> np.ndarray:
    """x Wᵀ + b of small integers: float32 holds every partial sum, so that the order of additions does not matter."""
    x, weight = (assay.golden(role).astype(np.float32) for role in ("x", "weight"))
    product = x @ weight.T
    if "bias" in assay.case.arrays:
        product += assay.golden("bias").astype(np.float32)
    return product.astype(DTYPES[assay.params["dtype"]])


@requirement("EXTENT-LINEAR-1", extents.LINEAR_CASES)
def test_linear(assay: Assay) -> None:
    bias = assay.golden("bias") if assay.params["bias"] else None
    inputs: Any = assay.golden("x")
    want = _product(assay)
    if layout := assay.params.get("layout"):
        inputs = lay_out(inputs, layout)
        want = np.broadcast_to(want, (*inputs.shape[:-1], want.shape[-1]))
    outcome = assay.ask(probes.call, layer="linear", weight=assay.golden("weight"), inputs=inputs, bias=bias)
    assay.same_bits(assay.value(outcome), want, signed_zero=False)


@requirement("LIN-EXACT-1", extents.LONG_CASES)
def test_long_sums(assay: Assay) -> None:
    bias = assay.bias
    outcome = assay.ask(probes.call, layer="linear", weight=assay.golden("weight"), inputs=assay.golden("x"), bias=bias)
    assay_exact(assay, assay.value(outcome))


@requirement("QNT-LINEAR-1", extents.QUANTIZED_CASES)
def test_quantized_products(assay: Assay) -> None:
    assay_given_product(assay)


@requirement("GRAD-QUANT-2", extents.QUANTIZED_GRADIENT_CASES)
def test_quantized_input_gradients(assay: Assay) -> None:
    assay_given_gradient(assay)


@requirement("GRAD-LAYOUT-1", extents.COTANGENT_CASES)
def test_expanded_cotangent(assay: Assay) -> None:
    """The gradients of a sum: the weight's rows are the sum of x, the input's the sum of the weight's rows."""
    x, weight, dtype = assay.golden("x"), assay.golden("weight"), DTYPES[assay.params["dtype"]]
    cotangent = Operand(np.ones((1, 1), dtype), (("broadcast", (len(x), len(weight))),))
    outcome = assay.ask(probes.vjp, layer="linear", weight=weight, inputs=x, cotangent=cotangent)
    gradients = assay.value(outcome)
    along = weight.astype(np.float32).sum(0).astype(dtype)
    assay.same_bits(gradients.get("x"), np.broadcast_to(along, x.shape), signed_zero=False)


def _ask_within_memory(assay: Assay, question: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """The answer; NotAsked where there was too little memory, which the system may find later than the guard does."""
    outcome = assay.ask(large.within_memory, question=question, needed=assay.case.memory, arguments=arguments)
    if outcome.kind == "crashed" and outcome.message.startswith("SIGKILL"):
        raise NotAsked("the system killed the process that held the arrays: too little memory")
    answer = assay.value(outcome)
    if "short" in answer:
        raise NotAsked(answer["short"])
    return answer


@requirement("EXTENT-TABLE-1", extents.TABLE_CASES)
def test_large_tables(assay: Assay) -> None:
    strip = assay.golden("table")
    table = large.rows_of(strip, extents.DIMS)
    ids = np.array(extents.edge_ids(table.size, len(table)), np.int32)
    answer = _ask_within_memory(assay, large.table_rows, layer=assay.params["layer"], strip=strip, ids=ids)
    assay.same_bits(answer["rows"], table[ids], "table")


@requirement("EXTENT-HEAD-1", extents.HEAD_CASES)
def test_large_heads(assay: Assay) -> None:
    """Integers: the exact products are taken in float32, a block of rows at a time, and rounded once."""
    strip, x, layer = assay.golden("table"), assay.golden("x"), assay.params["layer"]
    answer = _ask_within_memory(assay, large.large_head, layer=layer, strip=strip, x=x)
    got = answer["product"]
    table, wide = large.rows_of(strip.astype(np.float32), extents.DIMS), x.astype(np.float32)
    blocks = (wide @ np.ascontiguousarray(table[start : start + 2**15]).T for start in range(0, len(table), 2**15))
    assay.same_bits(got, np.concatenate(list(blocks), axis=-1).astype(x.dtype), signed_zero=False)


@requirement("EXTENT-TABLE-2", extents.QUANTIZED_TABLE_CASES)
def test_large_quantized_tables(assay: Assay) -> None:
    parts = {name: assay.golden(name) for name in ("weight", "scales", "biases")}
    packed = large.packed_of(parts, assay.scheme)
    count = len(packed.weight)
    ids = np.array(extents.edge_ids(count * extents.DIMS, count), np.int32)
    answer = _ask_within_memory(assay, large.packed_rows, parts=parts, scheme=assay.scheme, ids=ids)
    chosen = Packed(packed.weight[ids], packed.scales[ids], packed.biases[ids], packed.scheme)
    codes.assay_lookup(assay, answer["rows"], chosen, np.arange(len(ids)))


@requirement("EXTENT-RESULT-1", extents.RESULT_CASES)
def test_large_results(assay: Assay) -> None:
    if assay.params["layer"] == "embedding":
        count = assay.params["ids"]
        answer = _ask_within_memory(assay, large.many_rows, table=assay.golden("table"), count=count)
    else:
        x, weight = assay.golden("x"), assay.golden("weight")
        answer = _ask_within_memory(assay, large.outer_product, x=x, weight=weight)
    if "form" in answer:
        raise Deviates(Observation("wrong form", False, message=f"got {answer['form']}"))
    if answer["wrong"]:
        message = f"{answer['wrong']:,} elements differ, first {answer['first']}"
        raise Deviates(Observation("wrong values", False, message=message))
    assay.behaves("exact")
