"""Comparisons for affine quantization that golden arrays and a user's own table share."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapters.interface import Packed
from golden import bounds, oracle
from suites.assay import Assay
from suites.observation import Deviates, Observation

MEAN_ERROR = 0.05
"""Largest mean signed error, in steps, on ordinary weights."""


def dequantized(packed: Packed) -> np.ndarray:
    """scales * code + biases in float64."""
    scheme = packed.scheme
    return oracle.dequantize(packed.weight, packed.scales, packed.biases, scheme.bits, scheme.group_size)


def _grouped(array: np.ndarray, packed: Packed) -> np.ndarray:
    return array.astype(np.float64).reshape(*packed.scales.shape, packed.scheme.group_size)


def assay_step_bound(assay: Assay, weight: np.ndarray, packed: Packed, steps: float = 1.0) -> None:
    """|dequantized - original| within `steps` |scale| plus rounding; a table of zeros would pass, so it is refused."""
    values = dequantized(packed)
    if weight.any() and not values.any():
        raise Deviates(Observation("all zeros", False, message="every dequantized weight is zero"))
    dtype, scheme = weight.dtype.name, packed.scheme
    largest = np.abs(_grouped(weight, packed)).max(-1)
    bound = bounds.affine_step(packed.scales.astype(np.float64), largest, dtype, scheme.bits)
    bound -= (1 - steps) * np.abs(packed.scales.astype(np.float64))
    per_element = np.repeat(bound, scheme.group_size, axis=-1)
    # Values are compared in float64: what is assayed is the code and its group, not the rounding of a lookup.
    assay.within(values, weight.astype(np.float64), per_element, "float64", assay.weight_role)


def mean_errors(weight: np.ndarray, packed: Packed) -> tuple[float, float]:
    """Mean of (dequantized - original) in steps |scale|, and in signed steps, over all elements.

    The scale is negative in about half of the groups, so that codes which are all too low cancel in the first mean;
    the second, in the direction of growing codes, is where they show.
    """
    error = _grouped(dequantized(packed), packed) - _grouped(weight, packed)
    scales = packed.scales.astype(np.float64)[..., None]
    return float((error / np.abs(scales)).mean()), float((error / scales).mean())


def assay_mean_error(assay: Assay, weight: np.ndarray, packed: Packed) -> None:
    plain, signed = mean_errors(weight, packed)
    worst = max(abs(plain), abs(signed))
    message = f"mean error {plain:+.4f} step, {signed:+.4f} in the direction of growing codes; at most {MEAN_ERROR}"
    facts: dict[str, Any] = {
        "headroom": worst / MEAN_ERROR,
        "message": message,
        "golden": assay.where(assay.weight_role),
    }
    if worst > MEAN_ERROR:
        raise Deviates(Observation("beyond bound", False, **facts))
    assay.observed = Observation("within bound", True, **facts)


def dequantization_bound(packed: Packed) -> np.ndarray:
    """Per element of the table: scale * code and the sum with the bias each rounded to the dtype, or only the sum."""
    values = dequantized(packed)
    biases = np.repeat(packed.biases.astype(np.float64), packed.scheme.group_size, axis=-1)
    return bounds.dequantization(values - biases, values, packed.scales.dtype.name)


def assay_lookup(assay: Assay, got: np.ndarray, packed: Packed, ids: np.ndarray) -> None:
    dtype = packed.scales.dtype.name
    assay.within(got, dequantized(packed)[ids], dequantization_bound(packed)[ids], dtype, assay.weight_role)


def assay_product(assay: Assay, got: np.ndarray, x: np.ndarray, packed: Packed, bias: np.ndarray | None) -> None:
    """x times dequantized weights transposed, within the linear bound and the weights' own rounding."""
    dtype, wide = packed.scales.dtype.name, x.astype(np.float64)
    table, slack = dequantized(packed), dequantization_bound(packed)
    product, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
    from_weights = np.abs(wide) @ slack.T
    if bias is None:
        want, bound = product, bounds.linear(product, magnitude, x.shape[-1], dtype)
    else:
        want = product + bias.astype(np.float64)
        bound = bounds.linear_with_bias(product, magnitude, bias.astype(np.float64), x.shape[-1], dtype)
    assay.within(got, want, bound + from_weights, dtype, assay.weight_role)
