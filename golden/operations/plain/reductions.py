"""Reductions and scans as structure: which elements they go over, and in which shape they give them.

Operands are whole numbers whose sums every dtype holds; how sums of others round is asked of their rows
(`touchstone.golden.operations.arrays.reductions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from touchstone.golden.operations.plain.record import FLOATS, Plain
from touchstone.golden.operations.plain.samples import (
    ALL,
    BELOW_64,
    EVERY_DTYPE,
    INTEGER_DTYPES,
    grid,
    shuffled,
    values,
)
from touchstone.golden.operations.samples import Sample

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
_NAN, _INF = float("nan"), float("inf")
CUBE = grid("3x5x4", (3, 5, 4), dtypes=("float32", "float16", "bfloat16", "int32", "uint8"))
FEW = Sample("2x3", {"x": values((2, 3), 1, 2, 3, 1, 2, 1)}, {ALL: slice(None)}, (2, 3), dtypes=EVERY_DTYPE)
NO_ROW, NO_COLUMN = (grid(name, shape, dtypes=("float32",)) for name, shape in (("0x3", (0, 3)), ("3x0", (3, 0))))
SPECIAL = Sample(
    "rows with NaN and infinities",
    {"x": values((4, 3), 1, _NAN, 2, _INF, 1, 2, -_INF, 1, 2, _INF, -_INF, 0)},
    {ALL: slice(None)},
    (4, 3),
    dtypes=("float32", "float16", "bfloat16"),
)
HALVES_OF_THOUSANDS = Sample(
    "numbers whose sum a half does not hold",
    {"x": values((5,), 40960, 32768, 1025, 2050, 3)},
    {ALL: slice(None)},
    (5,),
    dtypes=("float16",),
)
SHUFFLED = shuffled("shuffled 3x5x7", (3, 5, 7), BELOW_64)
SHUFFLED_FLOATS = shuffled("shuffled 3x5x7", (3, 5, 7), FLOATS)
ALIKE = shuffled("shuffled 6x8 with equals", (6, 8), (*FLOATS, *INTEGER_DTYPES), alike=3)
SOME = Sample(
    "rows of booleans", {"x": values((3, 3), 1, 1, 1, 0, 1, 0, 0, 0, 0)}, {ALL: slice(None)}, (3, 3), dtypes=EVERY_DTYPE
)
_AXES: tuple[Mapping[str, Any], ...] = (
    {"axis": 0},
    {"axis": -1},
    {"axis": (0, 2)},
    {"axis": (2, 1)},
    {"axis": 1, "keepdims": True},
    {"keepdims": True},
)
_ONE_AXIS: tuple[Mapping[str, Any], ...] = ({"axis": 0}, {"axis": -1}, {"axis": 1, "keepdims": True})
_ALONG: tuple[Mapping[str, Any], ...] = (
    {"axis": 0},
    {"axis": -1},
    {"axis": 1, "reverse": True},
    {"axis": 1, "inclusive": False},
    {"axis": -1, "reverse": True, "inclusive": False},
)


def _of(name: str, value: Any, samples: Any, variants: Any = _AXES, **more: Any) -> Plain:
    return Plain(name, MLX.format(name), value, samples, variants, **more)


def _calls(*pairs: tuple[Sample, Mapping[str, Any]]) -> dict[str, Any]:
    return {"calls": pairs}


def _no_element(axis: int = 0) -> dict[str, Any]:
    return _calls((NO_ROW, {"axis": 0}), (NO_ROW, {"axis": 1}), (NO_COLUMN, {"axis": 0}))


def _sum_in_float32(x: np.ndarray) -> np.ndarray:
    """Of numbers of a half dtype, as they are: the sum alone does not fit into it."""
    return np.sum(x).astype(np.float32)


def _spread(of: Callable[..., Any], x: np.ndarray, ddof: int = 0, **how: Any) -> Any:
    return of(x, ddof=ddof, **how)


def _logsumexp(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> Any:
    most = np.max(x, axis=axis, keepdims=True)
    found = np.log(np.sum(np.exp(x - most), axis=axis, keepdims=True)) + most
    return found if keepdims else np.squeeze(found, axis)


def _scan(
    ufunc: Any,
    first: Any,
    x: np.ndarray,
    axis: int | None = None,
    reverse: bool = False,
    inclusive: bool = True,
) -> np.ndarray:
    """first: what stands where nothing has been gone over yet."""
    flat = x.reshape(-1) if axis is None else x
    along = np.moveaxis(flat, -1 if axis is None else axis, -1)
    along = along[..., ::-1] if reverse else along
    found = ufunc.accumulate(along, axis=-1, dtype=x.dtype if x.dtype != bool else np.int64)
    if not inclusive:
        found = np.concatenate([np.full((*found.shape[:-1], 1), first, found.dtype), found[..., :-1]], -1)
    found = found[..., ::-1] if reverse else found
    return np.moveaxis(found, -1, -1 if axis is None else axis)


def _partitioned(x: np.ndarray, *_: np.ndarray, kth: int, axis: int = -1) -> np.ndarray:
    """What is documented of a partition: the element at its place, and which are before and behind it."""
    along = np.moveaxis(x, axis, -1)
    parts = [np.sort(along[..., :kth], -1), along[..., kth : kth + 1], np.sort(along[..., kth + 1 :], -1)]
    return np.moveaxis(np.concatenate(parts, -1), -1, axis)


def _taken(of: Callable[..., Any], indices: np.ndarray, x: np.ndarray, axis: int | None = -1, **how: Any) -> Any:
    """The elements that indices name, in the order that `of` leaves open."""
    return of(np.take_along_axis(x, indices.astype(np.int64), axis), axis=axis, **how)


def _sorted(x: np.ndarray, axis: int | None = -1) -> np.ndarray:
    return np.sort(x, axis=axis)


def _as_it_is(x: np.ndarray, axis: int | None = -1) -> np.ndarray:
    return x


def _argsorted(x: np.ndarray, axis: int | None = -1) -> np.ndarray:
    return np.argsort(x, axis=axis, kind="stable")


def _topk(x: np.ndarray, k: int, axis: int = -1) -> np.ndarray:
    return np.moveaxis(np.sort(np.moveaxis(x, axis, -1), -1)[..., x.shape[axis] - k :], -1, axis)


_MEDIANS: tuple[Mapping[str, Any], ...] = ({"axis": 0}, {"axis": -1}, {"axis": 1, "keepdims": True})
_KTHS: tuple[Mapping[str, Any], ...] = ({"kth": 2}, {"kth": 0, "axis": 0}, {"kth": 4, "axis": 1}, {"kth": 6})
_TOPS: tuple[Mapping[str, Any], ...] = ({"k": 1}, {"k": 3}, {"k": 7}, {"k": 2, "axis": 0}, {"k": 2, "axis": 1})

REDUCTIONS: Mapping[str, Plain] = {
    one.name: one
    for one in (
        _of("sum", np.sum, (CUBE, FEW, SPECIAL), its_own_integers=True, **_no_element()),
        _of("sum in float32", _sum_in_float32, (HALVES_OF_THOUSANDS,), ()),
        _of("prod", np.prod, (FEW, SPECIAL), _ONE_AXIS[:2], its_own_integers=True, **_no_element()),
        _of("mean", np.mean, (grid("3x5x4", (3, 5, 4)), SPECIAL), off=3, **_calls((NO_ROW, {"axis": 1}))),
        _of(
            "var",
            partial(_spread, np.var),
            (SHUFFLED_FLOATS, SPECIAL),
            (*_AXES, {"ddof": 1}, {"axis": 1, "ddof": 2}),
            off=32,
        ),
        _of(
            "std",
            partial(_spread, np.std),
            (SHUFFLED_FLOATS, SPECIAL),
            (*_AXES, {"ddof": 1}, {"axis": 1, "ddof": 2}),
            off=32,
        ),
        _of("logsumexp", _logsumexp, (SHUFFLED_FLOATS,), off=8),
        _of("max", np.max, (SHUFFLED, SPECIAL), **_calls((NO_ROW, {"axis": 1}))),
        _of("min", np.min, (SHUFFLED, SPECIAL), **_calls((NO_ROW, {"axis": 1}))),
        _of(
            "all",
            np.all,
            (SOME,),
            its_own_integers=True,
            variants=({"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}),
            **_no_element(),
        ),
        _of(
            "any",
            np.any,
            (SOME,),
            its_own_integers=True,
            variants=({"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}),
            **_no_element(),
        ),
        _of("argmax", np.argmax, (ALIKE, SPECIAL), _ONE_AXIS[:2], its_own_integers=True),
        _of("argmin", np.argmin, (ALIKE, SPECIAL), _ONE_AXIS[:2], its_own_integers=True),
        _of("median", np.median, (SHUFFLED_FLOATS, SPECIAL), _MEDIANS),
        _of("cumsum", partial(_scan, np.add, 0), (FEW,), _ALONG, its_own_integers=True),
        _of("cumprod", partial(_scan, np.multiply, 1), (FEW,), _ALONG, its_own_integers=True),
        _of("cummax", partial(_scan, np.maximum, -_INF), (SHUFFLED, SPECIAL), _ALONG),
        _of("cummin", partial(_scan, np.minimum, _INF), (SHUFFLED, SPECIAL), _ALONG),
        _of(
            "sort", _sorted, (SHUFFLED, ALIKE, SPECIAL), ({"axis": 0}, {"axis": 1}, {"axis": None}), signed_zeros=False
        ),
        _of(
            "argsort",
            _argsorted,
            (SHUFFLED, ALIKE, SPECIAL),
            ({"axis": 0}, {"axis": 1}),
            its_own_integers=True,
            in_order=partial(_taken, _as_it_is),
        ),
        _of(
            "stable argsort",
            _argsorted,
            (ALIKE, shuffled("equals of 5000", (5000,), ("float32", "int32"), alike=1250)),
            (),
            its_own_integers=True,
        ),
        _of(
            "topk",
            _topk,
            (SHUFFLED, SPECIAL),
            _TOPS,
            needs_options=True,
            in_order=lambda y, x, k, axis=-1: np.sort(y, axis),
        ),
        _of(
            "partition",
            lambda x, kth, axis=-1: np.partition(x, kth, axis),
            (SHUFFLED,),
            _KTHS,
            needs_options=True,
            in_order=_partitioned,
        ),
        _of(
            "argpartition",
            lambda x, kth, axis=-1: np.argpartition(x, kth, axis),
            (SHUFFLED,),
            _KTHS,
            needs_options=True,
            its_own_integers=True,
            in_order=partial(_taken, _partitioned),
        ),
    )
}
