"""Cases for the quantization schemes of other libraries, and for conversion between them and MLX's affine format."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.cases.quantized import DIMS, ROWS, adversarial, ordinary
from touchstone.golden.catalogue import Case, add
from touchstone.golden.packing import AFFINE, AFFINE_BITS
from touchstone.golden.recipes import Recipe


class Size(NamedTuple):
    """One scheme of a library."""

    mode: str
    bits: int
    group_size: int


LAYERS = {
    "intx": ("quantized_embedding", "quantized_linear"),
    "keras": ("quantized_embedding",),
    "keras_rows": ("quantized_embedding",),
    "qwix": ("quantized_linear",),
    "q4_1": ("quantized_embedding",),
    "q8_0": ("quantized_embedding",),
}
"""mode -> what the library quantizes; the first is asked about hard weights."""
Q4_1, Q8_0 = Size("q4_1", 4, 32), Size("q8_0", 8, 32)
INTX4, INTX8 = Size("intx", 4, 32), Size("intx", 8, 32)
BLOCKS = (Q4_1, Q8_0)
SIZES = (
    *(Size("intx", bits, 32) for bits in range(1, 9)),
    *(Size("intx", bits, group) for bits, group in product((4, 8), (64, 128))),
    *(Size("keras", 4, group) for group in (32, 64, 128)),
    Size("keras_rows", 4, 256),
    *(Size("qwix", bits, tile) for bits, tile in product((4, 8), (32, 64, 128, 256))),
    *BLOCKS,
)
HARD_SIZES = (
    *(INTX4, INTX8, Size("intx", 4, 128)),
    *(Size("keras", 4, group) for group in (32, 128)),
    Size("keras_rows", 4, 128),
    *(Size("qwix", bits, tile) for bits, tile in ((4, 32), (8, 32), (4, 128))),
    *BLOCKS,
)
KINDS = ("one outlier", "one-sided", "straddling", "equal", "zero")
"""Tables of `touchstone.golden.groups` whose weights are of the size of trained ones."""


def _table(dtype: str, kind: str) -> str:
    """A kind of `KINDS` is the same table in every format."""
    form, *_ = AFFINE
    return ordinary(dtype) if kind == "ordinary" else adversarial(dtype, kind, form)


def _case(layer: str, dtype: str, size: Size, kind: str = "ordinary", **how: str) -> Case:
    """how: what the case differs in from others of its size."""
    scheme = size.mode if size in BLOCKS else f"{size.mode}{size.bits}g{size.group_size}"
    needs = (f"layer:{layer}", f"dtype:{dtype}", f"scheme:{scheme}")
    return Case({"dtype": dtype, **size._asdict(), **how}, {"table": _table(dtype, kind)}, needs)


def _bounded(layer: str, dtype: str, size: Size, kind: str) -> Case:
    case = _case(layer, dtype, size, kind, weights=kind)
    return replace(case, params={"layer": layer, **case.params})


def _ordinary() -> list[Case]:
    pairs = product(SIZES, FLOATS)
    return [_bounded(layer, dtype, size, "ordinary") for size, dtype in pairs for layer in LAYERS[size.mode]]


def _hard() -> list[Case]:
    hard = product(HARD_SIZES, FLOATS, KINDS)
    return [_bounded(next(iter(LAYERS[size.mode])), dtype, size, kind) for size, dtype, kind in hard]


def _linear() -> list[Case]:
    sizes = [size for size in SIZES if size.mode in ("intx", "qwix") and size.bits in (4, 8)]
    out = []
    for size, dtype, shape in product(sizes, FLOATS, ((1, DIMS), (2, 2, DIMS))):
        name = "x".join(map(str, shape))
        inputs = {
            "x": add(f"elsewhere/{dtype}/x/{name}", Recipe("uniform", dtype, shape)),
            "bias": add(f"elsewhere/{dtype}/bias", Recipe("uniform", dtype, (ROWS,))),
        }
        case = _case("quantized_linear", dtype, size, x=name)
        out.append(replace(case, arrays={**case.arrays, **inputs}))
    return out


def _into() -> list[Case]:
    """MLX's recorded parts into a scheme, directly or through another."""
    direct = (size for size in SIZES if size.mode in ("intx", "q4_1", "q8_0") and size.bits in AFFINE_BITS)
    ways = [*((size, "none") for size in direct), (Q4_1, "intx"), (Q8_0, "intx"), (INTX4, "q4_1"), (INTX8, "q8_0")]
    pairs = product(ways, FLOATS)
    return [_case("quantized_embedding", dtype, size, through=through) for (size, through), dtype in pairs]


def _out_of() -> list[Case]:
    ways = [(INTX4, "affine"), (INTX8, "affine"), (INTX4, "q4_1"), (INTX8, "q8_0")]
    ways += product(BLOCKS, ("affine", "intx"))
    cases = product(ways, FLOATS, ("ordinary", *KINDS))
    return [_case("quantized_embedding", dtype, size, kind, to=to, weights=kind) for (size, to), dtype, kind in cases]


def _back() -> list[Case]:
    """Pairs that lose nothing.

    Not among them: bfloat16 parts of blocks, whose float16 numbers are wider, and 8-bit intx parts in bfloat16, whose
    zero points times scales are wider than bfloat16.
    """
    exact = ("float32", "float16")
    ways = [
        (Q4_1, "affine", exact),
        (Q8_0, "affine", exact),
        (Q8_0, "intx", exact),
        (INTX4, "affine", FLOATS),
        (Size("intx", 4, 128), "affine", FLOATS),
        (INTX8, "affine", exact),
    ]
    return [
        _case("quantized_embedding", dtype, size, through=through) for size, through, dtypes in ways for dtype in dtypes
    ]


ORDINARY_CASES = _ordinary()
BOUND_CASES = ORDINARY_CASES + _hard()
LINEAR_CASES = _linear()
INTO_CASES = _into()
OUT_OF_CASES = _out_of()
BACK_CASES = _back()
