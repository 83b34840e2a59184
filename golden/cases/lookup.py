"""Cases for embedding lookup: shapes, values, layouts, id dtypes and ids out of range."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from touchstone.golden.catalogue import LAYOUT_NEEDS, Case, add
from touchstone.golden.recipes import Derived, Recipe
from touchstone.golden.streams import DTYPES

FLOATS = ("float32", "float16", "bfloat16")
DENSE_LAYERS = ("embedding", "raw_lookup")
ID_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SIGNED = ("int8", "int16", "int32", "int64")
V, D = 37, 5
"""Size of the ordinary table; odd and prime, so that a swapped or padded axis shows."""


def table(dtype: str, rows: int = V, dims: int = D) -> str:
    """Key of a table ``[rows, dims]`` of uniform numbers in [-1, 1), exact in the dtype."""
    return add(f"tables/{dtype}/V={rows}-D={dims}", Recipe("uniform", dtype, (rows, dims)))


def _ids(name: str, values: Any, shape: tuple[int, ...], dtype: str = "int32") -> str:
    return add(f"ids/{name}", Recipe("values", dtype, shape, {"values": tuple(values)}))


def _random_ids(name: str, shape: tuple[int, ...], rows: int = V) -> str:
    return add(f"ids/{name}", Recipe("integers", "int32", shape, {"low": 0, "high": rows}))


def _with_rows(table_key: str, ids_key: str) -> dict[str, str]:
    rows = add(f"rows/{table_key}/{ids_key}", Derived("lookup", (table_key, ids_key)))
    return {"table": table_key, "ids": ids_key, "rows": rows}


def _needs(layer: str, dtype: str, *more: str) -> tuple[str, ...]:
    return (f"layer:{layer}", f"dtype:{dtype}", *more)


def _shapes() -> list[Case]:
    ids = {f"rank {r}": _random_ids(f"rank {r}", (3, 2, 4, 1, 2)[:r]) for r in range(6)}
    ids |= {
        "empty": _ids("empty", (), (0,)),
        "empty rank 2": _ids("empty rank 2", (), (2, 0)),
        "one": _ids("one", (7,), (1,)),
        "repeated": _ids("repeated", (5, 5, 5, 0, 5, 36, 36), (7,)),
        "first and last": _ids("first and last", (0, V - 1), (2,)),
        "every row": _ids("every row", range(V), (V,)),
        "a column": _ids("a column", (5, 0, 36, 7), (4, 1)),
        "a line": _ids("a line", (5, 0, 36, 7), (1, 4)),
        "one of rank 2": _ids("one of rank 2", (7,), (1, 1)),
        "an inner axis of one": _ids("an inner axis of one", (5, 0, 36, 7, 7, 1), (2, 1, 3)),
    }
    return [
        Case(
            {"layer": layer, "dtype": dtype, "ids": name},
            _with_rows(table(dtype), key),
            _needs(layer, dtype),
        )
        for layer, dtype, (name, key) in product(DENSE_LAYERS, FLOATS, ids.items())
    ]


def _sizes() -> list[Case]:
    """Vocabularies of 1, 2 and both sides of each 8- and 16-bit id dtype's range; dims of 1, odd and large.

    And one with ids that float32 cannot hold: 2**24 + 1 is the first of them.
    """
    out = []
    edges = [1, 2, *(2**n + k for n in (7, 8, 15, 16) for k in (-1, 0, 1))]
    sizes = [(rows, 2) for rows in edges] + [(V, 1), (V, 7), (V, 1031), (3, 4096)]
    asked = [*product(DENSE_LAYERS, FLOATS, sizes), *((layer, "float16", (2**24 + 2, 1)) for layer in DENSE_LAYERS)]
    for layer, dtype, (rows, dims) in asked:
        picks = sorted({0, rows // 2, max(rows - 2, 0), rows - 1})
        key = _ids(f"edges of {rows}", picks, (len(picks),))
        out.append(
            Case(
                {"layer": layer, "dtype": dtype, "num_embeddings": rows, "dims": dims},
                _with_rows(table(dtype, rows, dims), key),
                _needs(layer, dtype),
            )
        )
    return out


def _layouts() -> list[Case]:
    out = []
    ids, flat = _random_ids("laid out", (4, 6)), _random_ids("laid out rank 1", (6,))
    for layer, dtype in product(DENSE_LAYERS, FLOATS):
        for layout in ("offset", "strided", "reversed", "inner reversed", "transposed", "broadcast"):
            arrays = _with_rows(table(dtype), flat if layout == "broadcast" else ids)
            params = {"layer": layer, "dtype": dtype, "operand": "ids", "layout": layout}
            out.append(Case(params, arrays, _needs(layer, dtype, *LAYOUT_NEEDS[layout])))
        for layout in (
            "offset",
            "inner offset",
            "strided",
            "inner strided",
            "reversed",
            "inner reversed",
            "transposed",
        ):
            params = {"layer": layer, "dtype": dtype, "operand": "table", "layout": layout}
            needs = _needs(layer, dtype, *LAYOUT_NEEDS[layout])
            out.append(Case(params, _with_rows(table(dtype), ids), needs))
    return out


def _special() -> list[Case]:
    out = []
    ids = _ids("special rows", (3, 0, 1, 2), (4,))
    for layer, dtype in product(DENSE_LAYERS, FLOATS):
        key = add(f"tables/{dtype}/special", Recipe("special values", dtype, (4, 11)))
        out.append(Case({"layer": layer, "dtype": dtype}, _with_rows(key, ids), _needs(layer, dtype)))
    return out


def _id_dtypes() -> list[Case]:
    out = []
    picks: tuple[int, ...] = (0, 3, V - 1, 3)
    for layer, name in product(DENSE_LAYERS, ID_DTYPES):
        arrays = _with_rows(table("float32"), _ids(f"{name}", picks, (4,), name))
        params = {"layer": layer, "id_dtype": name, "num_embeddings": V}
        out.append(Case(params, arrays, _needs(layer, "float32")))
    for layer, name, beyond in product(DENSE_LAYERS, ("int8", "uint8", "int16", "uint16"), (0, 1, 2)):
        largest = int(np.iinfo(name).max)
        rows = largest + beyond
        picks = (0, rows // 2, min(rows - 1, largest))
        arrays = _with_rows(table("float32", rows, 2), _ids(f"{name} edges of {rows}", picks, (3,), name))
        params = {"layer": layer, "id_dtype": name, "num_embeddings": rows}
        out.append(Case(params, arrays, _needs(layer, "float32")))
    return out


def _other_ids() -> list[Case]:
    arrays = _with_rows(table("float32"), _ids("zero and one", (0, 1), (2,)))
    kinds = ("bool array", "float16 array", "float32 array", "list", "int", "tuple")
    return [
        Case({"layer": layer, "ids": kind}, arrays, _needs(layer, "float32"))
        for layer, kind in product(DENSE_LAYERS, kinds)
    ]


def _negative_ids() -> list[Case]:
    """In range of Python's indexing: -1 and the smallest id that both the dtype and the table allow."""
    out = []
    for layer, name, rows in product(DENSE_LAYERS, SIGNED, (V, 300, 33000)):
        for spelled in ("-1", "smallest"):
            params = {"layer": layer, "id_dtype": name, "num_embeddings": rows, "ids": spelled}
            out.append(Case(params, {"table": table("float32", rows, 2)}, _needs(layer, "float32"), "reads"))
    return out


def _negative_gradients() -> list[Case]:
    return [
        Case(
            {"layer": layer, "ids": spelled},
            {"table": table("float32", V, 2)},
            _needs(layer, "float32", "gradients"),
            "writes",
        )
        for layer, spelled in product(DENSE_LAYERS, ("-1", "-V"))
    ]


def negative_id(case: Case) -> int:
    """The id that a case of `NEGATIVE_ID_CASES` asks for: -1, or the smallest that its dtype and its table allow."""
    if case.params["ids"] == "-1":
        return -1
    bits = DTYPES[case.params["id_dtype"]].itemsize * 8
    return -min(case.params["num_embeddings"], 2 ** (bits - 1))


def _wide_ids() -> list[Case]:
    """Ids beyond int32 that would name a row if they were truncated to 32 bits."""
    values = {
        "int64": ("2**32+5", "-2**32+5", "2**40+5"),
        "uint64": ("2**32+5", "2**63+5", "2**64-1"),
        "uint32": ("2**32-1", "2**31+5"),
    }
    return [
        Case(
            {"layer": layer, "id_dtype": dtype, "ids": spelled},
            {"table": _labelled("float32")},
            _needs(layer, "float32", f"id_dtype:{dtype}"),
            "reads",
        )
        for layer in DENSE_LAYERS
        for dtype, spellings in values.items()
        for spelled in spellings
    ]


def _labelled(dtype: str, rows: int = V, dims: int = D) -> str:
    return add(f"tables/{dtype}/labelled-V={rows}-D={dims}", Recipe("labelled rows", dtype, (rows, dims)))


OUTSIDE = {
    "V": V,
    "V+1": V + 1,
    "-V-1": -V - 1,
    "-V-2": -V - 2,
    "int8 max": 2**7 - 1,
    "int16 max": 2**15 - 1,
    "uint8 max": 2**8 - 1,
    "uint16 max": 2**16 - 1,
    "int32 max": 2**31 - 1,
    "int32 min": -(2**31),
    "int64 max": 2**63 - 1,
    "int64 min": -(2**63),
    "2**8+5": 2**8 + 5,
    "2**16+5": 2**16 + 5,
    "far": 10**6,
    "far below": -(10**6),
}
"""Ids outside [-V, V), by the name a case gives them; -1 and -V belong to the negative ids."""
OUTSIDE_ONE_ROW = {"1": 1, "-2": -2}
"""The same for a table of one row, which frameworks may treat apart."""
_NARROWEST = {"int8 max": "int8", "uint8 max": "uint8", "int16 max": "int16", "uint16 max": "uint16"}
_NARROWEST |= {"int64 max": "int64", "int64 min": "int64"}


LONG = {"last of 1024": 1024, "last of 1025": 1025, "last of 65537": 65537}
"""Forms in which the bad id ends a long batch, and its length."""


def outside_ids(case: Case) -> tuple[list[int], tuple[int, ...], str]:
    """(ids, shape, dtype) of an out-of-range case, whose bad id `bad_place` tells."""
    name, form = case.params["ids"], case.params["form"]
    bad, dtype = (OUTSIDE | OUTSIDE_ONE_ROW)[name], _NARROWEST.get(name, "int32")
    if form == "mixed":
        return [0, bad, V - 1], (3,), dtype
    if form in LONG:
        return [*(number % V for number in range(LONG[form] - 1)), bad], (LONG[form],), dtype
    return [bad], () if form == "0-d" else (1,), dtype


def bad_place(case: Case) -> int:
    """Where the bad id stands: between two good ones, at the end of many, or alone."""
    form = case.params["form"]
    return LONG[form] - 1 if form in LONG else int(form == "mixed")


def _outside(layers: tuple[str, ...], names: tuple[str, ...], forms: tuple[str, ...], dtypes: tuple[str, ...],
             *needs: str, hazard: Any = "reads", **params: Any) -> list[Case]:  # fmt: skip
    out = []
    for layer, dtype, name, form in product(layers, dtypes, names, forms):
        dims = 64 if layer.startswith("quantized") else D
        more: tuple[str, ...] = ("scheme:affine4g32",) if layer.startswith("quantized") else ()
        more += (f"id_dtype:{_NARROWEST.get(name, 'int32')}",)
        out.append(
            Case(
                {"layer": layer, "dtype": dtype, "ids": name, "form": form, **params},
                {"table": _labelled(dtype, V, dims)},
                _needs(layer, dtype, *more, *needs),
                hazard,
            )
        )
    return out


_ALL_LAYERS = (*DENSE_LAYERS, "quantized_embedding")
_NEAR = ("V", "V+1", "-V-1", "-V-2")

SHAPE_CASES = _shapes()
SIZE_CASES = _sizes()
LAYOUT_CASES = _layouts()
SPECIAL_CASES = _special()
ID_DTYPE_CASES = _id_dtypes()
OTHER_ID_CASES = _other_ids()
NEGATIVE_ID_CASES = _negative_ids()
WIDE_ID_CASES = _wide_ids()
NEGATIVE_GRADIENT_CASES = _negative_gradients()


def _outside_one_row() -> list[Case]:
    return [
        Case(
            {"layer": layer, "dtype": dtype, "ids": name, "form": "alone", "num_embeddings": 1},
            {"table": _labelled(dtype, 1)},
            _needs(layer, dtype, "id_dtype:int32"),
            "reads",
        )
        for layer, dtype, name in product(DENSE_LAYERS, FLOATS, OUTSIDE_ONE_ROW)
    ]


OUTSIDE_CASES = [
    *_outside_one_row(),
    *_outside(_ALL_LAYERS, _NEAR, ("mixed", "0-d"), FLOATS),
    *_outside(_ALL_LAYERS, tuple(n for n in OUTSIDE if n not in _NEAR), ("alone",), ("float32",)),
    *_outside(_ALL_LAYERS, ("V", "-V-1"), tuple(LONG), ("float32",)),
]
OUTSIDE_GRADIENT_CASES = [
    *_outside(DENSE_LAYERS, (*_NEAR, "far", "far below"), ("mixed",), ("float32",), "gradients", hazard="writes"),
    *_outside(DENSE_LAYERS, ("V", "-V-1"), ("last of 1025",), ("float32",), "gradients", hazard="writes"),
]
COMPILERS = {"default": (), "inductor": ("inductor",)}
"""The framework's own compiler, or PyTorch's Inductor, which needs g++ and minutes: behind a marker."""
COMPILED_CASES = [
    Case(
        {"layer": layer, "dtype": dtype, "compiler": compiler},
        _with_rows(table(dtype), _random_ids("compiled", (3, 2))),
        _needs(layer, dtype, f"compiler:{compiler}"),
        marks=marks,
    )
    for layer, dtype, (compiler, marks) in product(DENSE_LAYERS, FLOATS, COMPILERS.items())
]
OUTSIDE_COMPILED_CASES = [
    replace(case, marks=marks)
    for compiler, marks in COMPILERS.items()
    for case in _outside(DENSE_LAYERS, _NEAR, ("mixed",), ("float32",), f"compiler:{compiler}", compiler=compiler)
]
CHECKED_CASES = [
    Case({"ids": name, "form": form}, {"table": _labelled("float32")}, ("layer:embedding", "id_dtype:int64"), "reads")
    for name, form in product((*OUTSIDE, "-1", "-V"), ("mixed", "0-d"))
]
