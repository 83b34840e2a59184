"""MLX's packed affine format computed with PyTorch operations, on the tensors' own device.

Words are held as int32 (the same bits as MLX's uint32, low codes first), because PyTorch implements
few operations for uint32. scales and biases are ``[rows, columns / group_size]``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TILE_ROWS = 4096
"""Rows that the matrix product dequantizes at a time; the full table is never materialised."""


def quantize(weight: Tensor, bits: int, group_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """``weight [rows, columns]`` -> int32 words, scales, biases by MLX's affine algorithm in float32.

    Raises ValueError where columns do not divide by the group.
    """
    rows, columns = weight.shape
    if columns % group_size:
        raise ValueError(f"the last dimension, {columns}, does not divide by group_size {group_size}")
    groups = weight.float().reshape(rows, -1, group_size)
    low, high = groups.amin(-1), groups.amax(-1)
    bins = float(2**bits - 1)
    scale = ((high - low) / bins).clamp_min(1e-7)
    from_low = low.abs() > high.abs()
    scale = torch.where(from_low, scale, -scale)
    edge = torch.where(from_low, low, high)
    steps = torch.round(edge / scale)
    refit = steps != 0
    scale = torch.where(refit, edge / torch.where(refit, steps, torch.ones_like(steps)), scale)
    bias = torch.where(refit, edge, torch.zeros_like(edge))
    codes = torch.round((groups - bias.unsqueeze(-1)) / scale.unsqueeze(-1)).clamp(0, bins).long()
    lanes = codes.reshape(rows, -1, 32 // bits) << _shifts(bits, weight.device)
    words = lanes.sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int(), scale.to(weight.dtype), bias.to(weight.dtype)


def _shifts(bits: int, device: torch.device) -> Tensor:
    return torch.arange(0, 32, bits, device=device)


def dequantize(words: Tensor, scales: Tensor, biases: Tensor, bits: int, group_size: int) -> Tensor:
    """Rows of packed parts, ``[..., words]`` -> ``[..., columns]`` in the dtype of the scales."""
    codes = (words.unsqueeze(-1) >> _shifts(bits, words.device).int()) & (2**bits - 1)
    codes = codes.reshape(*scales.shape, group_size).to(scales.dtype)
    return (codes * scales.unsqueeze(-1) + biases.unsqueeze(-1)).flatten(-2)


class _Quantized(nn.Module):
    def __init__(self, weight: Tensor, scales: Tensor, biases: Tensor, bits: int, group_size: int) -> None:
        super().__init__()
        self.bits, self.group_size = bits, group_size
        for name, value in (("weight", weight), ("scales", scales), ("biases", biases)):
            self.register_buffer(name, value)

    def _matmul(self, x: Tensor) -> Tensor:
        tiles = [
            x @ dequantize(words, scales, biases, self.bits, self.group_size).T
            for words, scales, biases in zip(
                *(b.split(TILE_ROWS) for b in (self.weight, self.scales, self.biases)), strict=True
            )
        ]
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles, dim=-1)

    def extra_repr(self) -> str:
        rows, groups = self.scales.shape
        return f"{rows}, {groups * self.group_size}, group_size={self.group_size}, bits={self.bits}"


class QuantizedEmbedding(_Quantized):
    def forward(self, ids: Tensor) -> Tensor:
        words, scales, biases = (nn.functional.embedding(ids, p) for p in (self.weight, self.scales, self.biases))
        return dequantize(words, scales, biases, self.bits, self.group_size)

    def as_linear(self, x: Tensor) -> Tensor:
        return self._matmul(x)


class QuantizedLinear(_Quantized):
    def __init__(
        self, weight: Tensor, scales: Tensor, biases: Tensor, bits: int, group_size: int, bias: Tensor | None = None
    ) -> None:
        super().__init__(weight, scales, biases, bits, group_size)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self._matmul(x)
        return out if self.bias is None else out + self.bias
