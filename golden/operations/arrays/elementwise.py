"""Elementwise operations of `mlx.core` that round: what each is over the whole range of a dtype, and its slope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf, nan, pi
from typing import Any

from touchstone.golden.operations.arithmetic import Number, exp, log1p, most, mpmath, sqrt
from touchstone.golden.operations.arrays.primitives import called, real, stored
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import EXACT_NUMBERS, NEAR_ONE, PAIRS_OF_NUMBERS

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
_ENDING_AT_ONE = ("arcsin", "arccos", "arccosh", "arctanh", "erfinv", "log", "log2", "log10")
"""Whose domain ends at one, or which are zero there."""
OneNumber = Callable[[Number], Number]
_OF_A_DEGREE, _OF_A_RADIAN = "0.017453292519943295769236907684886", "57.295779513082320876798154814105"
_LOG_2, _LOG_10 = "0.69314718055994530941723212145818", "2.3025850929940456840179914546844"
_HALF_ROOT_OF_PI, _OF_ERF = "0.88622692545275801364908374167057", "1.1283791670955125738961589031215"


def _function(name: str, at_minus_infinity: float = nan, at_infinity: float = nan) -> OneNumber:
    """A function of mpmath as a library calls it, and what it is at both infinities."""
    return partial(called, real(name, at_minus_infinity, at_infinity))


_exp, _expm1, _log = _function("exp", 0, inf), _function("expm1", -1, inf), _function("ln", nan, inf)
_sin, _cos, _tan = (_function(name) for name in ("sin", "cos", "tan"))
_sinh, _cosh = _function("sinh", -inf, inf), _function("cosh", inf, inf)
_erfinv = _function("erfinv")


def _of(name: str, formula: str, value: OneNumber, slope: OneNumber, **more: Any) -> Operation:
    slopes = {"x": lambda cotangent, x: cotangent * slope(x)}
    samples = (EXACT_NUMBERS, NEAR_ONE) if name in _ENDING_AT_ONE else (EXACT_NUMBERS,)
    return Operation(name, formula, MLX.format(name), value, samples, slopes, **more)


def _log_of_sum(a: Any, b: Any) -> Any:
    mp = mpmath()
    high, low = max(a, b), min(a, b)
    return high if mp.isinf(high) or mp.isinf(low) else high + mp.log1p(mp.exp(low - high))


def _logaddexp(a: Number, b: Number) -> Number:
    """As max(a, b) + log1p(exp(-abs(a - b))), in which the larger number may cancel the logarithm."""
    steps = most(a, b) + log1p(exp(-abs(a - b)))
    return Number(called(_log_of_sum, a, b).value, steps.error, steps.precision)


ELEMENTWISE: Mapping[str, Operation] = {
    one.name: one
    for one in (
        _of("exp", "e**x", _exp, lambda x: stored(_exp(x))),
        _of("expm1", "e**x - 1", _expm1, lambda x: stored(_expm1(x)) + 1),
        _of("sin", "sin(x)", _sin, _cos),
        _of("cos", "cos(x)", _cos, lambda x: -_sin(x)),
        _of("tan", "tan(x)", _tan, lambda x: 1 + _tan(x) * _tan(x)),
        _of("sinh", "(e**x - e**-x) / 2", _sinh, lambda x: stored(_cosh(x))),
        _of("cosh", "(e**x + e**-x) / 2", _cosh, lambda x: stored(_sinh(x))),
        _of("arcsin", "y where sin(y) = x", _function("asin"), lambda x: 1 / sqrt(1 - x * x)),
        _of("arccos", "y where cos(y) = x", _function("acos"), lambda x: -(1 / sqrt(1 - x * x))),
        _of("arctan", "y where tan(y) = x", _function("atan", -pi / 2, pi / 2), lambda x: 1 / (1 + x * x)),
        _of("arcsinh", "y where sinh(y) = x", _function("asinh", -inf, inf), lambda x: 1 / sqrt(x * x + 1)),
        _of("arccosh", "y where cosh(y) = x", _function("acosh", nan, inf), lambda x: 1 / sqrt(x * x - 1)),
        _of("arctanh", "y where tanh(y) = x", _function("atanh"), lambda x: 1 / (1 - x * x)),
        _of("log", "y where e**y = x", _log, lambda x: 1 / x, kinks=(0.0,)),
        _of("log1p", "log(1 + x)", _function("log1p", nan, inf), lambda x: 1 / (1 + x)),
        _of("log2", "log(x) / log(2)", lambda x: _log(x) / _LOG_2, lambda x: 1 / (x * _LOG_2), kinks=(0.0,)),
        _of("log10", "log(x) / log(10)", lambda x: _log(x) / _LOG_10, lambda x: 1 / (x * _LOG_10), kinks=(0.0,)),
        _of("sqrt", "x**0.5", _function("sqrt", nan, inf), lambda x: 1 / (2 * _function("sqrt")(x)), kinks=(0.0,)),
        _of(
            "erf",
            "2 / sqrt(pi) times the integral of e**-t**2 from 0 to x",
            _function("erf", -1, 1),
            lambda x: _OF_ERF * exp(-(x * x)),
        ),
        _of(
            "erfinv",
            "y where erf(y) = x",
            _erfinv,
            lambda x: _HALF_ROOT_OF_PI * exp(_erfinv(x) * _erfinv(x)),
        ),
        _of("degrees", "x 180 / pi", lambda x: x * _OF_A_RADIAN, lambda x: 0 * x + _OF_A_RADIAN),
        _of("radians", "x pi / 180", lambda x: x * _OF_A_DEGREE, lambda x: 0 * x + _OF_A_DEGREE),
        Operation(
            "logaddexp",
            "log(e**a + e**b)",
            MLX.format("logaddexp"),
            _logaddexp,
            (PAIRS_OF_NUMBERS,),
            {
                "a": lambda g, a, b: g * exp(a - _logaddexp(a, b)),
                "b": lambda g, a, b: g * exp(b - _logaddexp(a, b)),
            },
        ),
    )
}
