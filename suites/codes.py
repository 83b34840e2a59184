"""Comparisons for MLX's quantization modes that golden arrays and a user's own table share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from touchstone.adapters.interface import Packed, Scheme
from touchstone.golden import bounds, packing, quantized_bounds
from touchstone.golden.cases import quantized
from touchstone.golden.packing import Format
from touchstone.suites.assay import Assay
from touchstone.verdict.observation import Deviates, Observation

MEAN_ERROR = 0.05
"""Largest mean signed error, in steps, on ordinary weights."""


def form_of(packed: Packed) -> Format:
    """The golden format of packed parts, by their scheme. Raises KeyError for one that MLX does not define."""
    scheme = packed.scheme
    return packing.format_of(scheme.mode, scheme.bits, scheme.group_size)


def misshapen(packed: Packed) -> str:
    """Which of the parts has not the shape that the words and the scheme ask for; empty where all have."""
    *rows, words = packed.weight.shape
    want = (*rows, words * 32 // packed.scheme.bits // packed.scheme.group_size)
    parts = {"scales": packed.scales, "biases": packed.biases}
    wrong = {name: part.shape for name, part in parts.items() if part is not None and part.shape != want}
    return "; ".join(f"{name} of shape {shape}, want {want}" for name, shape in wrong.items())


def dequantized(packed: Packed) -> np.ndarray:
    """The exact values of packed parts, float64 ``[rows, columns]``. Raises Deviates where the parts do not fit."""
    if fault := misshapen(packed):
        raise Deviates(Observation("wrong shape", False, message=fault))
    with np.errstate(invalid="ignore", over="ignore"):
        return packing.dequantize(packed.weight, packed.scales, packed.biases, form_of(packed))


def row_dtype(packed: Packed) -> str:
    """Rows have the dtype of the scales, or bfloat16 where scales are bytes (`mlx.nn.QuantizedEmbedding`)."""
    return packed.scales.dtype.name if packed.biases is not None else "bfloat16"


def assay_weights(assay: Assay, weight: np.ndarray, packed: Packed, bound: np.ndarray | None = None) -> None:
    """|dequantized - original| within `bound`, by default the mode's own (`touchstone.golden.quantized_bounds`).

    A table of zeros would pass where the bound is loose, so zeros are refused unless every weight is within its bound
    of zero.
    """
    values = dequantized(packed)
    if bound is None:
        bound = quantized_bounds.weights(weight, form_of(packed))
    original = weight.astype(np.float64)
    if not values.any() and (np.abs(original) > bound).any():
        raise Deviates(Observation("all zeros", False, message="every dequantized weight is zero"))
    # Values are compared in float64: what is assayed is the code and its group, not the rounding of a lookup.
    assay.within(values, original, bound, "float64", assay.weight_role)


def mean_errors(weight: np.ndarray, packed: Packed) -> tuple[float, float]:
    """Mean of (dequantized - original) in steps, and in steps in the direction of growing codes, over all elements.

    The scale is negative in about half of the groups, so that codes which are all too low cancel in the first mean;
    the second is where they show. A small float's codes grow away from zero on both sides.
    """
    form, original = form_of(packed), weight.astype(np.float64)
    steps = quantized_bounds.step_per_element(weight, form)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(steps > 0, (dequantized(packed) - original) / steps, 0)
    if form.mode == "affine":
        growing = np.repeat(np.sign(packed.scales.astype(np.float64)), form.group_size, axis=-1).reshape(weight.shape)
    else:
        growing = np.sign(original)
    return float(error.mean()), float((error * growing).mean())


def assay_mean_error(assay: Assay, weight: np.ndarray, packed: Packed) -> None:
    """Both `mean_errors`, in steps. Raises Deviates where either is beyond `MEAN_ERROR`, or NaN."""
    plain, signed = mean_errors(weight, packed)
    worst = max(abs(plain), abs(signed))
    message = f"mean error {plain:+.4f} step, {signed:+.4f} in the direction of growing codes; at most {MEAN_ERROR}"
    facts: dict[str, Any] = {
        "headroom": worst / MEAN_ERROR,
        "message": message,
        "golden": assay.where(assay.weight_role),
    }
    if not worst <= MEAN_ERROR:
        raise Deviates(Observation("beyond bound", False, **facts))
    assay.observed = Observation("within bound", True, **facts)


def dequantization_bound(packed: Packed) -> np.ndarray:
    """Per element of the table: scale * code and the sum with the bias each rounded to the dtype, or only the sum.

    Block modes are exact: an element times its scale has at most 6 significant bits.
    """
    values = dequantized(packed)
    if packed.biases is None:
        return np.zeros_like(values)
    biases = np.repeat(packed.biases.astype(np.float64), packed.scheme.group_size, axis=-1)
    return bounds.dequantization(values - biases, values, packed.scales.dtype.name)


def assay_lookup(assay: Assay, got: np.ndarray, packed: Packed, ids: np.ndarray) -> None:
    """Rows ``[*ids.shape, columns]`` in the `row_dtype` of the parts, within what dequantizing them may round."""
    dtype = row_dtype(packed)
    assay.within(got, dequantized(packed)[ids], dequantization_bound(packed)[ids], dtype, assay.weight_role)


def _from_weights(x: np.ndarray, slack: np.ndarray, random_signs: bool) -> np.ndarray:
    """What rounding the dequantized weights by up to `slack [rows, columns]` may move ``x @ weights.T`` by.

    At worst |x| slackᵀ. Where the signs of x were drawn independently of the weights, the sum of K such terms exceeds
    λ sqrt(x² (slack²)ᵀ) with probability 2 exp(-λ²/2) at most (Hoeffding, Journal of the American Statistical
    Association 58(301), 1963, theorem 2).
    """
    if not slack.any():
        return np.zeros((*x.shape[:-1], len(slack)))
    worst = np.abs(x) @ slack.T
    return np.minimum(worst, bounds.lambda_for(1) * np.sqrt(x**2 @ (slack**2).T)) if random_signs else worst


def _assay_sum(
    assay: Assay,
    got: np.ndarray,
    want: np.ndarray,
    bound: np.ndarray,
    dtype: str,
    spread: Callable[[], np.ndarray],
    terms: int,
) -> None:
    """Within `bound`; where not, and in half precision, whether the error is that of a running sum in `dtype`.

    spread: sqrt(x² (W²)ᵀ + b²), the size of a sum of terms of random sign, the bias one of them. Each of K additions
    rounds a partial sum of size spread sqrt(k / K) by up to u of it, uniformly: the error's standard deviation is
    u sqrt(K / 6) spread. Three times that over all elements, and as much for the rounding of weights and products, is
    that class; zeros are not.
    """
    try:
        assay.within(got, want, bound, dtype, assay.weight_role)
    except Deviates as found:
        seen = found.observation
        if dtype == "float32" or seen.behaviour != "beyond bound":
            raise
        # A sum of zeros has no size, and no rounding either: any error there is of another class.
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.abs(got.astype(np.float64) - want)
            error = float(np.sqrt(np.mean(np.where(off == 0, 0, off / spread()) ** 2)))
        roundoff = bounds.unit_roundoff(dtype)
        expected = roundoff * np.sqrt(terms / 6) + 2 * roundoff
        if not error <= 3 * expected:
            raise
        seen.behaviour = "sums in its dtype"
        seen.message += f"; root mean square error {error:.3g} of a sum's size, {expected:.3g} expected of such sums"
        raise


def assay_product(
    assay: Assay,
    got: np.ndarray,
    x: np.ndarray,
    packed: Packed,
    bias: np.ndarray | None,
    dtype: str = "",
    *,
    random_signs: bool = False,
    given: bool = False,
) -> None:
    """x times dequantized weights transposed, within the linear bound and the weights' own rounding.

    dtype: the result's, where it is not that of x. random_signs: whether those of x were drawn independently. given:
    whether parts, x and bias are the case's own arrays, so that the next target is held to the same.
    """
    dtype, wide = dtype or x.dtype.name, x.astype(np.float64)

    def make() -> tuple[np.ndarray, np.ndarray]:
        table = dequantized(packed)
        want, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
        added = _from_weights(wide, dequantization_bound(packed), random_signs)
        if bias is None:
            return want, bounds.linear(want, magnitude, x.shape[-1], dtype) + added
        offset = bias.astype(np.float64)
        return want + offset, bounds.linear_with_bias(want, magnitude, offset, x.shape[-1], dtype) + added

    def spread() -> np.ndarray:
        offset = 0 if bias is None else bias.astype(np.float64) ** 2
        return np.sqrt(wide**2 @ (dequantized(packed) ** 2).T + offset)

    _assay_sum(assay, got, *(assay.expected(make, "product", dtype) if given else make()), dtype, spread, x.shape[-1])


def assay_input_gradient(
    assay: Assay, got: np.ndarray, cotangent: np.ndarray, packed: Packed, *, given: bool = False
) -> None:
    """The cotangent, of random signs, times the dequantized weights as they lie, within the same bound."""
    dtype, wide = cotangent.dtype.name, cotangent.astype(np.float64)
    rows = len(packed.weight)

    def make() -> tuple[np.ndarray, np.ndarray]:
        table = dequantized(packed)
        want, magnitude = wide @ table, np.abs(wide) @ np.abs(table)
        added = _from_weights(wide, dequantization_bound(packed).T, True)
        return want, bounds.linear(want, magnitude, rows, dtype) + added

    def spread() -> np.ndarray:
        return np.sqrt(wide**2 @ dequantized(packed) ** 2)

    _assay_sum(assay, got, *(assay.expected(make, "input gradient", dtype) if given else make()), dtype, spread, rows)


def recorded(assay: Assay, scheme: Scheme | None = None) -> Packed:
    """The parts that MLX made of the ordinary table in this scheme, by default the case's; newest recording."""
    store, scheme = assay.bench.recorded[-1], scheme or assay.scheme
    form = packing.format_of(scheme.mode, scheme.bits, scheme.group_size)
    parts = {p: store[quantized.recorded(form, assay.params["dtype"], p)] for p in quantized.parts_of(form)}
    return Packed(parts["weight"], parts["scales"], parts.get("biases"), scheme)
