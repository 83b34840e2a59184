"""How far a converted weight may be from its source, per element, from what the target itself stores.

Notation: u is the unit roundoff 2**-p of a dtype of p significand bits.

Narrower dtype. Rounding to nearest moves a number by half the distance between its neighbours in that dtype.

Affine codes (scale s, offset e, n the largest code; docs/packed-format.md). A quantizer that rounds to the nearest
code is off by |s| / 2 wherever the weight lies between the ends of its group's lattice, e and e + n s. MLX refits the
step so that zero is a code, which may leave the far end up to one step outside (`golden.quantized_bounds`): such a
weight is clipped. s and e were rounded to their dtype after the codes were chosen: u (|w - e| + |s| / 2), u |e|, and
half a smallest subnormal for e and each of up to n steps. The quantizer works in float32: 3 * 2**-24 |w - e|.

A lattice that is far wider than its group holds everything within half a step and nothing of the weights. So the step
is bounded too, by what any quantizer of these forms needs: one that is symmetric about zero has 2 max|w| / n, and
refitting makes it at most half as large again: 3 max|w| / n, or the smallest step there is.

Block modes (scale S). The element nearest to w / S is half a gap of the elements away. Beyond the largest element M the
weight saturates: an E8M0 scale of floor(log2(largest)) - emax (OCP Microscaling Formats v1.0, section 6.3) reaches it
up to a third of M S too early, an E4M3 scale by 2**-4 of it, or where it is subnormal by half its smallest number,
2**-10 M. The smallest power of two that reaches the largest weight is less than twice max|w| / M, which bounds S. A
scale of zero loses weights below the smallest scale.

Converters cast a model before they quantize it: where the target's other tensors are in a narrower dtype than their
sources, half the distance between that dtype's neighbours comes on top.

GGUF's blocks (llama.cpp, ggml-common.h): half a step, where Q4_0 and Q5_0 may clip the positive end by one step; the
float16 scale and minimum add 2**-11 of what they scale, twice.

Codes written as numbers. Product, sum and result are rounded once each; the product is at most |v| + |e|, and e is a
weight of its group. GGUF's products are exact in float32, so that only the sum and the result are rounded.
"""

from __future__ import annotations

import numpy as np

from touchstone.golden.packing import values_of
from touchstone.migration.parameters import Dequantized

SIGNIFICAND = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8, "float8_e4m3fn": 4, "float8_e5m2": 3}
"""Significand bits p, the implicit one included."""
SMALLEST = {
    "float64": 2.0**-1074,
    "float32": 2.0**-149,
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float8_e4m3fn": 2.0**-9,
    "float8_e5m2": 2.0**-16,
}
"""The smallest subnormal."""
FLOAT32 = 2.0**-24
STEP_FLOOR = 2e-7
"""MLX's smallest step is 1e-7 before it is refitted (`eps` in mlx/backend/cpu/quantized.cpp)."""
SMALLEST_SCALE = {"E8M0": 2.0**-127, "E4M3": 2.0**-9}
LEVELS = {"Q4_0": 8, "Q4_1": 15, "Q5_0": 16, "Q5_1": 31, "Q8_0": 127}
"""GGUF's types -> steps from zero to the largest magnitude, or from end to end."""
CLIPPED = {"Q4_0": 7, "Q5_0": 15}
"""GGUF's symmetric types -> steps from zero to the end that may be clipped."""


def narrowing(values: np.ndarray, dtype: str) -> np.ndarray:
    """Half the distance between the neighbours of float64 `values` in `dtype`."""
    _, exponent = np.frexp(values)
    with np.errstate(over="ignore"):
        return np.maximum(np.ldexp(1.0, exponent - SIGNIFICAND[dtype]), SMALLEST[dtype]) / 2


def dequantized(values: np.ndarray, codes: str, dtype: str, group: int | None) -> np.ndarray:
    """A source's float64 `values` of codes, computed in the dtype `codes`, written in `dtype`.

    group: how many neighbours share an offset, None where neighbours of the source are not neighbours here; 0 where
    products are exact.
    """
    u, size = 2.0 ** -SIGNIFICAND[codes], np.abs(values)
    if group:
        largest = np.repeat(size.reshape(*size.shape[:-1], -1, group).max(-1), group, axis=-1)
    else:
        largest = np.zeros(()) if group == 0 else np.fmax.reduce(size, axis=None, initial=0.0)  # of those known
    return u * (2 * size + largest) + SMALLEST[codes] + narrowing(values, dtype)


def computed(values: np.ndarray, dtype: str) -> np.ndarray:
    """Float64 `values` of exp or log in float32, written in `dtype`.

    NumPy's own validation of its float32 loops allows 4 units in the last place (numpy/_core/tests/data,
    umath-validation-set-exp and -log).
    """
    return 8 * FLOAT32 * np.abs(values) + SMALLEST["float32"] + narrowing(values, dtype)


def normalized(values: np.ndarray, terms: int) -> np.ndarray:
    """How far float64 `values`, divided by a length of so many terms, may be from a library's, computed in float32.

    The sum of squares is off by at most terms F of itself, its root by half of that (Higham 2002, section 3.1).
    """
    return (terms / 2 + 4) * FLOAT32 * np.abs(values)


def quantized(source: np.ndarray, found: Dequantized, dtype: str, through: str = "") -> np.ndarray:
    """Bound on |found - source| for MLX's packed forms.

    source: float64 ``[rows, columns]``; dtype: of the scales; through: the narrower dtype that the weights were cast
    to before, "" for none.
    """
    grouped = source.reshape(*found.scale.shape, found.form.group_size)
    make = _affine if found.offset is not None else _block
    bound = make(grouped, found, dtype).reshape(source.shape)
    return bound + narrowing(source, through) if through else bound


def _affine(w: np.ndarray, found: Dequantized, dtype: str) -> np.ndarray:
    assert found.offset is not None
    n, u, tiny = 2**found.form.bits - 1, 2.0 ** -SIGNIFICAND[dtype], SMALLEST[dtype] / 2
    step, offset = found.scale[..., None], found.offset[..., None]
    widest = np.maximum(3 * np.abs(w).max(-1, keepdims=True) / n, STEP_FLOOR) * (1 + 4 * u) + tiny
    half = np.minimum(np.abs(step), widest) / 2
    away = w - offset
    low, high = away.min(-1, keepdims=True), away.max(-1, keepdims=True)
    ends = np.minimum(0, n * step), np.maximum(0, n * step)
    rounding = (u + 3 * FLOAT32) * np.abs(away) + (u * (half + np.abs(offset)) + (n + 1) * tiny)
    is_clipped = (low < ends[0] - half) | (high > ends[1] + half)
    if not is_clipped.any():
        return rounding + half
    outside = np.maximum(ends[0] - away, away - ends[1])
    return rounding + np.clip(outside, half, 2 * half * (1 + n * 2 * (u + FLOAT32)))


def _block(w: np.ndarray, found: Dequantized, dtype: str) -> np.ndarray:
    elements = values_of(found.form.element)
    elements = elements[: len(elements) // 2]
    elements = elements[~np.isnan(elements)]
    sizes = np.abs(w)
    # A cast to bfloat16 before may have moved the largest weight by 2**-8 of it.
    widest = 2 * sizes.max(-1, keepdims=True) / elements[-1] * (1 + 2.0**-7) + SMALLEST_SCALE[found.form.scale]
    scale = np.minimum(found.scale[..., None], widest)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(scale == 0, 0.0, sizes / scale)
    upper = np.searchsorted(elements, quotient).clip(1, len(elements) - 1)
    half = (elements[upper] - elements[upper - 1]) / 2
    too_early = np.full(scale.shape, 1 / 3)
    if found.form.scale == "E4M3":  # where it is subnormal, its own rounding is as large as half its smallest number
        with np.errstate(divide="ignore"):
            too_early = np.maximum(too_early, np.where(scale == 0, 0.0, SMALLEST_SCALE["E4M3"] / 2 / scale))
    beyond = np.minimum(quotient - elements[-1], elements[-1] * too_early)
    off = np.where(quotient > elements[-1], np.maximum(beyond, half), half) + FLOAT32 * quotient
    lost = np.minimum(sizes, elements[-1] * 2.0**-10)
    return np.where(scale == 0, lost, off * scale)


def blocks(source: np.ndarray, step: np.ndarray, encoding: str) -> np.ndarray:
    """Bound for GGUF's types. source: float64 ``[rows, columns]``; step: ``[rows, columns / 32]``."""
    w = source.reshape(*step.shape, -1)
    sizes = np.abs(w)
    widest = 2 * sizes.max(-1, keepdims=True) / LEVELS[encoding] * (1 + 2.0**-7) + 2.0**-23
    size = np.minimum(np.abs(step.astype(np.float64))[..., None], widest)
    over = np.clip(sizes - CLIPPED[encoding] * size, 0.0, size) if encoding in CLIPPED else np.zeros_like(w)
    stored = 2.0**-11 * (3 * sizes + 64 * size) + 2.0**-24
    return (np.maximum(size / 2, over) + stored).reshape(source.shape)
