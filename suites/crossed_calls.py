"""From one row of a cross to a call: the layer's parameters, what it is given, and what has to come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from touchstone.adapters.interface import Operand, Packed, Scheme
from touchstone.golden import packing
from touchstone.golden.cases import crosses
from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import LAYOUT_NEEDS
from touchstone.golden.streams import DTYPES
from touchstone.suites import codes
from touchstone.suites.assay import Assay
from touchstone.suites.crossing import OTHER_DTYPE, Call
from touchstone.suites.layouts import lay_out

FILLER = 7
"""What surrounds views: seen wherever it is read. SPECIAL-ROW-1 surrounds rows by NaN."""
_NEEDS = {"loaded": "persistence", "stepped": "optimizer", "frozen": "freezing", "compiled": "compiler:default"}
"""State -> what the target must have; where it has it not, it is asked a new layer."""


@dataclass(frozen=True)
class Due:
    """A call, and its only right answer (float64, exact), the answer's dtype, and the gradients by role."""

    call: Call
    value: np.ndarray
    dtype: str
    gradients: Mapping[str, np.ndarray]


def due(assay: Assay, row: Mapping[str, Any], *, from_the_end: bool) -> Due:
    """from_the_end: whether negative ids are asked; they become others where not."""
    if multiplies(assay):
        return _product(assay, row)
    return _lookup(assay, row, from_the_end)


def multiplies(assay: Assay) -> bool:
    """Whether the case is about a product, and not about a lookup."""
    return bool(assay.params["layer"].endswith("linear") or assay.params["method"] == "as_linear")


def negative_id(assay: Assay) -> Due:
    """The last row of three, counted from the end."""
    row = {"scheme": ("affine", 4, 32), "size": (3, 1), "parts layout": "dense", "how": "new"} | {
        **{"table": (3, 2), "table layout": "dense", "stored": crosses.Stored("float32", {}), "cotangent": "dense"},
        **{"ids": (1,), "kind": crosses.Ids("int32", "negative"), "ids layout": "dense"},
    }
    return _lookup(assay, row, from_the_end=True)


def _cut(assay: Assay, pool: str, shape: tuple[int, ...], dtype: str = "float64") -> np.ndarray:
    count = int(np.prod(shape))
    return assay.golden(pool)[:count].reshape(shape).astype(np.dtype(DTYPES.get(dtype, dtype)))


def _laid_out(assay: Assay, value: np.ndarray, layout: str) -> Any:
    """In this layout, or dense where the target cannot express it."""
    met = all(assay.target.cls.capabilities.missing(need) is None for need in LAYOUT_NEEDS[layout])
    return lay_out(value, layout, FILLER) if met else value


def _cotangent(assay: Assay, shape: tuple[int, ...], dtype: str, layout: str) -> Operand:
    value = _cut(assay, "cotangents", shape, dtype)
    if layout == "expanded" and len(value) < crosses.MANY:  # the sum of as many alike is exact in no half dtype
        first = Operand(value[:1], (("broadcast", shape),))
        return first if assay.target.cls.capabilities.missing("layout:broadcast") is None else Operand(first.value())
    laid_out = _laid_out(assay, value, "dense" if layout == "expanded" else layout)
    return laid_out if isinstance(laid_out, Operand) else Operand(laid_out)


def _options(assay: Assay, stored: crosses.Stored) -> dict[str, Any]:
    """Those that the layer of this framework has; another function has none."""
    layer, capabilities = assay.params["layer"], assay.target.cls.capabilities
    if "spelling" in assay.params:
        return {}
    given = {n: v for n, v in stored.options.items() if capabilities.missing(f"option:{layer} {n}") is None}
    return {n: v for n, v in given.items() if n != "dtype" or capabilities.missing(f"dtype:{v}") is None}


def _how(assay: Assay, how: str, dtype: str, options: Mapping[str, Any]) -> str:
    """Or "new": where the target has no such thing; where a layer computes in another dtype, which a cast leaves open.

    The integers of a step in another dtype are exact there alone.
    """
    capabilities = assay.target.cls.capabilities
    needed = [_NEEDS[how]] if how in _NEEDS else []
    if how == "cast":
        needed = [f"dtype:{OTHER_DTYPE[dtype]}"]
    absent = capabilities.unmet([f"layer:{assay.params['layer']}", *needed]) is not None
    return "new" if absent or (how in ("cast", "stepped") and "dtype" in options) else how


@dataclass(frozen=True)
class _Weights:
    """As a layer is given them, and what they say: wide, float64 ``[rows, columns]``."""

    given: Any
    wide: np.ndarray
    dtype: str
    options: Mapping[str, Any]
    trained: bool


def _stored(assay: Assay, row: Mapping[str, Any]) -> crosses.Stored:
    """As the row has it, or in the first dtype that the target's layer has."""
    stored: crosses.Stored = row["stored"]
    capabilities, layer = assay.target.cls.capabilities, f"layer:{assay.params['layer']}"
    able = [d for d in (stored.dtype, *FLOATS) if capabilities.unmet([layer, f"dtype:{d}"]) is None]
    return stored if stored.dtype in able else replace(stored, dtype=able[0])


def _weights(assay: Assay, row: Mapping[str, Any], size: str) -> _Weights:
    """size: the dimension that says the size of weights that are not packed."""
    stored = _stored(assay, row)
    row = {**row, "stored": stored}
    if assay.params["layer"].startswith("quantized"):
        packed, wide = _packed(assay, row)
        return _Weights(packed, wide, stored.dtype, {}, trained=False)
    value = _cut(assay, "weights", row[size], stored.dtype)
    laid_out = _laid_out(assay, value, row[f"{size} layout"])
    return _Weights(laid_out, value.astype(np.float64), stored.dtype, _options(assay, stored), trained=True)


def _packed(assay: Assay, row: Mapping[str, Any]) -> tuple[Packed, np.ndarray]:
    """Parts of integers from -4 to 4 whose groups have scale 1 and 2 in turn, and these integers."""
    form = packing.format_of(*row["scheme"])
    rows, groups = row["size"]
    if form.group_size == 16:  # QNT-LOOKUP-1 asks an odd number of groups of 16
        groups *= 2
    small = _cut(assay, "weights", (rows, groups, form.group_size))
    doubled = 1 + np.indices((rows, groups)).sum(0) % 2
    if form.mode == "affine":
        middle = 2 ** (form.bits - 1)
        small = np.minimum(small, middle - 1)
        held = (small + middle).astype(np.int64)
        scales, biases = (
            doubled.astype(DTYPES[row["stored"].dtype]),
            (-middle * doubled).astype(DTYPES[row["stored"].dtype]),
        )
    else:
        held = _codes(form.element, small)
        scales, biases = _codes(form.scale, doubled).astype(np.uint8), None
    words = packing.pack(held.reshape(rows, -1), form.bits)
    scheme = Scheme(form.bits, form.group_size, form.mode)
    parts = {"weight": words, "scales": scales, "biases": biases}
    laid_out = {n: None if p is None else _laid_out(assay, p, row["parts layout"]) for n, p in parts.items()}
    return Packed(**laid_out, scheme=scheme), codes.dequantized(Packed(**parts, scheme=scheme))


def _codes(encoding: str, values: np.ndarray) -> np.ndarray:
    """The code of each value, all of which the encoding has."""
    every = packing.values_of(encoding)
    return np.vectorize({value: code for code, value in reversed(list(enumerate(every)))}.__getitem__)(values)


def _ids(assay: Assay, row: Mapping[str, Any], rows: int, from_the_end: bool) -> np.ndarray:
    """In the dtype of the row, a wider one where that cannot number the table, or int64 where it is not taken."""
    kind: crosses.Ids = row["kind"]
    ids = assay.golden("ids")[: int(np.prod(row["ids"]))].astype(np.int64) % rows
    if kind.content == "repeated":
        ids = ids % max(1, rows // 3)
    if kind.content == "descending":
        ids = np.sort(ids)[::-1]
    if kind.content == "negative" and from_the_end:
        ids = np.where(np.arange(len(ids)) % 2 == 0, ids - rows, ids)
    dtype = kind.dtype if rows <= np.iinfo(kind.dtype).max else "int16"
    takes = assay.target.cls.capabilities.missing(f"id_dtype:{dtype}") is None
    return ids.astype(dtype if takes else "int64").reshape(row["ids"])


def _lookup(assay: Assay, row: Mapping[str, Any], from_the_end: bool) -> Due:
    weights = _weights(assay, row, "table")
    rows, columns = weights.wide.shape
    if rows == 1 and row["ids"] == ():  # GRAD-EXACT-1 asks a scalar id of a table of one row
        row = {**row, "ids": (1,)}
    ids = _ids(assay, row, rows, from_the_end)
    gradients: dict[str, np.ndarray] = {}
    cotangent: Operand | None = None
    if weights.trained:
        cotangent = _cotangent(assay, (*ids.shape, columns), weights.dtype, row["cotangent"])
        gradient = np.zeros((rows, columns))
        np.add.at(gradient, ids.reshape(-1).astype(np.int64), cotangent.value().astype(np.float64).reshape(-1, columns))
        if "padding_idx" in weights.options:
            gradient[weights.options["padding_idx"]] = 0
        gradients = {"weight": gradient}
    value = weights.wide[ids.astype(np.int64)]
    unlike = np.zeros((2, 2, *ids.shape), ids.dtype)
    call = _call(assay, row, weights, _laid_out(assay, ids, row["ids layout"]), unlike, cotangent, gradients)
    block = isinstance(weights.given, Packed) and weights.given.biases is None
    return Due(call, value, "bfloat16" if block else weights.options.get("dtype", weights.dtype), gradients)


def _product(assay: Assay, row: Mapping[str, Any]) -> Due:
    weights = _weights(assay, row, "weight")
    outputs, columns = weights.wide.shape
    shape = (outputs, columns) if row["rows"] == ("as outputs",) else (*row["rows"], columns)
    x = _cut(assay, "inputs", shape, weights.dtype)
    has_bias = assay.params["method"] == "call" and (row["bias"] or "spelling" in assay.params)
    bias = _cut(assay, "biases", (outputs,), weights.dtype) if has_bias else None
    cotangent = _cotangent(assay, (*shape[:-1], outputs), weights.dtype, row.get("cotangent", "dense"))
    g, wide = cotangent.value().astype(np.float64).reshape(-1, outputs), x.astype(np.float64)
    gradients = {"x": (g @ weights.wide).reshape(shape)}
    if weights.trained:
        gradients["weight"] = g.T @ wide.reshape(-1, columns)
        gradients |= {"bias": g.sum(0)} if has_bias else {}
    value = wide @ weights.wide.T + (0 if bias is None else bias.astype(np.float64))
    unlike = np.zeros((2, 2, *shape), x.dtype)
    call = _call(assay, row, weights, _laid_out(assay, x, row["x layout"]), unlike, cotangent, gradients, bias)
    return Due(call, value, weights.options.get("dtype", weights.dtype), gradients)


def _call(
    assay: Assay,
    row: Mapping[str, Any],
    weights: _Weights,
    inputs: Any,
    unlike: np.ndarray,
    cotangent: Operand | None,
    gradients: Mapping[str, np.ndarray],
    bias: np.ndarray | None = None,
) -> Call:
    return Call(
        layer=assay.params["layer"],
        method=assay.params["method"],
        spelling=assay.params.get("spelling"),
        weight=weights.given,
        dtype=weights.dtype,
        bias=bias,
        options=weights.options,
        how=_how(assay, row["how"], weights.dtype, weights.options),
        inputs=inputs,
        unlike=unlike,
        cotangent=cotangent if assay.target.cls.capabilities.gradients else None,
        gradients=gradients,
    )
