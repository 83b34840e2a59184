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


def lattice(packed: Packed) -> Lattice:
    """What the parts stand for, by the oracle: a converter is no judge of its own."""
    scheme = packed.scheme
    if scheme.mode in lattices.BLOCKS:
        return lattices.blocks(packed.weight, scheme.mode)
    read = {"affine": lattices.affine, "intx": lattices.intx}[scheme.mode]
    return read(packed.weight, packed.scales, packed.biases, scheme.bits, scheme.group_size)


def convert(assay: Assay, source: Packed, scheme: Scheme, slack: float) -> Packed:
    """The converted parts, if they stand for the same weights up to what the scheme cannot hold."""
    dtype = assay.golden("table").dtype
    parts = conversion.convert(source, scheme, dtype)
    got, want = lattice(parts).rows, lattice(source)
    if want.weights.any():
        refuse_zeros(got)
    assay.within(got, want.rows, steps.converted(want, scheme.mode, dtype.name, slack), "float64", assay.weight_role)
    _describe(assay, got, want)
    return parts


def assay_reading(assay: Assay, got: np.ndarray, packed: Packed) -> None:
    """Rows that a library gives out are the weights of the parts up to the rounding of its arithmetic."""
    want, said = lattice(packed), assay.observed.message if assay.observed else ""
    if want.weights.any():
        refuse_zeros(got)
    bound = _reading_bound(want, packed.scheme.mode, assay.golden("table").dtype.name)
    assay.within(got.astype(np.float64), want.rows, bound, "float64", assay.weight_role)
