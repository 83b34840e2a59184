"""Cases of what documentation leaves open of array operations: dtypes of results, edges of integers, ties, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from math import inf, nan
from typing import Any

from touchstone.golden.cases import arrays
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case
from touchstone.golden.operations.arrays import ARRAYS
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.operations.plain.record import FLOATS

PAIRED = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "uint32", "bool", "complex64")
"""Dtypes of which every pair is added."""
FEW = (*FLOATS, "int8", "int32", "uint8", "uint32", "bool")
"""Dtypes of which every pair is given to the other operations."""
PROMOTING = (
    *("subtract", "multiply", "divide", "maximum", "remainder", "floor_divide", "power", "arctan2", "logaddexp"),
    *("equal", "logical_and", "matmul"),
)
SCALARS: Mapping[str, Any] = {"True": True, "2": 2, "1.5": 1.5, "1j": 1j}


def dtype_need(dtype: str) -> str:
    """What a target must have for operands of a dtype."""
    return f"dtype:{dtype}" if dtype in FLOATS else f"array_dtype:{dtype}"


def _needs(operation: str, *dtypes: str) -> tuple[str, ...]:
    return (f"operation:{operation}", *dict.fromkeys(map(dtype_need, dtypes)))


PAIR_CASES = [
    Case({"operation": "add", "a": a, "b": b}, {}, _needs("add", a, b))
    for a, b in combinations_with_replacement(PAIRED, 2)
]
PROMOTION_CASES = [
    Case({"operation": name, "a": a}, {}, _needs(name, "float32", a)) for name, a in product(PROMOTING, FEW)
]
SCALAR_CASES = [
    Case({"operation": "multiply", "dtype": dtype, "scalar": scalar}, {}, _needs("multiply", dtype))
    for dtype, scalar in product(PAIRED, SCALARS)
]
DIVISIONS: Mapping[str, tuple[int, int]] = {"by zero": (7, 0), "zero by zero": (0, 0), "smallest by -1": (-1, -1)}
"""The last is of the smallest integer of the dtype."""
DIVISION_CASES = [
    Case({"operation": name, "dtype": dtype, "division": which}, {}, _needs(name, dtype), hazard="reads")
    for name, dtype, which in product(("floor_divide", "remainder", "divmod"), ("int8", "int32", "int64"), DIVISIONS)
] + [
    Case({"operation": name, "dtype": "uint8", "division": "by zero"}, {}, _needs(name, "uint8"), hazard="reads")
    for name in ("floor_divide", "remainder", "divmod")
]
UNFIT: Mapping[str, float] = {
    "NaN": nan,
    "infinity": inf,
    "minus infinity": -inf,
    "3e9": 3e9,
    "-1": -1.0,
    "256": 256.0,
}
"""Floats that integers do not hold."""
CONVERSION_CASES = [
    Case(
        {"operation": "astype", "number": number, "to": to},
        {},
        (*_needs("astype", "float32", to), "option:astype to"),
    )
    for number, to in product(UNFIT, ("int32", "uint8"))
    if (number, to) not in (("-1", "int32"), ("256", "int32"))
]
SHIFT_CASES = [
    Case({"operation": name, "dtype": dtype, "by": by}, {}, _needs(name, dtype))
    for name, dtype in product(("left_shift", "right_shift"), ("int32", "int8", "uint8"))
    for by in ("width", "width + 1", "-1")
    if dtype != "uint8" or by != "-1"
]
BETA_CASES = [
    Case({"operation": "addmm", "held": held}, {}, (*_needs("addmm", "float32"), "option:addmm beta"))
    for held in ("NaN", "infinity")
]
MEDIAN_CASES = [Case({"operation": "median", "dtype": dtype}, {}, _needs("median", dtype)) for dtype in FLOATS]
EMPTY_CASES = [
    Case({"operation": name, "shape": shape}, {}, _needs(name, "float32"))
    for name in ("max", "min", "argmax", "argmin", "mean", "var", "median", "logsumexp", "sort", "argsort", "cumsum")
    for shape in ("0", "0x3")
]
OF_INTEGERS = tuple(
    name for name, of in ARRAYS.items() if next(iter(of.samples)).name == "numbers" or name == "logaddexp"
)
INTEGER_CASES = [
    Case({"operation": name, "dtype": dtype}, {}, _needs(name, dtype))
    for name in OF_INTEGERS
    for dtype in ("int32", "bool")
]


@dataclass(frozen=True)
class Kink:
    """Operands at which an operation has several slopes, and the least and the largest of them for the first one."""

    operation: str
    at: str
    operands: tuple[tuple[float, ...], ...]
    least: tuple[float, ...]
    most: tuple[float, ...]
    options: Mapping[str, Any]
    place: int = 0


def _kink(
    operation: str, at: str, *operands: Any, least: Any, most: Any = None, place: int = 0, **options: Any
) -> Kink:
    return Kink(operation, at, operands, least, least if most is None else most, options, place)


KINKS = (
    _kink("abs", "zero", (0.0,), least=(-1.0,), most=(1.0,)),
    _kink("sign", "zero", (0.0,), least=(0.0,)),
    _kink("floor", "one", (1.0,), least=(0.0,)),
    _kink("round", "half", (0.5,), least=(0.0,)),
    _kink("maximum", "equal", (2.0,), (2.0,), least=(0.0,), most=(1.0,)),
    _kink("maximum", "equal, by the second", (2.0,), (2.0,), least=(0.0,), most=(1.0,), place=1),
    _kink("minimum", "equal", (2.0,), (2.0,), least=(0.0,), most=(1.0,)),
    _kink("minimum", "equal, by the second", (2.0,), (2.0,), least=(0.0,), most=(1.0,), place=1),
    _kink("clip", "lower end", (-1.0,), least=(0.0,), most=(1.0,), a_min=-1.0, a_max=2.5),
    _kink("clip", "upper end", (2.5,), least=(0.0,), most=(1.0,), a_min=-1.0, a_max=2.5),
    _kink("max", "two largest", (2.0, 2.0, 1.0), least=(0.0, 0.0, 0.0), most=(1.0, 1.0, 0.0), axis=0),
    _kink("min", "two smallest", (1.0, 1.0, 2.0), least=(0.0, 0.0, 0.0), most=(1.0, 1.0, 0.0), axis=0),
    _kink("median", "middle of two", (1.0, 3.0, 2.0, 4.0), least=(0.0,) * 4, most=(0.0, 1.0, 1.0, 0.0), axis=0),
    _kink("power", "zero to the second", (0.0,), (2.0,), least=(0.0,)),
    _kink("power", "zero to the first", (0.0,), (1.0,), least=(1.0,)),
    _kink("power", "zero to the zeroth", (0.0,), (0.0,), least=(0.0,)),
    _kink("power", "zero to the second, by the exponent", (0.0,), (2.0,), least=(0.0,), place=1),
    _kink("power", "-2 to the third", (-2.0,), (3.0,), least=(12.0,)),
    _kink("prod", "one zero", (0.0, 2.0, 3.0), least=(6.0, 0.0, 0.0), axis=0),
    _kink("prod", "two zeros", (0.0, 0.0, 3.0), least=(0.0, 0.0, 0.0), axis=0),
    _kink("cumprod", "one zero", (2.0, 0.0, 3.0), least=(1.0, 8.0, 0.0), axis=0),
    _kink("std", "equal numbers", (2.0, 2.0, 2.0), least=(-inf,) * 3, most=(inf,) * 3, axis=0),
    _kink("remainder", "ordinary", (7.0,), (2.0,), least=(1.0,)),
    _kink("remainder", "ordinary, by the divisor", (7.0,), (2.0,), least=(-3.0,), place=1),
    _kink("arctan2", "the origin", (0.0,), (0.0,), least=(-inf,), most=(inf,)),
    _kink("cummax", "equal", (1.0, 1.0, 0.0), least=(0.0, 0.0, 0.0), most=(3.0, 3.0, 0.0), axis=0),
    _kink("cumsum", "reversed", (1.0, 2.0, 3.0), least=(1.0, 2.0, 3.0), axis=0, reverse=True),
    _kink("cumsum", "exclusive", (1.0, 2.0, 3.0), least=(2.0, 1.0, 0.0), axis=0, inclusive=False),
    _kink("sort", "ordinary", (3.0, 1.0, 2.0), least=(1.0, 1.0, 1.0), axis=0),
    _kink("var", "one element less", (1.0, 3.0), least=(-2.0, 2.0), axis=0, ddof=1),
    _kink("logsumexp", "minus infinity", (-inf, 0.0), least=(0.0, 1.0), axis=0),
)
"""NaN is permitted where both ends are infinite."""


def _of_kink(one: Kink) -> Case:
    options = (f"option:{one.operation} {name}" for name in one.options)
    needs = (*_needs(one.operation, "float32"), *options, "gradients")
    return Case({"operation": one.operation, "at": one.at}, {}, needs)


KINK_CASES = [_of_kink(one) for one in KINKS if one.least != one.most]
SLOPE_CASES = [_of_kink(one) for one in KINKS if one.least == one.most]
REFUSED: Mapping[str, tuple[str, tuple[tuple[int, ...], ...], Mapping[str, Any]]] = {
    "3 and 4": ("add", ((3,), (4,)), {}),
    "2x3 and 3x2": ("multiply", ((2, 3), (3, 2)), {}),
    "2x3 by 2x3": ("matmul", ((2, 3), (2, 3)), {}),
    "3 by 4": ("inner", ((3,), (4,)), {}),
    "axis 3 of 2": ("sum", ((2, 3),), {"axis": 3}),
    "axis -3 of 2": ("max", ((2, 3),), {"axis": -3}),
    "axis 2 of 2": ("argmax", ((2, 3),), {"axis": 2}),
    "one axis twice": ("mean", ((2, 3),), {"axis": (0, 0)}),
    "axis 2 of two": ("sort", ((2, 3),), {"axis": 2}),
    "axis 2 of 2x3": ("cumsum", ((2, 3),), {"axis": 2}),
    "k above the size": ("topk", ((2, 3),), {"k": 4}),
    "kth above the size": ("partition", ((2, 3),), {"kth": 7}),
    "sizes of j": ("einsum", ((2, 3), (4, 5)), {"subscripts": "ij,jk->ik"}),
    "an index twice": ("einsum", ((2, 3), (3, 5)), {"subscripts": "ij,jk->ii"}),
    "three operands of two": ("einsum", ((2, 3), (3, 5)), {"subscripts": "ij,jk,kl->il"}),
    "sizes of axes": ("tensordot", ((2, 3), (4, 5)), {"axes": 1}),
    "sizes of a sum": ("addmm", ((2, 2), (2, 3), (3, 5)), {}),
}
REFUSED_CASES = [
    Case(
        {"operation": name, "given": given},
        {},
        (*_needs(name, "float32"), *(f"option:{name} {option}" for option in options)),
        hazard="reads",
    )
    for given, (name, _, options) in REFUSED.items()
]
VIEWED = (
    *(
        "add",
        "multiply",
        "divide",
        "power",
        "maximum",
        "equal",
        "abs",
        "square",
        "isnan",
        "floor",
        "sum",
        "mean",
        "max",
    ),
    *("argmax", "all", "cumsum", "cummax", "sort", "argsort", "median", "matmul", "inner"),
)
LAYOUTS = ("strided", "inner reversed", "transposed", "broadcast")
LAYOUT_CASES = [
    Case(
        {**case.params, "layout": layout},
        case.arrays,
        (*case.needs, *LAYOUT_NEEDS[layout]),
    )
    for name, layout in product(VIEWED, LAYOUTS)
    for plain in [PLAIN[name]]
    for case in [arrays.plain_case(plain, plain.samples[0], "float32", next(iter(plain.samples[0].regions)), {})]
]
"""Every operand is a view. A broadcast one is its first row, repeated."""
COMPLEX_CASES = [
    Case({"operation": name, "dtype": "complex64"}, {}, _needs(name, "complex64"))
    for name in (
        *("abs", "negative", "square", "reciprocal", "add", "subtract", "multiply", "divide", "power", "equal"),
        *(
            "not_equal",
            "exp",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "sqrt",
            "log",
            "sum",
            "mean",
            "prod",
            "matmul",
            "inner",
        ),
        *("outer", "isnan", "isfinite", "where", "cumsum", "isclose"),
    )
]
LARGE_COMPLEX_CASES = [
    Case({"operation": "abs", "dtype": "complex64", "numbers": "large"}, {}, _needs("abs", "complex64"))
]
"""Whose squares overflow, and whose sizes do not."""
