"""Other functions of mlx.core that look up rows, or compute a product, of a module's weight and bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def take_along_axis(mx: Any, m: Any, ids: Any) -> Any:
    """Of ids of one axis, repeated for every column."""
    columns = m.weight.shape[1]
    every = mx.broadcast_to(ids.reshape(-1, 1), (ids.size, columns))
    return mx.take_along_axis(m.weight, every, axis=0).reshape(*ids.shape, columns)


def take_of_the_flat(mx: Any, m: Any, ids: Any) -> Any:
    """Element by element, by their place in the whole table."""
    rows, columns = m.weight.shape
    wide = ids.astype(mx.int32)
    first = mx.expand_dims(mx.where(wide < 0, wide + rows, wide), -1) * columns
    return mx.take(m.weight, first + mx.arange(columns))


def batched(mx: Any, m: Any, x: Any) -> Any:
    """A matrix product of a batch of two, of which one is taken."""
    rows = x.reshape(1, -1, x.shape[-1])
    both = mx.stack([m.weight.T, m.weight.T])
    return (rows @ both)[1].reshape(*x.shape[:-1], -1) + m.bias


def addmm_of_a_matrix(mx: Any, m: Any, x: Any) -> Any:
    """What is added has the shape of the result, and is doubled."""
    c = mx.broadcast_to(m.bias / 2, (*x.shape[:-1], m.bias.size))
    return mx.addmm(c, x, m.weight.T, beta=2.0)


def einsum_without_an_arrow(mx: Any, m: Any, x: Any) -> Any:
    """The axes of the result are in alphabetical order, rows before outputs."""
    rows = mx.einsum("nk,bk", m.weight, x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], -1) + m.bias


def _parts(m: Any) -> tuple[Any, Any, Any]:
    """Words, scales and biases; None where the mode has none."""
    return m.weight, m.scales, m.get("biases")


def _added(m: Any, out: Any) -> Any:
    return out + m.bias if "bias" in m else out


def _dequantized(mx: Any, m: Any, x: Any) -> Any:
    return mx.dequantize(*_parts(m), **m.sizes).astype(x.dtype)


def _row_by_row(mx: Any, m: Any, x: Any) -> Any:
    """The matrix by products of rows of the identity with it, untransposed, and x times that."""
    rows = m.weight.shape[0]
    one = mx.eye(rows, dtype=x.dtype)
    matrix = [mx.quantized_matmul(one[n : n + 1], *_parts(m), transpose=False, **m.sizes) for n in range(rows)]
    return _added(m, x @ mx.concatenate(matrix).T)


def _gather_qmm(mx: Any, m: Any, x: Any) -> Any:
    """The second of two matrices, chosen by its number."""
    two = (None if part is None else mx.stack([part, part]) for part in _parts(m))
    rows = x.reshape(1, -1, x.shape[-1])
    out = mx.gather_qmm(rows, *two, rhs_indices=mx.array([1]), **m.sizes)
    return _added(m, out.reshape(*x.shape[:-1], -1))


SPELLINGS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "raw_lookup": {
        "take": lambda mx, m, ids: mx.take(m.weight, ids, axis=0),
        "take of the transposed": lambda mx, m, ids: mx.moveaxis(mx.take(m.weight.T, ids, axis=1), 0, -1),
        "take along axis": take_along_axis,
        "take of the flat": take_of_the_flat,
        "all columns": lambda mx, m, ids: m.weight[ids, :],
    },
    "linear": {
        "matmul": lambda mx, m, x: x @ m.weight.T + m.bias,
        "addmm": lambda mx, m, x: mx.addmm(m.bias, x, m.weight.T),
        "addmm that scales": lambda mx, m, x: mx.addmm(m.bias / 2, 4 * x, m.weight.T, alpha=0.25, beta=2.0),
        "addmm of a matrix": addmm_of_a_matrix,
        "batched": batched,
        "einsum": lambda mx, m, x: mx.einsum("...k,nk->...n", x, m.weight) + m.bias,
        "tensordot": lambda mx, m, x: mx.tensordot(x, m.weight, [[-1], [1]]) + m.bias,
        "einsum without an arrow": einsum_without_an_arrow,
        "inner": lambda mx, m, x: mx.inner(x, m.weight) + m.bias,
    },
    "quantized_linear": {
        "quantized_matmul": lambda mx, m, x: _added(m, mx.quantized_matmul(x, *_parts(m), **m.sizes)),
        "dequantize": lambda mx, m, x: _added(m, x @ _dequantized(mx, m, x).T),
        "untransposed": _row_by_row,
        "gather_qmm": _gather_qmm,
    },
}
"""Layer -> name -> the function, of mlx.core, the module and the input."""
