"""The example of MLX's documentation in PyTorch: linear layers in a list, what they print, and a loss of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers, with the larger of zero and its input before each but the first."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x.relu() if number else x)
        return x


def count(model: MLP) -> int:
    """How many numbers its parameters have."""
    return sum(value.numel() for value in model.parameters())


def l2_loss(model: MLP, x: Tensor, y: Tensor, by: str) -> tuple[Any, Mapping[str, Any]]:
    """The mean of squared differences and its gradients, of a module or of a function of its parameters."""
    if by == "module":
        value = (model(x) - y).square().mean()
        value.backward()
        return value, {name: one.grad for name, one in model.named_parameters()}

    def of_parameters(parameters: Any) -> Tensor:
        return (torch.func.functional_call(model, parameters, (x,)) - y).square().mean()

    gradients, value = torch.func.grad_and_value(of_parameters)(dict(model.named_parameters()))
    return value, gradients
