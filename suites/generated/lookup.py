"""Generated lookups: any table, any ids within it, in any dtype, shape and layout.

Not drawn, because what is right there is a choice that enumerated cases pin: negative ids, and ids of a dtype that
cannot hold the table's size. Nor ids outside the table, where one may end the process; the checked lookup takes those.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from touchstone.adapters.interface import Capabilities
from touchstone.golden import bounds, oracle
from touchstone.golden.cases.lookup import FLOATS, ID_DTYPES
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case
from touchstone.golden.recipes import Recipe
from touchstone.golden.streams import DTYPES
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.generated.drawn import Draw, Example, Property, layout, stream
from touchstone.suites.layouts import lay_out

SIZES = ((1, 3), (2, 1), (3, 8), (37, 33), (129, 3), (300, 8))
"""Rows and dims of tables: few, because a framework may compile for each shape."""
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (5,), (2, 0), (2, 3), (3, 1, 2))
ID_LAYOUTS = ("offset", "strided", "reversed", "transposed", "broadcast")
TABLE_LAYOUTS = ("offset", "inner offset", "strided", "inner strided", "reversed", "transposed")


def _id_dtype(draw: Draw, capabilities: Capabilities, rows: int) -> str:
    able = [d for d in ID_DTYPES if not capabilities.missing(f"id_dtype:{d}") and rows <= np.iinfo(d).max]
    return draw(st.sampled_from(able))


def _ids(draw: Draw, capabilities: Capabilities, rows: int, *, unique: bool = False) -> tuple[Recipe, str]:
    """Ids as a recipe of values, so that Hypothesis chooses each; the layout of theirs."""
    shape = draw(st.sampled_from(SHAPES))
    count = int(np.prod(shape))
    if unique and count > rows:
        shape, count = (rows,), rows
    edges = st.sampled_from(sorted({0, rows // 2, rows - 1})) if not unique else st.nothing()
    values = draw(st.lists(st.integers(0, rows - 1) | edges, min_size=count, max_size=count, unique=unique))
    recipe = Recipe("values", _id_dtype(draw, capabilities, rows), shape, {"values": tuple(values)})
    names = tuple(n for n in ID_LAYOUTS if count and len(shape) >= 1 and (n != "transposed" or len(shape) == 2))
    return recipe, layout(draw, capabilities, names)


def _spelled(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _lookup(draw: Draw, case: Case, capabilities: Capabilities, nan: bool) -> Example:
    """With NaN not of one row: what that alone does to a lookup shows without."""
    rows, dims = draw(st.sampled_from(SIZES[1:] if nan else SIZES))
    table = Recipe("any bits", case.params["dtype"], (rows, dims), {"nan": nan}, stream(draw))
    ids, ids_layout = _ids(draw, capabilities, rows)
    table_layout = layout(draw, capabilities, TABLE_LAYOUTS)
    needs = (f"id_dtype:{ids.dtype}", *LAYOUT_NEEDS[ids_layout], *LAYOUT_NEEDS[table_layout])
    params = {"num_embeddings": rows, "dims": dims, "shape": _spelled(ids.shape)}
    params |= {"id_dtype": ids.dtype, "ids_layout": ids_layout, "table_layout": table_layout}
    return Example(params, {"table": table, "ids": ids}, needs)


def _ask_rows(assay: Assay) -> None:
    table, ids = assay.golden("table"), assay.golden("ids")
    weight, inputs = lay_out(table, assay.params["table_layout"]), lay_out(ids, assay.params["ids_layout"])
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=weight, inputs=inputs)
    want = oracle.lookup(table, ids)
    if assay.params["ids_layout"] == "broadcast":
        want = np.broadcast_to(want, (3, *want.shape))
    assay.same_bits(assay.value(outcome), want, "table")


def _checked(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    """Ids of int64, anywhere; not of a table of one row, as above."""
    rows, dims = draw(st.sampled_from(SIZES[1:]))
    shape = draw(st.sampled_from(SHAPES))
    count = int(np.prod(shape))
    near = st.sampled_from((-1, -rows, rows, rows + 1, 2**31, 2**32, -(2**63), 2**63 - 1))
    values = draw(st.lists(st.integers(0, rows - 1) | near, min_size=count, max_size=count))
    table = Recipe("any bits", case.params["dtype"], (rows, dims), {"nan": False}, stream(draw))
    ids = Recipe("values", "int64", shape, {"values": tuple(values)})
    return Example({"num_embeddings": rows, "shape": _spelled(shape)}, {"table": table, "ids": ids})


def _ask_checked(assay: Assay) -> None:
    table, ids = assay.golden("table"), assay.golden("ids")
    found = assay.value(assay.ask(probes.checked, weight=table, ids=ids))
    bad = [(index, int(i)) for index, i in np.ndenumerate(ids) if not 0 <= i < len(table)]
    if not bad:
        assay.same_bits(found.get("rows"), oracle.lookup(table, ids), "table")
        return
    position, chosen = bad[0]
    wanted = f"id {chosen} at position {position} is outside a table of {len(table)} rows"
    right = found.get("error") == wanted and found["calls"] == 0
    assay.behaves("raises IndexError" if right else "not refused", conforms=right, message=f"want {wanted!r}: {found}")


def _cast(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    """Finite numbers: how a NaN is rounded is left open."""
    to = draw(st.sampled_from([d for d in FLOATS if d != case.params["dtype"]]))
    rows, dims = draw(st.sampled_from((2, 5))), draw(st.sampled_from((3, 8)))
    weight = Recipe("finite bits", case.params["dtype"], (rows, dims), {}, stream(draw))
    return Example({"from": case.params["dtype"], "to": to}, {"weight": weight}, (f"dtype:{to}",))


def _ask_cast(assay: Assay) -> None:
    layer = assay.adapter.layer(assay.params["layer"], assay.golden("weight"))
    layer.cast(assay.params["to"])
    with np.errstate(over="ignore"):
        want = assay.golden("weight").astype(np.float32).astype(DTYPES[assay.params["to"]])
    assay.same_bits(probes.weight_of(layer), want, "weight")


def _gradient(draw: Draw, case: Case, capabilities: Capabilities) -> Example:
    """Half-precision ids are distinct.

    Three targets sum cotangents of one row in the table's own dtype, which an enumerated case shows (GRAD-TABLE-1,
    duplicates).
    """
    dtype = case.params["dtype"]
    rows, dims = draw(st.sampled_from(SIZES[1:-1]))
    ids, ids_layout = _ids(draw, capabilities, rows, unique=dtype != "float32")
    table = Recipe("uniform", dtype, (rows, dims), {}, stream(draw))
    shape = (*((3, *ids.shape) if ids_layout == "broadcast" else ids.shape), dims)
    if ids_layout == "broadcast" and dtype != "float32":
        ids_layout, shape = "dense", (*ids.shape, dims)
    cotangent = Recipe("uneven", dtype, shape, {"spread": 4}, stream(draw))
    needs = (f"id_dtype:{ids.dtype}", *LAYOUT_NEEDS[ids_layout])
    params = {"num_embeddings": rows, "dims": dims, "shape": _spelled(ids.shape), "ids_layout": ids_layout}
    return Example(params, {"table": table, "ids": ids, "cotangent": cotangent}, needs)


def _ask_gradient(assay: Assay) -> None:
    table, ids, cotangent = assay.golden("table"), assay.golden("ids"), assay.golden("cotangent")
    inputs = lay_out(ids, assay.params["ids_layout"])
    outcome = assay.ask(probes.vjp, layer=assay.params["layer"], weight=table, inputs=inputs, cotangent=cotangent)
    given = np.broadcast_to(ids, cotangent.shape[:-1])
    want = oracle.table_gradient(table, given, cotangent)
    terms = int(np.bincount(given.reshape(-1)).max()) if given.size else 0
    magnitude = oracle.table_gradient_magnitude(table, given, cotangent)
    bound = bounds.linear(want, magnitude, terms, assay.params["dtype"])
    untouched = np.setdiff1d(np.arange(len(table)), given)
    bound[untouched] = 0
    assay.within(assay.value(outcome).get("weight"), want, bound, assay.params["dtype"], "cotangent")


NUMBERS = Property("rows of numbers", "EMB-SHAPE-1", lambda d, c, k: _lookup(d, c, k, False), _ask_rows)
BITS = Property("rows of any bits", "EMB-BITS-1", lambda d, c, k: _lookup(d, c, k, True), _ask_rows)
CHECKED = Property("checked ids", "EMB-CHECKED-1", _checked, _ask_checked)
CAST = Property("casts", "CAST-MODULE-1", _cast, _ask_cast)
GRADIENT = Property("table gradients", "GRAD-TABLE-1", _gradient, _ask_gradient)
PROPERTIES = (NUMBERS, BITS, CHECKED, CAST, GRADIENT)
