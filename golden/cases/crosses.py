"""Cases that cross the dimensions of a call: each is many calls, in which every pair or triple of levels occurs.

A fault that shows where two or three things come together, ids that are a transposed view with a table of one row, is
met by some call, though nobody wrote a case for it. Levels are dealt out by Bush's orthogonal arrays (Bush 1952,
"Orthogonal arrays of index unity", Annals of Mathematical Statistics 23: polynomials over a prime field). Every
operand is a small integer, so that answers and gradients are exact in every dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from touchstone.golden.cases.exact_gradients import SPELLINGS
from touchstone.golden.catalogue import Case, add
from touchstone.golden.packing import format_of
from touchstone.golden.recipes import Recipe

FIELD, SMALL_FIELD = 7, 5
"""Levels of a dimension of a layer, and of a function alone: an array of strength t has FIELD**t rows."""
STRENGTHS = {"pairs": 2, "triples": 3}
LARGEST = 200 * 65
"""Elements of the largest operand."""
MANY = 1030
"""Ids of the longest batch: above the 1,024 at which kernels split their work."""


@dataclass(frozen=True)
class Ids:
    """A dtype of ids, and which ids: "mixed", "repeated" (of a third of the rows), "descending", "negative" (half)."""

    dtype: str
    content: str

    def __str__(self) -> str:
        return f"{self.dtype} {self.content}"


@dataclass(frozen=True)
class Stored:
    """A dtype of parameters, and options of the constructor, left out where the adapter declares them not."""

    dtype: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return " ".join([self.dtype, *(f"{name}={value}" for name, value in self.options.items())])


_LAYOUTS = ("dense", "transposed", "offset", "inner strided", "strided", "reversed", "inner offset")
_COTANGENTS = ("dense", "transposed", "strided", "expanded")
_HOW = ("new", "asked before", "replaced", "cast", "loaded", "stepped", "frozen")
"""What was done to the layer before it is asked; among pairs a new one is compiled."""
_TABLES = ((9, 6), (1, 4), (5, 1), (6, 6), (70, 3), (67, 8), (200, 65))
LOOKUP: Mapping[str, Sequence[Any]] = {
    "ids": ((), (5,), (4, 1), (1, 4), (2, 3), (3, 1, 2), (MANY,)),
    "kind": (
        *(Ids("int32", "mixed"), Ids("int64", "negative"), Ids("int16", "repeated"), Ids("int8", "negative")),
        *(Ids("uint8", "mixed"), Ids("uint16", "repeated"), Ids("uint32", "descending")),
    ),
    "ids layout": _LAYOUTS,
    "table": _TABLES,
    "table layout": _LAYOUTS,
    "stored": (
        *(Stored("float32", {}), Stored("float16", {}), Stored("bfloat16", {})),
        *(Stored("float32", {"padding_idx": 0}), Stored("bfloat16", {"padding_idx": -1})),
        *(Stored("float32", {"dtype": "bfloat16"}), Stored("bfloat16", {"dtype": "float32"})),
    ),
    "how": _HOW,
    "cotangent": _COTANGENTS,
}
"""Dimension of a lookup -> its levels."""
PRODUCT: Mapping[str, Sequence[Any]] = {
    "rows": ((), (1,), ("as outputs",), (2, 3), (3, 1, 2), (4, 1), (33,)),
    "weight": ((9, 6), (1, 4), (5, 1), (6, 6), (70, 3), (65, 64), (8, 130)),
    "x layout": _LAYOUTS,
    "weight layout": _LAYOUTS,
    "stored": (
        *(Stored("float32", {}), Stored("float16", {}), Stored("bfloat16", {})),
        *(Stored("float32", {"dtype": "bfloat16"}), Stored("bfloat16", {"dtype": "float32"})),
        *(Stored("float16", {"dtype": "float32"}), Stored("float32", {"precision": "high"})),
    ),
    "how": _HOW,
    "bias": (True, False),
    "cotangent": _COTANGENTS,
}
"""Dimension of a product -> its levels; rows "as outputs" are as many as the weight has."""


_SCHEMES = (
    *(("affine", 2, 32), ("affine", 3, 64), ("affine", 4, 32), ("affine", 8, 128), ("affine", 6, 64)),
    *(("mxfp4", 4, 32), ("nvfp4", 4, 16)),
)
_PACKED: Mapping[str, Sequence[Any]] = {
    "scheme": _SCHEMES,
    "size": ((9, 1), (1, 2), (5, 3), (70, 1), (33, 2), (2, 1), (8, 4)),
    "parts layout": _LAYOUTS,
    "stored": tuple(Stored(dtype, {}) for dtype in ("float32", "float16", "bfloat16")),
    "how": ("new", "asked before", "cast", "loaded", "frozen"),
}
"""Dimensions of packed parts: (mode, bits, group size); rows, and groups a row; the dtype of scales and of x."""
QUANTIZED_LOOKUP: Mapping[str, Sequence[Any]] = {
    "ids": ((5,), (1,), (4, 1), (1, 4), (2, 3), (3, 1, 2), (MANY,)),
    "kind": LOOKUP["kind"],
    "ids layout": _LAYOUTS,
    **_PACKED,
}
QUANTIZED_PRODUCT: Mapping[str, Sequence[Any]] = {
    "rows": PRODUCT["rows"],
    "x layout": _LAYOUTS,
    "bias": (True, False),
    **_PACKED,
}
_RAW_LOOKUP = {**LOOKUP, "how": ("new", "asked before", "replaced", "cast", "stepped")}
"""Bare indexing has no file and no state of its own."""
DIMENSIONS: Mapping[tuple[str, str], Mapping[str, Sequence[Any]]] = {
    ("embedding", "call"): LOOKUP,
    ("raw_lookup", "call"): _RAW_LOOKUP,
    ("embedding", "as_linear"): PRODUCT,
    ("linear", "call"): PRODUCT,
    ("quantized_embedding", "call"): QUANTIZED_LOOKUP,
    ("quantized_embedding", "as_linear"): QUANTIZED_PRODUCT,
    ("quantized_linear", "call"): QUANTIZED_PRODUCT,
}
"""(layer, what is called) -> what is crossed."""


@cache
def orthogonal(strength: int, field: int) -> list[tuple[int, ...]]:
    """Rows of ``field + 1`` levels below `field`, a prime; any `strength` columns have every combination once."""
    return [
        (*(sum(c * point**power for power, c in enumerate(row)) % field for point in range(field)), row[-1])
        for row in product(range(field), repeat=strength)
    ]


def rows(case: Case) -> list[dict[str, Any]]:
    """One level of every dimension, by name, for every call of a case."""
    dimensions = DIMENSIONS[case.params["layer"], case.params["method"]]
    if "spelling" in case.params:
        return _rows_of_a_function(dimensions, case.params["spelling"])
    compiles = case.params["crossed"] == "pairs"
    found = [_levels(dimensions, row) for row in orthogonal(STRENGTHS[case.params["crossed"]], FIELD)]
    return [{**row, "how": "compiled"} if compiles and row["how"] == "new" else row for row in found]


def _levels(dimensions: Mapping[str, Sequence[Any]], row: Sequence[int], first: int = 0) -> dict[str, Any]:
    return {
        name: levels[(level + first) % len(levels)]
        for (name, levels), level in zip(dimensions.items(), row, strict=False)
    }


def _rows_of_a_function(dimensions: Mapping[str, Sequence[Any]], spelling: str) -> list[dict[str, Any]]:
    """Fewer levels, which begin elsewhere for each function; it holds no state, and is compiled once."""
    names = [name for every in SPELLINGS.values() for name in every]
    found = []
    for number, row in enumerate(orthogonal(STRENGTHS["pairs"], SMALL_FIELD)):
        levels = _levels(dimensions, (*row, number, number), names.index(spelling))
        found.append({**levels, "how": "new" if number else "compiled"})
    if dimensions is _RAW_LOOKUP:  # ids that fill an unsigned byte
        found.append({**found[-1], "ids": (3, 1, 2), "kind": Ids("uint8", "mixed"), "table": _TABLES[-1]})
    return found


def _pool(name: str, size: int, count: int) -> str:
    return add(f"crosses/{name}", Recipe("integers", "float32", (count,), {"low": -size, "high": size + 1}))


def _arrays() -> dict[str, str]:
    """Pools that every operand is cut from, whatever its shape."""
    return {
        "weights": _pool("weights", 2, LARGEST),
        "biases": _pool("biases", 2, 70),
        "inputs": _pool("inputs", 1, 70 * 512),
        "cotangents": _pool("cotangents", 1, MANY * 65),
        "ids": add("crosses/ids", Recipe("integers", "int32", (MANY,), {"low": 0, "high": 2**30})),
    }


def _needs(layer: str) -> tuple[str, ...]:
    """The layer, and if it is quantized every scheme that its calls have."""
    schemes = [f"scheme:{format_of(*scheme).name}" for scheme in _SCHEMES]
    return (f"layer:{layer}", *(schemes if layer.startswith("quantized") else ()))


def _own(layer: str) -> tuple[str, ...]:
    """What a framework has that quantizes layers itself, and is not given them by its adapter."""
    return ("conversion",) * layer.startswith("quantized")


def _cases() -> list[Case]:
    """Pairs for every layer, head and other function; triples for a framework's own layers where it has layouts."""
    ways: list[tuple[dict[str, str], tuple[str, ...]]] = [
        ({"layer": layer, "method": method}, _needs(layer)) for layer, method in DIMENSIONS
    ]
    spelled = [
        ({"layer": layer, "method": "call", "spelling": name}, (*_needs(layer), f"spelling:{layer} {name}"))
        for layer, names in SPELLINGS.items()
        for name in names
    ]
    return [
        *(Case({**way, "crossed": "pairs"}, _arrays(), needs) for way, needs in (*ways, *spelled)),
        *(
            Case({**way, "crossed": "triples"}, _arrays(), (*needs, "layout:permute", *_own(way["layer"])))
            for way, needs in ways
        ),
    ]


def _is_quantized_function(case: Case) -> bool:
    return "spelling" in case.params and case.params["layer"].startswith("quantized")


_EVERY = _cases()
CASES = [case for case in _EVERY if not _is_quantized_function(case)]
QUANTIZED_FUNCTION_CASES = [case for case in _EVERY if _is_quantized_function(case)]
"""Functions that compute a quantized layer from its parts."""
