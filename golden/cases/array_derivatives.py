"""Cases of second derivatives: of functions of one number, at points where both derivatives are of ordinary size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log, pi, sqrt

import numpy as np

from touchstone.golden.catalogue import Case

Function = Callable[[np.ndarray], np.ndarray]
_INSIDE, _BEYOND = np.linspace(0.125, 0.875, 13), np.linspace(1.125, 2.625, 13)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


SECOND: Mapping[str, tuple[np.ndarray, Function]] = {
    "exp": (_INSIDE, np.exp),
    "expm1": (_INSIDE, np.exp),
    "sin": (_INSIDE, lambda x: -np.sin(x)),
    "cos": (_INSIDE, lambda x: -np.cos(x)),
    "tan": (_INSIDE, lambda x: 2 * np.tan(x) / np.cos(x) ** 2),
    "sinh": (_INSIDE, np.sinh),
    "cosh": (_INSIDE, np.cosh),
    "tanh": (_INSIDE, lambda x: -2 * np.tanh(x) / np.cosh(x) ** 2),
    "arcsin": (_INSIDE, lambda x: x / (1 - x**2) ** 1.5),
    "arccos": (_INSIDE, lambda x: -x / (1 - x**2) ** 1.5),
    "arctan": (_INSIDE, lambda x: -2 * x / (1 + x**2) ** 2),
    "arcsinh": (_INSIDE, lambda x: -x / (1 + x**2) ** 1.5),
    "arccosh": (_BEYOND, lambda x: -x / (x**2 - 1) ** 1.5),
    "arctanh": (_INSIDE, lambda x: 2 * x / (1 - x**2) ** 2),
    "log": (_BEYOND, lambda x: -1 / x**2),
    "log1p": (_INSIDE, lambda x: -1 / (1 + x) ** 2),
    "log2": (_BEYOND, lambda x: -1 / (x**2 * log(2))),
    "log10": (_BEYOND, lambda x: -1 / (x**2 * log(10))),
    "sqrt": (_BEYOND, lambda x: -0.25 * x**-1.5),
    "rsqrt": (_BEYOND, lambda x: 0.75 * x**-2.5),
    "square": (_INSIDE, lambda x: np.full(x.shape, 2.0)),
    "reciprocal": (_BEYOND, lambda x: 2 / x**3),
    "erf": (_INSIDE, lambda x: -4 / sqrt(pi) * x * np.exp(-(x**2))),
    "sigmoid": (_INSIDE, lambda x: _logistic(x) * (1 - _logistic(x)) * (1 - 2 * _logistic(x))),
    "silu": (_INSIDE, lambda x: _logistic(x) * (1 - _logistic(x)) * (2 + x * (1 - 2 * _logistic(x)))),
    "softplus": (_INSIDE, lambda x: _logistic(x) * (1 - _logistic(x))),
}
"""Function -> points that float32 holds, and its second derivative."""
CASES = [
    Case({"operation": name}, {}, (f"operation:{name}", "dtype:float32", "gradients", "second_derivatives"))
    for name in SECOND
]
