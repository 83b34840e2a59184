"""The lattices of MLX's affine parts, torchao's intx parts and GGUF's blocks: the oracle of conversion, exact.

Written from docs/conversion.md and ggml-common.h, shares no code with any adapter. The exception to exact: the one
float64 sum of scale * code + offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from touchstone.golden.packing import dequantize, format_of

BLOCKS = {
    "q4_1": np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]),
    "q8_0": np.dtype([("d", "<f2"), ("q", "i1", 32)]),
}
"""block_q4_1: the low nibbles are weights 0 to 15, the high ones 16 to 31; block_q8_0."""


@dataclass(frozen=True)
class Lattice:
    """float64 weights ``[rows, groups, group_size]``, and the lattice that they lie on.

    scale, offset: float64 ``[rows, groups, 1]``, of every group the step between codes and what code 0 stands for.
    """

    weights: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    bits: int

    @property
    def rows(self) -> np.ndarray:
        """The weights ``[rows, columns]``."""
        return self.weights.reshape(len(self.weights), -1)


def affine(words: np.ndarray, scales: np.ndarray, biases: np.ndarray, bits: int, group_size: int) -> Lattice:
    """uint32 words, scales and biases ``[rows, groups]``: scale * code + bias, so that the bias is the offset."""
    weights = dequantize(words, scales, biases, format_of("affine", bits, group_size))
    scale, offset = (part.astype(np.float64)[..., None] for part in (scales, biases))
    return Lattice(weights.reshape(*scales.shape, group_size), scale, offset, bits)


def intx(q: np.ndarray, scales: np.ndarray, zero_points: np.ndarray, bits: int, group_size: int) -> Lattice:
    """(q - zero_point) * scale; the smallest q, code 0, is -2**(bits-1)."""
    scale, zero = (part.astype(np.float64)[..., None] for part in (scales, zero_points))
    steps = q.astype(np.float64).reshape(*scales.shape, group_size) - zero
    return Lattice(steps * scale, scale, (-(2.0 ** (bits - 1)) - zero) * scale, bits)


def blocks(raw: np.ndarray, mode: str) -> Lattice:
    """uint8 ``[rows, bytes]``: d * q + m with q from 0 (q4_1), d * q with q from -128 (q8_0)."""
    found = np.ascontiguousarray(raw).view(BLOCKS[mode])
    d, q = found["d"].astype(np.float64)[..., None], found["q"]
    if mode == "q8_0":
        return Lattice(d * q, d, -128 * d, 8)
    m = found["m"].astype(np.float64)[..., None]
    return Lattice(d * np.concatenate([q % 16, q // 16], axis=-1) + m, d, m, 4)
