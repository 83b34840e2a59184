"""The layer of a workload on a target, the inputs of its calls, and whether those calls compute what they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks import calls
from tools.benchmarks.calls import DTYPES
from tools.benchmarks.workloads import Workload, scheme_of
from touchstone.adapters.interface import Adapter
from touchstone.golden import packing

SAMPLES = 5
"""Rows of the matrix whose results are checked."""
TOLERANCE = 2.0**-6
"""Of the largest element. What is checked is a copied or dequantized element, with two roundings to bfloat16 at most:
2**-7. It catches a call that computes something else; conformance is the suites' business."""


class Placed:
    """A layer on a target's device, and the host's rows of its matrix that checks need."""

    def __init__(self, adapter: Adapter, workload: Workload) -> None:
        self.adapter = adapter
        self.rows = np.linspace(0, workload.rows - 1, SAMPLES).astype(np.int32)
        dtype = DTYPES[workload.dtype]
        if workload.scheme:
            made = calls.packed(workload.rows, workload.columns, scheme_of(workload.scheme), dtype)
            form = packing.format_of(made.scheme.mode, made.scheme.bits, made.scheme.group_size)
            biases = None if made.biases is None else made.biases[self.rows]
            self.expected = packing.dequantize(made.weight[self.rows], made.scales[self.rows], biases, form)
            self.layer = adapter.layer(workload.layer, made)
        else:
            matrix = _dense(workload.rows, workload.columns, dtype)
            self.expected = matrix[self.rows].astype(np.float64)
            self.layer = adapter.layer(workload.layer, matrix)

    @staticmethod
    def key(workload: Workload) -> tuple[Any, ...]:
        """What workloads that share a layer have in common."""
        return workload.layer, workload.scheme, workload.dtype, workload.rows


def _dense(rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((rows, columns), np.float32) * 0.05).astype(dtype)


def inputs(workload: Workload) -> np.ndarray:
    """Ids spread over the table, or random rows of x."""
    if workload.is_lookup:
        return np.linspace(0, workload.rows - 1, workload.m).astype(np.int32)
    x = np.random.default_rng(1).standard_normal((workload.m, workload.columns), np.float32)
    return x.astype(DTYPES[workload.dtype])


def function(placed: Placed, workload: Workload) -> Callable[[Any], Any]:
    """The framework's own call of the workload's operation."""
    return calls.as_used(placed.adapter, placed.layer, tied=workload.operation.endswith("as_linear"))


def check(placed: Placed, workload: Workload, function: Callable[[Any], Any]) -> None:
    """Raises AssertionError where a call of the workload's size does not compute what it is timed for.

    Ids of known rows must give those rows; rows of x that hold a single one must give that column of the matrix.
    """
    columns = np.arange(workload.m) * 37 % workload.columns
    if workload.is_lookup:
        given = np.resize(placed.rows, workload.m)
        expected = np.resize(placed.expected, (workload.m, workload.columns))
    else:
        given = np.eye(workload.columns, dtype=DTYPES[workload.dtype])[columns]
        expected = placed.expected[:, columns].T
    result = placed.adapter.fetch(calls.synchronised(placed.adapter, function, given)())  # type: ignore[attr-defined]
    shape = (workload.m, workload.columns if workload.is_lookup else workload.rows)
    assert (result.shape, result.dtype.name) == (shape, workload.dtype), workload.id
    found = (result if workload.is_lookup else result[:, placed.rows]).astype(np.float64)
    allowed = TOLERANCE * np.abs(expected).max()
    assert allowed > 0, workload.id
    np.testing.assert_allclose(found, expected, rtol=0, atol=allowed, err_msg=workload.id)
