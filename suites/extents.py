"""Probes of tables and results too large to store or to send: they fill, ask and compare where the framework runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from touchstone.adapters import memory
from touchstone.adapters.interface import Adapter, Packed, Scheme
from touchstone.golden.cases.extents import DIMS, FACTORS
from touchstone.suites import probes

BLOCK = 2**24
"""Elements that are compared at a time."""


def within_memory(
    adapter: Adapter, question: Callable[..., dict[str, Any]], needed: int, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """What the question answers; {"short": why it was not asked} where fewer than `needed` bytes are free."""
    free = memory.available(adapter)
    if free < needed:
        return {"short": f"needs {needed / 1e9:.1f} GB of free memory, {free / 1e9:.1f} GB are free"}
    return question(adapter, **arguments)


def rows_of(strip: np.ndarray, dims: int) -> np.ndarray:
    """A table ``[len(strip) - dims + 1, dims]`` without memory of its own: row r is the window at element r."""
    return sliding_window_view(strip, dims)


def filled(strip: np.ndarray, dims: int) -> np.ndarray:
    """The same table as an array of its own: a framework may keep the strides of a view, and so its few bytes."""
    return np.ascontiguousarray(rows_of(strip, dims))


def table_rows(adapter: Adapter, layer: str, strip: np.ndarray, ids: np.ndarray) -> dict[str, Any]:
    """Rows of a table that only the framework ever holds whole."""
    return {"rows": probes.call(adapter, layer, filled(strip, DIMS), ids)}


def large_head(adapter: Adapter, layer: str, strip: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """x times such a table transposed, by a linear layer or a tied head."""
    question = probes.call if layer == "linear" else probes.as_linear
    return {"product": question(adapter, layer, filled(strip, DIMS), x)}


def packed_rows(adapter: Adapter, parts: dict[str, np.ndarray], scheme: Scheme, ids: np.ndarray) -> dict[str, Any]:
    """The same of a quantized table."""
    packed = packed_of(parts, scheme)
    words, scales, biases = (np.ascontiguousarray(part) for part in (packed.weight, packed.scales, packed.biases))
    return {"rows": probes.call(adapter, "quantized_embedding", Packed(words, scales, biases, scheme), ids)}


def packed_of(parts: dict[str, np.ndarray], scheme: Scheme) -> Packed:
    """Quantized parts without memory of their own, from the strip of each."""
    columns = {"weight": DIMS * scheme.bits // 32, "scales": DIMS // scheme.group_size}
    columns["biases"] = columns["scales"]
    tables = {name: rows_of(strip, columns[name]) for name, strip in parts.items()}
    return Packed(tables["weight"], tables["scales"], tables["biases"], scheme)


def spread_ids(count: int, size: int) -> np.ndarray:
    """int32 ids in [0, size) that no power of two divides into equal parts."""
    i = np.arange(count, dtype=np.int64)
    return ((i * 31 + i // 1021) % size).astype(np.int32)


def many_rows(adapter: Adapter, table: np.ndarray, count: int) -> dict[str, Any]:
    """How a lookup of `count` ids differs from the rows of a small table."""
    ids = spread_ids(count, len(table))
    got = probes.call(adapter, "embedding", table, ids)
    if got.shape != (count, table.shape[1]) or got.dtype != table.dtype:
        return {"form": f"{got.dtype} {got.shape}"}
    return _differences((start, got[start:end], table[ids[start:end]]) for start, end in _blocks(*got.shape))


def outer_product(adapter: Adapter, x: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    """How a linear layer of one input feature differs from the outer product of `FACTORS`, exact in any dtype."""
    got = probes.call(adapter, "linear", weight, x)
    if got.shape != (*x.shape[:-1], len(weight)) or got.dtype != x.dtype:
        return {"form": f"{got.dtype} {got.shape}"}
    flat, factors = got.reshape(-1, len(weight)), x.reshape(-1).astype(np.intp)
    rows = np.array([factor * weight[:, 0] for factor in range(max(FACTORS) + 1)], x.dtype)
    return _differences((start, flat[start:end], rows[factors[start:end]]) for start, end in _blocks(*flat.shape))


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK // columns)
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _differences(blocks: Any) -> dict[str, Any]:
    """How many elements differ in any bit, and the first."""
    wrong, first = 0, ""
    for start, got, want in blocks:
        unsigned = np.dtype(f"u{want.dtype.itemsize}")
        differs = np.ascontiguousarray(got).view(unsigned) != want.view(unsigned)
        if differs.any():
            row, column = (int(i) for i in np.argwhere(differs)[0])
            first = first or f"at {(start + row, column)}: got {got[row, column]!r}, want {want[row, column]!r}"
            wrong += int(differs.sum())
    return {"wrong": wrong, "first": first}
