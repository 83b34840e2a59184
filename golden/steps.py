"""How far a weight may move under the quantization schemes that other libraries have, derived from their algorithms.

All round to nearest on a lattice of step s, so that an exact quotient w / s moves by at most half a step. What comes
on top is rounding. Let u be the unit roundoff of the arithmetic, L the number of steps that the scheme lays over a
group. A stored scale of k roundings differs from the exact step by a factor 1 + k u; the quotient rounds r times, which
moves it by r u L steps at most, and at the end of the range a code is clipped where the rounded scale is too small to
reach it, by k u L steps. Zero points are integers that the library reads back as it stored them: they shift the clipped
end only, by one rounding of min / s more. In all, with c the larger of r and of k (plus 1 where there is a zero point):

    |dequantized - w| <= s (1 + k u) (1/2 + c u L) + u (|w| + s)

the last term for the product that dequantizes. Where a scale is subnormal it moves by half the smallest subnormal
instead of u s, and an element by L times that.

| mode | L | s | k | r | c |
|---|---|---|---|---|---|
| intx | 2**b - 1 | (max(w, 0) - min(w, 0)) / L | 2 | 2 (times 1 / s) | 3 |
| keras | 15 | (max(w, 0) - min(w, 0) + 1e-7) / L | 3 | 1 | 4 |
| keras_rows | 7 | (max abs w + 1e-7) / L | 2 | 1 | 2 |
| qwix | 2**(b-1) - 1/2 | max abs w / L | 1 | 1 | 1 |
| q4_1 | 15 | (max - min) / L | 2 | 3 | 3 |
| q8_0 | 127 | max abs w / L | 1 | 2 | 2 |

Read in torchao 0.18 (quant_primitives: choose_qparams_affine, quantize_affine), Keras 3.15 (quantizers:
abs_max_quantize_grouped_with_zero_point, AbsMaxQuantizer, which stores 1 / s), qwix 0.1.8 (core/qarray.py, and
numerics.get_symmetric_bound: the largest quotient is L, half a step above the largest code and clipped to it), gguf
0.19 (quants.Q4_1, quants.Q8_0). Keras documents a zero point from -8 to 7; such a zero point needs a range with zero,
and that range is taken here. What Keras 3.15 ships takes max - min (keras-team/keras#23636).

GGUF stores d = s and m = min as float16 after the codes were chosen from the float32 ones: L (2**-11 d + 2**-25) for d
and 2**-11 |m| + 2**-25 for m on top; quantization and dequantization are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from touchstone.golden.bounds import SMALLEST_SUBNORMAL, rounding, unit_roundoff
from touchstone.golden.lattices import Lattice
from touchstone.golden.streams import DTYPES


@dataclass(frozen=True)
class Algorithm:
    """One row of the table above.

    halves: scale and offset are stored as float16. beyond: what L has more than the largest code.
    """

    extent: Literal["with zero", "range", "largest"]
    scale_roundings: int
    roundings: int
    epsilon: float = 0.0
    halves: bool = False
    beyond: float = 0.0

    def levels(self, bits: int) -> float:
        """L: steps from end to end of a group, or from zero to its largest magnitude."""
        return 2.0 ** (bits - (self.extent == "largest")) - 1 + self.beyond


ALGORITHMS = {
    "intx": Algorithm("with zero", 2, 3),
    "keras": Algorithm("with zero", 3, 4, epsilon=1e-7),
    "keras_rows": Algorithm("largest", 2, 2, epsilon=1e-7),
    "qwix": Algorithm("largest", 1, 1, beyond=0.5),
    "q4_1": Algorithm("range", 2, 3, halves=True),
    "q8_0": Algorithm("largest", 1, 2, halves=True),
}


def step(groups: np.ndarray, mode: str, bits: int) -> np.ndarray:
    """The exact step of every group: float64 ``[..., group]`` to ``[..., 1]``."""
    algorithm = ALGORITHMS[mode]
    low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
    if algorithm.extent == "largest":
        extent = np.maximum(-low, high)
    elif algorithm.extent == "with zero":
        extent = np.maximum(high, 0) - np.minimum(low, 0)
    else:
        extent = high - low
    return (extent + algorithm.epsilon) / algorithm.levels(bits)


def bound(groups: np.ndarray, mode: str, bits: int, dtype: str) -> np.ndarray:
    """Largest |dequantized - original| per element of float64 ``[..., group]``, by the formula of this module."""
    algorithm, steps, count = ALGORITHMS[mode], step(groups, mode, bits), ALGORITHMS[mode].levels(bits)
    arithmetic = "float32" if algorithm.halves else dtype
    u = unit_roundoff(arithmetic)
    moved = steps * (1 + algorithm.scale_roundings * u) * (0.5 + algorithm.roundings * u * count)
    product = rounding(np.abs(groups) + steps, arithmetic)
    if not algorithm.halves:
        return moved + product + count * SMALLEST_SUBNORMAL[dtype] / 2
    stored = count * rounding(steps, "float16")
    if algorithm.extent == "range":
        offset = groups.min(-1, keepdims=True)
        stored = stored + rounding(offset, "float16") + 2 * rounding(np.abs(offset) + count * steps, arithmetic)
    return moved + product + stored


def stored(value: np.ndarray, dtype: str) -> np.ndarray:
    """Bound on writing float64 numbers in a dtype: zero where the dtype holds them, else one rounding."""
    held = value.astype(DTYPES[dtype]).astype(np.float64) == value
    return np.where(held, 0.0, rounding(value, dtype))


def kept(scale: np.ndarray, offset: np.ndarray, bits: int, dtype: str) -> np.ndarray:
    """Bound on a conversion that keeps the codes and writes scale and offset in `dtype`: ``[..., groups]``."""
    return (2.0**bits - 1) * stored(scale, dtype) + stored(offset, dtype)


def integer_zero(scale: np.ndarray, offset: np.ndarray, slack: float) -> np.ndarray:
    """Bound on the shift of a group whose offset becomes an integer number of steps, the nearest: half a step.

    From 2 bits on, MLX's affine algorithm makes the offset a whole multiple of the scale and then rounds both, so that
    for its parts the shift is at most slack |offset|, slack the sum of the unit roundoffs that they went through;
    infinity for other parts.
    """
    half = np.abs(scale) / 2
    return np.where(offset == 0, 0.0, np.minimum(half, slack * np.where(offset == 0, 1.0, np.abs(offset))))


def converted(source: Lattice, mode: str, dtype: str, slack: float) -> np.ndarray:
    """Bound on |converted - source| per weight, ``[rows, columns]``; slack as in `integer_zero`.

    affine and q4_1 keep every code. q8_0 has no offset: at worst the weights are quantized as if they were originals.
    intx keeps the codes of a group where an int8 can hold its zero point. The middle of q is -1/2, so that integers
    from -128 to 127 are those within 128 steps of it: the group is kept if the middle of its lattice is that near to
    zero, and quantized as if of originals if not. Each weight is then q - zero_point steps, of which the offset's
    shift is one at most, and as many times does it move by what storing the scale moves that.
    """
    scale, offset, top = source.scale, source.offset, 2.0**source.bits - 1
    if mode in ("affine", "q4_1"):
        moved = kept(scale, offset, source.bits, dtype if mode == "affine" else "float16")
        return np.broadcast_to(moved, source.weights.shape).reshape(source.rows.shape)
    moved = bound(source.weights, mode, source.bits, dtype)
    if mode == "intx":
        size = np.abs(scale)
        steps = np.abs(source.weights) / np.where(size == 0, 1, size) + 1
        held = np.abs(offset + scale * top / 2) <= 128 * size
        moved = np.where(held, integer_zero(scale, offset, slack) + steps * stored(scale, dtype), moved)
    return moved.reshape(source.rows.shape)
