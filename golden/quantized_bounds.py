"""How far a dequantized weight may be from the original, per element, derived from what each mode really computes.

Notation: a group of weights with ends lo and hi, n = 2**bits - 1, u the unit roundoff of the table's dtype.

Affine (mlx/backend/cpu/quantized.cpp). The step s0 = max((hi - lo) / n, 1e-7). The end of larger magnitude, e, becomes
the bias. To make zero a code, t = |e| / s0 is rounded to q and the step becomes s = |e| / q = s0 t / q. Codes count
steps from e towards the other end, rounded to nearest and clipped to [0, n].
- A weight d away from e is within half a step, unless it lies beyond the last code, n s away: then it is clipped, by
  d - n s. The other end is d = hi - lo = n s0 away, so that is at most n s (q - t) / t. Since t >= n / 2 (e is the
  larger end) and q - t <= 1 / 2, it is at most one step s, and no more than half a step exactly where
  q <= t (1 + 1 / (2 n)). Without the refit, as documented, it is half a step.
- q = 0 happens only where the floor 1e-7 is at least 2 |e|: every code is 0, the bias is 0, and the weight is lost.
- bits = 1: s = max(hi - lo, 1e-7), the bias is lo, nothing is refitted or clipped: half a step.
MLX's Metal kernel (mlx/backend/metal/kernels/quantized.h of 0.32.4; read, not run) differs: its largest weight starts
at 0, so that a group of negative weights has hi = 0 and a wider step, and it rounds ties away from zero.

Block modes. The scale S is a power of two (E8M0) or an E4M3 value (`golden.packing.block_scale`); an element is w / S
rounded to nearest. |w| / S lies between two elements, whose half distance times S is the bound; beyond the largest
element (nvfp4, where the scale was rounded down or is the largest there is) it is the distance to that element. Where
S is 0 the weight is lost.

Rounding. The scale and the bias are stored in the table's dtype, which moves a weight d away from e by u (d + s / 2)
and u |e|, and half a smallest subnormal for the bias and for each of up to n steps. The quantizer computes in float32:
three operations on the quotient move a code's boundary by 3 * 2**-24 d, three on the step move its value as much.
"""

from __future__ import annotations

import numpy as np

from touchstone.golden.bounds import SMALLEST_SUBNORMAL, unit_roundoff
from touchstone.golden.packing import Format, block_scale, values_of

FLOAT32 = 2.0**-24
STEP_FLOOR = float(np.float32(1e-7))
"""The smallest step before refitting (`eps` in mlx/backend/cpu/quantized.cpp)."""


def _groups(weight: np.ndarray, form: Format) -> np.ndarray:
    return weight.astype(np.float64).reshape(len(weight), -1, form.group_size)


def _affine_frame(weight: np.ndarray, form: Format, nudge: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bias, signed step, whether the weight is kept) per group, ``[rows, groups, 1]``, in float64.

    nudge: a factor on t, to find what float32 may have rounded it to.
    """
    groups, n = _groups(weight, form), 2**form.bits - 1
    low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
    step = np.maximum((high - low) / n, STEP_FLOOR)
    if form.bits == 1:
        return low, step, np.ones_like(step, bool)
    edge = np.where(np.abs(low) > np.abs(high), low, high)
    away = np.where(np.abs(low) > np.abs(high), 1.0, -1.0)
    q = np.rint(np.abs(edge) / step * nudge)
    step = np.where(q == 0, step, np.abs(edge) / np.maximum(q, 1))
    return np.where(q == 0, 0, edge), step * away, q != 0


def affine_quotients(weight: np.ndarray, form: Format) -> np.ndarray:
    """(w - bias) / step before it is rounded to a code, float64 ``[rows, columns]``."""
    bias, step, _ = _affine_frame(weight, form)
    return ((_groups(weight, form) - bias) / step).reshape(weight.shape)


def affine_steps(weight: np.ndarray, form: Format) -> np.ndarray:
    """The refitted step s of each group, ``[rows, groups]`` float64."""
    return np.abs(_affine_frame(weight, form)[1])[..., 0]


def _rounding(weight: np.ndarray, form: Format, bias: np.ndarray, step: np.ndarray) -> np.ndarray:
    """What storing scale and bias in the dtype, and computing in float32, add per element of the groups."""
    dtype, n = weight.dtype.name, 2**form.bits - 1
    reach = np.minimum(np.abs(_groups(weight, form) - bias) + step / 2, n * step)
    stored = unit_roundoff(dtype) * (reach + np.abs(bias)) + (n + 1) * SMALLEST_SUBNORMAL[dtype] / 2
    return stored + 6 * FLOAT32 * (reach + step) + FLOAT32 * np.abs(bias)


def affine(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bound on |dequantized - weight| in mode "affine", ``[rows, columns]`` float64.

    Where t lies within float32 rounding of a tie, the larger of both bounds is taken.
    """
    groups, n = _groups(weight, form), 2**form.bits - 1
    out = np.zeros_like(groups)
    for nudge in (1 - 4 * FLOAT32, 1 + 4 * FLOAT32):
        bias, step, kept = _affine_frame(weight, form, nudge)
        step = np.abs(step)
        clipped = np.abs(groups - bias) - n * step
        bound = np.maximum(step / 2, clipped) + _rounding(weight, form, bias, step)
        out = np.maximum(out, np.where(kept, bound, np.abs(groups)))
    return out.reshape(weight.shape)


def documented(weight: np.ndarray, form: Format) -> np.ndarray:
    """What the documented formula implies, its bias the smallest weight: half of (hi - lo) / n, plus rounding."""
    groups = _groups(weight, form)
    low = groups.min(-1, keepdims=True)
    step = (groups.max(-1, keepdims=True) - low) / (2**form.bits - 1)
    return (step / 2 + _rounding(weight, form, low, step)).reshape(weight.shape)


def block(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bound on |dequantized - weight| in modes mxfp4, mxfp8 and nvfp4, ``[rows, columns]`` float64."""
    groups = np.abs(_groups(weight, form))
    largest = groups.max(-1)
    # The quantizer's own quotient is rounded to float32, so that a scale near a tie may be either of two.
    low, high = (block_scale(largest * nudge, form) for nudge in (1 - FLOAT32, 1 + FLOAT32))
    bound = _block_at(groups, low, form)
    either = low != high
    bound[either] = np.maximum(bound[either], _block_at(groups[either], high[either], form))
    return bound.reshape(weight.shape)


def _block_at(sizes: np.ndarray, scale: np.ndarray, form: Format) -> np.ndarray:
    scale = scale[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(scale == 0, 0, sizes / scale)
    elements = values_of(form.element)
    elements = elements[: len(elements) // 2]
    elements = elements[~np.isnan(elements)]
    upper = np.searchsorted(elements, quotient).clip(1, len(elements) - 1)
    half = (elements[upper] - elements[upper - 1]) / 2
    beyond = quotient - elements[-1]
    # A quotient computed in float32 may fall on the other side of the middle between two elements.
    off = np.where(beyond > 0, beyond, half) + FLOAT32 * quotient
    return np.where(scale == 0, sizes, off * scale)


def weights(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bound on |dequantized - weight| per element ``[rows, columns]``, float64, for weights of any mode."""
    return affine(weight, form) if form.mode == "affine" else block(weight, form)


def step_per_element(weight: np.ndarray, form: Format) -> np.ndarray:
    """The distance between neighbouring codes at each weight, float64: what a mean error is counted in."""
    if form.mode == "affine":
        return np.repeat(affine_steps(weight, form), form.group_size, axis=-1).reshape(weight.shape)
    return 2 * block(weight, form)
