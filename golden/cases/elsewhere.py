"""Cases for the quantization schemes of other libraries, and for conversion between them and MLX's affine format."""

from __future__ import annotations

from itertools import product
from typing import Any

from golden.cases.lookup import FLOATS
from golden.cases.quantized import DIMS, ROWS, adversarial, ordinary
from golden.catalogue import Case, add
from golden.packing import AFFINE
from golden.recipes import Recipe

Size = tuple[str, int, int]
"""mode, bits, group_size."""

LAYERS = {
    "intx": ("quantized_embedding", "quantized_linear"),
    "keras": ("quantized_embedding",),
    "keras_rows": ("quantized_embedding",),
    "qwix": ("quantized_linear",),
    "q4_1": ("quantized_embedding",),
    "q8_0": ("quantized_embedding",),
}
BLOCKS: list[Size] = [("q4_1", 4, 32), ("q8_0", 8, 32)]
SIZES: list[Size] = [
    *(("intx", bits, 32) for bits in range(1, 9)),
    *(("intx", bits, group) for bits, group in product((4, 8), (64, 128))),
    *(("keras", 4, group) for group in (32, 64, 128)),
    ("keras_rows", 4, 256),
    *(("qwix", bits, tile) for bits, tile in product((4, 8), (32, 64, 128, 256))),
    *BLOCKS,
]
HARD_SIZES: list[Size] = [
    *(("intx", bits, group) for bits, group in ((4, 32), (8, 32), (4, 128))),
    *(("keras", 4, group) for group in (32, 128)),
    ("keras_rows", 4, 128),
    *(("qwix", bits, tile) for bits, tile in ((4, 32), (8, 32), (4, 128))),
    *BLOCKS,
]
KINDS = ("one outlier", "one-sided", "straddling", "equal", "zero")
"""Tables of `golden.groups` whose weights are of the size of trained ones."""


def _needs(layer: str, dtype: str, size: Size) -> tuple[str, ...]:
    mode, bits, group = size
    scheme = mode if mode in ("q4_1", "q8_0") else f"{mode}{bits}g{group}"
    return (f"layer:{layer}", f"dtype:{dtype}", f"scheme:{scheme}")


def _params(dtype: str, size: Size) -> dict[str, Any]:
    return dict(zip(("dtype", "mode", "bits", "group_size"), (dtype, *size), strict=True))


def _table(dtype: str, kind: str) -> str:
    return ordinary(dtype) if kind == "ordinary" else adversarial(dtype, kind, AFFINE[0])


def _ordinary() -> list[Case]:
    return [
        Case(
            {"layer": layer, **_params(dtype, size), "weights": "ordinary"},
            {"table": ordinary(dtype)},
            _needs(layer, dtype, size),
        )
        for size, dtype in product(SIZES, FLOATS)
        for layer in LAYERS[size[0]]
    ]


def _hard() -> list[Case]:
    return [
        Case(
            {"layer": LAYERS[size[0]][0], **_params(dtype, size), "weights": kind},
            {"table": _table(dtype, kind)},
            _needs(LAYERS[size[0]][0], dtype, size),
        )
        for size, dtype, kind in product(HARD_SIZES, FLOATS, KINDS)
    ]


def _linear() -> list[Case]:
    sizes = [s for s in SIZES if s[0] in ("intx", "qwix") and s[1] in (4, 8)]
    out = []
    for size, dtype, shape in product(sizes, FLOATS, ((1, DIMS), (2, 2, DIMS))):
        name = "x".join(map(str, shape))
        arrays = {
            "table": ordinary(dtype),
            "x": add(f"elsewhere/{dtype}/x/{name}", Recipe("uniform", dtype, shape)),
            "bias": add(f"elsewhere/{dtype}/bias", Recipe("uniform", dtype, (ROWS,))),
        }
        out.append(Case({**_params(dtype, size), "x": name}, arrays, _needs("quantized_linear", dtype, size)))
    return out


def _into() -> list[Case]:
    """MLX's recorded parts into a scheme, directly or through another."""
    ways: list[tuple[Size, str]] = [(("intx", bits, 32), "none") for bits in (1, 2, 3, 4, 5, 6, 8)]
    ways += [(("intx", bits, group), "none") for bits, group in product((4, 8), (64, 128))]
    ways += [(size, "none") for size in BLOCKS] + [(size, "intx") for size in BLOCKS]
    ways += [(("intx", 4, 32), "q4_1"), (("intx", 8, 32), "q8_0")]
    return [
        Case(
            {**_params(dtype, size), "through": through},
            {"table": ordinary(dtype)},
            _needs("quantized_embedding", dtype, size),
        )
        for (size, through), dtype in product(ways, FLOATS)
    ]


def _out_of() -> list[Case]:
    ways: list[tuple[Size, str]] = [(("intx", 4, 32), "affine"), (("intx", 8, 32), "affine")]
    ways += [(("intx", 4, 32), "q4_1"), (("intx", 8, 32), "q8_0")]
    ways += [(size, to) for size, to in product(BLOCKS, ("affine", "intx"))]
    return [
        Case(
            {**_params(dtype, size), "to": to, "weights": kind},
            {"table": _table(dtype, kind)},
            _needs("quantized_embedding", dtype, size),
        )
        for (size, to), dtype, kind in product(ways, FLOATS, ("ordinary", *KINDS))
    ]


def _back() -> list[Case]:
    """Pairs that lose nothing. Not among them: bfloat16 parts of blocks, whose float16 numbers are wider, and 8-bit
    intx parts in bfloat16, whose zero points times scales are wider than bfloat16."""
    exact = ("float32", "float16")
    ways: list[tuple[Size, str, tuple[str, ...]]] = [
        (("q4_1", 4, 32), "affine", exact),
        (("q8_0", 8, 32), "affine", exact),
        (("q8_0", 8, 32), "intx", exact),
        (("intx", 4, 32), "affine", FLOATS),
        (("intx", 4, 128), "affine", FLOATS),
        (("intx", 8, 32), "affine", exact),
    ]
    return [
        Case(
            {**_params(dtype, size), "through": through},
            {"table": ordinary(dtype)},
            _needs("quantized_embedding", dtype, size),
        )
        for size, through, dtypes in ways
        for dtype in dtypes
    ]


ORDINARY_CASES = _ordinary()
BOUND_CASES = ORDINARY_CASES + _hard()
LINEAR_CASES = _linear()
INTO_CASES = _into()
OUT_OF_CASES = _out_of()
BACK_CASES = _back()
