"""Cases in float64: integers that need more bits than float32 has, and stay exact in float64."""

from __future__ import annotations

from itertools import product
from math import prod

from touchstone.golden.cases.exact_gradients import SPELLINGS
from touchstone.golden.catalogue import Case, add, spell_shape
from touchstone.golden.recipes import Recipe

ROWS = 9
KS = (3, 64, 127, 128, 129, 513)
"""On both sides of what kernels take at a time."""
SHAPES = ((), (5,), (2, 33))
"""Of ids, and of x without its last axis."""
BITS = {"weight": 14, "x": 12, "bias": 30, "cotangent": 12}
"""Bits of the integers, without their sign: a sum of 513 products has 35 at most."""


def _integers(name: str, shape: tuple[int, ...]) -> str:
    limit = 2 ** BITS[name]
    recipe = Recipe("integers", "float64", shape, {"low": -limit, "high": limit + 1})
    return add(f"doubles/{name}/{spell_shape(shape)}", recipe)


def _case(layer: str, k: int, shape: tuple[int, ...], method: str = "call", spelling: str = "") -> Case:
    looks_up = method == "call" and layer != "linear"
    arrays = {
        "weight": _integers("weight", (ROWS, k)),
        "cotangent": _integers("cotangent", (*shape, k if looks_up else ROWS)),
    }
    if looks_up:
        values = tuple((7 * n + 2) % ROWS for n in range(prod(shape)))
        arrays["ids"] = add(f"doubles/ids/{spell_shape(shape)}", Recipe("values", "int32", shape, {"values": values}))
    else:
        arrays["x"] = _integers("x", (*shape, k))
    if layer == "linear":
        arrays["bias"] = _integers("bias", (ROWS,))
    params = {"layer": layer, "method": method, **({"spelling": spelling} if spelling else {})}
    needs = (f"layer:{layer}", *((f"spelling:{layer} {spelling}",) * bool(spelling)), "gradients", "doubles")
    return Case({**params, "K": k, "shape": spell_shape(shape)}, arrays, needs, process="doubles")


def _cases() -> list[Case]:
    ways = (("embedding", "call"), ("raw_lookup", "call"), ("embedding", "as_linear"), ("linear", "call"))
    spelled = [(layer, name) for layer in ("raw_lookup", "linear") for name in SPELLINGS[layer]]
    return [
        *(_case(layer, k, shape, method) for (layer, method), k, shape in product(ways, KS, SHAPES)),
        *(_case(layer, 129, SHAPES[-1], spelling=name) for layer, name in spelled),
    ]


CASES = _cases()
