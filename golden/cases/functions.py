"""Cases of functions of one array: the whole range of each dtype, a region at a time."""

from __future__ import annotations

from itertools import product

from touchstone.golden.catalogue import Case, add
from touchstone.golden.operations import regions
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.recipes import Derived, Recipe

DTYPES = ("float32", "float16", "bfloat16")


def _case(name: str, dtype: str, region: str) -> Case:
    inputs = add(f"functions/x/{dtype}", Recipe("regions", dtype, (sum(regions.SIZES.values()),)))
    arrays = {"x": inputs}
    for what in ("value", "scale"):
        arrays[what] = add(f"functions/{name}/{dtype}/{what}", Derived(f"{what} of {name}", (inputs,)))
    params = {"operation": name, "dtype": dtype, "region": region}
    return Case(params, arrays, (f"operation:{name}", f"dtype:{dtype}"))


VALUE_CASES = [_case(*names) for names in product(FUNCTIONS, DTYPES, regions.SIZES)]
