"""Elementwise operations that round nothing or once: signs, parts, comparisons, arithmetic, bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from touchstone.golden.bounds import LARGEST
from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.samples import (
    BROADCAST,
    CHOSEN,
    INTEGERS,
    LOGICAL,
    NONZERO,
    OTHERS,
    PAIRS_OF_INTEGERS,
    PAIRS_OF_LOGICAL,
    SHIFTS,
    SMALL_POWERS,
    WHOLE,
)
from touchstone.golden.operations.samples import EXACT_NUMBERS, PAIRS_OF_NUMBERS, elements

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
_NUMBERS, _PAIRS = (EXACT_NUMBERS,), (PAIRS_OF_NUMBERS, *PAIRS_OF_INTEGERS)
_BROADCASTING = (*_PAIRS, *BROADCAST)


def _of(name: str, value: Any, samples: Any = _NUMBERS, **more: Any) -> Plain:
    return Plain(name, MLX.format(name), value, samples, **more)


def _nan_to_num(x: np.ndarray, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Infinities become the largest numbers of the dtype."""
    far = LARGEST[x.dtype.name]
    high, low = far if posinf is None else posinf, -far if neginf is None else neginf
    return np.where(np.isnan(x), nan, np.where(x == np.inf, high, np.where(x == -np.inf, low, x))).astype(x.dtype)


def _remainder(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The remainder of a division rounded towards minus infinity: of the sign of the divisor."""
    return np.remainder(a, b)


def _isclose(a: np.ndarray, b: np.ndarray, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    return np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def _clip(x: np.ndarray, a_min: float | None = None, a_max: float | None = None) -> np.ndarray:
    """min(max(x, a_min), a_max): NaN stays, and the upper end wins where it is below the lower one."""
    x = x if a_min is None else np.maximum(x, a_min)
    return x if a_max is None else np.minimum(x, a_max)


def _where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(condition, x, y)


BASES = elements("bases and exponents", {"ordinary": 192}, without_slope=(), a=("positive",), b=("other bell",))
"""Bases from 2**-5 to 8, and exponents up to 4: what rounding adds to b - 1 moves the power by 14u at most, and two
calls and two products are 10u: `slopes_off` of power."""


def _first(g: np.ndarray, *operands: np.ndarray) -> np.ndarray:
    return g


ELEMENTWISE: Mapping[str, Plain] = {
    one.name: one
    for one in (
        _of("abs", np.abs, (EXACT_NUMBERS, *INTEGERS), slopes={"x": lambda g, x: g * np.sign(x)}),
        _of("negative", np.negative, (EXACT_NUMBERS, *INTEGERS), slopes={"x": lambda g, x: -g}),
        _of("sign", np.sign, (EXACT_NUMBERS, *INTEGERS), signed_zeros=False),
        _of("square", np.square, (EXACT_NUMBERS, *INTEGERS), slopes={"x": lambda g, x: 2 * (g * x)}),
        _of("ceil", np.ceil),
        _of("floor", np.floor),
        _of("round", np.round),
        _of("rsqrt", lambda x: 1 / np.sqrt(x), off=4),
        _of(
            "power",
            np.power,
            (BASES, PAIRS_OF_NUMBERS),
            off=4,
            slopes={"a": lambda g, a, b: g * b * a ** (b - 1), "b": lambda g, a, b: g * a**b * np.log(a)},
            slopes_off=24,
        ),
        _of(
            "arctan2",
            np.arctan2,
            (PAIRS_OF_NUMBERS,),
            off=4,
            slopes={"a": lambda g, a, b: g * b / (a * a + b * b), "b": lambda g, a, b: -g * a / (a * a + b * b)},
            slopes_off=6,
        ),
        _of("reciprocal", lambda x: 1 / x, off=2),
        _of("isfinite", np.isfinite),
        _of("isinf", np.isinf),
        _of("isnan", np.isnan),
        _of("isneginf", lambda x: x == -np.inf),
        _of("isposinf", lambda x: x == np.inf),
        _of("logical_not", np.logical_not, (EXACT_NUMBERS, *INTEGERS, *LOGICAL)),
        _of(
            "nan_to_num",
            _nan_to_num,
            native=True,
            calls=((EXACT_NUMBERS, {"nan": 2.0, "posinf": 3.0, "neginf": -3.0}),),
        ),
        _of("stop_gradient", lambda x: x),
        _of("times its stopped self", np.square, slopes={"x": lambda g, x: g * x}),
        _of("bitwise_invert", np.invert, (*INTEGERS, *LOGICAL)),
        _of("add", np.add, _BROADCASTING, slopes={"a": _first, "b": _first}),
        _of("subtract", np.subtract, _BROADCASTING, slopes={"a": _first, "b": lambda g, a, b: -g}),
        _of("multiply", np.multiply, _BROADCASTING, slopes={"a": lambda g, a, b: g * b, "b": lambda g, a, b: g * a}),
        _of("divide", np.divide, (PAIRS_OF_NUMBERS, *BROADCAST), off=2),
        _of("maximum", np.maximum, _BROADCASTING, signed_zeros=False),
        _of("minimum", np.minimum, _PAIRS, signed_zeros=False),
        _of("remainder", _remainder, (PAIRS_OF_NUMBERS, *NONZERO), off=1, signed_zeros=False),
        _of("floor_divide", np.floor_divide, (WHOLE, *NONZERO), signed_zeros=False),
        _of("divmod", lambda a, b: (np.floor_divide(a, b), np.remainder(a, b)), NONZERO),
        _of("equal", np.equal, _BROADCASTING),
        _of("not_equal", np.not_equal, _PAIRS),
        _of("greater", np.greater, _PAIRS),
        _of("greater_equal", np.greater_equal, _PAIRS),
        _of("less", np.less, _PAIRS),
        _of("less_equal", np.less_equal, _PAIRS),
        _of("logical_and", np.logical_and, (*_PAIRS, *PAIRS_OF_LOGICAL)),
        _of("logical_or", np.logical_or, (*_PAIRS, *PAIRS_OF_LOGICAL)),
        _of("isclose", _isclose, (PAIRS_OF_NUMBERS,), variants=({"equal_nan": True}, {"rtol": 0.25, "atol": 0.125})),
        _of(
            "clip", _clip, needs_options=True, variants=({"a_min": -1.0, "a_max": 2.5}, {"a_min": 0.5}, {"a_max": -0.5})
        ),
        _of("where", _where, (CHOSEN,), slopes={"x": lambda g, c, x, y: np.where(c, g, 0)}),
        _of("bitwise_and", np.bitwise_and, (*PAIRS_OF_INTEGERS, *PAIRS_OF_LOGICAL)),
        _of("bitwise_or", np.bitwise_or, (*PAIRS_OF_INTEGERS, *PAIRS_OF_LOGICAL)),
        _of("bitwise_xor", np.bitwise_xor, (*PAIRS_OF_INTEGERS, *PAIRS_OF_LOGICAL)),
        _of("left_shift", np.left_shift, SHIFTS),
        _of("right_shift", np.right_shift, SHIFTS),
        _of("integer power", np.power, SMALL_POWERS),
        _of("array_equal", lambda a, b, equal_nan=False: np.array_equal(a, b, equal_nan=equal_nan), OTHERS),
        _of("allclose", lambda a, b, equal_nan=False: np.allclose(a, b, equal_nan=equal_nan), OTHERS),
    )
}
