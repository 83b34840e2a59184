"""Cases of gradients that are small integers, exact in every dtype: heads alone, id dtypes, ranks, small tables."""

from __future__ import annotations

from itertools import product
from math import prod

from touchstone.golden.cases.lookup import DENSE_LAYERS, FLOATS, SPECIAL_CASES
from touchstone.golden.catalogue import Case, add, spell_shape
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 9, 6
TABLES = ((ROWS, DIMS), (1, 4), (2, 1), (6, 6), (70, 3))
"""Tables of one row, of one column, square ones, where a missing transpose hides behind no shape, and a longer one."""
ID_DTYPES = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32")
SHAPES = ((), (3,), (1,), (4, 1), (1, 4), (2, 3), (2, 1, 3))
"""Of ids, and of x without its last axis: axes of one included, each of which may be lost or exchanged."""


def _integers(name: str, dtype: str, shape: tuple[int, ...], size: int) -> str:
    key = f"exact gradients/{dtype}/{name}/{spell_shape(shape)}"
    return add(key, Recipe("integers", dtype, shape, {"low": -size, "high": size + 1}))


def _ids(shape: tuple[int, ...], rows: int, dtype: str = "int32") -> str:
    key = f"exact gradients/ids/{dtype}/{rows}/{spell_shape(shape)}"
    values = [(7 * n + rows - 1) % rows for n in range(prod(shape))]
    if len(values) > 2:
        values[-1] = values[0]
    return add(key, Recipe("values", dtype, shape, {"values": tuple(values)}))


def _lookup(layer: str, dtype: str, table: tuple[int, int], shape: tuple[int, ...], ids: str = "int32") -> Case:
    arrays = {
        "weight": _integers("table", dtype, table, 2),
        "ids": _ids(shape, table[0], ids),
        "cotangent": _integers("cotangent", dtype, (*shape, table[1]), 2),
    }
    params = {"layer": layer, "dtype": dtype, "table": spell_shape(table), "ids": spell_shape(shape), "id_dtype": ids}
    needs = (f"layer:{layer}", f"dtype:{dtype}", f"id_dtype:{ids}", "gradients")
    return Case(params, arrays, needs)


def _product(layer: str, dtype: str, table: tuple[int, int], shape: tuple[int, ...]) -> Case:
    arrays = {
        "weight": _integers("table", dtype, table, 2),
        "x": _integers("x", dtype, (*shape, table[1]), 2),
        "cotangent": _integers("cotangent", dtype, (*shape, table[0]), 2),
    } | ({"bias": _integers("bias", dtype, (table[0],), 2)} if layer == "linear" else {})
    params = {"layer": layer, "dtype": dtype, "table": spell_shape(table), "x": spell_shape((*shape, table[1]))}
    return Case(params, arrays, (f"layer:{layer}", f"dtype:{dtype}", "gradients"))


LOOKUP_CASES = [
    *(_lookup(la, d, t, (3,)) for la, d, t in product(DENSE_LAYERS, FLOATS, TABLES)),
    *(_lookup(la, "float32", (ROWS, DIMS), s) for la, s in product(DENSE_LAYERS, SHAPES) if s != (3,)),
    *(_lookup(la, "float32", (1, 4), ()) for la in DENSE_LAYERS),
    *(_lookup(la, "float32", (ROWS, DIMS), (2, 3), i) for la, i in product(DENSE_LAYERS, ID_DTYPES) if i != "int32"),
]
PRODUCT_CASES = [
    *(_product(la, d, t, (3,)) for la, d, t in product(("linear", "embedding"), FLOATS, TABLES)),
    *(_product(la, "float32", (ROWS, DIMS), s) for la, s in product(("linear", "embedding"), SHAPES) if s != (3,)),
]
"""Of linear layers, and of tied heads alone."""
SPELLINGS = {
    "raw_lookup": (
        *("take", "take of the transposed", "take along axis", "take that clips", "take that fills", "take that wraps"),
        *("at get", "functional", "index_select", "gather", "take_along_dim", "bag of one"),
        *("take of the flat", "one hot", "all columns", "at get that clips", "at get that fills"),
    ),
    "linear": (
        *("functional", "matmul", "addmm", "einsum", "tensordot", "inner", "dot"),
        *("addmm that scales", "addmm of a matrix", "batched", "dot_general", "by vectors"),
        *("addmm that ignores", "batched that ignores", "einsum without an arrow"),
    ),
    "quantized_linear": ("quantized_matmul", "dequantize", "untransposed", "gather_qmm"),
}
"""Other functions of frameworks that compute a layer, by the name that their adapters give them."""


_FEW = (spell_shape((3,)), spell_shape(()), spell_shape((2, 3)))
"""Shapes that other functions are asked; golden/cases/crosses.py crosses the rest."""


def _by(spelling: str, case: Case) -> Case:
    """The case, asked of another function."""
    need = f"spelling:{case.params['layer']} {spelling}"
    return Case({**case.params, "spelling": spelling}, case.arrays, (*case.needs, need))


def _spelled() -> list[Case]:
    asked = [
        case
        for case in (*LOOKUP_CASES, *PRODUCT_CASES)
        if case.params.get("ids", case.params.get("x", "").rpartition("x")[0] or "scalar") in _FEW
        and case.params.get("id_dtype", "int32") == "int32"
        and (case.params["dtype"], case.params["table"]) == ("float32", spell_shape((ROWS, DIMS)))
    ]
    return [_by(spelling, case) for case in asked for spelling in SPELLINGS.get(case.params["layer"], ())]


SPELLED_CASES = _spelled()
COPIED_CASES = [
    _by(spelling, case)
    for case in SPECIAL_CASES
    for spelling in SPELLINGS["raw_lookup"]
    if case.params["layer"] == "raw_lookup" and spelling not in ("one hot", "bag of one")
]
"""Of tables of special values: a product and a sum need not keep the sign of a zero."""
