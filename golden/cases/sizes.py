"""Cases on both sides of the sizes at which kernels switch: ids, rows and outputs around 2**16, odd groups and tiles.

Operands are small integers, or words of random codes with a scale of one, so that results are exact; K and dims are
small, so that a case stays cheap.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from touchstone.golden.cases.lookup import FLOATS, V
from touchstone.golden.catalogue import Case, add, spell_shape
from touchstone.golden.recipes import Recipe

DIMS, GROUP = 3, 32
IDS = {"2**16-1": (65535,), "2**16": (65536,), "2**16+1": (65537,), "a batch": (32, 2048), "2**10+1": (1025,)}
"""Numbers of ids, by name; a batch is 32 prompts of 2,048 tokens."""
VOCABULARY = 50257
OUTPUTS = (2**16 - 1, 2**16, 2**16 + 1, VOCABULARY)
ROWS = (3, 7, 63, 64, 65, 512, 1024, 32769)
"""Rows of x in products: prompts, and what kernels' tiles do not fill."""
LAYERS = ("embedding", "raw_lookup", "quantized_embedding")
GROUPS_AND_OUTPUTS = ((1, 101), (3, 101), (5, 13))
"""Odd numbers of groups in a row; three tiles of 32 outputs and a rest, and a part of one."""


def _integers(name: str, dtype: str, shape: tuple[int, ...], low: int, high: int) -> str:
    key = f"sizes/{dtype}/{name}/{spell_shape(shape)}"
    return add(key, Recipe("integers", dtype, shape, {"low": low, "high": high}))


def _ids(shape: tuple[int, ...], rows: int) -> str:
    key = f"sizes/ids/{rows}/{spell_shape(shape)}"
    return add(key, Recipe("integers", "int32", shape, {"low": 0, "high": rows}))


def packed(dtype: str, rows: int, groups: int) -> dict[str, str]:
    """Golden keys of 4-bit affine parts: random codes, a scale of one, a bias of minus eight."""
    shape, name = (rows, groups), f"{rows}x{groups}"
    return {
        "weight": _integers("words", "uint32", (rows, groups * GROUP * 4 // 32), 0, 2**32),
        "scales": add(f"sizes/{dtype}/scales/{name}", Recipe("integers", dtype, shape, {"low": 1, "high": 2})),
        "biases": add(f"sizes/{dtype}/biases/{name}", Recipe("integers", dtype, shape, {"low": -8, "high": -7})),
    }


def _case(layer: str, dtype: str, arrays: dict[str, str], *needs: str, **params: Any) -> Case:
    scheme = ("scheme:affine4g32",) * layer.startswith("quantized")
    return Case(
        {"layer": layer, "dtype": dtype, **params}, arrays, (f"layer:{layer}", f"dtype:{dtype}", *scheme, *needs)
    )


def _lookups() -> list[Case]:
    out = []
    for layer, dtype, (name, shape) in product(LAYERS, ("float32", "bfloat16"), IDS.items()):
        table = _integers("table", dtype, (V, DIMS), -9, 10)
        arrays = packed(dtype, V, 1) if layer.startswith("quantized") else {"weight": table}
        out.append(_case(layer, dtype, {**arrays, "ids": _ids(shape, V)}, ids=name))
    for dtype, (groups, rows) in product(FLOATS, GROUPS_AND_OUTPUTS):
        arrays = {**packed(dtype, rows, groups), "ids": _ids((7,), rows)}
        out.append(_case("quantized_embedding", dtype, arrays, groups=groups, num_embeddings=rows))
    return out


def _dense(layer: str, dtype: str, x: tuple[int, ...], outputs: int, *, bias: bool) -> Case:
    arrays = {
        "x": _integers("x", dtype, x, -2, 3),
        "weight": _integers("weight", dtype, (outputs, x[-1]), -2, 3),
    } | ({"bias": _integers("bias", dtype, (outputs,), -2, 3)} if bias else {})
    return _case(layer, dtype, arrays, x=spell_shape(x), out=outputs, bias=bias)


def _products() -> list[Case]:
    out = []
    for dtype in FLOATS:
        for outputs in OUTPUTS:
            out.append(_dense("linear", dtype, (3, DIMS), outputs, bias=True))
            out.append(_dense("embedding", dtype, (3, DIMS), outputs, bias=False))
        out += [_dense("linear", dtype, (rows, DIMS), 2, bias=True) for rows in ROWS]
        out += [
            _dense(layer, dtype, (rows, 4), 4, bias=False) for layer, rows in product(("linear", "embedding"), (1, 4))
        ]
    out.append(_dense("linear", "float32", (2, 64, 128), 384, bias=True))
    return out


def _quantized_products() -> list[Case]:
    out = []
    for layer, dtype in product(("quantized_linear", "quantized_embedding"), FLOATS):
        for rows in ROWS:
            x = _integers("few", dtype, (rows, GROUP), 0, 2)
            out.append(_case(layer, dtype, {**packed(dtype, 9, 1), "x": x}, rows=rows))
        for groups, outputs in GROUPS_AND_OUTPUTS:
            x = _integers("few", dtype, (2, groups * GROUP), 0, 2)
            out.append(_case(layer, dtype, {**packed(dtype, outputs, groups), "x": x}, groups=groups, out=outputs))
    return out


def _gradients() -> list[Case]:
    """Of many outputs, many rows, and a vocabulary's table from many ids."""
    out = []
    for dtype, (rows, outputs) in product(("float32", "bfloat16"), ((2, VOCABULARY), (32769, 2), (2, 2**16 + 1))):
        arrays = {
            "x": _integers("x", dtype, (rows, DIMS), -2, 3),
            "weight": _integers("weight", dtype, (outputs, DIMS), -2, 3),
            "bias": _integers("bias", dtype, (outputs,), -2, 3),
            "cotangent": _integers("cotangent", dtype, (rows, outputs), -1, 2),
        }
        out.append(_case("linear", dtype, arrays, "gradients", rows=rows, out=outputs))
    for layer, dtype, count in product(("embedding", "raw_lookup"), ("float32", "bfloat16"), (2, 65537)):
        arrays = {
            "weight": _integers("table", dtype, (VOCABULARY, DIMS), -9, 10),
            "ids": _ids((count,), VOCABULARY),
            "cotangent": _integers("cotangent", dtype, (count, DIMS), -1, 2),
        }
        out.append(_case(layer, dtype, arrays, "gradients", num_embeddings=VOCABULARY, ids=count))
    return out


def _full_precision() -> list[Case]:
    """Operands that need all of their bits, in sums of thousands of terms."""
    out = []
    for dtype, (rows, inputs, outputs) in product(FLOATS, ((2049, 33, 3), (5, 300, 1025))):
        arrays = {
            role: add(f"sizes/{dtype}/uniform {role}/{spell_shape(shape)}", Recipe("uniform", dtype, shape))
            for role, shape in {
                "x": (rows, inputs),
                "weight": (outputs, inputs),
                "bias": (outputs,),
                "cotangent": (rows, outputs),
            }.items()
        }
        out.append(_case("linear", dtype, arrays, "gradients", rows=rows, out=outputs, operands="uniform"))
    for layer, dtype in product(("embedding", "raw_lookup"), FLOATS):
        arrays = {
            "weight": add(f"sizes/{dtype}/uniform table", Recipe("uniform", dtype, (300, 5))),
            "ids": _ids((6000,), 300),
            "cotangent": add(f"sizes/{dtype}/uniform rows", Recipe("uniform", dtype, (6000, 5))),
        }
        out.append(_case(layer, dtype, arrays, "gradients", num_embeddings=300, ids=6000, operands="uniform"))
    return out


LOOKUP_CASES = _lookups()
PRODUCT_CASES = _products()
QUANTIZED_PRODUCT_CASES = _quantized_products()
GRADIENT_CASES = [*_gradients(), *_full_precision()]
