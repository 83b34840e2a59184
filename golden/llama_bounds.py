"""The largest error that a correct Llama may show: per element of one operation, and through the whole model.

One operation, given its inputs exactly. Notation: u is the unit roundoff of the case's dtype, v = 2**-24 that of
float32, in which sums accumulate (`golden.bounds.gamma`). Every elementary operation of the written formula may round
once to the case's dtype, as it does where a framework carries the formula out operation by operation; one that fuses
them rounds less often. Relative errors multiply: n of them are at most (1 + u)**n - 1 (Higham 2002, lemma 3.1).

exp, log, sin, cos and 1/sqrt are within `ELEMENTARY` = 4 units in the last place, 8 v, the weakest that the vendors'
tables promise for float32 (Metal Shading Language Specification, section 8.4, exp, log, sin, cos: 4 ulp; CUDA C++
Programming Guide, mathematical functions, 1 to 2 ulp).

Through the whole model a bound made of worst cases says nothing. Logits, loss and gradients may differ from float64 by
`FACTOR` times the largest change that `SAMPLES` random perturbations of every weight by one unit in the last place of
float32, up or down, cause in float64; ids, the only other input, have no neighbours. A change is measured in the
maximum norm, of the logits of one position over the vocabulary, of the gradient of one parameter over its elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log

import numpy as np

from touchstone.golden import bounds, llama
from touchstone.golden.llama import Step
from touchstone.golden.streams import words

V = 2.0**-24
ELEMENTARY = 8 * V
SAMPLES = 64
FACTOR = 4


def _grow(*relative: float | np.ndarray) -> np.ndarray:
    """Relative errors one after another: the product of all (1 + e), less one."""
    return np.asarray(np.expm1(sum(np.log1p(e) for e in relative)))


def rms_norm(x: np.ndarray, expected: np.ndarray, dtype: str) -> np.ndarray:
    """x r w with r = 1 / sqrt(mean(x²) + ε).

    The squares round once, their sum accumulates, the division by their number and the sum with ε round once each: all
    terms are positive, so these are relative errors of what the root is taken of, and half of them those of r. Two
    products follow, and r may be rounded to the dtype before them.
    """
    u = bounds.unit_roundoff(dtype)
    inside = _grow(V, bounds.gamma(x.shape[-1]), V, V)
    relative = _grow(inside / 2, inside**2, ELEMENTARY, u, u)  # inside² covers what the square root's slope leaves out
    return _grow(relative) * np.abs(expected) + bounds.rounding(np.abs(expected) * (1 + relative), dtype)


def rope(x: np.ndarray, dtype: str, *, base: float, offset: int = 0) -> np.ndarray:
    """a cos θ - b sin θ and a sin θ + b cos θ, θ = p f with f = base**(-2i/d) = exp(-(2i/d) ln base).

    Computed in float32, the exponent has three roundings (2i/d, ln base, their product), an absolute error of f's
    logarithm; exp adds its own, and p f rounds: Δθ. A sine or cosine moves by at most Δθ, has its own error, and may be
    rounded to the dtype; then two products and one sum round.
    """
    u, (length, dims) = bounds.unit_roundoff(dtype), x.shape[-2:]
    angle = llama.angles(length, dims, offset, base)
    exponent = np.arange(0, dims, 2) / dims * log(base)
    moved = angle * (np.expm1(exponent * _grow(V, V, V)) + _grow(ELEMENTARY, V))
    a, b, c, s = np.abs(x[..., 0::2]), np.abs(x[..., 1::2]), np.abs(np.cos(angle)), np.abs(np.sin(angle))
    relative = _grow(ELEMENTARY, u, u, u)
    out = [(a + b) * moved * (1 + relative) + relative * terms for terms in (a * c + b * s, a * s + b * c)]
    return np.stack(out, -1).reshape(x.shape) + bounds.SMALLEST_SUBNORMAL[dtype]


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, dtype: str) -> np.ndarray:
    """softmax(s) v with s = q kᵀ / sqrt(d).

    1. A score's absolute error σ: accumulation over d, the rounded scale and the product with it, and the rounded
       score, once as it is and once after a mask was added.
    2. exp(s - max): the maximum's own error cancels in the quotient. σ, the difference's rounding, and exp's error make
       ε = σ + v |s - max| + 8 v, a relative error of the exponential.
    3. A probability p is 1 / (p + Σ p' exp(ε' - ε)) times itself, the sum over the other keys, whose exponents lie
       within the sum of both ε; then the sum's accumulation, and two roundings.
    4. The product with v accumulates over the keys, and the result rounds once.
    """
    u, keys = bounds.unit_roundoff(dtype), k.shape[-2]
    seen = np.tri(q.shape[-2], keys, keys - q.shape[-2], dtype=bool)
    root = np.sqrt(q.shape[-1])
    scores = np.where(seen, q @ k.swapaxes(-1, -2) / root, -np.inf)
    size = np.where(seen, np.abs(q) @ np.abs(k).swapaxes(-1, -2) / root, 0)
    sigma = size * _grow(bounds.gamma(q.shape[-1]), u, u, u, u)
    below = np.where(seen, scores.max(-1, keepdims=True) - scores, 0)
    eps = sigma + V * (below + 2 * sigma) + ELEMENTARY
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    summed = bounds.gamma(keys)
    apart = eps[..., :, None] + eps[..., None, :]
    others = p[..., None, :] * (1 - np.eye(keys))
    above, below = (1 / (p + (others * np.exp(sign * apart)).sum(-1)) for sign in (-1, 1))
    relative = _grow(np.maximum(above - 1, 1 - below), summed, u, u)
    size = np.abs(v)
    error = (p * relative) @ size + summed * ((p * (1 + relative)) @ size)
    return error + bounds.rounding(p @ size + error, dtype)


def swiglu(expected: np.ndarray, dtype: str) -> np.ndarray:
    """a · 1 / (1 + exp(-a)) · b: exp, sum, quotient and two products may each round to the dtype."""
    u = bounds.unit_roundoff(dtype)
    relative = _grow(ELEMENTARY, u, u, u, u)
    return relative * np.abs(expected) + bounds.rounding(np.abs(expected) * (1 + relative), dtype)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean of m + log Σ exp(l - m) - l[target] in float32.

    The differences round, exp has its error, the sum of positive terms accumulates: together the absolute error of the
    logarithm, which has its own. A sum and a difference of numbers no larger than the logits and the logarithm follow,
    then the mean of positive terms.
    """
    top = logits.max(-1)
    below = (top[:, None] - logits).max(-1)
    logs = np.log(np.exp(logits - top[:, None]).sum(-1))
    losses = top + logs - logits[np.arange(len(targets)), targets]
    each = np.expm1(V * below + np.log1p(_grow(ELEMENTARY, bounds.gamma(logits.shape[-1]))))
    each = each + ELEMENTARY * np.abs(logs) + V * (2 * np.abs(top) + 2 * np.abs(logs) + np.abs(losses))
    return np.asarray((each + _grow(bounds.gamma(len(targets)), V) * (np.abs(losses) + each)).mean())


def of(step: Step, dtype: str) -> np.ndarray:
    """The bound on the output of an operation whose inputs are those of the step. KeyError for one that is exact."""
    if step.kind == "linear":
        x, weight = step.inputs
        return bounds.linear(step.output, np.abs(x) @ np.abs(weight).T, x.shape[-1], dtype)
    if step.kind == "rms_norm":
        x, _ = step.inputs
        return rms_norm(x, step.output, dtype)
    if step.kind == "rope":
        (x,) = step.inputs
        return rope(x, dtype, **step.settings)
    if step.kind == "attend":
        q, k, v = step.inputs
        return attend(q, k, v, dtype)
    if step.kind == "swiglu":
        return swiglu(step.output, dtype)
    if step.kind == "cross_entropy":
        return cross_entropy(*step.inputs)
    raise KeyError(step.kind)


def perturbed(weights: Mapping[str, np.ndarray], sample: int) -> dict[str, np.ndarray]:
    """Every weight one unit in the last place of float32 away, up or down as PCG64's bits of `sample` say."""
    out = {}
    for name, value in weights.items():
        bits = words(f"llama/perturbation/{sample}/{name}", -(-value.size // 64))
        up = np.unpackbits(bits.view(np.uint8), count=value.size).reshape(value.shape)
        out[name] = value + np.where(up, 1, -1) * np.abs(np.spacing(value.astype(np.float32))).astype(np.float64)
    return out


def changes(
    function: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]], weights: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The largest absolute change per element of each result of `function` over the perturbations of the weights."""
    wide = llama.wide(weights)
    base = function(wide)
    out = {name: np.zeros(np.shape(value)) for name, value in base.items()}
    for sample in range(SAMPLES):
        for name, value in function(perturbed(wide, sample)).items():
            out[name] = np.maximum(out[name], np.abs(value - base[name]))
    return out


def logits(config: llama.Config, weights: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
    """Bound on logits ``[batch, length, vocabulary]``, the same for every logit of a position."""
    found = changes(lambda w: {"logits": llama.logits(config, w, ids)}, weights)["logits"]
    return np.broadcast_to(FACTOR * found.max(-1, keepdims=True), found.shape)


def gradients(config: llama.Config, weights: Mapping[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
    """Bound on the gradient of every weight by Meta's name, one for all its elements, and on the "loss"."""

    def function(w: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        loss, found = llama.gradients(config, w, ids)
        return {**found, "loss": loss}

    found = changes(function, weights)
    return {name: np.full(value.shape, FACTOR * value.max()) for name, value in found.items()}


def sgd_step(weight: np.ndarray, gradient: np.ndarray, bound: np.ndarray, learning_rate: float) -> np.ndarray:
    """Bound on w - η g in float32, g within `bound`: the product rounds, and the difference."""
    moved = learning_rate * (np.abs(gradient) + bound)
    return learning_rate * bound + V * moved + bounds.rounding(np.abs(weight) + 2 * moved, "float32")
