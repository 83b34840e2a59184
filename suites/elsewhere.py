"""Comparisons for the schemes of other libraries: weights against their originals, conversions against their source."""

from __future__ import annotations

import numpy as np

from adapters import conversion
from adapters.conversion import Lattice
from adapters.interface import Packed, Scheme
from golden import bounds, steps
from suites.assay import Assay
from suites.codes import MEAN_ERROR
from suites.observation import Deviates, Observation


def grouped(table: np.ndarray, group_size: int) -> np.ndarray:
    """float64 ``[rows, groups, group_size]``."""
    return table.astype(np.float64).reshape(len(table), -1, group_size)


def assay_rows(assay: Assay, got: np.ndarray, table: np.ndarray, scheme: Scheme) -> None:
    """Rows of the quantized layer within the bound of the original weights; rows of zeros only for a table of zeros."""
    if table.any() and not got.any():
        raise Deviates(Observation("all zeros", False, message="every dequantized weight is zero"))
    groups = grouped(table, scheme.group_size)
    bound = steps.bound(groups, scheme.mode, scheme.bits, table.dtype.name).reshape(table.shape)
    # In float64: what is assayed is the scheme. A library may return rows in another dtype than the table's.
    assay.within(got.astype(np.float64), table.astype(np.float64), bound, "float64", assay.weight_role)


def assay_mean_error(assay: Assay, got: np.ndarray, table: np.ndarray, scheme: Scheme) -> None:
    groups = grouped(table, scheme.group_size)
    error = (grouped(got, scheme.group_size) - groups) / steps.step(groups, scheme.mode, scheme.bits)
    mean = float(error.mean())
    message = f"mean error {mean:+.4f} step; at most {MEAN_ERROR}"
    headroom = abs(mean) / MEAN_ERROR
    if not headroom <= 1:  # NaN deviates
        raise Deviates(Observation("beyond bound", False, headroom=headroom, message=message))
    assay.observed = Observation("within bound", True, headroom=headroom, message=message)


def assay_product(assay: Assay, got: np.ndarray, rows: np.ndarray, x: np.ndarray, bias: np.ndarray) -> None:
    """x times the layer's own rows transposed, plus bias, within the linear bound.

    A layer may multiply codes and apply the scale afterwards: its weights are then the rows before their one rounding.
    """
    dtype, wide, weights = x.dtype.name, x.astype(np.float64), rows.astype(np.float64)
    product, magnitude = wide @ weights.T, np.abs(wide) @ np.abs(weights).T
    unrounded = np.abs(wide) @ bounds.rounding(weights, dtype).T
    addend = bias.astype(np.float64)
    bound = bounds.linear_with_bias(product, magnitude, addend, x.shape[-1], dtype) + unrounded
    assay.within(got, product + addend, bound, dtype, assay.weight_role)


def conversion_bound(source: Packed, scheme: Scheme, dtype: str, slack: float) -> np.ndarray:
    """Bound on |converted - source|, ``[rows, columns]``; slack as in `golden.steps.integer_zero`."""
    lattice = conversion.read(source)
    groups = grouped(lattice.values(), lattice.codes.shape[-1])
    fresh = steps.bound(groups, scheme.mode, scheme.bits, dtype) if scheme.mode in steps.ALGORITHMS else None
    if scheme.mode in ("affine", "q4_1"):
        out = steps.kept(lattice.scale, lattice.offset, lattice.bits, dtype if scheme.mode == "affine" else "float16")
        return _spread(out, groups)
    assert fresh is not None
    if scheme.mode == "q8_0":
        holds = lattice.offset == -128 * lattice.scale
        out = _spread(128 * steps.stored(lattice.scale, "float16"), groups)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            zero = np.rint(-lattice.offset / lattice.scale) - 2 ** (lattice.bits - 1)
        holds = (zero >= -128) & (zero <= 127)
        shift = steps.integer_zero(lattice.scale, lattice.offset, slack)
        with np.errstate(divide="ignore", invalid="ignore"):
            count = np.abs(groups).max(-1) / np.abs(lattice.scale) + 1
            out = _spread(shift + np.where(holds, count, 0) * steps.stored(lattice.scale, dtype), groups)
    return np.where(_spread(holds, groups), out, fresh.reshape(out.shape))


def _spread(per_group: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.repeat(per_group, groups.shape[-1], axis=-1)


def reading_bound(packed: Packed, dtype: str) -> np.ndarray:
    """Rounding of a library that dequantizes these parts: intx in its dtype, GGUF in float32, affine in none here."""
    lattice = conversion.read(packed)
    values = lattice.values()
    if packed.scheme.mode == "affine":
        return np.zeros(values.shape)
    if packed.scheme.mode == "intx":
        return bounds.rounding(values, dtype)
    offset = _spread(lattice.offset, lattice.codes)
    return bounds.dequantization(values - offset, values, "float32")


def describe(assay: Assay, got: np.ndarray, want: np.ndarray, lattice: Lattice) -> None:
    """Add to the observation by how much a conversion differs, in steps of the source."""
    assert assay.observed is not None
    difference = np.abs(got - want).reshape(lattice.codes.shape).max(-1)
    scale = np.abs(lattice.scale)
    largest = float((difference / np.where(scale == 0, 1, scale)).max())
    said = "exact" if not difference.any() else f"differs by up to {largest:.3g} step"
    assay.observed.message = f"{said}; {assay.observed.message}"
