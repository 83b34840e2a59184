"""The largest error that a correct implementation may show, per element, derived.

Notation: u is the unit roundoff 2**-p of a dtype with p significand bits, K the number of terms.

Accumulation. |ŷ - y| <= γ |x||W|ᵀ with γ_K = K u / (1 - K u) in the worst case (Higham, *Accuracy and Stability
of Numerical Algorithms*, 2002, section 3.1) and γ̃_K(λ) = exp(λ √K u + K u² / (1 - u)) - 1 with probability at
least 1 - 2 K exp(-λ² (1 - u)² / 2) (Higham & Mary, *A New Approach to Probabilistic Rounding Error Analysis*,
SIAM J. Sci. Comput. 41(5), 2019, theorem 3.1). The smaller of the two is used, with u = 2**-24: every dtype
here is specified to accumulate in float32.

Rounding of the result adds u_out |y|, u_out the roundoff of the result's dtype, and half the smallest subnormal.
"""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np

from touchstone.golden.streams import SIGNIFICAND_BITS

FALSE_ALARM = 1e-9
"""Probability that any element of a whole run exceeds its probabilistic bound although all is well."""
ELEMENTS = 1_000_000
"""Elements over which `FALSE_ALARM` is a union bound; the golden cases hold fewer. A user's table may hold N times as
many, which makes the false-alarm probability N times as large: 1e-6 at a billion elements."""
SMALLEST_SUBNORMAL = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}
LARGEST = {"float32": (2 - 2.0**-23) * 2.0**127, "float16": 65504.0, "bfloat16": (2 - 2.0**-7) * 2.0**127}


def overflow(dtype: str) -> float:
    """The smallest number that is rounded to infinity: half a unit in the last place above the largest."""
    return LARGEST[dtype] * (1 + unit_roundoff(dtype) / (2 - 2 * unit_roundoff(dtype)))


def unit_roundoff(dtype: str) -> float:
    """2**-p: half the distance from 1 to the next larger number."""
    return 2.0 ** -SIGNIFICAND_BITS[dtype]


def lambda_for(terms: int) -> float:
    """λ such that 2 K exp(-λ²/2) over `ELEMENTS` elements is `FALSE_ALARM` (9.3 at K = 4096)."""
    return sqrt(2 * log(2 * max(terms, 1) * ELEMENTS / FALSE_ALARM))


def gamma(terms: int, u: float = 2.0**-24) -> float:
    """Accumulation factor: the smaller of the worst-case γ_K and the probabilistic γ̃_K(λ)."""
    worst = terms * u / (1 - terms * u) if terms * u < 1 else float("inf")
    likely = exp(lambda_for(terms) * sqrt(terms) * u + terms * u * u / (1 - u)) - 1
    return min(worst, likely)


def rounding(value: np.ndarray, dtype: str) -> np.ndarray:
    """Error of one rounding to `dtype`: u |value|, and half the smallest subnormal near zero."""
    return unit_roundoff(dtype) * np.abs(value) + SMALLEST_SUBNORMAL[dtype] / 2


def linear(expected: np.ndarray, magnitude: np.ndarray, terms: int, dtype: str) -> np.ndarray:
    """Bound on x Wᵀ: accumulation of `terms` products in float32, then one rounding to `dtype`.

    expected, magnitude (= |x||W|ᵀ): float64, one entry per element of the result.
    """
    accumulated = gamma(terms) * magnitude
    return accumulated + rounding(np.abs(expected) + accumulated, dtype)


def linear_with_bias(
    product: np.ndarray, magnitude: np.ndarray, bias: np.ndarray, terms: int, dtype: str
) -> np.ndarray:
    """Bound on x Wᵀ + b where the bias may be fused (one rounding) or added to a rounded product (two)."""
    product_bound = linear(product, magnitude, terms, dtype)
    total = np.abs(product + bias) + product_bound
    # In float32 the addition itself rounds once more than the K-term sum.
    return product_bound + rounding(total, dtype) + 2.0**-24 * total


def sgd_step(parameter: np.ndarray, gradient: np.ndarray, error: np.ndarray, rate: float, dtype: str) -> np.ndarray:
    """Bound on p - r g of a gradient that is off by `error` at most.

    Three roundings to `dtype`: of the rate, which optimizers hold in the parameter's dtype, of its product with the
    gradient, and of the difference. A fused multiply-add saves one. Subnormal products lose half the smallest number.
    """
    largest = np.abs(gradient) + error
    moved = (1 + unit_roundoff(dtype)) * (rate * largest * (1 + unit_roundoff(dtype)) + SMALLEST_SUBNORMAL[dtype] / 2)
    stray = rate * error + (moved - rate * largest)
    return stray + rounding(np.abs(parameter - rate * gradient) + stray, dtype)


def dequantization(scaled: np.ndarray, value: np.ndarray, dtype: str) -> np.ndarray:
    """Bound on one element of scale · code + bias: the product and the sum each rounded to `dtype`, or only the sum."""
    product = rounding(scaled, dtype)
    return product + rounding(np.abs(value) + product, dtype)
