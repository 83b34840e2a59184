"""Cases for gradients, and for tied tables that are trained, saved and loaded."""

from __future__ import annotations

from itertools import product

from touchstone.golden.cases.lookup import DENSE_LAYERS, FLOATS, table
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case, add
from touchstone.golden.recipes import Derived, Recipe


def _table_case(layer: str, dtype: str, name: str, ids: Recipe, rows: int = 37, dims: int = 6) -> Case:
    table = add(f"gradients/{dtype}/table/{rows}x{dims}", Recipe("uniform", dtype, (rows, dims)))
    ids_key = add(f"gradients/ids/{name}", ids)
    cotangent = add(f"gradients/{dtype}/cotangent/{name}", Recipe("uniform", dtype, (*ids.shape, dims)))
    inputs = (table, ids_key, cotangent)
    arrays = {
        "table": table,
        "ids": ids_key,
        "cotangent": cotangent,
        "gradient": add(f"gradients/{dtype}/table gradient/{name}", Derived("table_gradient", inputs)),
        "magnitude": add(f"gradients/{dtype}/table magnitude/{name}", Derived("table_gradient_magnitude", inputs)),
    }
    params = {"layer": layer, "dtype": dtype, "ids": name}
    return Case(params, arrays, (f"layer:{layer}", f"dtype:{dtype}", "gradients"))


def _table_cases() -> list[Case]:
    ids = {
        "duplicates 1": Recipe("values", "int32", (3,), {"values": (3, 36, 0)}),
        "duplicates 2": Recipe("values", "int32", (4,), {"values": (3, 36, 3, 0)}),
        "duplicates 1000": Recipe("values", "int32", (1001,), {"values": (5,) * 1000 + (7,)}),
        "rank 2": Recipe("integers", "int32", (2, 3), {"low": 0, "high": 37}),
        "empty": Recipe("values", "int32", (0,), {"values": ()}),
        "scalar": Recipe("values", "int32", (), {"values": (36,)}),
        "rank 3": Recipe("integers", "int32", (2, 3, 4), {"low": 0, "high": 37}),
    }
    return [_table_case(la, d, name, how) for la, d, (name, how) in product(DENSE_LAYERS, FLOATS, ids.items())]


def _ones() -> list[Case]:
    """A thousand ones on one row: exact in float32 accumulation, stalls at 256 in bfloat16."""
    out = []
    for layer, dtype in product(DENSE_LAYERS, FLOATS):
        arrays = {
            "table": add(f"gradients/{dtype}/table/37x6", Recipe("uniform", dtype, (37, 6))),
            "ids": add("gradients/ids/a thousand", Recipe("values", "int32", (1000,), {"values": (5,) * 1000})),
            "cotangent": add(f"gradients/{dtype}/ones", Recipe("values", dtype, (1000, 6), {"values": (1.0,) * 6000})),
        }
        out.append(Case({"layer": layer, "dtype": dtype}, arrays, (f"layer:{layer}", f"dtype:{dtype}", "gradients")))
    return out


def _linear() -> list[Case]:
    out = []
    for dtype, (x, n), bias in product(
        FLOATS, [((3, 8), 5), ((2, 3, 17), 13), ((64, 33), 9), ((1, 1), 1), ((8,), 5), ((2, 3, 2, 8), 4)], (True, False)
    ):
        name = "x".join(map(str, x)) + f"-{n}"
        inputs = {
            "x": add(f"gradients/{dtype}/x/{name}", Recipe("uniform", dtype, x)),
            "weight": add(f"gradients/{dtype}/weight/{name}", Recipe("uniform", dtype, (n, x[-1]))),
            "cotangent": add(f"gradients/{dtype}/cotangent/{name}", Recipe("uniform", dtype, (*x[:-1], n))),
        }
        arrays = dict(inputs)
        if bias:
            arrays["bias"] = add(f"gradients/{dtype}/bias/{n}", Recipe("uniform", dtype, (n,)))
        for role, function, args in (
            ("d_weight", "weight_gradient", ("x", "cotangent")),
            ("d_x", "input_gradient", ("weight", "cotangent")),
            ("d_bias", "bias_gradient", ("cotangent",)),
        ):
            keys = tuple(inputs[a] for a in args)
            arrays[role] = add(f"gradients/{dtype}/{role}/{name}", Derived(function, keys))
            arrays[f"{role}_magnitude"] = add(
                f"gradients/{dtype}/{role} magnitude/{name}", Derived(f"{function}_magnitude", keys)
            )
        for of in ("weight", "x", "bias") if bias else ("weight", "x"):
            params = {"dtype": dtype, "x": "x".join(map(str, x)), "out": n, "bias": bias, "of": of}
            out.append(Case(params, arrays, ("layer:linear", f"dtype:{dtype}", "gradients")))
    return out


def _tied() -> list[Case]:
    """Small integers: every product and sum is exact in the dtype, so the gradient is compared bit for bit."""
    out = []
    for dtype, (rows, dims) in product(FLOATS, ((5, 5), (7, 4))):
        name = f"{rows}x{dims}"
        table = add(f"tied/{dtype}/table/{name}", Recipe("integers", dtype, (rows, dims), {"low": -2, "high": 3}))
        ids = add(f"tied/ids/{rows}", Recipe("values", "int32", (3,), {"values": (0, rows - 1, 0)}))
        cotangent = add(f"tied/{dtype}/cotangent/{rows}", Recipe("integers", dtype, (3, rows), {"low": -1, "high": 2}))
        arrays = {
            "table": table,
            "ids": ids,
            "cotangent": cotangent,
            "gradient": add(f"tied/{dtype}/gradient/{name}", Derived("tied_gradient", (table, ids, cotangent))),
            "other_table": add(
                f"tied/{dtype}/other/{name}", Recipe("integers", dtype, (rows, dims), {"low": -2, "high": 3})
            ),
            "x": add(f"tied/{dtype}/x/{dims}", Recipe("integers", dtype, (2, dims), {"low": -2, "high": 3})),
        }
        params = {"dtype": dtype, "table": name}
        out.append(Case(params, arrays, ("layer:embedding", f"dtype:{dtype}")))
    return out


def _tied_with(*needs: str) -> list[Case]:
    return [Case(c.params, c.arrays, (*c.needs, *needs)) for c in TIED_CASES]


def _layouts() -> list[Case]:
    """Weights and inputs that are views: a backward pass may read them in the order of their memory."""
    out = []
    for case in LINEAR_CASES:
        if case.params["bias"] and case.params["x"].count("x") == 1 and case.params["of"] != "bias":
            for operand, layout in product(("weight", "x"), ("offset", "inner strided", "transposed")):
                params = {**case.params, "operand": operand, "layout": layout}
                out.append(Case(params, case.arrays, (*case.needs, *LAYOUT_NEEDS[layout])))
    return out


def _table_layouts() -> list[Case]:
    """Cotangents of lookups that are views; a broadcast one has ids of one axis more."""
    out = []
    for layer, dtype, layout in product(
        DENSE_LAYERS, FLOATS, ("offset", "inner strided", "inner reversed", "transposed", "broadcast")
    ):
        ids = add("gradients/ids/laid out", Recipe("integers", "int32", (8,), {"low": 0, "high": 37}))
        arrays = {
            "table": add(f"gradients/{dtype}/table/37x6", Recipe("uniform", dtype, (37, 6))),
            "ids": ids,
            "cotangent": add(f"gradients/{dtype}/laid out", Recipe("integers", dtype, (8, 6), {"low": -8, "high": 9})),
        }
        params = {"layer": layer, "dtype": dtype, "operand": "cotangent", "layout": layout}
        needs = (f"layer:{layer}", f"dtype:{dtype}", "gradients", *LAYOUT_NEEDS[layout])
        out.append(Case(params, arrays, needs))
    return out


TABLE_CASES = _table_cases()
TABLE_LAYOUT_CASES = _table_layouts()
ONES_CASES = _ones()
LINEAR_CASES = _linear()
LAYOUT_CASES = _layouts()
TIED_CASES = _tied()
TIED_GRADIENT_CASES = _tied_with("gradients")
TIED_STEP_CASES = _tied_with("gradients", "optimizer")
TIED_SAVE_CASES = _tied_with("persistence")
SAVED_CASES = [
    Case(
        {"dtype": dtype, "table": "37x5"}, {"table": table(dtype)}, ("layer:embedding", f"dtype:{dtype}", "persistence")
    )
    for dtype in FLOATS
]
"""Numbers with all of their bits: small integers survive a dtype that is too narrow."""
SAVED_VIEW_CASES = [
    Case({**case.params, "layout": layout}, case.arrays, (*case.needs, *LAYOUT_NEEDS[layout]))
    for case, layout in product(SAVED_CASES, ("offset", "inner strided", "inner reversed", "transposed"))
]
