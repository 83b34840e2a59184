"""Other functions of JAX that look up rows, or compute a product, of a module's weight and bias.

JAX is imported where it is used: adapters are listed without importing their frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def take_along_axis(jnp: Any, m: Any, ids: Any) -> Any:
    """Of ids of one axis, which broadcast along the columns."""
    return jnp.take_along_axis(m.weight[...], ids.reshape(-1, 1), axis=0).reshape(*ids.shape, m.weight.shape[1])


def one_hot(jnp: Any, m: Any, ids: Any) -> Any:
    """The product with rows of which one element is one."""
    import jax

    return jax.nn.one_hot(ids, m.weight.shape[0], dtype=m.weight.dtype) @ m.weight[...]


def batched(jnp: Any, m: Any, x: Any) -> Any:
    """A matrix product of a batch of two, of which one is taken."""
    rows = x.reshape(1, -1, x.shape[-1])
    both = jnp.stack([m.weight[...].T, m.weight[...].T])
    return (rows @ both)[1].reshape(*x.shape[:-1], -1) + m.bias[...]


def dot_general(jnp: Any, m: Any, x: Any, **options: Any) -> Any:
    """The last axis of each with that of the other."""
    import jax

    return jax.lax.dot_general(x, m.weight[...], (((x.ndim - 1,), (1,)), ((), ())), **options) + m.bias[...]


def einsum_without_an_arrow(jnp: Any, m: Any, x: Any) -> Any:
    """The axes of the result are in alphabetical order, rows before outputs."""
    rows = jnp.einsum("nk,bk", m.weight[...], x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], -1) + m.bias[...]


def by_vectors(jnp: Any, m: Any, x: Any) -> Any:
    """A matrix times a vector, for every row of x by itself."""
    import jax

    out = jax.vmap(lambda row: m.weight[...] @ row)(x.reshape(-1, x.shape[-1]))
    return out.reshape(*x.shape[:-1], -1) + m.bias[...]


SPELLINGS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "raw_lookup": {
        "take": lambda jnp, m, ids: jnp.take(m.weight[...], ids, axis=0),
        "take of the transposed": lambda jnp, m, ids: jnp.moveaxis(jnp.take(m.weight[...].T, ids, axis=1), 0, -1),
        "take that clips": lambda jnp, m, ids: jnp.take(m.weight[...], ids, axis=0, mode="clip"),
        "take that fills": lambda jnp, m, ids: jnp.take(m.weight[...], ids, axis=0, mode="fill", fill_value=0),
        "take that wraps": lambda jnp, m, ids: jnp.take(m.weight[...], ids, axis=0, mode="wrap"),
        "take along axis": take_along_axis,
        "at get": lambda jnp, m, ids: m.weight[...].at[ids].get(),
        "at get that clips": lambda jnp, m, ids: m.weight[...].at[ids].get(mode="clip"),
        "at get that fills": lambda jnp, m, ids: m.weight[...].at[ids].get(mode="fill", fill_value=0),
        "all columns": lambda jnp, m, ids: m.weight[...][ids, :],
        "one hot": one_hot,
    },
    "linear": {
        "dot": lambda jnp, m, x, **options: jnp.dot(x, m.weight[...].T, **options) + m.bias[...],
        "matmul": lambda jnp, m, x, **options: jnp.matmul(x, m.weight[...].T, **options) + m.bias[...],
        "einsum": lambda jnp, m, x, **options: jnp.einsum("...k,nk->...n", x, m.weight[...], **options) + m.bias[...],
        "tensordot": lambda jnp, m, x: jnp.tensordot(x, m.weight[...], ((-1,), (1,))) + m.bias[...],
        "inner": lambda jnp, m, x: jnp.inner(x, m.weight[...]) + m.bias[...],
        "batched": batched,
        "dot_general": dot_general,
        "by vectors": by_vectors,
        "einsum without an arrow": einsum_without_an_arrow,
    },
}
"""Layer -> name -> the function, of jax.numpy, the module and the input."""
