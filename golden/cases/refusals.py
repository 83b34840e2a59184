"""Cases about what has to be refused: inputs and files that do not fit a layer, and by which error."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import Recipe

ROWS, DIMS, GROUP = 9, 6, 32
LAYERS = {
    "linear": ("linear", "call"),
    "tied head": ("embedding", "as_linear"),
    "quantized linear": ("quantized_linear", "call"),
    "quantized tied head": ("quantized_embedding", "as_linear"),
}
"""What is called -> its layer, and the method."""
SHAPES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "one short": lambda k: (2, k - 1),
    "one long": lambda k: (2, k + 1),
    "one element": lambda k: (2, 1),
    "twice": lambda k: (2, 2 * k),
    "transposed": lambda k: (k, ROWS),
    "rank 1": lambda k: (k + 1,),
    "rank 3": lambda k: (2, 3, k - 1),
    "no rows": lambda k: (0, k + 1),
    "nothing": lambda k: (2, 0),
}
"""Shapes of x whose last axis is not the layer's K."""
FILES = ("missing", "surplus", "longer", "wider", "transposed")
"""What the file of another layer has: no bias, a bias too many, other sizes."""
MISFITS: dict[str, tuple[int, int]] = {
    "transposed": (3, 5),
    "one row": (1, 3),
    "one column": (5, 1),
    "one element": (1, 1),
    "flat": (1, 15),
    "flat column": (15, 1),
    "longer": (6, 3),
    "shorter": (4, 3),
    "wider": (5, 4),
    "narrower": (5, 2),
}
"""What the file of a layer without a bias has in place of a weight of five rows and three columns."""
KINDS = {
    "id beyond the table": ("layer:embedding",),
    "id below the table": ("layer:embedding",),
    "raw id beyond the table": ("layer:raw_lookup",),
    "float ids": ("layer:embedding",),
    "x of another size": ("layer:linear",),
    "head's x of another size": ("layer:embedding",),
    "x of rank 0": ("layer:linear",),
    "dims that do not divide": ("layer:quantized_embedding", "scheme:affine4g32"),
    "a file that lacks a parameter": ("layer:linear", "persistence"),
    "a file of another shape": ("layer:linear", "persistence"),
}
"""What is wrong -> what has to be there to ask."""


def weight(dtype: str, dims: int) -> str:
    """A table of small numbers, or of bell-shaped ones where it is quantized."""
    recipe = Recipe("bell", dtype, (ROWS, dims), {"scale": 0.25})
    return add(f"refusals/{dtype}/weight/{dims}", recipe)


def _shape_cases() -> list[Case]:
    out = []
    for (layer, method), shape, dtype in product(LAYERS.values(), SHAPES, ("float32", "bfloat16")):
        quantized = layer.startswith("quantized")
        needs = (f"layer:{layer}", f"dtype:{dtype}", *(("scheme:affine4g32",) * quantized))
        arrays = {"weight": weight(dtype, GROUP if quantized else DIMS)}
        out.append(Case({"layer": layer, "dtype": dtype, "method": method, "x": shape}, arrays, needs))
    return out


def _file_cases(*needs: str) -> list[Case]:
    return [
        Case({"layer": "linear", "file": file}, {}, ("layer:linear", "dtype:float32", "persistence", *needs))
        for file in FILES
    ]


def _misfit_cases(*needs: str) -> list[Case]:
    return [
        Case({"layer": layer, "shape": shape}, {}, (f"layer:{layer}", "dtype:float32", "persistence", *needs))
        for layer, shape in product(("linear", "embedding"), MISFITS)
    ]


SHAPE_CASES = _shape_cases()
FILE_CASES = [*_file_cases(), *_misfit_cases()]
LENIENT_CASES = [*_file_cases("lenient"), *_misfit_cases("lenient")]
KIND_CASES = [
    Case({"what": what}, {"weight": weight("float32", DIMS)}, ("dtype:float32", *needs), "reads")
    for what, needs in KINDS.items()
]
