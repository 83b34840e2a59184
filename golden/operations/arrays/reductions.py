"""Reductions and scans of rows: how sums, products and their kin round, up to 131,072 elements long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.golden.bounds import gamma
from touchstone.golden.operations.arithmetic import Number, exp, log, mpmath, sqrt
from touchstone.golden.operations.arrays.elementwise import MLX
from touchstone.golden.operations.functions import softmax
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.reverse import Gradient
from touchstone.golden.operations.samples import rows

_KINDS = {"ordinary": ("bell", 6), "wide": ("wide", 3), "equal": ("equal", 1), "shifted": ("hundreds", 2)}
_INFINITE = {
    "minus infinity": ("minus infinity once", 1),
    "infinity": ("infinity once", 1),
    "NaN": ("special once", 1),
}
REDUCED = replace(rows("rows to reduce", 48, {**_KINDS, **_INFINITE}, is_reduced=True), without_slope=tuple(_INFINITE))
LOGARITHMS = replace(REDUCED, limits=True)
SPREAD = replace(REDUCED, without_slope=("equal", *_INFINITE))
"""Equal numbers have no standard deviation, which has no slope there."""
LONG = rows(
    "rows of 4096 to reduce",
    4096,
    {"ordinary": ("bell", 1), "equal": ("equal", 1), "shifted": ("hundreds", 1)},
    is_reduced=True,
)
LONGEST = rows(
    "rows of 131072 to reduce", 2**17, {"ordinary": ("bell", 1), "equal": ("small equal", 1)}, is_reduced=True
)
ONE = rows("rows of one element", 1, {"ordinary": ("bell", 8)}, is_reduced=True)
FACTORS = rows(
    "factors", 24, {"ordinary": ("near two", 6), "signs": ("signs", 2), "NaN": ("special once", 1)}, is_reduced=True
)
SCANNED = rows("rows to scan", 48, _KINDS)
LONG_SCANNED = rows("rows of 4096 to scan", 4096, {"ordinary": ("bell", 1), "equal": ("small equal", 1)})
SCANNED_FACTORS = rows("factors to scan", 24, {"ordinary": ("near two", 6), "signs": ("signs", 2)})


def _mean(x: Number) -> Number:
    return x.mean()[..., 0]


def _variance(x: Number, ddof: int = 0) -> Number:
    away = x - x.mean()
    return ((away * away).sum() / (x.shape[-1] - ddof))[..., 0]


def _product(x: Number) -> Number:
    """Of the elements one after the other."""
    found = x[..., 0]
    for place in range(1, x.shape[-1]):
        found = found * x[..., place]
    return found


def _log_of_sum(x: Number) -> Number:
    most = x.most()
    return (log(exp(x - most).sum()) + most)[..., 0]


def cumulative_sum(x: Number) -> Number:
    """The sum up to each element, each as a sum of so many terms."""
    value = np.add.accumulate(x.value, -1)
    sizes = np.add.accumulate(np.asarray(np.abs(x.value), object), -1)
    terms = np.array([gamma(n + 1) for n in range(x.shape[-1])], object)
    moved = np.add.accumulate(x.error, -1) + terms * sizes
    return Number(value, moved + x.precision.step * np.asarray(np.abs(value), object), x.precision)


def cumulative_product(x: Number) -> Number:
    """The product up to each element, one rounding each."""
    value = np.multiply.accumulate(x.value, -1)
    terms = np.array([(1 + x.precision.step) ** (n + 1) - 1 for n in range(x.shape[-1])], object)
    error = terms * np.asarray(np.abs(value), object) + x.precision.least
    return Number(value, error, x.precision)


def _log_of_cumulative_sum(x: Number) -> Number:
    """By log(e**a + e**b) from element to element: each step's logarithm and sum round, and carry what came before."""
    mp, u = mpmath(), x.precision.step
    most = np.maximum.accumulate(x.value, -1)
    shares = np.frompyfunc(mp.exp, 1, 1)(x.value - x.value.max(-1, keepdims=True))
    total = np.add.accumulate(shares, -1)
    value = np.frompyfunc(mp.log, 1, 1)(total) + x.value.max(-1, keepdims=True)
    steps = np.arange(1, x.shape[-1] + 1).astype(object)
    size = np.maximum.accumulate(np.asarray(np.maximum(np.abs(value), np.abs(most)), object), -1)
    return Number(np.asarray(value, object), np.asarray(steps * u * (size + 4), object), x.precision)


def _of(name: str, formula: str, value: Callable[..., Number], samples: Any, page: str = "", **more: Any) -> Operation:
    by = {"x": Gradient(value, 0)} if more.pop("has_gradient", True) else {}
    return Operation(name, formula, MLX.format(page or name.split(" ")[0]), value, samples, by, **more)


REDUCTIONS: Mapping[str, Operation] = {
    one.name: one
    for one in (
        _of("sum of rows", "sum(x)", lambda x: x.sum()[..., 0], (REDUCED, LONG, LONGEST, ONE)),
        _of("mean of rows", "sum(x) / n", _mean, (REDUCED, LONG, LONGEST, ONE)),
        _of("var of rows", "sum((x - mean(x))**2) / (n - ddof)", _variance, (REDUCED, LONG), variants=({"ddof": 1},)),
        _of(
            "std of rows",
            "sqrt(var(x))",
            lambda x, ddof=0: sqrt(_variance(x, ddof)),
            (SPREAD, LONG),
            variants=({"ddof": 1},),
        ),
        _of("prod of rows", "x0 x1 x2 ...", _product, (FACTORS,)),
        _of("logsumexp of rows", "log(sum(e**x))", _log_of_sum, (LOGARITHMS, LONG)),
        _of("cumsum of rows", "x0, x0 + x1, ...", cumulative_sum, (SCANNED, LONG_SCANNED), has_gradient=False),
        _of("cumprod of rows", "x0, x0 x1, ...", cumulative_product, (SCANNED_FACTORS,), has_gradient=False),
        _of(
            "logcumsumexp of rows",
            "log(e**x0), log(e**x0 + e**x1), ...",
            _log_of_cumulative_sum,
            (SCANNED,),
            has_gradient=False,
        ),
        _of(
            "softmax, precise",
            "exp(x) / sum(exp(x)), of x in float32",
            softmax,
            (SCANNED,),
            "softmax",
            has_gradient=False,
            steps_in="float32",
        ),
    )
}
