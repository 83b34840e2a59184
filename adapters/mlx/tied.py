"""An embedding, two linear layers and the embedding's own head, of `mlx.nn`."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from touchstone.adapters.tied import roles

ROLES = roles()


class TiedModel(nn.Module):
    def __init__(self, num_embeddings: int, dims: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_embeddings, dims)
        self.proj, self.proj_out = nn.Linear(dims, dims), nn.Linear(dims, dims)

    def __call__(self, ids: mx.array) -> mx.array:
        return self.embed.as_linear(self.proj_out(self.proj(self.embed(ids))))


class Stack(nn.Module):
    def __init__(self, count: int, dims: int) -> None:
        super().__init__()
        self.layers = [nn.Linear(dims, dims, bias=False) for _ in range(count)]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = layer(x)
        return x
