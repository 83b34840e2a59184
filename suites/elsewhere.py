"""Comparisons for the schemes of other libraries: weights against their originals, conversions against their source."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from touchstone.adapters.interface import Packed, Scheme
from touchstone.adapters.libraries import conversion
from touchstone.golden import bounds, lattices, steps
from touchstone.golden.lattices import Lattice
from touchstone.suites.assay import Assay
from touchstone.suites.codes import MEAN_ERROR
from touchstone.verdict.observation import Deviates, Observation


def grouped(table: np.ndarray, group_size: int) -> np.ndarray:
    """float64 ``[rows, groups, group_size]``."""
    return table.astype(np.float64).reshape(len(table), -1, group_size)


def _refuse_zeros(got: np.ndarray, want: np.ndarray) -> None:
    if want.any() and not got.any():
        raise Deviates(Observation("all zeros", False, message="every dequantized weight is zero"))


def assay_rows(assay: Assay, got: np.ndarray, table: np.ndarray, scheme: Scheme) -> None:
    """Rows of the quantized layer within the bound of the original weights; rows of zeros only for a table of zeros."""
    _refuse_zeros(got, table)
    groups = grouped(table, scheme.group_size)
    bound = steps.bound(groups, scheme.mode, scheme.bits, table.dtype.name).reshape(table.shape)
    # In float64: what is assayed is the scheme. A library may return rows in another dtype than the table's.
    assay.within(got.astype(np.float64), table.astype(np.float64), bound, "float64", assay.weight_role)


def assay_mean_error(assay: Assay, got: np.ndarray, table: np.ndarray, scheme: Scheme) -> None:
    """The mean error of ``[rows, columns]``, in steps. Raises Deviates where it is beyond `MEAN_ERROR`, or NaN."""
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
    _refuse_zeros(rows, assay.golden(assay.weight_role))
    dtype, wide, weights = x.dtype.name, x.astype(np.float64), rows.astype(np.float64)
    product, magnitude = wide @ weights.T, np.abs(wide) @ np.abs(weights).T
    unrounded = np.abs(wide) @ bounds.rounding(weights, dtype).T
    addend = bias.astype(np.float64)
    bound = bounds.linear_with_bias(product, magnitude, addend, x.shape[-1], dtype) + unrounded
    assay.within(got, product + addend, bound, dtype, assay.weight_role)


def lattice(packed: Packed) -> Lattice:
    """What the parts stand for by the oracle; the converter is no judge of its own."""
    scheme = packed.scheme
    if scheme.mode in lattices.BLOCKS:
        return lattices.blocks(packed.weight, scheme.mode)
    read = {"affine": lattices.affine, "intx": lattices.intx}[scheme.mode]
    return read(packed.weight, packed.scales, packed.biases, scheme.bits, scheme.group_size)


def converted(assay: Assay, source: Packed, mode: str, slack: float = np.inf) -> Packed:
    """The source in another mode, if it stands for the same weights; slack as in `golden.steps.integer_zero`."""
    scheme, dtype = replace(source.scheme, mode=mode), assay.golden("table").dtype
    parts, want = conversion.convert(source, scheme, dtype), lattice(source)
    got = lattice(parts).rows
    _refuse_zeros(got, want.rows)
    assay.within(got, want.rows, steps.converted(want, mode, dtype.name, slack), "float64", assay.weight_role)
    return parts


def assay_reading(assay: Assay, got: np.ndarray, packed: Packed) -> None:
    """The rows that a library gives out are those of the parts: intx up to roundings in its dtype, GGUF in float32."""
    want, dtype = lattice(packed), assay.golden("table").dtype.name
    _refuse_zeros(got, want.rows)
    bound = bounds.rounding(want.weights, dtype)
    if packed.scheme.mode in lattices.BLOCKS:
        bound = bounds.dequantization(want.weights - want.offset, want.weights, "float32")
    assay.within(got.astype(np.float64), want.rows, bound.reshape(got.shape), "float64", assay.weight_role)


def describe(assay: Assay, source: Packed, parts: Packed) -> None:
    """Add to the observation by how much a conversion differs, in steps of the source."""
    assert assay.observed is not None
    want = lattice(source)
    difference = np.abs(lattice(parts).weights.reshape(want.weights.shape) - want.weights)
    largest = float((difference / np.where(want.scale == 0, 1, np.abs(want.scale))).max())
    said = f"differs by up to {largest:.3g} step" if difference.any() else "exact"
    assay.observed.message = f"{said}; {assay.observed.message}"
