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
        "inner": lambda mx, m, x: mx.inner(x, m.weight) + m.bias,
    },
}
"""Layer -> name -> the function, of mlx.core, the module and the input."""
