"""Operations that make an array of options alone: the case's dtype is the one that is asked for, or the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.samples import EVERY_DTYPE, numbered, sample
from touchstone.golden.rounding import to_dtype
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
NO_OPERAND = sample("no operand")
NUMBER = sample("a number", EVERY_DTYPE, x=numbered((), 5))
ROW = sample("a row of 3", ("float32",), x=numbered((3,)))
COLUMN = sample("a column of 2", ("float32",), x=numbered((2, 1)))
OTHERS = tuple(dtype for dtype in EVERY_DTYPE if dtype != "float32")
"""Beside the default."""
HALVES = ("float16", "bfloat16")


def _in(found: Any, dtype: str) -> np.ndarray:
    """Rounded once."""
    exact = np.asarray(found, np.float64)
    return to_dtype(exact, dtype) if dtype in SIGNIFICAND_BITS else exact.astype(DTYPES[dtype])


def _made(name: str, value: Any, *options: Mapping[str, Any], default: str = "float32", **more: Any) -> Plain:
    """default: the dtype of what is made where none is named."""

    def found(dtype: str = default, **given: Any) -> np.ndarray:
        return _in(value(**given), dtype)

    return Plain(name, MLX.format(more.pop("page", name)), found, (NO_OPERAND,), options, needs_options=True, **more)


def _each(options: Mapping[str, Any], *dtypes: str) -> tuple[Mapping[str, Any], ...]:
    return tuple({**options, "dtype": dtype} for dtype in dtypes)


def _filled(number: float) -> Any:
    return lambda shape: np.full(shape, number)


def _full(shape: Any, vals: float) -> np.ndarray:
    return np.full(shape, vals, np.float64)


def _arange(stop: float, start: float = 0, step: float = 1) -> np.ndarray:
    return np.arange(start, stop, step, dtype=np.float64)


def _linspace(start: float, stop: float, num: int = 50, endpoint: bool = True) -> np.ndarray:
    return np.linspace(start, stop, num, endpoint)


_SHAPES: tuple[Mapping[str, Any], ...] = ({"shape": (2, 3)}, {"shape": 4}, {"shape": ()}, {"shape": (0, 3)})
_EXACT: tuple[Mapping[str, Any], ...] = (
    {"start": -1, "stop": 1, "num": 9},
    {"start": 0, "stop": 4, "num": 8, "endpoint": False},
    {"start": 2, "stop": 3, "num": 0},
    {"start": 2, "stop": 3, "num": 1},
    {"start": 2, "stop": 3, "num": 1, "endpoint": False},
    {"start": 4, "stop": -4, "num": 2},
    {"start": 3, "stop": 3, "num": 5},
)
"""A number of steps that is a power of two: each part of the way is exact, whatever it is computed of."""
_ROUNDED: tuple[Mapping[str, Any], ...] = (
    {"start": 1, "stop": 2, "num": 11},
    {"start": 1, "stop": 2, "num": 10, "endpoint": False},
    {"start": 1, "stop": 99},
)
CREATION: Mapping[str, Plain] = {
    one.name: one
    for one in (
        _made("zeros", _filled(0), *_SHAPES, *_each({"shape": (2, 3)}, *OTHERS)),
        _made("ones", _filled(1), *_SHAPES, *_each({"shape": (2, 3)}, *OTHERS)),
        _made(
            "full",
            _full,
            *({"shape": shape, "vals": -2.5} for shape in ((2, 3), 4, (), (0, 3))),
            {"shape": (2,), "vals": 0.1},
            *_each({"shape": (2, 3), "vals": 7}, *OTHERS[:-1]),
            *_each({"shape": (2, 3), "vals": 0.1}, *HALVES),
            *_each({"shape": (2, 3), "vals": True}, "bool"),
        ),
        _made(
            "full of a whole number",
            _full,
            {"shape": (2, 3), "vals": 7},
            default="int32",
            its_own_integers=True,
            page="full",
        ),
        Plain(
            "full of an array",
            MLX.format("full"),
            lambda x, shape: np.broadcast_to(x, shape),
            (NUMBER,),
            ({"shape": (2, 3)}, {"shape": ()}, {"shape": (0,)}),
            ((ROW, {"shape": (2, 3)}), (COLUMN, {"shape": (2, 3)})),
            moves=True,
            needs_options=True,
        ),
        _made(
            "eye",
            lambda n, m=None, k=0: np.eye(n, m, k),
            {"n": 3},
            {"n": 3, "m": 5},
            {"n": 4, "m": 2},
            {"n": 0},
            *({"n": 3, "m": 4, "k": k} for k in (1, -2, 4, -9)),
            *_each({"n": 3}, *OTHERS),
        ),
        _made("identity", lambda n: np.eye(n), {"n": 3}, {"n": 1}, {"n": 0}, *_each({"n": 3}, *OTHERS)),
        _made(
            "tri",
            lambda n, m=None, k=0: np.tri(n, m, k),
            {"n": 3},
            {"n": 3, "m": 5},
            {"n": 4, "m": 2},
            {"n": 0},
            *({"n": 3, "m": 4, "k": k} for k in (1, -2, 9, -9)),
            *_each({"n": 3}, *OTHERS),
        ),
        _made(
            "arange",
            _arange,
            {"stop": 5.0},
            {"start": -1.5, "stop": 3.0, "step": 0.5},
            {"start": 3.0, "stop": -1.0, "step": -0.25},
            {"start": 0.0, "stop": 1.0, "step": 0.375},
            {"start": 2.0, "stop": 2.0},
            *_each({"start": 0, "stop": 12, "step": 3}, *OTHERS[:-1]),
            *_each({"start": 5, "stop": -3, "step": -2}, "float16", "bfloat16", "int32", "int8"),
            *_each({"start": 0, "stop": 300}, "bfloat16"),
            *_each({"start": 0, "stop": 2100}, "float16"),
            *_each({"start": -1.0, "stop": 1.0, "step": 0.125}, *HALVES),
        ),
        _made(
            "arange to before its start",
            _arange,
            {"start": 3.0, "stop": 1.0},
            {"start": -1.0, "stop": 1.0, "step": -0.5},
            page="arange",
        ),
        _made(
            "arange of whole numbers",
            _arange,
            {"stop": 7},
            {"start": 2, "stop": 9, "step": 3},
            {"start": 5, "stop": -6, "step": -2},
            {"start": 3, "stop": 3},
            {"stop": 0},
            default="int32",
            its_own_integers=True,
            page="arange",
        ),
        _made(
            "linspace",
            _linspace,
            *_EXACT,
            *_each(_EXACT[0], *HALVES),
            *_each({"start": -4, "stop": 4, "num": 9}, "int32", "int8"),
        ),
        _made("linspace of tenths", _linspace, *_ROUNDED, *_each(_ROUNDED[0], *HALVES), off=4, page="linspace"),
    )
}
