"""Expected values, from exact or float64 arithmetic that gives the same bits on every machine.

Sums use `math.fsum`, which is correctly rounded; float64 BLAS and einsum differ in their last bits from one
machine to the next. Written from the layers' documentation and independent of every adapter:

- linear: y = x Wᵀ + b, W ``[out, in]`` (mlx.nn.Linear, torch.nn.Linear)
- embedding: row ids[i] of the table (mlx.nn.Embedding, flax.nnx.Embed, torch.nn.Embedding)
"""

from __future__ import annotations

from collections.abc import Callable
from math import fsum, prod

import numpy as np


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def _contract(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left [rows, k]`` times ``right [columns, k]`` transposed, each element correctly rounded.

    Products of float32 values are exact in float64 (24 + 24 significant bits), so only the sum rounds.
    """
    out = np.empty((left.shape[0], right.shape[0]))
    for i, row in enumerate(left):
        for j, product in enumerate(right * row):
            out[i, j] = fsum(product)
    return out


def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``x [..., in]`` and ``weight [out, in]`` give float64 ``[..., out]``, without a bias."""
    flat = _wide(x).reshape(prod(x.shape[:-1]), weight.shape[1])
    return _contract(flat, _wide(weight)).reshape(*x.shape[:-1], weight.shape[0])


def magnitude(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``|x| |W|ᵀ``, the scale of the forward error bound (Higham 2002, section 3.1)."""
    return linear(np.abs(_wide(x)), np.abs(_wide(weight)))


def lookup(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows of ``table [num_embeddings, dims]``: ``ids.shape + (dims,)`` with the table's own bits."""
    return np.array([table[int(i)] for i in ids.reshape(-1)], dtype=table.dtype).reshape(*ids.shape, table.shape[1])


def weight_gradient(x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """d(sum cotangent·(x Wᵀ))/dW = cotangentᵀ x, float64 ``[out, in]``."""
    flat_x, flat_g = _wide(x).reshape(-1, x.shape[-1]), _wide(cotangent).reshape(-1, cotangent.shape[-1])
    return _contract(flat_g.T, flat_x.T)


def weight_gradient_magnitude(x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """|cotangent|ᵀ |x|, float64 ``[out, in]``: the scale of that gradient's error bound, as `magnitude` is."""
    return weight_gradient(np.abs(_wide(x)), np.abs(_wide(cotangent)))


def input_gradient(weight: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """d/dx = cotangent W, float64 ``[..., in]``."""
    return linear(cotangent, np.ascontiguousarray(weight.T))


def input_gradient_magnitude(weight: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """|cotangent| |W|, float64 ``[..., in]``: the scale of that gradient's error bound."""
    return input_gradient(np.abs(_wide(weight)), np.abs(_wide(cotangent)))


def bias_gradient(cotangent: np.ndarray) -> np.ndarray:
    """d/db: the sum of the cotangent over every leading axis, float64 ``[out]``."""
    return np.array([fsum(column) for column in _wide(cotangent).reshape(-1, cotangent.shape[-1]).T])


def bias_gradient_magnitude(cotangent: np.ndarray) -> np.ndarray:
    """The sum of |cotangent| over every leading axis, float64 ``[out]``: the scale of that gradient's error bound."""
    return bias_gradient(np.abs(_wide(cotangent)))


def product_gradients(x: np.ndarray, weight: np.ndarray, cotangent: np.ndarray) -> dict[str, np.ndarray]:
    """Role -> gradient of x Wᵀ + b: "weight", "x" and "bias"."""
    return {
        "weight": weight_gradient(x, cotangent),
        "x": input_gradient(weight, cotangent),
        "bias": bias_gradient(cotangent),
    }


def table_gradient(table: np.ndarray, ids: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """d/dtable of the lookup: cotangent rows summed per id, float64 ``[num_embeddings, dims]``."""
    flat_ids, flat_g = ids.reshape(-1), _wide(cotangent).reshape(-1, table.shape[1])
    out = np.zeros(table.shape)
    for row in np.unique(flat_ids):
        chosen = flat_g[flat_ids == row]
        out[int(row)] = [fsum(column) for column in chosen.T]
    return out


def table_gradient_magnitude(table: np.ndarray, ids: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """|cotangent| summed per id, float64 ``[num_embeddings, dims]``: the scale of that gradient's error bound."""
    return table_gradient(table, ids, np.abs(_wide(cotangent)))


def tied_gradient(table: np.ndarray, ids: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """d/dtable of ``table[ids] @ tableᵀ``: the sum over both uses, for integer-valued operands (exact)."""
    rows = lookup(table, ids).reshape(-1, table.shape[1])
    flat = _wide(cotangent).reshape(-1, table.shape[0])
    through_head = weight_gradient(rows, flat)
    return through_head + table_gradient(table, ids, input_gradient(table, flat))


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    f.__name__: f
    for f in (
        linear,
        magnitude,
        lookup,
        weight_gradient,
        weight_gradient_magnitude,
        input_gradient,
        input_gradient_magnitude,
        bias_gradient,
        bias_gradient_magnitude,
        table_gradient,
        table_gradient_magnitude,
        tied_gradient,
    )
}
