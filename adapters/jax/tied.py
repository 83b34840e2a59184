"""An embedding, two linear layers and a head that shares the embedding's Param, of Flax NNX."""

from __future__ import annotations

from flax import nnx
from jax import Array

from touchstone.adapters.jax.releases import List
from touchstone.adapters.tied import roles

ROLES = roles("embedding", "kernel", transposed=True)


class TiedModel(nnx.Module):
    def __init__(self, num_embeddings: int, dims: int) -> None:
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(num_embeddings, dims, rngs=rngs)
        self.head = nnx.Embed(num_embeddings, dims, rngs=rngs)
        self.head.embedding = self.embed.embedding
        self.proj, self.proj_out = nnx.Linear(dims, dims, rngs=rngs), nnx.Linear(dims, dims, rngs=rngs)

    def __call__(self, ids: Array) -> Array:
        return self.head.attend(self.proj_out(self.proj(self.embed(ids))))


class Stack(nnx.Module):
    def __init__(self, count: int, dims: int) -> None:
        rngs = nnx.Rngs(0)
        self.layers = List([nnx.Linear(dims, dims, use_bias=False, rngs=rngs) for _ in range(count)])

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer(x)
        return x
