"""Cases of what documentation leaves open of a function: precision inside, slopes at kinks, integers, defaults."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.cases.function_operands import OF_NUMBERS, OF_ROWS
from touchstone.golden.cases.functions import CHAPTER
from touchstone.golden.catalogue import Case
from touchstone.golden.operations.functions import BY_DEFAULT, FUNCTIONS

CLASS_CASES = [
    operations.case(CHAPTER, one, one.sample, dtype, "ordinary", of_both_classes=True)
    for one, dtype in product((*OF_NUMBERS, *OF_ROWS), operations.HALVES)
    if one.name != "step"
]
GRADIENT_CLASS_CASES = [
    operations.case(CHAPTER, one, one.sample, dtype, "ordinary", argument="x", of_both_classes=True)
    for one, dtype in product((*OF_NUMBERS, *OF_ROWS), operations.HALVES)
    if one.name != "step" and "x" in one.slopes
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
    found = {
        choice: operations.case(CHAPTER, FUNCTIONS[of], FUNCTIONS[of].sample, "float32", "ordinary")
        for choice, of in BY_DEFAULT[name].items()
    }
    params = {"operation": name, "dtype": "float32"}
    return Case(params, operations.choices(found), (f"operation:{name}", "dtype:float32"))


DEFAULT_CASES = [_by_default(name) for name in BY_DEFAULT]
RANGE_CASES = [
    operations.case(CHAPTER, one, one.sample, "float32", "ordinary", options)
    for one in FUNCTIONS.values()
    for options in one.beyond
]
