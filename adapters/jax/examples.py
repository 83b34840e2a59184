"""The example of MLX's documentation in Flax: linear layers in a list, what they print, and a loss of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array


class MLP(nnx.Module):
    """Linear layers, with the larger of zero and its input before each but the first."""

    def __init__(self, layers: Any) -> None:
        self.layers = layers

    def __call__(self, x: Array) -> Array:
        for number, layer in enumerate(self.layers):
            x = layer(jnp.maximum(x, 0) if number else x)
        return x


def count(model: MLP) -> int:
    """How many numbers its parameters have."""
    return sum(value.size for value in jax.tree.leaves(nnx.state(model, nnx.Param)))


def _loss(model: MLP, x: Array, y: Array) -> Array:
    return jnp.square(model(x) - y).mean()


def l2_loss(model: MLP, x: Array, y: Array, by: str) -> tuple[Any, Any]:
    """The mean of squared differences and its gradients, of a module or of a function of its parameters."""
    if by == "module":
        found: tuple[Any, Any] = nnx.jit(nnx.value_and_grad(_loss))(model, x, y)
        return found
    graph, state = nnx.split(model)
    return jax.jit(jax.value_and_grad(lambda state, x, y: _loss(nnx.merge(graph, state), x, y)))(state, x, y)
