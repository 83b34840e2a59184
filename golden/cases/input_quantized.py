"""Cases about layers that quantize what they are given: weights that their format holds exactly, in every mode."""

from __future__ import annotations

from itertools import product

from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 8, 32
OPERATIONS = ("evaluate", "train", "replace", "save", "cast")
"""What is done to such a layer; see suites/test_input_quantized.py."""
GRID = (6, 1, -2, 3, 0, -4, 2, -1)
"""E2M1 and E4M3 have these numbers; a block whose largest is 6 has scale 1."""


def _arrays() -> dict[str, str]:
    values = tuple(GRID[(place % 16 + place // 16) % 8] for place in range(ROWS * DIMS))
    return {
        "weight": add("input quantized/weight", Recipe("values", "float32", (ROWS, DIMS), {"values": values})),
        "other": add("input quantized/other", Recipe("values", "float32", (ROWS, DIMS), {"values": values[::-1]})),
    }


CASES = [
    Case(
        {"mode": mode, "first": first, "then": second, "last": third},
        _arrays(),
        ("layer:quantized_linear", f"scheme:{mode}", "conversion", "modes", "dtype:float32"),
    )
    for mode in ("nvfp4", "mxfp8")
    for first, second, third in product(OPERATIONS, OPERATIONS, OPERATIONS)
    if mode == "nvfp4" or (first, second) == ("evaluate", "train")
]
