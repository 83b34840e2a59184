"""Comparisons for MLX's quantization modes that golden arrays and a user's own table share."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapters.interface import Packed
from golden import bounds, packing, quantized_bounds
from golden.packing import Format
from suites.assay import Assay
from suites.observation import Deviates, Observation

MEAN_ERROR = 0.05
"""Largest mean signed error, in steps, on ordinary weights."""


def form_of(packed: Packed) -> Format:
    scheme = packed.scheme
    return packing.format_of(scheme.mode, scheme.bits, scheme.group_size)


def dequantized(packed: Packed) -> np.ndarray:
    """The exact values of packed parts, float64 ``[rows, columns]``."""
    with np.errstate(invalid="ignore", over="ignore"):
        return packing.dequantize(packed.weight, packed.scales, packed.biases, form_of(packed))


def row_dtype(packed: Packed) -> str:
    """Rows have the dtype of the scales, or bfloat16 where scales are bytes (`mlx.nn.QuantizedEmbedding`)."""
    return packed.scales.dtype.name if packed.biases is not None else "bfloat16"


def assay_weights(assay: Assay, weight: np.ndarray, packed: Packed, bound: np.ndarray | None = None) -> None:
    """|dequantized - original| within `bound`, by default the mode's own (`golden.quantized_bounds`).

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
    dtype = row_dtype(packed)
    assay.within(got, dequantized(packed)[ids], dequantization_bound(packed)[ids], dtype, assay.weight_role)


def assay_product(
    assay: Assay, got: np.ndarray, x: np.ndarray, packed: Packed, bias: np.ndarray | None, dtype: str = ""
) -> None:
    """x times dequantized weights transposed, within the linear bound and the weights' own rounding.

    dtype: the result's, where it is not that of x.
    """
    dtype, wide = dtype or x.dtype.name, x.astype(np.float64)
    table, slack = dequantized(packed), dequantization_bound(packed)
    product, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
    from_weights = np.abs(wide) @ slack.T
    if bias is None:
        want, bound = product, bounds.linear(product, magnitude, x.shape[-1], dtype)
    else:
        want = product + bias.astype(np.float64)
        bound = bounds.linear_with_bias(product, magnitude, bias.astype(np.float64), x.shape[-1], dtype)
    assay.within(got, want, bound + from_weights, dtype, assay.weight_role)


def assay_input_gradient(assay: Assay, got: np.ndarray, cotangent: np.ndarray, packed: Packed) -> None:
    """The cotangent times the dequantized weights as they lie, within the same bound."""
    dtype, wide = cotangent.dtype.name, cotangent.astype(np.float64)
    table, slack = dequantized(packed), dequantization_bound(packed)
    want, magnitude = wide @ table, np.abs(wide) @ np.abs(table)
    bound = bounds.linear(want, magnitude, len(table), dtype) + np.abs(wide) @ slack
    assay.within(got, want, bound, dtype, assay.weight_role)
