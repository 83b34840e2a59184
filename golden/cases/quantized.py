"""Cases for affine quantization: bounds, codes, lookups and tied products of packed tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from golden.cases.lookup import FLOATS
from golden.catalogue import Case, add
from golden.recipes import Recipe

BITS = (4, 8)
GROUPS = (32, 64, 128)
ROWS, DIMS = 16, 256
PARTS = ("weight", "scales", "biases")
"""Names of the packed parts, as MLX's layers store them."""


def _needs(layer: str, dtype: str, bits: int, group: int) -> tuple[str, ...]:
    return (f"layer:{layer}", f"dtype:{dtype}", f"scheme:affine{bits}g{group}")


def ordinary(dtype: str) -> str:
    """A bell-shaped table of the size of trained weights (standard deviation 0.07)."""
    recipe = Recipe("bell", dtype, (ROWS, DIMS), {"scale": 2.0**-3})
    return add(f"quantized/{dtype}/ordinary", recipe)


def _grid() -> list[tuple[str, int, int]]:
    return list(product(FLOATS, BITS, GROUPS))


def recorded(dtype: str, bits: int, group: int, part: str) -> str:
    """Key of a packed part that MLX produced, in the recorded store."""
    return f"affine/{dtype}/bits={bits}-group={group}/{part}"


def _params(dtype: str, bits: int, group: int) -> dict[str, object]:
    return {"dtype": dtype, "bits": bits, "group_size": group}


def _table_cases() -> list[Case]:
    return [
        Case(_params(d, b, g), {"table": ordinary(d)}, _needs("quantized_embedding", d, b, g)) for d, b, g in _grid()
    ]


def _lookup_cases() -> list[Case]:
    ids = {
        "rank 2": Recipe("values", "int32", (2, 3), {"values": (0, ROWS - 1, 3, 3, 7, 12)}),
        "rank 0": Recipe("values", "int32", (), {"values": (5,)}),
        "empty": Recipe("values", "int32", (0,), {"values": ()}),
    }
    return [
        Case(
            {**_params(d, b, g), "ids": name},
            {"table": ordinary(d), "ids": add(f"quantized/ids/{name}", how)},
            _needs("quantized_embedding", d, b, g),
        )
        for (d, b, g), (name, how) in product(_grid(), ids.items())
    ]


def _linear_cases() -> list[Case]:
    out = []
    for layer, (d, b, g), shape in product(
        ("quantized_embedding", "quantized_linear"), _grid(), ((DIMS,), (1, DIMS), (2, 2, DIMS), (1, 2, 1, DIMS))
    ):
        name = "x".join(map(str, shape))
        arrays = {
            "table": ordinary(d),
            "x": add(f"quantized/{d}/x/{name}", Recipe("uniform", d, shape)),
        }
        if layer == "quantized_linear":
            arrays["bias"] = add(f"quantized/{d}/bias", Recipe("uniform", d, (ROWS,)))
        out.append(Case({"layer": layer, **_params(d, b, g), "x": name}, arrays, _needs(layer, d, b, g)))
    return out


def _exact_cases() -> list[Case]:
    """Packed parts with unit scales and integer biases, so that dequantized weights and sums are exact."""
    out = []
    for layer, (d, b, g) in product(("quantized_embedding", "quantized_linear"), _grid()):
        columns = 4096
        codes = add(
            f"lattice/words/{b}", Recipe("integers", "uint32", (4, columns * b // 32), {"low": 0, "high": 2**32})
        )
        groups = (4, columns // g)
        arrays = {
            "weight": codes,
            "scales": add(
                f"lattice/{d}/scales/{g}", Recipe("values", d, groups, {"values": (1,) * (groups[0] * groups[1])})
            ),
            "biases": add(
                f"lattice/{d}/biases/{b}/{g}",
                Recipe("values", d, groups, {"values": (-(2 ** (b - 1)),) * (groups[0] * groups[1])}),
            ),
            "x": add(f"lattice/{d}/x", Recipe("integers", d, (2, columns), {"low": 0, "high": 2})),
        }
        out.append(Case({"layer": layer, **_params(d, b, g)}, arrays, _needs(layer, d, b, g)))
    return out


def _indivisible() -> list[Case]:
    return [
        Case(
            {"layer": layer, "dims": dims, "group_size": g},
            {"table": add(f"quantized/float32/dims={dims}", Recipe("bell", "float32", (4, dims)))},
            _needs(layer, "float32", 4, g),
        )
        for layer, (dims, g) in product(("quantized_embedding", "quantized_linear"), ((33, 32), (96, 64), (64, 128)))
    ]


BOUND_CASES = _table_cases()
CODE_CASES = BOUND_CASES
LOOKUP_CASES = _lookup_cases()
LINEAR_CASES = _linear_cases()
EXACT_CASES = _exact_cases()
INDIVISIBLE_CASES = _indivisible()
FROZEN_CASES = [
    Case({"layer": layer, **_params("float32", b, 64)}, {"table": ordinary("float32")}, _needs(layer, "float32", b, 64))
    for layer, b in product(("quantized_embedding", "quantized_linear"), BITS)
]
SAVE_CASES = [replace(case, needs=(*case.needs, "persistence")) for case in FROZEN_CASES]
X_GRADIENT_CASES = [
    Case(
        {"layer": layer, **_params(d, 4, 64)},
        {
            "table": ordinary(d),
            "x": add(f"quantized/{d}/x/3x{DIMS}", Recipe("uniform", d, (3, DIMS))),
            "cotangent": add(f"quantized/{d}/cotangent", Recipe("uniform", d, (3, ROWS))),
        },
        (*_needs(layer, d, 4, 64), "gradients"),
    )
    for layer, d in product(("quantized_embedding", "quantized_linear"), FLOATS)
]
