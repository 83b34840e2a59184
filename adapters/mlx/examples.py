"""The example of MLX's documentation: linear layers in a list, what they print, and a loss of them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten


class MLP(nn.Module):
    """Linear layers, with the larger of zero and its input before each but the first."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.layers = layers

    def __call__(self, x: mx.array) -> mx.array:
        for number, layer in enumerate(self.layers):
            x = layer(mx.maximum(x, 0) if number else x)
        return x


def count(model: MLP) -> int:
    """How many numbers its parameters have."""
    return sum(value.size for _, value in tree_flatten(model.parameters()))


def l2_loss(model: MLP, x: mx.array, y: mx.array, by: str) -> tuple[Any, Any]:
    """The mean of squared differences and its gradients, of a module or of a function of its parameters."""

    def loss(x: mx.array, y: mx.array) -> mx.array:
        return (model(x) - y).square().mean()

    def of_parameters(parameters: Any, x: mx.array, y: mx.array) -> mx.array:
        model.update(parameters)
        return loss(x, y)

    if by == "module":
        found: tuple[Any, Any] = nn.value_and_grad(model, loss)(x, y)
        return found
    return mx.value_and_grad(of_parameters)(model.trainable_parameters(), x, y)
