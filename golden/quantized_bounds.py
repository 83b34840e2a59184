"""How far a dequantized weight may be from the original, per element, derived from what each mode really computes.

Notation: a group of weights with ends lo and hi, n = 2**bits - 1, u the unit roundoff of the table's dtype.

Affine (mlx/backend/cpu/quantized.cpp; the Metal kernel alike). The step s0 = max((hi - lo) / n, 1e-7). The end of
larger magnitude, e, becomes the bias. To make zero a code, t = |e| / s0 is rounded to q and the step becomes
s = |e| / q = s0 t / q. Codes count steps from e towards the other end, rounded to nearest and clipped to [0, n].
- The other end is d = hi - lo = n s0 away, and the last code reaches n s. What is beyond is clipped, by
  d - n s = n s (q - t) / t. Since t >= n / 2 (e is the larger end) and q - t <= 1 / 2, that is at most one step s, and
  no more than half a step exactly where q <= t (1 + 1 / (2 n)). Without the refit, as documented, it is half a step.
- Every other weight is within half a step s.
- q = 0 happens only where the floor 1e-7 is at least 2 |e|: every code is 0, the bias is 0, and the weight is lost.
- bits = 1: s = max(hi - lo, 1e-7), the bias is lo, nothing is refitted or clipped: half a step.

Block modes. The scale S is a power of two (E8M0) or an E4M3 value (`golden.packing.block_scale`); an element is w / S
rounded to nearest. |w| / S lies between two elements, whose half distance times S is the bound; beyond the largest
element (nvfp4, where the scale was rounded down or is the largest there is) it is the distance to that element. Where
S is 0 the weight is lost.

Rounding. The scale and the bias are stored in the table's dtype: u (n s) + u |e|, and half a smallest subnormal for the
bias and for each of up to n steps. The quantizer computes in float32: three operations on the quotient move a code's
boundary by 3 * 2**-24 of the distance from the bias, three on the step move the far end as much.
"""

from __future__ import annotations

import numpy as np

from golden.bounds import SMALLEST_SUBNORMAL, unit_roundoff
from golden.packing import Format, block_scale, values_of

FLOAT32 = 2.0**-24
STEP_FLOOR = float(np.float32(1e-7))
"""The smallest step before refitting (`eps` in mlx/backend/cpu/quantized.cpp)."""


def _groups(weight: np.ndarray, form: Format) -> np.ndarray:
    return weight.astype(np.float64).reshape(len(weight), -1, form.group_size)


def affine_steps(weight: np.ndarray, form: Format) -> tuple[np.ndarray, np.ndarray]:
    """(s, excess) per group: the refitted step, and how far the far end lies beyond the last code, in weight units.

    Where t lies within float32 rounding of a tie, the q that gives the larger bound is taken.
    """
    groups, n = _groups(weight, form), 2**form.bits - 1
    low, high = groups.min(-1), groups.max(-1)
    span = high - low
    first = np.maximum(span / n, STEP_FLOOR)
    if form.bits == 1:
        return first, np.zeros_like(first)
    edge = np.maximum(np.abs(low), np.abs(high))
    best: tuple[np.ndarray, np.ndarray] | None = None
    for nudge in (1 - 4 * FLOAT32, 1 + 4 * FLOAT32):
        q = np.rint(edge / first * nudge)
        step = np.where(q == 0, first, edge / np.maximum(q, 1))
        excess = np.where(q == 0, edge, np.maximum(span - n * step, 0))
        if best is None:
            best = step, excess
        else:
            larger = np.maximum(step / 2, excess) > np.maximum(best[0] / 2, best[1])
            best = np.where(larger, step, best[0]), np.where(larger, excess, best[1])
    assert best is not None
    return best


def _rounding(weight: np.ndarray, form: Format, step: np.ndarray) -> np.ndarray:
    """What storing scale and bias in the dtype, and computing in float32, add per group."""
    groups, n, dtype = _groups(weight, form), 2**form.bits - 1, weight.dtype.name
    edge, span = np.abs(groups).max(-1), groups.max(-1) - groups.min(-1)
    reach = np.minimum(n * step, span + step)
    stored = unit_roundoff(dtype) * (reach + edge) + (n + 1) * SMALLEST_SUBNORMAL[dtype] / 2
    return stored + 6 * FLOAT32 * reach + FLOAT32 * edge


def affine(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bound on |dequantized - weight| in mode "affine", ``[rows, columns]`` float64."""
    step, excess = affine_steps(weight, form)
    bound = np.maximum(step / 2, excess) + _rounding(weight, form, step)
    return _per_element(bound, weight, form)


def documented(weight: np.ndarray, form: Format) -> np.ndarray:
    """What the documented formula implies: half of (hi - lo) / n, plus the same rounding."""
    groups = _groups(weight, form)
    step = (groups.max(-1) - groups.min(-1)) / (2**form.bits - 1)
    return _per_element(step / 2 + _rounding(weight, form, step), weight, form)


def _per_element(per_group: np.ndarray, weight: np.ndarray, form: Format) -> np.ndarray:
    return np.repeat(per_group, form.group_size, axis=-1).reshape(weight.shape)


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
        return _per_element(affine_steps(weight, form)[0], weight, form)
    return 2 * block(weight, form)
