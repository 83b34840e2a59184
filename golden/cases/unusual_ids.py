"""Cases about ids from the end of a table and beyond it, by every function that looks up rows, at every rank."""

from __future__ import annotations

from itertools import product
from math import prod

from touchstone.golden.cases.exact_gradients import SPELLINGS
from touchstone.golden.catalogue import Case, add, spell_shape
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 9, 32
"""One group of four bits a row, so that a table can be quantized."""
IDS = {"last": -1, "first": -ROWS, "beyond": ROWS, "far beyond": ROWS + 100}
"""What the last id of the batch is: the last and the first row counted from the end, or none."""
SHAPES = ((), (3,), (2, 3))
ITSELF = "itself"
"""In place of a spelling, of a layer or of bare indexing."""
BOUNDED = (
    *(
        "take that clips",
        "take that fills",
        "take that wraps",
        "at get",
        "at get that clips",
        "at get that fills",
        "one hot",
    ),
    *("functional", "index_select", "gather", "take_along_dim", "bag of one"),
)
"""Functions whose pages say what becomes of ids beyond the table; EMB-OOR-1 asks layers and bare indexing."""


def _case(layer: str, identifier: str, shape: tuple[int, ...], spelling: str = "") -> Case:
    count = prod(shape)
    good = tuple((7 * n + 2) % ROWS for n in range(count - 1))
    cotangent = Recipe("integers", "float32", (*shape, DIMS), {"low": 1, "high": 5})
    arrays = {
        "table": add("unusual ids/table", Recipe("bell", "float32", (ROWS, DIMS), {"scale": 0.25})),
        "ids": add(
            f"unusual ids/{identifier}/{spell_shape(shape)}",
            Recipe("values", "int32", shape, {"values": (*good, IDS[identifier])}),
        ),
        "cotangent": add(f"unusual ids/cotangent/{spell_shape(shape)}", cotangent),
    }
    params = {"layer": layer, "spelling": spelling or ITSELF, "id": identifier}
    needs = (f"layer:{layer}", *((f"spelling:{layer} {spelling}",) * bool(spelling)))
    scheme = ("scheme:affine4g32",) * layer.startswith("quantized")
    needs = (*needs, "gradients") if layer != "quantized_embedding" else needs
    return Case({**params, "ids": spell_shape(shape)}, arrays, (*needs, *scheme))


def _cases() -> list[Case]:
    spelled = [
        _case("raw_lookup", identifier, shape, spelling)
        for spelling, identifier, shape in product(SPELLINGS["raw_lookup"], IDS, SHAPES)
        if spelling in BOUNDED or IDS[identifier] < 0
    ]
    layers = [
        _case(layer, identifier, shape)
        for layer, identifier, shape in product(("embedding", "raw_lookup", "quantized_embedding"), IDS, SHAPES)
        if IDS[identifier] < 0 and (shape or layer != "quantized_embedding")
    ]
    return [*layers, *spelled]


CASES = _cases()
