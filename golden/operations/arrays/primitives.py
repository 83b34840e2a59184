"""Functions that a library computes in one call, of exact arguments: off by a few u of the result, anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import CALL, Number, mpmath

Real = Callable[..., Any]


def real(name: str, at_minus_infinity: float, at_infinity: float) -> Real:
    """mpmath's function of one number where it is real, else NaN; and what it is at both infinities."""

    def found(v: Any) -> Any:
        mp = mpmath()
        if mp.isinf(v):
            return mp.mpf(at_infinity if v > 0 else at_minus_infinity)
        try:
            value = getattr(mp, name)(v)
        except ValueError:
            return mp.nan
        return value if isinstance(value, mp.mpf) else mp.nan

    return found


def called(function: Real, *arguments: Number) -> Number:
    """A call of exact arguments; NaN where one is.

    Its error is `arithmetic.CALL` u of the result, however much a step in an argument changes it: that is given.
    """
    mp, precision = mpmath(), arguments[0].precision

    def guarded(*values: Any) -> Any:
        return mp.nan if any(mp.isnan(v) for v in values) else function(*values)

    with np.errstate(invalid="ignore"):  # which the processor remembers of a NaN that mpmath has met
        value = np.frompyfunc(guarded, len(arguments), 1)(*(a.value for a in arguments))
    value = np.asarray(value, dtype=object)
    size = np.asarray(np.abs(value), dtype=object)
    return Number(value, CALL * precision.step * size + precision.least, precision)


def stored(x: Number) -> Number:
    """As an array of the dtype holds it: infinite where it is too large for it."""
    mp, far = mpmath(), x.precision.overflow
    value = np.frompyfunc(lambda v: mp.sign(v) * mp.inf if abs(v) >= far else v, 1, 1)(x.value)
    return Number(np.asarray(value, dtype=object), x.error, x.precision)
