"""Cases of functions of arrays."""

from __future__ import annotations

from touchstone.golden.cases import operations
from touchstone.golden.operations.functions import FUNCTIONS

CHAPTER = "functions"
VALUE_CASES = list(operations.values(CHAPTER, FUNCTIONS.values()))
GRADIENT_CASES = list(operations.gradients(CHAPTER, FUNCTIONS.values()))
OPTION_CASES = [
    operations.case(CHAPTER, function, function.sample, "float32", region, options)
    for function in FUNCTIONS.values()
    for options in function.variants
    for region in ("ordinary", "knots", "special")
]
