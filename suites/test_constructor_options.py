"""Options of constructors: does each do to lookups, products, gradients and parameters what its page says?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.adapters.interface import Layer, Method
from touchstone.golden import bounds, oracle
from touchstone.golden.cases import options
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS
from touchstone.suites import exact, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


def _embedding(assay: Assay, weight: np.ndarray, **options: Any) -> Layer:
    """The layer with these options, or the function that takes them itself."""
    spelling = assay.params.get("spelling")
    return assay.adapter.layer("raw_lookup" if spelling else "embedding", weight, spelling=spelling, **options)


def _table_gradient(assay: Assay, want: np.ndarray, **given: object) -> None:
    """The lookup's rows bit for bit, and the gradient of the table.

    A factor is rounded, each product with it, and the sum.
    """
    weight, ids, dtype = assay.golden("weight"), assay.golden("ids"), assay.params["dtype"]
    layer = _embedding(assay, weight, **given)
    assay.same_bits(layer(ids), weight[ids])
    found = layer.vjp(ids, assay.golden("cotangent"))
    magnitude = oracle.table_gradient_magnitude(weight, ids, assay.golden("cotangent"))
    plain = exact.gradients(assay)["weight"]
    scale = np.divide(np.abs(want), np.abs(plain), out=np.zeros(want.shape), where=plain != 0)
    bound = 2.0 ** -SIGNIFICAND_BITS[dtype] * (2 * magnitude * scale + np.abs(want)) * 1.001
    assay.within(probes.by_role(layer, found).get("weight"), want, bound, dtype)


@requirement("OPTION-PADDING-1", options.PADDING_CASES)
def test_padding(assay: Assay) -> None:
    row, want = assay.params["padding_idx"], exact.gradients(assay)["weight"]
    want[row] = 0
    _table_gradient(assay, want, padding_idx=row)


@requirement("OPTION-PADDING-2", options.MADE_PADDING_CASES)
def test_a_new_row_of_padding(assay: Assay) -> None:
    """It is zero in a new layer, and no other row is."""
    row, rows = assay.params["padding_idx"], assay.params["rows"]
    layer = assay.adapter.construct("embedding", (rows, options.DIMS), 7, padding_idx=row)
    zeros = ~probes.weight_of(layer).any(1)
    right = zeros.tolist() == [place == row % rows for place in range(rows)]
    assay.behaves("zero alone" if right else "other rows", conforms=right, message=f"rows of zeros: {zeros.tolist()}")


@requirement("OPTION-PRETRAINED-1", options.PRETRAINED_CASES)
def test_a_table_that_was_trained(assay: Assay) -> None:
    """Its rows are the table's, that of padding too, and it is frozen unless asked otherwise."""
    weight, ids, freeze = assay.golden("weight"), assay.golden("ids"), assay.params["freeze"]
    given = {} if freeze == "by default" else {"freeze": freeze == "yes"}
    layer = assay.adapter.layer("embedding", weight, from_pretrained=True, padding_idx=3, **given)
    assay.same_bits(layer(ids), weight[ids])
    frozen = freeze != "no"
    if bool(layer.trainable()) == frozen:
        assay.behaves("trains other parameters", conforms=False, message=f"trainable: {sorted(layer.trainable())}")
    if not frozen:
        want = exact.gradients(assay)
        want["weight"][3] = 0
        found = probes.by_role(layer, layer.vjp(ids, assay.golden("cotangent")))
        exact.assay_gradients(assay, found, want, assay.params["dtype"])


@requirement("OPTION-FREQUENCY-1", options.FREQUENCY_CASES)
def test_gradients_by_frequency(assay: Assay) -> None:
    counts = np.bincount(assay.golden("ids").reshape(-1), minlength=options.ROWS)
    _table_gradient(assay, exact.gradients(assay)["weight"] / np.maximum(counts, 1)[:, None], scale_grad_by_freq=True)


@requirement("OPTION-SPARSE-1", options.SPARSE_CASES)
def test_sparse_gradients(assay: Assay) -> None:
    _table_gradient(assay, exact.gradients(assay)["weight"], sparse=True)


@requirement("OPTION-NORM-1", options.NORM_CASES)
def test_largest_norms(assay: Assay) -> None:
    """Rows that are looked up and longer than the norm are scaled down to it, in the table as well; others stay."""
    weight, ids, dtype = assay.golden("weight"), assay.golden("ids"), assay.params["dtype"]
    order = assay.params["norm_type"]
    wide = weight.astype(np.float64)
    norms = np.linalg.norm(wide, order, axis=1)
    asked = np.isin(np.arange(len(weight)), ids)
    shorter, longer = np.sort(norms[asked])[asked.sum() // 2 - 1 :][:2]
    largest = float((shorter + longer) / 2)
    layer = _embedding(assay, weight, max_norm=largest, norm_type=order)
    rows, long = layer(ids), asked & (norms > largest)
    want = np.where(long[:, None], wide * (largest / norms)[:, None], wide)
    # The norm, the quotient and the product are rounded, and 1e-7 is added to the norm (torch.renorm).
    unit = 2.0 ** -SIGNIFICAND_BITS[dtype]
    bound = np.where(long[:, None], np.abs(want) * (1e-7 + (options.DIMS + 4) * unit), 0)
    held = probes.weight_of(layer)
    assay.within(held, want, bound, dtype, "weight")
    assay.same_bits(rows, held[ids])


@requirement("OPTION-DTYPE-1", options.COMPUTE_CASES)
def test_the_dtype_of_computing(assay: Assay) -> None:
    """Parameters stay in the dtype that they are stored in; operands are rounded to the other, and so is the result."""
    name, computed, weight = assay.params["layer"], assay.params["computed"], assay.golden("weight")
    target = DTYPES[computed]
    rounded = weight.astype(np.float32).astype(target)
    if name == "embedding":
        layer = assay.adapter.layer("embedding", weight, dtype=computed)
        assay.same_bits(layer(assay.golden("ids")), rounded[assay.golden("ids")])
    else:
        x, bias = assay.golden("x"), assay.golden("bias")
        layer = assay.adapter.layer("linear", weight, bias=bias, dtype=computed)
        operands = [a.astype(np.float32).astype(target).astype(np.float64) for a in (x, weight, bias)]
        product, magnitude = operands[0] @ operands[1].T, np.abs(operands[0]) @ np.abs(operands[1]).T
        bound = bounds.linear_with_bias(product, magnitude, operands[2], x.shape[-1], computed)
        assay.within(layer(x), product + operands[2], bound, computed)
    for role, value in probes.by_role(layer, layer.parameters()).items():
        assay.same_bits(value, assay.golden(role), role)


@requirement("OPTION-SHAPE-1", options.SHAPED_CASES)
def test_options_on_every_shape(assay: Assay) -> None:
    """Rows bit for bit, and integer gradients with the row of padding at zero."""
    weight, ids, cotangent = (assay.golden(role) for role in ("weight", "ids", "cotangent"))
    given = {name: assay.params[name] for name in ("padding_idx", "sparse") if name in assay.params}
    layer = _embedding(assay, weight, **given)
    assay.same_bits(layer(ids), weight[ids])
    want = exact.gradients(assay)
    if "padding_idx" in given:
        want["weight"][given["padding_idx"]] = 0
    found = probes.by_role(layer, layer.vjp(ids, cotangent))
    exact.assay_gradients(assay, found, want, assay.params["dtype"])


@requirement("OPTION-DTYPE-2", options.COMPUTED_EXACT_CASES)
def test_every_method_in_the_dtype_of_computing(assay: Assay) -> None:
    """Answers are in that dtype; each gradient is in the dtype of what it belongs to."""
    name, computed, looks_up = assay.params["layer"], assay.params["computed"], exact.looks_up(assay)
    option = {assay.params.get("by", "dtype"): computed}
    layer = assay.adapter.layer(name, assay.golden("weight"), bias=assay.bias, **option)
    given = assay.golden("ids" if looks_up else "x")
    method: Method = "call" if looks_up or name == "linear" else "as_linear"
    assay.same_bits(probes.method_of(layer, method)(given), exact.answer(assay, computed), signed_zero=looks_up)
    found = probes.by_role(layer, layer.vjp(given, assay.golden("cotangent").astype(DTYPES[computed]), method))
    exact.assay_gradients(assay, found, exact.gradients(assay), assay.params["dtype"])


@requirement("OPTION-WIDE-1", options.WIDE_CASES)
def test_products_in_a_wider_dtype(assay: Assay) -> None:
    x, weight, spelling = assay.golden("x"), assay.golden("weight"), assay.params.get("spelling")
    parts = {"spelling": spelling, "bias": np.zeros(len(weight), weight.dtype)} if spelling else {}
    layer = assay.adapter.layer("linear", weight, **parts, preferred_element_type="float32")
    want = x.astype(np.float64) @ weight.astype(np.float64).T
    assay.same_bits(layer(x), want.astype(np.float32), signed_zero=False)


@requirement("OPTION-PRECISION-1", options.PRECISION_CASES)
def test_precision(assay: Assay) -> None:
    x, weight = assay.golden("x"), assay.golden("weight")
    got = assay.adapter.layer("linear", weight, precision=assay.params["precision"])(x).astype(np.float64)
    want = x.astype(np.float64) @ weight.astype(np.float64).T
    if np.array_equal(got, want):
        assay.behaves("float32 products")
        return
    slack = np.abs(x.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    for name, bits in (("TF32-class products", 10), ("bfloat16-class products", 7)):
        if (np.abs(got - want) <= slack * 2.0**-bits).all():
            assay.behaves(name)
            return
    assay.behaves("other values")


@requirement("OPTION-INIT-1", options.STORED_CASES)
def test_stored_dtype_and_initializer(assay: Assay) -> None:
    init, dtype = assay.params["init"], assay.params["param_dtype"]
    layer = assay.adapter.construct(assay.params["layer"], (7, 5), 7, param_dtype=dtype, init=init)
    value = {"ones": 1, "zeros": 0}[init]
    for role, held in probes.by_role(layer, layer.parameters()).items():
        right = held.dtype.name == dtype and bool((held == value).all())
        if not right:
            assay.behaves("other parameters", conforms=False, message=f"{role}: {held.dtype}, {held.reshape(-1)[:4]}")
    assay.behaves("as asked")
