"""Cases about values that can tell: NaN and infinity against zeros, overflow, subnormals, casts and rounding steps."""

from __future__ import annotations

from itertools import product

import ml_dtypes
import numpy as np

from touchstone.golden.cases.exact_gradients import SPELLINGS
from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 5, 6
SPECIALS = {
    "NaN": ("weight", "nan"),
    "infinity": ("weight", "inf"),
    "minus infinity": ("weight", "-inf"),
    "NaN in x": ("x", "nan"),
    "infinity in x": ("x", "inf"),
    "overflow": ("weight", "largest"),
    "subnormal": ("weight", "smallest"),
}
"""What is put into one element, and of which operand: the last of the last row of x, and of the last row but one of
the weight, which meets ones and zeros of x."""

MANY_ROWS = 33
ROW_VALUES = ("nan", "inf")
"""What every third row of x is full of; "around" stands for NaN in the memory between rows."""


def _operands(dtype: str) -> dict[str, str]:
    return {
        "x": add(f"specials/{dtype}/x", _small(dtype, (4, DIMS), 2)),
        "weight": add(f"specials/{dtype}/weight", _small(dtype, (ROWS, DIMS), 2)),
    }


def _products() -> list[Case]:
    return [
        Case(
            {"layer": layer, "dtype": dtype, "special": special, "compiled": compiled},
            _operands(dtype),
            (f"layer:{layer}", f"dtype:{dtype}", *(("compiler:default",) * compiled)),
        )
        for layer, dtype, special, compiled in product(("linear", "embedding"), FLOATS, SPECIALS, (False, True))
    ]


def _spelled() -> list[Case]:
    """The same by other functions; one that scales its operands overflows where the product does not."""
    return [
        Case(
            {"layer": "linear", "spelling": spelling, "dtype": dtype, "special": special, "compiled": False},
            _operands(dtype),
            ("layer:linear", f"spelling:linear {spelling}", f"dtype:{dtype}"),
        )
        for spelling, dtype, special in product(SPELLINGS["linear"], FLOATS, SPECIALS)
        if (spelling, special) != ("addmm that scales", "overflow")
    ]


def _small(dtype: str, shape: tuple[int, ...], size: int) -> Recipe:
    return Recipe("integers", dtype, shape, {"low": -size, "high": size + 1})


def _rows() -> list[Case]:
    """Rows enough for kernels that take several at a time, of K that fills their steps, and that does not."""
    return [
        Case(
            {"layer": layer, "dtype": dtype, "K": k, "rows": special},
            {
                "x": add(
                    f"specials/{dtype}/rows/{k}", Recipe("integers", dtype, (MANY_ROWS, k), {"low": -1, "high": 2})
                ),
                "weight": add(
                    f"specials/{dtype}/columns/{k}", Recipe("integers", dtype, (9, k), {"low": -2, "high": 3})
                ),
            },
            (f"layer:{layer}", f"dtype:{dtype}", *(("layout:step",) * (special == "around"))),
        )
        for layer, dtype, k, special in product(("linear", "embedding"), FLOATS, (33, 64, 65), (*ROW_VALUES, "around"))
    ]


def _casts() -> list[Case]:
    """Every kind of number, numbers beyond the other dtype, and halves of its last place."""
    return [
        Case(
            {"layer": layer, "from": source, "to": target, "values": "special"},
            {"weight": add(f"specials/{source}/values", Recipe("special values", source, (4, 11)))},
            (f"layer:{layer}", f"dtype:{source}", f"dtype:{target}"),
        )
        for layer, source, target in product(("embedding", "linear"), FLOATS, FLOATS)
        if source != target
    ]


def _steps() -> list[Case]:
    """Weights with all of their bits, and a rate that no dtype holds."""
    return [
        Case(
            {"layer": layer, "dtype": dtype},
            {
                "weight": add(f"specials/{dtype}/uniform", Recipe("uniform", dtype, (9, DIMS))),
                "ids": add("specials/ids", Recipe("values", "int32", (4,), {"values": (0, 8, 3, 0)})),
                "x": add(f"specials/{dtype}/steps x", Recipe("uniform", dtype, (4, DIMS))),
                "cotangent": add(
                    f"specials/{dtype}/cotangent/{layer}",
                    Recipe("uniform", dtype, (4, DIMS if layer == "embedding" else 9)),
                ),
            },
            (f"layer:{layer}", f"dtype:{dtype}", "gradients", "optimizer"),
        )
        for layer, dtype in product(("embedding", "linear"), FLOATS)
    ]


def with_special(case: Case, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The operands with the case's special value in its place; x meets it with 1, 0, 2 and -1."""
    operand, what = SPECIALS[case.params["special"]]
    x, weight = x.copy(), weight.copy()
    x[:, -1] = (1, 0, 2, -1)
    limits = ml_dtypes.finfo(weight.dtype)
    value = {"largest": limits.max, "smallest": limits.smallest_subnormal}.get(what, what)
    if operand == "x":
        x[-1, -1] = float(value)
    else:
        weight[-2] = 0
        weight[-2, -1] = float(value)
    return x, weight


_PRODUCT_CASES = [*_products(), *_spelled()]
PRODUCT_CASES = [case for case in _PRODUCT_CASES if case.params["special"] != "subnormal"]
SUBNORMAL_CASES = [case for case in _PRODUCT_CASES if case.params["special"] == "subnormal"]
ROW_CASES = _rows()
CAST_CASES = _casts()
STEP_CASES = _steps()
