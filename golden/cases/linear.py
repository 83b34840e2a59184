"""Cases for linear layers and tied heads: shapes, layouts, exact integers, dtype pairs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case, add, spell_shape
from touchstone.golden.recipes import Derived, Recipe

LONG = 32769
"""One K beyond 2**15, where Metal's matrix product once failed (pytorch/pytorch#195163)."""
STRIDED_WEIGHT = "https://github.com/pytorch/pytorch/pull/161641"
"""Weights that were not contiguous were read as if they were (the fault is #161640 there)."""


def _product(kind: str, dtype: str, x: tuple[int, ...], out: int, *, bias: bool) -> dict[str, str]:
    """Golden keys of x, W, b, x Wᵀ and |x||W|ᵀ for one shape."""
    exact = kind == "wide integers"
    family = "exact" if exact else "linear"
    k = x[-1]
    x_key = add(f"{family}/{dtype}/x/{spell_shape(x)}", Recipe(kind, dtype, x, {"phase": 0} if exact else {}))
    w_key = add(f"{family}/{dtype}/weight/{out}x{k}", Recipe(kind, dtype, (out, k), {"phase": 1} if exact else {}))
    arrays = {"x": x_key, "weight": w_key}
    if bias:
        options = {"phase": 0} if exact else {}
        arrays["bias"] = add(f"{family}/{dtype}/bias/{out}", Recipe(kind, dtype, (out,), options))
    name = f"{spell_shape(x)}-{out}"
    arrays["product"] = add(f"{family}/{dtype}/product/{name}", Derived("linear", (x_key, w_key)))
    if not exact:
        arrays["magnitude"] = add(f"linear/{dtype}/magnitude/{name}", Derived("magnitude", (x_key, w_key)))
    return arrays


def _case(layer: str, kind: str, dtype: str, x: tuple[int, ...], out: int, *, bias: bool) -> Case:
    return Case(
        {"dtype": dtype, "x": spell_shape(x), "out": out, "bias": bias},
        _product(kind, dtype, x, out, bias=bias),
        (f"layer:{layer}", f"dtype:{dtype}"),
    )


def _shapes() -> list[tuple[tuple[int, ...], int, bool]]:
    ranks = [((*(2, 3, 1, 2, 2)[: r - 1], 8), 5, True) for r in range(1, 7)]
    empty = [((0, 8), 5, True), ((2, 0, 8), 5, True), ((0, 8), 5, False)]
    units = [((3, 1), 5, True), ((3, 8), 1, True), ((1, 1), 1, True), ((3, 1), 5, False), ((3, 8), 1, False)]
    odd = [((3, 17), 13, True), ((7, 129), 31, False)]
    narrow = [((m, 33), n, False) for m, n in product((1, 2), range(1, 10))]
    deep = [((m, k), 3, bias) for k in (2, 31, 256, 1024, 4096, LONG) for m, bias in ((1, True), (2, False))]
    return [*ranks, *empty, *units, *odd, *narrow, *deep]


def _layouts() -> list[Case]:
    out = []
    for dtype, operand in product(FLOATS, ("x", "weight")):
        layouts = ["offset", "inner offset", "strided", "inner strided", "reversed", "inner reversed", "transposed"]
        for layout in [*layouts, "broadcast"] if operand == "x" else layouts:
            shape = (33,) if layout == "broadcast" else (4, 33)
            out.append(
                Case(
                    {"dtype": dtype, "operand": operand, "layout": layout},
                    _product("uniform", dtype, shape, 6, bias=True),
                    ("layer:linear", f"dtype:{dtype}", *LAYOUT_NEEDS[layout]),
                    upstream=STRIDED_WEIGHT if operand == "weight" and layout != "offset" else "",
                )
            )
    return out


def exact_case(dtype: str, x: tuple[int, ...], out: int, *, bias: bool) -> Case:
    """Operands whose products and sums are integers below 2**24."""
    return _case("linear", "wide integers", dtype, x, out, bias=bias)


_EXACT_K = (1, 2, 3, 8, 31, 64, 256, 1024, 4096, LONG)
PAIR_DTYPES = (*FLOATS, "int32")

ERROR_CASES = [_case("linear", "uniform", d, x, n, bias=b) for d in FLOATS for x, n, b in _shapes()]
EXACT_CASES = [
    exact_case(d, (m, k), 4, bias=b) for d, k, (m, b) in product(FLOATS, _EXACT_K, ((1, False), (2, False), (2, True)))
]
ROUNDING_CASES = [
    _case("linear", "wide integers", d, (2, k), 4, bias=True)
    for d, k in product(("float16", "bfloat16"), (256, 1024, 4096))
]
LAYOUT_CASES = _layouts()
DEGENERATE_CASES = [
    Case({"what": what}, {}, ("layer:linear", "dtype:float32"))
    for what in ("rank-0 x", "zero in_features", "zero out_features")
]
PRECISION_CASES = [
    replace(_case("linear", "wide integers", "float32", (2, k), 4, bias=False), params={"K": k}, process="defaults")
    for k in (64, 1024)
]
TIED_CASES = [
    _case("embedding", "uniform", d, x, n, bias=False)
    for d in FLOATS
    for x, n in [((33,), 33), ((4, 33), 33), ((2, 2, 33), 33), ((1, 2, 2, 33), 33), ((3, 8), 5), ((2, 4096), 3)]
]
TIED_EXACT_CASES = [
    _case("embedding", "wide integers", d, (2, k), n, bias=False)
    for d, (k, n) in product(FLOATS, ((4, 4), (64, 64), (1024, 4), (LONG, 4)))
]
"""Square tables included, so that a missing transpose shows."""


def _pairs(layer: str) -> list[Case]:
    """Every pair of weight and input dtype; operands are small integers, exact in all four dtypes."""
    out = []
    for weight, x in product(PAIR_DTYPES, PAIR_DTYPES):
        arrays = {
            "weight": add(f"pairs/{weight}/weight", Recipe("integers", weight, (5, 8), {"low": -8, "high": 8}, "w")),
            "x": add(f"pairs/{x}/x", Recipe("integers", x, (3, 8), {"low": -8, "high": 8}, "x")),
        }
        arrays["product"] = add("pairs/product", Derived("linear", ("pairs/float32/x", "pairs/float32/weight")))
        out.append(Case({"layer": layer, "weight": weight, "x": x}, arrays, (f"layer:{layer}",)))
    return out


def _wide_pairs(layer: str) -> list[Case]:
    """Pairs of float dtypes with operands that need all of their bits, so that a cast to the narrower one shows."""
    return [
        Case(
            {"layer": layer, "weight": weight, "x": x, "operands": "wide"},
            {
                "weight": add(f"pairs/{weight}/wide weight", Recipe("wide integers", weight, (5, 8), {"phase": 1})),
                "x": add(f"pairs/{x}/wide x", Recipe("wide integers", x, (3, 8), {"phase": 0})),
            },
            (f"layer:{layer}",),
        )
        for weight, x in product(FLOATS, FLOATS)
        if weight != x
    ]


LINEAR_PAIR_CASES = _pairs("linear") + _pairs("embedding")
WIDE_PAIR_CASES = _wide_pairs("linear") + _wide_pairs("embedding")
LOOKUP_PAIR_CASES = [
    Case(
        {"layer": layer, "weight": weight, "ids": ids},
        {
            "weight": f"pairs/{weight}/weight",
            "ids": add(f"pairs/{ids}/ids", Recipe("values", ids, (2,), {"values": (4, 0)})),
        },
        (f"layer:{layer}",),
    )
    for layer, weight, ids in product(("embedding", "raw_lookup"), PAIR_DTYPES, PAIR_DTYPES)
]
CAST_CASES = [
    Case(
        {"layer": layer, "from": source, "to": target},
        {
            "weight": add(f"cast/{source}/weight", Recipe("bell", source, (5, 8), {"scale": 2.0**-10})),
            "bias": add(f"cast/{source}/bias", Recipe("bell", source, (5,), {"scale": 2.0**-10})),
        },
        (f"layer:{layer}", f"dtype:{source}", f"dtype:{target}"),
    )
    for layer, source, target in product(("embedding", "linear"), FLOATS, FLOATS)
    if source != target
]
