"""Options of constructors: does each do to lookups, products, gradients and parameters what its page says?"""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Method
from touchstone.golden import bounds
from touchstone.golden.cases import options
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


def _table_gradient(assay: Assay, want: np.ndarray, **given: object) -> None:
    """The lookup's rows bit for bit, and the gradient of the table.

    A factor is rounded, each product with it, and the sum.
    """
    weight, ids, dtype = assay.golden("weight"), assay.golden("ids"), assay.params["dtype"]
    layer = assay.adapter.embedding(weight, **given)
    assay.same_bits(layer(ids), weight[ids])
    found = layer.vjp(ids, assay.golden("cotangent"))
    magnitude = np.zeros(want.shape)
    np.add.at(magnitude, ids, np.abs(assay.golden("cotangent").astype(np.float64)))
    scale = np.divide(np.abs(want), np.abs(_summed(assay)), out=np.zeros(want.shape), where=_summed(assay) != 0)
    bound = 2.0 ** -SIGNIFICAND_BITS[dtype] * (2 * magnitude * scale + np.abs(want)) * 1.001
    assay.within(probes.by_role(layer, found).get("weight"), want, bound, dtype)


def _summed(assay: Assay) -> np.ndarray:
    """The gradient of the table without any option, of integers."""
    total = np.zeros(assay.golden("weight").shape)
    np.add.at(total, assay.golden("ids"), assay.golden("cotangent").astype(np.float64))
    return total


@requirement("OPTION-PADDING-1", options.PADDING_CASES)
def test_padding(assay: Assay) -> None:
    row, want = assay.params["padding_idx"], _summed(assay)
    want[row] = 0
    _table_gradient(assay, want, padding_idx=row)


@requirement("OPTION-FREQUENCY-1", options.FREQUENCY_CASES)
def test_gradients_by_frequency(assay: Assay) -> None:
    counts = np.bincount(assay.golden("ids").reshape(-1), minlength=options.ROWS)
    _table_gradient(assay, _summed(assay) / np.maximum(counts, 1)[:, None], scale_grad_by_freq=True)


@requirement("OPTION-SPARSE-1", options.SPARSE_CASES)
def test_sparse_gradients(assay: Assay) -> None:
    _table_gradient(assay, _summed(assay), sparse=True)


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
    layer = assay.adapter.embedding(weight, max_norm=largest, norm_type=order)
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
        layer = assay.adapter.embedding(weight, dtype=computed)
        assay.same_bits(layer(assay.golden("ids")), rounded[assay.golden("ids")])
    else:
        x, bias = assay.golden("x"), assay.golden("bias")
        layer = assay.adapter.linear(weight, bias, dtype=computed)
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
    layer = assay.adapter.embedding(weight, **given)
    assay.same_bits(layer(ids), weight[ids])
    want = np.zeros(weight.shape)
    np.add.at(want, ids, cotangent.astype(np.float64))
    if "padding_idx" in given:
        want[given["padding_idx"]] = 0
    found = probes.by_role(layer, layer.vjp(ids, cotangent))
    assay.same_bits(found.get("weight"), want.astype(weight.dtype), signed_zero=False)


@requirement("OPTION-DTYPE-2", options.COMPUTED_EXACT_CASES)
def test_every_method_in_the_dtype_of_computing(assay: Assay) -> None:
    """Answers are in that dtype; each gradient is in the dtype of what it belongs to."""
    name, weight, target = assay.params["layer"], assay.golden("weight"), DTYPES[assay.params["computed"]]
    cotangent, wide = assay.golden("cotangent").astype(target), weight.astype(np.float64)
    g = cotangent.astype(np.float64)
    made, parts = {"embedding": assay.adapter.embedding, "linear": assay.adapter.linear}[name], []
    if "bias" in assay.case.arrays:
        parts = [assay.golden("bias")]
    layer = made(weight, *parts, dtype=assay.params["computed"])
    if "ids" in assay.case.arrays:
        ids = assay.golden("ids")
        assay.same_bits(layer(ids), weight.astype(np.float32).astype(target)[ids])
        want = {"weight": np.zeros(weight.shape)}
        np.add.at(want["weight"], ids.astype(np.int64), g)
        found = layer.vjp(ids, cotangent)
    else:
        x = assay.golden("x")
        method: Method = "call" if name == "linear" else "as_linear"
        answer = layer(x) if method == "call" else layer.as_linear(x)
        product = x.astype(np.float64) @ wide.T + (parts[0].astype(np.float64) if parts else 0)
        assay.same_bits(answer, product.astype(np.float32).astype(target), signed_zero=False)
        flat = g.reshape(-1, len(weight))
        want = {
            "weight": flat.T @ x.astype(np.float64).reshape(-1, x.shape[-1]),
            "x": (flat @ wide).reshape(x.shape),
        } | ({"bias": flat.sum(0)} if parts else {})
        found = layer.vjp(x, cotangent, method)
    roles = probes.by_role(layer, found)
    for role, value in want.items():
        assay.same_bits(roles.get(role), value.astype(np.float32).astype(weight.dtype), signed_zero=False)


@requirement("OPTION-PRECISION-1", options.PRECISION_CASES)
def test_precision(assay: Assay) -> None:
    x, weight = assay.golden("x"), assay.golden("weight")
    got = assay.adapter.linear(weight, precision=assay.params["precision"])(x).astype(np.float64)
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
