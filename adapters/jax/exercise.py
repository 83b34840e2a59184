"""From-scratch embedding modules, as a tutorial on Flax writes them, in NNX and in Linen.

Table from `jax.random.normal`, ids cast to int32, one indexing operation.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array


class NNXEmbed(nnx.Module):
    def __init__(self, num_embeddings: int, dims: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(jax.random.normal(rngs.params(), (num_embeddings, dims)))

    def __call__(self, ids: Array) -> Array:
        return self.embedding[ids.astype(jnp.int32)]


class LinenEmbed(linen.Module):
    num_embeddings: int
    dims: int

    @linen.compact
    def __call__(self, ids: Array) -> Array:
        table = self.param("embedding", linen.initializers.normal(1.0), (self.num_embeddings, self.dims))
        return table[ids.astype(jnp.int32)]


class BoundLinenEmbed(nnx.Module):
    """The Linen module with its variables, behind the same call as the NNX one."""

    def __init__(self, num_embeddings: int, dims: int, seed: int) -> None:
        self.module = LinenEmbed(num_embeddings, dims)
        variables = self.module.init(jax.random.key(seed), jnp.zeros(1, jnp.int32))
        self.embedding = nnx.Param(variables["params"]["embedding"])

    def __call__(self, ids: Array) -> Any:
        return self.module.apply({"params": {"embedding": self.embedding[...]}}, ids)


def build(style: str, seed: int, num_embeddings: int, dims: int) -> nnx.Module:
    """The exercise in `style` "nnx" or "linen" with a table ``[num_embeddings, dims]``."""
    if style == "nnx":
        return NNXEmbed(num_embeddings, dims, nnx.Rngs(seed))
    return BoundLinenEmbed(num_embeddings, dims, seed)
