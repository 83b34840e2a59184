"""Embedding and linear modules over MLX's packed parts, in PyTorch operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from touchstone.adapters.interface import Scheme
from touchstone.adapters.torch.packing import dequantize
from touchstone.adapters.torch.product import product


class _Quantized(nn.Module):
    def __init__(self, weight: Tensor, scales: Tensor, biases: Tensor | None, scheme: Scheme) -> None:
        super().__init__()
        self.scheme = scheme
        for name, value in (("weight", weight), ("scales", scales), ("biases", biases)):
            self.register_buffer(name, value)

    def _matmul(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.scales, self.biases, self.scheme)

    def extra_repr(self) -> str:
        rows, groups = self.scales.shape
        return f"{rows}, {groups * self.scheme.group_size}, {self.scheme}"


class QuantizedEmbedding(_Quantized):
    def forward(self, ids: Tensor) -> Tensor:
        rows = (None if p is None else nn.functional.embedding(ids, p) for p in (self.weight, self.scales, self.biases))
        words, scales, biases = rows
        # As mlx.nn.QuantizedEmbedding: rows of a mode without biases are bfloat16, in which they are exact.
        dtype = torch.bfloat16 if biases is None else biases.dtype
        return dequantize(words, scales, biases, self.scheme, dtype)

    def as_linear(self, x: Tensor) -> Tensor:
        return self._matmul(x)


class QuantizedLinear(_Quantized):
    def __init__(
        self, weight: Tensor, scales: Tensor, biases: Tensor | None, scheme: Scheme, bias: Tensor | None = None
    ) -> None:
        super().__init__(weight, scales, biases, scheme)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self._matmul(x)
        return out if self.bias is None else out + self.bias
