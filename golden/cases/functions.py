"""Cases of functions of arrays."""

from __future__ import annotations

from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.operations.functions import FUNCTIONS

CHAPTER = "functions"
VALUE_CASES = list(operations.values(CHAPTER, FUNCTIONS.values()))
GRADIENT_CASES = [
    *operations.gradients(CHAPTER, FUNCTIONS.values()),
    *(
        operations.case(CHAPTER, function, function.sample, "float32", "ordinary", options, argument)
        for function in FUNCTIONS.values()
        for options, argument in product(function.variants, function.slopes)
    ),
]
SLOPE_CASES = [
    operations.case(CHAPTER, FUNCTIONS["prelu"], FUNCTIONS["prelu"].sample, "float32", "ordinary", argument="x")
]
"""Of what the second operand of prelu gets."""
OPTION_CASES = [
    operations.case(CHAPTER, function, function.sample, "float32", region, options)
    for function in FUNCTIONS.values()
    for options in function.variants
    for region in ("ordinary", "knots", "special")
]
