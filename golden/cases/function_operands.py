"""Cases of what a function is given: along which axis, in which layout, of no element or no axis, compiled."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.cases.functions import CHAPTER
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case
from touchstone.golden.operations.functions import FUNCTIONS, IN_PLACE
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import HALVES, NUMBERS, ROWS

OF_NUMBERS = tuple(one for one in FUNCTIONS.values() if one.sample is NUMBERS)
OF_ROWS = tuple(one for one in FUNCTIONS.values() if one.sample is ROWS and not one.inside)
OF_HALVES = tuple(one for one in FUNCTIONS.values() if one.sample is HALVES)
RESULTS = (("", "values"), ("x", "gradient"))
"""Argument whose gradient is asked, and what a case says of it."""
PLACES = {"first of two": "axis", "middle of three": "axis", "last two of three": "axes"}
"""Where the axis of the rows is put -> the option that says so."""
LAYOUTS = ("strided", "inner reversed", "transposed")
SHAPES = ("no element", "no row", "no axis")
QUICKLY_COMPILED = ("gelu", "silu", "softplus", "softmax")
"""Compiled in every run; MLX builds each of the others with a C++ compiler for seconds, which `-m wide` asks for."""


def _of(operation: Operation, region: str = "ordinary", argument: str = "", dtype: str = "float32") -> Case:
    return operations.case(CHAPTER, operation, operation.sample, dtype, region, argument=argument)


def _with(case: Case, *needs: str, marks: tuple[str, ...] = (), **params: str) -> Case:
    return replace(case, params={**case.params, **params}, needs=(*case.needs, *needs), marks=marks)


AXIS_CASES = [
    _with(
        _of(one, region, argument),
        f"option:{one.name} {PLACES[place]}",
        axis=place,
        result=result,
    )
    for one, place, region in product((*OF_ROWS, *OF_HALVES), PLACES, ("ordinary", "wide"))
    for argument, result in RESULTS
    if (not argument or argument in one.slopes) and (one in OF_ROWS or place == "first of two")
]
EVERY_AXIS_CASES = [
    _with(_of(one, "ordinary"), f"option:{one.name} axes", axis="every axis", result="values") for one in OF_ROWS
]
"""Of one row, as a matrix."""
LAYOUT_CASES = [
    _with(_of(one, argument=argument, dtype=dtype), *LAYOUT_NEEDS[layout], layout=layout, result=result)
    for one, layout, dtype in product((*OF_NUMBERS, *OF_ROWS), LAYOUTS, operations.DTYPES)
    for argument, result in RESULTS
    if not argument or argument in one.slopes
]
IN_PLACE_CASES = [
    replace(
        _with(_of(FUNCTIONS[of]), *LAYOUT_NEEDS[layout], layout=layout),
        needs=(f"operation:{name}", "dtype:float32", *LAYOUT_NEEDS[layout]),
    )
    for (name, of), layout in product(IN_PLACE.items(), ("dense", "strided", "transposed"))
]
EMPTY_CASES = [
    _with(_of(one), shape=shape)
    for one, shape in product((*OF_NUMBERS, *OF_ROWS), SHAPES)
    if one in OF_NUMBERS or shape != "no axis"
]
COMPILERS = ("default", "none")
"""What compiles; none: asked of a target whose functions are compiled in all other cases."""
COMPILED_CASES = [
    _with(
        _of(one, region),
        f"compiler:{compiler}",
        marks=() if one.name in QUICKLY_COMPILED else ("wide",),
        compiler=compiler,
    )
    for one, compiler in product((*OF_NUMBERS, *OF_ROWS), COMPILERS)
    for region in (("ordinary",) if one in OF_NUMBERS else ("ordinary", "far"))
]
