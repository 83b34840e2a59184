"""Cases of what documentation leaves open of a function: precision inside, slopes at kinks, integers, defaults."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.cases.function_operands import OF_NUMBERS
from touchstone.golden.cases.functions import CHAPTER
from touchstone.golden.catalogue import Case
from touchstone.golden.operations.functions import BY_DEFAULT, FUNCTIONS

HALVES = ("float16", "bfloat16")
CLASS_CASES = [
    operations.case(CHAPTER, one, one.sample, dtype, "ordinary")
    for one, dtype in product(OF_NUMBERS, HALVES)
    if one.name != "step"
]
KINK_CASES = [
    replace(found, params={"operation": one.name, "dtype": "float32", "at": kink})
    for one in OF_NUMBERS
    for kink in one.kinks
    for found in [operations.case(CHAPTER, one, one.sample, "float32", "knots", argument="x")]
]
INTEGER_CASES = [
    replace(found, params={"operation": one.name, "x": "int32"})
    for one in OF_NUMBERS
    for found in [operations.case(CHAPTER, one, one.sample, "float32", "knots")]
]


def _by_default(name: str) -> Case:
    found = [
        operations.case(CHAPTER, FUNCTIONS[of], FUNCTIONS[of].sample, "float32", "ordinary")
        for of in BY_DEFAULT[name].values()
    ]
    arrays = {"x": found[0].arrays["x"]}
    for choice, case in zip(BY_DEFAULT[name], found, strict=True):
        arrays |= {f"{what} {choice}": case.arrays[what] for what in ("value", "error")}
    return Case({"operation": name, "dtype": "float32"}, arrays, (f"operation:{name}", "dtype:float32"))


DEFAULT_CASES = [_by_default(name) for name in BY_DEFAULT]
