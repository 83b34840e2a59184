"""Cases about one layer over time: calls after other calls, and what is done to it between them.

Dense operands are small integers, so that every result is exact in every dtype, whatever ran before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from touchstone.golden.cases import quantized
from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.cases.quantized import SMALL
from touchstone.golden.catalogue import Case, add, spell_shape
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 9, 6
GROUP = 32
"""One group a row in the quantized layers, and its size."""
METHODS = {
    "embedding": ("call", "as_linear"),
    "raw_lookup": ("call",),
    "linear": ("call",),
    "quantized_embedding": ("call", "as_linear"),
    "quantized_linear": ("call",),
}
"""Layer -> what is called."""
OPERATIONS = (
    *("use", "compile", "gradient", "step", "replace", "cast", "save", "load", "freeze", "unfreeze"),
    *("evaluate", "assign", "copy"),
)
"""What is done to a layer; see suites/test_layer_states.py."""
NEEDS = {
    "compile": ("compiler:default",),
    "gradient": ("gradients",),
    "step": ("gradients", "optimizer"),
    "save": ("persistence",),
    "load": ("persistence",),
    "freeze": ("freezing",),
    "unfreeze": ("freezing",),
    "evaluate": ("modes",),
    "assign": ("persistence", "assigning"),
    "copy": ("copying",),
}
_TRAINS = ("gradient", "step")
_ROUNDING = {"gradient", "step", "replace", "cast", "save", "load", "assign"}
"""Operations in which a dtype of fewer bits may make a difference."""


def _integers(name: str, dtype: str, shape: tuple[int, ...], size: int = 2) -> str:
    key = f"sequences/{dtype}/{name}/{spell_shape(shape)}"
    return add(key, Recipe("integers", dtype, shape, {"low": -size, "high": size + 1}))


def _values(name: str, shape: tuple[int, ...], values: tuple[int, ...]) -> str:
    return add(f"sequences/{name}", Recipe("values", "float32", shape, {"values": values}))


def _ids() -> str:
    return add("sequences/ids", Recipe("values", "int32", (2, 3), {"values": (0, ROWS - 1, 3, 5, 1, 8)}))


def _arrays(layer: str, dtype: str) -> dict[str, str]:
    """Golden keys: a weight, inputs of rank 3 or ids of rank 2, and what a linear layer has besides."""
    dims = GROUP if layer.startswith("quantized") else DIMS
    if layer.startswith("quantized"):
        weight = add(f"sequences/{dtype}/bell", Recipe("bell", dtype, (ROWS, dims), {"scale": 0.25}))
    else:
        weight = _integers("weight", dtype, (ROWS, dims), 4)
    arrays = {"weight": weight, "ids": _ids(), "x": _integers("x", dtype, (2, 3, dims))}
    return arrays | ({"bias": _integers("bias", dtype, (ROWS,))} if layer.endswith("linear") else {})


def _calls(*needs: str) -> list[Case]:
    return [
        Case(
            {"layer": layer, "dtype": dtype, "method": method},
            _arrays(layer, dtype),
            (f"layer:{layer}", f"dtype:{dtype}", *needs, *(("scheme:affine4g32",) * layer.startswith("quantized"))),
        )
        for layer, methods in METHODS.items()
        for method, dtype in product(methods, FLOATS)
    ]


def _state_arrays(layer: str, dtype: str, dims: int) -> dict[str, str]:
    arrays = {
        "weight": _integers("weight", dtype, (ROWS, dims), 4),
        "other": _integers("other", dtype, (ROWS, dims), 4),
        "ids": _ids(),
        "x": _integers("x", dtype, (2, 3, dims)),
    }
    if layer == "embedding":
        return {**arrays, "cotangent": _integers("cotangent", dtype, (2, 3, dims), 1)}
    return {
        **arrays,
        "bias": _integers("bias", dtype, (ROWS,)),
        "other_bias": _integers("other bias", dtype, (ROWS,)),
        "cotangent": _integers("cotangent", dtype, (2, 3, ROWS), 1),
    }


def _states() -> list[Case]:
    """Every ordered pair of operations; nothing is trained once it is frozen."""
    out = []
    for layer, first, second in product(("embedding", "linear"), OPERATIONS, OPERATIONS):
        if first == "freeze" and second in _TRAINS:
            continue
        for dtype in ("float32", "bfloat16") if {first, second} <= _ROUNDING else ("float32",):
            needs = dict.fromkeys(need for name in (first, second) for need in NEEDS.get(name, ()))
            params = {"layer": layer, "dtype": dtype, "first": first, "then": second}
            arrays = _state_arrays(layer, dtype, DIMS)
            out.append(Case(params, arrays, (f"layer:{layer}", f"dtype:{dtype}", *needs)))
    return out


def _momenta() -> list[Case]:
    """Integers, of which three steps at rate 4 and momentum 1/2 make integers."""
    return [
        Case(
            {"layer": layer, "dtype": dtype},
            _state_arrays(layer, dtype, DIMS),
            (f"layer:{layer}", f"dtype:{dtype}", "gradients", "optimizer"),
        )
        for layer, dtype in product(("embedding", "linear"), FLOATS)
    ]


def _quantized_states() -> list[Case]:
    """Every operation, then a conversion to four bits."""
    return [
        Case(
            {"layer": layer, "dtype": dtype, "first": first, "then": "quantize"},
            _state_arrays(layer, dtype, GROUP),
            (f"layer:{layer}", f"dtype:{dtype}", "conversion", "scheme:affine4g32", *NEEDS.get(first, ())),
        )
        for layer, first, dtype in product(("embedding", "linear"), OPERATIONS, FLOATS)
    ]


TIED_OPERATIONS = (
    *("use", "compile", "gradient", "step", "replace", "cast", "save", "load", "freeze a module", "unfreeze a module"),
    "freeze what is shared",
    *("evaluate", "assign", "copy"),
)
"""What is done to a model of several modules; see suites/test_tied_models.py."""
TIED_ROWS, TIED_DIMS = 9, 4


def _tied_arrays(family: str, dims: int, exchanged: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Linear layers that exchange columns, and one logit with a cotangent.

    So parameters stay small integers over two steps of gradient descent.
    """
    arrays = {
        "embed": _integers(f"{family} embed", "float32", (TIED_ROWS, dims), 1),
        "other embed": _integers(f"{family} other", "float32", (TIED_ROWS, dims), 1),
        "ids": _ids(),
        "cotangent": _values("tied cotangent", (2, 3, TIED_ROWS), (0,) * 40 + (1,) + (0,) * 13),
    }
    for name, columns in exchanged.items():
        ones = tuple(int(column == wanted) for wanted in columns for column in range(dims))
        arrays[name] = _values(f"{family} {name}", (dims, dims), ones)
        arrays[f"{name}.bias"] = _values(f"{family} {name} bias", (dims,), (0, 1, 0, -1) * (dims // 4))
    return arrays


def _tied() -> list[Case]:
    """Every ordered pair of operations."""
    arrays = _tied_arrays("tied", TIED_DIMS, {"proj": (1, 0, 3, 2), "proj_out": (2, 3, 1, 0)})
    return [
        Case(
            {"model": "tied", "first": first, "then": second},
            arrays,
            ("layer:tied_model", *dict.fromkeys(need for name in (first, second) for need in NEEDS.get(name, ()))),
        )
        for first, second in product(TIED_OPERATIONS, TIED_OPERATIONS)
    ]


def _converted() -> list[Case]:
    """A conversion of one module after every operation; dims of one group."""
    turned = {
        name: tuple((row + turn) % GROUP for row in range(GROUP)) for name, turn in (("proj", 1), ("proj_out", 3))
    }
    arrays = _tied_arrays("converted", GROUP, turned)
    return [
        Case(
            {"model": "tied", "first": first, "then": "convert", "module": module},
            arrays,
            ("layer:tied_model", "conversion", "scheme:affine4g32", *NEEDS.get(first, ())),
        )
        for first, module in product(TIED_OPERATIONS, ("embed", "proj", "proj_out"))
    ]


QUANTIZED_OPERATIONS = ("use", "compile", "cast", "save", "load", "freeze", "evaluate", "copy")
"""What is done to a quantized layer; see suites/test_quantized_states.py."""


def _packed_states() -> list[Case]:
    """Every ordered pair for one affine format; one operation, then a use, for each block mode."""
    out = []
    for layer, form, first, second in product(
        ("quantized_embedding", "quantized_linear"), SMALL, QUANTIZED_OPERATIONS, QUANTIZED_OPERATIONS
    ):
        if form.mode != "affine" and second not in ("use", "cast"):
            continue
        needs = dict.fromkeys(need for name in (first, second) for need in NEEDS.get(name, ()))
        params = {"layer": layer, "dtype": "float32", **form.params, "first": first, "then": second}
        arrays = {"ids": _ids(), "x": _integers("packed x", "float32", (3, quantized.DIMS))}
        out.append(Case(params, arrays, (f"layer:{layer}", "dtype:float32", f"scheme:{form.name}", *needs)))
    return out


CALL_CASES = _calls()
COMPILED_CASES = _calls("compiler:default")
THREAD_CASES = [case for case in CALL_CASES if case.params["dtype"] == "float32"]
KEPT_CASES = CALL_CASES
OVERWRITTEN_CASES = [replace(case, needs=(*case.needs, "overwriting")) for case in CALL_CASES]
STATE_CASES = _states()
STACKED = 12
"""Layers of a list: more than ten, whose numbers as text are out of order."""


def _stacked() -> list[Case]:
    """Layers that exchange columns, each in its own way, so that their order tells."""
    arrays = {"x": _integers("stacked x", "float32", (3, TIED_DIMS), 4)}
    for number in range(STACKED):
        swapped = {number % TIED_DIMS: (number + 1) % TIED_DIMS, (number + 1) % TIED_DIMS: number % TIED_DIMS}
        signed = -1 if number % 3 == 0 else 1
        values = tuple(
            int(column == swapped.get(row, row)) * (signed if row == 0 else 1)
            for row in range(TIED_DIMS)
            for column in range(TIED_DIMS)
        )
        arrays[f"weight {number}"] = _values(f"stacked {number}", (TIED_DIMS, TIED_DIMS), values)
    return [
        Case({"model": "stack", "first": first}, arrays, ("layer:stack", *NEEDS.get(first, ())))
        for first in ("use", "save", "copy")
    ]


STACKED_CASES = _stacked()
MOMENTUM_CASES = _momenta()
QUANTIZED_STATE_CASES = _quantized_states()
PACKED_STATE_CASES = _packed_states()
TIED_CASES = _tied()
CONVERTED_CASES = _converted()
