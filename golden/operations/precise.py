"""What a function is, to 50 digits, rounded once to float64: used when arrays are generated, never in a run.

Each function takes and gives mpmath numbers. Its formula is the one of the page that its record cites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.store import GoldenError

DIGITS = 50


def _of(mp: Any) -> Mapping[str, Callable[[Any], Any]]:
    """Name -> the function, of one finite number."""
    one, two = mp.mpf(1), mp.mpf(2)

    def sigmoid(x: Any) -> Any:
        return one / (one + mp.exp(-x))

    def softplus(x: Any) -> Any:
        return mp.log1p(mp.exp(-abs(x))) + max(x, mp.mpf(0))

    def normal(x: Any) -> Any:
        if abs(x) > 10**4:  # beyond every digit, and beyond what erfc takes
            return one if x > 0 else mp.mpf(0)
        return mp.erfc(-x / mp.sqrt(two)) / two

    def gelu_tanh(x: Any) -> Any:
        return x * sigmoid(two * mp.sqrt(two / mp.pi) * (x + mp.mpf("0.044715") * x**3))

    def elu(x: Any) -> Any:
        return x if x > 0 else mp.expm1(x)

    alpha = mp.mpf("1.6732632423543772848170429916717")
    scale = mp.mpf("1.0507009873554804934193349852946")
    return {
        "relu": lambda x: max(x, mp.mpf(0)),
        "relu6": lambda x: min(max(x, mp.mpf(0)), mp.mpf(6)),
        "leaky_relu": lambda x: x if x > 0 else x / 100,
        "hard_tanh": lambda x: min(max(x, -one), one),
        "hardswish": lambda x: x * min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
        "softsign": lambda x: x / (one + abs(x)),
        "sigmoid": sigmoid,
        "log_sigmoid": lambda x: -softplus(-x),
        "softplus": softplus,
        "silu": lambda x: x * sigmoid(x),
        "tanh": mp.tanh,
        "gelu": lambda x: x * normal(x),
        "gelu_approx": gelu_tanh,
        "elu": elu,
        "celu": elu,
        "selu": lambda x: scale * (x if x > 0 else alpha * mp.expm1(x)),
        "mish": lambda x: x * mp.tanh(softplus(x)),
    }


def values(name: str, x: np.ndarray) -> np.ndarray:
    """float64 values of the function `name` at every element of `x`; limits at infinities, NaN at NaN.

    Raises KeyError for a function that is not defined here.
    """
    mpmath = _mpmath()
    with mpmath.workdps(DIGITS):
        function = _of(mpmath)[name]
        return np.array([_at(mpmath, function, v) for v in x.astype(np.float64).reshape(-1)]).reshape(x.shape)


def scales(name: str, x: np.ndarray) -> np.ndarray:
    """float64 |f(x)| + |x f'(x)| + what the formula subtracts: in how small a unit a rounding of it can be told.

    A formula that adds one to what is nearly minus one, or subtracts one from what is nearly one, loses digits that
    no implementation of it has: |x| for the two forms of GELU, 1 for the exponential ones where x is not positive.
    Of infinite x it is a finite limit's size, else 0.
    """
    mpmath = _mpmath()
    with mpmath.workdps(DIGITS):
        function = _of(mpmath)[name]
        lost: Mapping[str, Callable[[float], float]] = {
            "gelu": abs,
            "gelu_approx": abs,
            "elu": _below,
            "celu": _below,
            "selu": _twice_below,
        }
        extra = lost.get(name, _nothing)
        found = []
        for v in x.astype(np.float64).reshape(-1).tolist():
            size = abs(_at(mpmath, function, v))
            found.append(size + _slope(mpmath, function, v) + extra(v) if np.isfinite(v) else size)
        return np.where(np.isfinite(found), found, 0.0).reshape(x.shape)


def _mpmath() -> Any:
    """The library. Raises GoldenError with what installs it."""
    try:
        import mpmath
    except ImportError as error:
        raise GoldenError("generating values of functions needs mpmath: pip install mpmath") from error
    return mpmath


def _nothing(value: float) -> float:
    return 0.0


def _below(value: float) -> float:
    return float(value <= 0)


def _twice_below(value: float) -> float:
    return 2 * _below(value)


def _slope(mp: Any, function: Callable[[Any], Any], value: float) -> float:
    """|x f'(x)|, by a central difference that keeps two thirds of the digits."""
    at = mp.mpf(value)
    step = abs(at) * mp.mpf(10) ** (-DIGITS // 3)
    return float(abs(at * (function(at + step) - function(at - step)) / (2 * step))) if value else 0.0


def _at(mp: Any, function: Callable[[Any], Any], value: float) -> float:
    if np.isnan(value):
        return float(value)
    # Every function here has settled long before this far, and grows no faster than its argument.
    return float(function(mp.mpf(value) if np.isfinite(value) else mp.sign(value) * mp.mpf(10) ** 400))


DERIVED: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    f"{what} of {name}": partial(make, name)
    for name in FUNCTIONS
    for what, make in (("value", values), ("scale", scales))
}
"""How a golden array is derived from its inputs -> what computes it."""
