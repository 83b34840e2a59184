"""Cases for the from-scratch embedding exercise: NNX and Linen, float ids cast to int32."""

from __future__ import annotations

from itertools import product

from touchstone.golden.cases.lookup import OUTSIDE, V
from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import Recipe

STYLES = ("nnx", "linen")
DIMS = 8
_IDS = add("exercise/ids", Recipe("integers", "float32", (6,), {"low": 0, "high": V}))

ROW_CASES = [
    Case({"style": style, "seed": seed}, {"ids": _IDS}, (f"exercise:{style}",))
    for style, seed in product(STYLES, (0, 1, 20261121))
]
OUTSIDE_CASES = [
    Case({"style": style, "ids": name}, {}, (f"exercise:{style}",), "reads")
    for style, name in product(STYLES, ("V", "V+1", "-V-1", "far", "far below"))
]
NEGATIVE_CASES = [
    Case({"style": style, "ids": name}, {}, (f"exercise:{style}",)) for style, name in product(STYLES, ("-1", "-V"))
]
IDS = {"-1": -1, "-V": -V} | OUTSIDE
