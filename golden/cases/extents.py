"""Cases at sizes and in states of memory where kernels have failed, each with the thread that reports the fault.

Operands of the exact cases are integers from -2 to 2 and K is at most 33, so that every result is exact in every dtype.
Tables of more than 2**31 elements are never stored: row r is the window of `dims` elements that begins at element r of
a strip (`_strip`), so that every row is its own and the expected rows are read off the strip.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from touchstone.golden.cases import linear, lookup, quantized
from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case, add, spell_shape
from touchstone.golden.packing import format_of
from touchstone.golden.recipes import Recipe
from touchstone.golden.streams import DTYPES

PYTORCH, MLX = "https://github.com/pytorch/pytorch", "https://github.com/ml-explore/mlx"
BATCH_16_BITS = f"{PYTORCH}/issues/189495"
LONG_SUMS = f"{PYTORCH}/issues/195163"
WIDE_RESULT = f"{PYTORCH}/issues/116769"
SMALL_LINEAR = f"{PYTORCH}/issues/188438"
EXPANDED_INPUT = f"{PYTORCH}/issues/167154"
EXPANDED_COTANGENT = f"{PYTORCH}/pull/189565"
ALLOCATOR = f"{PYTORCH}/issues/193487"
CHANGING = f"{PYTORCH}/issues/111634"
SECOND_CALL = f"{PYTORCH}/issues/180776"
CHANGING_QUANTIZED = f"{MLX}/issues/896"
LARGE_TABLE = f"{PYTORCH}/issues/188756"
LARGE_ARRAY = f"{MLX}/issues/3327"
LARGE_GATHER = f"{MLX}/issues/1338"
LARGE_RESULT = f"{PYTORCH}/issues/122045"


def _small(dtype: str, name: str, shape: tuple[int, ...]) -> str:
    recipe = Recipe("integers", dtype, shape, {"low": -2, "high": 3})
    return add(f"extents/{dtype}/{name}/{spell_shape(shape)}", recipe)


def _exact(dtype: str, x: tuple[int, ...], out: int, upstream: str, *, bias: bool = False, **params: Any) -> Case:
    arrays = {"x": _small(dtype, "x", x), "weight": _small(dtype, "weight", (out, x[-1]))}
    if bias:
        arrays["bias"] = _small(dtype, "bias", (out,))
    needs = ("layer:linear", f"dtype:{dtype}", *LAYOUT_NEEDS[params.get("layout", "dense")])
    return Case(
        {"dtype": dtype, "x": spell_shape(x), "out": out, "bias": bias, **params}, arrays, needs, upstream=upstream
    )


def _linear() -> list[Case]:
    """Both sides of 2**16 batches, many output features, few input features, and batches that are one broadcast."""
    out = [
        _exact(dtype, (batches, 2, 8), 16, BATCH_16_BITS, bias=bias)
        for dtype in FLOATS
        for batches, bias in ((2**16 + 1, True), (2**16, True), (2**16 + 1, False))[: None if dtype == "float32" else 1]
    ]
    out.append(_exact("float32", (1025, 1), 2**15 + 1, WIDE_RESULT))
    sizes = (((80, 1, 2), 192), ((80, 1, 4), 192), ((80, 1, 2), 768))
    out += [
        _exact(dtype, x, n, SMALL_LINEAR, bias=bias) for dtype, (x, n), bias in product(FLOATS, sizes, (True, False))
    ]
    out += [
        _exact(dtype, (19, 33), 24, EXPANDED_INPUT, bias=bias, layout="broadcast")
        for dtype, bias in product(FLOATS, (True, False))
    ]
    return out


LONG_SIZES = (((17, 2**15 - 1), 19), ((17, 2**15), 19), ((2, 16, 2**15 - 1), 16))
"""At least 16 rows and columns, so that a tiled kernel runs; its last tile of K may be read past the operands' end."""


def _long(dtype: str, x: tuple[int, ...], out: int, *, bias: bool) -> Case:
    return replace(linear.exact_case(dtype, x, out, bias=bias), upstream=LONG_SUMS)


LINEAR_CASES = _linear()
LONG_CASES = [
    _long(dtype, x, n, bias=bias)
    for dtype, ((x, n), bias) in product(FLOATS, zip(LONG_SIZES, (False, False, True), strict=True))
]


def _quantized_products() -> list[Case]:
    """Fewer results than a kernel's tile of 8, inner sizes that a tile of 32 does not divide, one bit."""
    block = [format_of(*f) for f in (("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16))]
    four, one, nvfp4 = format_of("affine", 4, 64), format_of("affine", 1, 32), block[-1]
    sizes = [(form, 1, n, 512, f"{MLX}/pull/3804") for form, n in product(block, (5, 7))]
    sizes += [(four, 1, n, 4096, f"{MLX}/issues/665") for n in (4, 33)]
    sizes += [(nvfp4, 50, 128, k, f"{MLX}/pull/3912") for k in (1040, 4112)]
    sizes += [(one, 1, 64, 512, f"{MLX}/pull/3161")]
    return [
        replace(quantized.product_case(form, quantized.LAYERS[i % 2], "float32", m, n, k, "dense"), upstream=upstream)
        for i, (form, m, n, k, upstream) in enumerate(sizes)
    ]


def _quantized_gradients() -> list[Case]:
    """The product with weights as they lie: fewer columns than a tile of 64, and a tile of 32 that they do not fill."""
    sizes = [(format_of("affine", 4, 32), 1, 1024, n, f"{MLX}/issues/4250") for n in (32, 96)]
    sizes += [
        (format_of("affine", bits, group), 8, 128, 128, f"{MLX}/issues/4201")
        for bits, group in product((2, 4, 8), (32, 64))
    ]
    sizes += [(format_of("nvfp4", 4, 16), 50, 128, 1040, f"{MLX}/pull/3912")]
    return [
        replace(quantized.untransposed_case(form, "quantized_linear", "float32", m, k, n), upstream=upstream)
        for form, m, k, n, upstream in sizes
    ]


QUANTIZED_CASES = _quantized_products()
QUANTIZED_GRADIENT_CASES = _quantized_gradients()
COTANGENT_CASES = [
    replace(
        _exact(dtype, (3840, 33), out, EXPANDED_COTANGENT),
        needs=(f"dtype:{dtype}", "layer:linear", "gradients", "layout:broadcast"),
    )
    for dtype, out in product(FLOATS, (1, 3))
]
"""The cotangent is one number, broadcast: the gradient of a sum."""


def _uniform(dtype: str, x: tuple[int, ...], out: int) -> dict[str, str]:
    """Operands whose sums round, so that another order of additions shows."""
    return {
        "x": add(f"repeated/{dtype}/x/{spell_shape(x)}", Recipe("uniform", dtype, x)),
        "weight": add(f"repeated/{dtype}/weight/{out}x{x[-1]}", Recipe("uniform", dtype, (out, x[-1]))),
    }


_REPEATED: tuple[tuple[tuple[int, ...], int, bool, str], ...] = (
    ((129, 1024), 65, True, CHANGING),
    ((1, 4096), 65, True, CHANGING),
    ((2**16 + 1, 2, 8), 16, True, BATCH_16_BITS),
    ((2, 13, 1024), 1024, False, SECOND_CALL),
    ((1, 3, 28, 315), 315, False, SECOND_CALL),
)
"""Shape of x, output features, whether there is a bias, and who saw answers change."""


def _repeated() -> list[Case]:
    out = []
    for dtype, (x, n, bias, upstream) in product(FLOATS, _REPEATED):
        arrays = _uniform(dtype, x, n)
        if bias:
            arrays["bias"] = add(f"repeated/{dtype}/bias/{n}", Recipe("uniform", dtype, (n,)))
        params = {"layer": "linear", "dtype": dtype, "x": spell_shape(x), "out": n}
        out.append(Case(params, arrays, ("layer:linear", f"dtype:{dtype}"), upstream=upstream))
    for form, m in product((format_of("affine", 4, 64), format_of("nvfp4", 4, 16)), (1, 50)):
        case = quantized.product_case(form, "quantized_linear", "float32", m, 33, 1024, "dense")
        out.append(replace(case, upstream=CHANGING_QUANTIZED))
    return out


def _repeated_gradients() -> list[Case]:
    """Of a linear layer: where several cotangents meet in one row of a table, a GPU may add them in any order."""
    out = []
    for dtype in FLOATS:
        arrays = _uniform(dtype, (129, 1024), 65)
        arrays["cotangent"] = add(f"repeated/{dtype}/cotangent", Recipe("uniform", dtype, (129, 65)))
        needs = ("layer:linear", f"dtype:{dtype}", "gradients")
        out.append(Case({"layer": "linear", "dtype": dtype}, arrays, needs, upstream=CHANGING))
    return out


REPEAT_CASES = _repeated()
REPEAT_GRADIENT_CASES = _repeated_gradients()


def _dirty() -> list[Case]:
    """Exact cases whose kernels may read beyond their operands, or leave a part of the result as memory was."""
    long = [case for case in LONG_CASES if case.params["dtype"] == "float32"]
    out = [replace(case, params={"layer": "linear", **case.params}) for case in long]
    for dtype, x in product(FLOATS, ((25, 1024), (3, 31))):
        case = linear.exact_case(dtype, x, 25, bias=False)
        params = {"layer": "linear", **case.params, "layout": "transposed"}
        out.append(Case(params, case.arrays, (*case.needs, "layout:permute"), upstream=ALLOCATOR))
    lookups = [c for c in lookup.SHAPE_CASES if c.params["ids"] in ("rank 2", "empty")]
    out += [replace(case, upstream=ALLOCATOR) for case in lookups]
    for form, layer in product((format_of("affine", 4, 32), format_of("nvfp4", 4, 16)), quantized.LAYERS):
        out.append(replace(quantized.exact_case(form, layer, "float32", "random", 4096), upstream=CHANGING_QUANTIZED))
    return out


DIRTY_CASES = _dirty()

DIMS = 1024
ROWS = {"2**31": 2**21 + 3, "2**32": 2**22 + 3}
"""Elements that the table exceeds -> its rows of `DIMS`."""
_SPARE = 2**29


def _strip(dtype: str, rows: int, dims: int = DIMS) -> str:
    """Key of the strip of a table ``[rows, dims]``: uniform numbers in a float dtype, any bits in uint32."""
    recipe = Recipe("words", "uint32", (rows + dims - 1,)) if dtype == "uint32" else None
    return add(f"extents/{dtype}/strip/{rows}x{dims}", recipe or Recipe("uniform", dtype, (rows + dims - 1,)))


def edge_ids(elements: int, rows: int) -> list[int]:
    """Rows on both sides of each multiple of 2**31 elements, the first and the last."""
    marks = [m // DIMS for m in range(2**31, elements + 1, 2**31)]
    return sorted({0, 1, rows - 1, *(m + k for m in marks for k in (-1, 0, 1) if 0 <= m + k < rows)})


def _tables() -> list[Case]:
    out = []
    for layer, dtype, (name, rows) in (
        ("embedding", "float16", ("2**31", ROWS["2**31"])),
        ("raw_lookup", "float16", ("2**31", ROWS["2**31"])),
        ("embedding", "float32", ("2**31", ROWS["2**31"])),
        ("embedding", "float16", ("2**32", ROWS["2**32"])),
    ):
        size = rows * DIMS * DTYPES[dtype].itemsize
        out.append(
            Case(
                {"layer": layer, "dtype": dtype, "elements": name},
                {"table": _strip(dtype, rows)},
                (f"layer:{layer}", f"dtype:{dtype}"),
                "reads",
                upstream=LARGE_TABLE if layer == "embedding" else LARGE_ARRAY,
                memory=2 * size + _SPARE,
            )
        )
    return out


def _heads() -> list[Case]:
    """A weight of more than 2**31 elements: no sum of its 1,024 products exceeds 2**12.

    Five times its size: on the host, on the device, transposed, and widened to float32 for the product.
    """
    rows, out = ROWS["2**31"], []
    for layer, upstream in (("linear", f"{PYTORCH}/issues/150637"), ("embedding", f"{MLX}/issues/3591")):
        arrays = {
            "table": _small("float16", "strip", (rows + DIMS - 1,)),
            "x": _small("float16", "x", (1, DIMS)),
        }
        params = {"layer": layer, "dtype": "float16", "elements": "2**31"}
        memory = 5 * rows * DIMS * 2 + _SPARE
        out.append(Case(params, arrays, (f"layer:{layer}", "dtype:float16"), "reads", upstream=upstream, memory=memory))
    return out


def _quantized_tables() -> list[Case]:
    """4-bit codes in groups of 32: more than 2**31 of them in 1 GB of words."""
    form, rows = format_of("affine", 4, 32), ROWS["2**31"]
    arrays = {
        "weight": _strip("uint32", rows, DIMS // 8),
        "scales": _strip("float16", rows, DIMS // 32),
        "biases": add(f"extents/biases/{rows}", Recipe("uniform", "float16", (rows + DIMS // 32 - 1,))),
    }
    needs = ("layer:quantized_embedding", "dtype:float16", f"scheme:{form.name}")
    params = {"dtype": "float16", **form.params, "elements": "2**31"}
    size = rows * (DIMS // 2 + 4 * DIMS // 32)
    return [Case(params, arrays, needs, "reads", upstream=LARGE_TABLE, memory=2 * size + _SPARE)]


FACTORS = (1, 2, 3)
"""What the operands of large products are: no zero, whose sign would be a convention."""


def _factors(dtype: str, name: str, shape: tuple[int, ...]) -> str:
    recipe = Recipe("integers", dtype, shape, {"low": min(FACTORS), "high": max(FACTORS) + 1})
    return add(f"extents/{dtype}/{name} factors/{spell_shape(shape)}", recipe)


def _results() -> list[Case]:
    """Results that are large though their operands are not."""
    rows = ROWS["2**31"]
    wide = (2**16 + 1, 1), 2**15 + 1
    products = [("float32", (9, 1024, 1), 50304, LARGE_RESULT), ("float16", *wide, f"{PYTORCH}/issues/191083")]
    out = []
    for dtype, x, n, upstream in products:
        arrays = {"x": _factors(dtype, "x", x), "weight": _factors(dtype, "weight", (n, 1))}
        params = {"layer": "linear", "dtype": dtype, "x": spell_shape(x), "out": n}
        needs = ("layer:linear", f"dtype:{dtype}")
        memory = 2 * prod(x) * n * DTYPES[dtype].itemsize + _SPARE
        out.append(Case(params, arrays, needs, "reads", upstream=upstream, memory=memory))
    table = add("extents/float16/small table", Recipe("uniform", "float16", (37, DIMS)))
    params = {"layer": "embedding", "dtype": "float16", "ids": rows}
    needs = ("layer:embedding", "dtype:float16")
    memory = 2 * rows * DIMS * 2 + _SPARE
    return [*out, Case(params, {"table": table}, needs, "reads", upstream=LARGE_GATHER, memory=memory)]


TABLE_CASES = _tables()
QUANTIZED_TABLE_CASES = _quantized_tables()
RESULT_CASES = _results()
HEAD_CASES = _heads()
LARGE_CASES = [*TABLE_CASES, *HEAD_CASES, *QUANTIZED_TABLE_CASES, *RESULT_CASES]
