"""Cases for MLX's quantization modes: bounds, codes, lookups, products and gradients of packed tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from touchstone.golden import groups
from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import Case, add
from touchstone.golden.packing import BLOCK, FORMATS, Format, format_of
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 16, 256
PARTS = ("weight", "scales", "biases")
"""Names of the packed parts, as MLX's layers store them."""
LAYERS = ("quantized_embedding", "quantized_linear")
HARD = tuple(f for f in FORMATS if f.group_size <= 32 or f.bits == 4)
"""Formats for adversarial groups: every width at group 32, 4 bits at every group, the block modes."""
SMALL = tuple(f for f in HARD if f in BLOCK or (f.bits == 4 and f.group_size == 32))
"""One affine format and the block modes: where bits and group make no difference."""


def _needs(layer: str, dtype: str, form: Format) -> tuple[str, ...]:
    return (f"layer:{layer}", f"dtype:{dtype}", f"scheme:{form.name}")


def _params(dtype: str, form: Format) -> dict[str, Any]:
    return {"dtype": dtype, **form.params}


def ordinary(dtype: str) -> str:
    """A bell-shaped table of the size of trained weights (standard deviation 0.07)."""
    recipe = Recipe("bell", dtype, (ROWS, DIMS), {"scale": 2.0**-3})
    return add(f"quantized/{dtype}/ordinary", recipe)


def adversarial(dtype: str, kind: str, form: Format) -> str:
    """A table of one kind of `golden.groups`, made for the format where the kind is a lattice or its ties."""
    options: dict[str, Any] = {"kind": kind}
    name = kind.replace(",", "")
    if kind.startswith(("lattice", "ties")):
        options |= {"element": form.element} if form.element else {"bits": form.bits}
        name = f"{name}/{form.element or form.bits}"
    return add(f"adversarial/{dtype}/{name}", Recipe("groups", dtype, (4, 128), options))


def recorded(form: Format, dtype: str, part: str) -> str:
    """Key of a packed part that MLX produced, in the recorded store."""
    return f"{form.mode}/{dtype}/bits={form.bits}-group={form.group_size}/{part}"


def parts_of(form: Format) -> tuple[str, ...]:
    """Names of the parts that a format has: biases only in mode "affine"."""
    return PARTS if form.mode == "affine" else PARTS[:2]


def _ordinary(forms: Sequence[Format] = FORMATS) -> list[Case]:
    return [
        Case(_params(d, f), {"table": ordinary(d)}, _needs("quantized_embedding", d, f))
        for d, f in product(FLOATS, forms)
    ]


def _adversarial(kinds: Sequence[str], forms: Sequence[Format] = HARD) -> list[Case]:
    return [
        Case(
            {**_params(d, f), "weights": kind},
            {"table": adversarial(d, kind, f)},
            _needs("quantized_embedding", d, f),
        )
        for kind, d, f in product(kinds, FLOATS, forms)
    ]


def _lookup_cases() -> list[Case]:
    ids = {
        "scalar": Recipe("values", "int32", (), {"values": (7,)}),
        "rank 2": Recipe("values", "int32", (2, 3), {"values": (0, ROWS - 1, 3, 3, 7, 12)}),
        "rank 0": Recipe("values", "int32", (), {"values": (5,)}),
        "empty": Recipe("values", "int32", (0,), {"values": ()}),
    }
    return [
        Case(
            {**_params(d, f), "ids": name},
            {"table": ordinary(d), "ids": add(f"quantized/ids/{name}", how)},
            _needs("quantized_embedding", d, f),
        )
        for (name, how), d, f in product(ids.items(), FLOATS, FORMATS)
        if name == "rank 2" or f in SMALL
    ]


SCALES = {"E8M0": (120, 125), "E4M3": (20, 40)}
"""Encoded scales of random parts, by format: from, up to."""


def random_parts(
    dtype: str, form: Format, rows: int, columns: int, encoded: Mapping[str, tuple[int, int]] = SCALES
) -> dict[str, Recipe]:
    """Packed parts from random bits, with uniform scales and biases of full precision; no code stands for NaN.

    encoded: as `SCALES`.
    """
    # Without the highest exponent bit, an 8-bit float is no NaN.
    mask = 0xBFBFBFBF if form.element == "E4M3" else 2**32 - 1
    out = {"weight": Recipe("words", "uint32", (rows, columns * form.bits // 32), {"mask": mask})}
    per_group = (rows, columns // form.group_size)
    if form.scale:
        low, high = encoded[form.scale]
        return out | {"scales": Recipe("integers", "uint8", per_group, {"low": low, "high": high})}
    sizes = {"scales": 2.0**-6, "biases": 2.0**-3}
    return out | {part: Recipe("uniform", dtype, per_group, {"scale": size}) for part, size in sizes.items()}


def _stored_parts(dtype: str, form: Format, rows: int, columns: int) -> dict[str, str]:
    recipes = random_parts(dtype, form, rows, columns)
    sizes = "x".join(map(str, recipes["scales"].shape))
    keys = {
        "weight": f"parts/{form.element or form.bits}/{rows}x{columns}/words",
        "scales": f"parts/scales/{form.scale}/{sizes}" if form.scale else f"parts/{dtype}/scales/{sizes}",
        "biases": f"parts/{dtype}/biases/{sizes}",
    }
    return {part: add(keys[part], recipe) for part, recipe in recipes.items()}


def _dequantize_cases() -> list[Case]:
    """Every row of random parts."""
    ids = add("quantized/ids/all", Recipe("values", "int32", (ROWS,), {"values": tuple(range(ROWS))}))
    return [
        Case(_params(d, f), {**_stored_parts(d, f, ROWS, DIMS), "ids": ids}, _needs("quantized_embedding", d, f))
        for d, f in product(FLOATS, FORMATS)
    ]


M_SIZES = (1, 2, 10, 129)
N_SIZES = (1, 4, 7, 8, 9, 31, 32, 33, 64, 96)
LAYOUTS = ("dense", "x strided", "parts strided", "batched")
_LAYOUT_NEEDS = {"x strided": ("layout:step",), "parts strided": ("layout:step",), "swapped": ("layout:permute",)}


def _inner_sizes(form: Format) -> tuple[int, ...]:
    return (form.group_size, 3 * form.group_size, 512, 4096, 8192)


def product_case(form: Format, layer: str, dtype: str, m: int, n: int, k: int, layout: str) -> Case:
    """x ``[m, k]`` times random packed weights ``[n, k]`` transposed; a quantized_linear adds a bias ``[n]``.

    layout: one of `LAYOUTS`, of which "batched" makes x ``[2, m, k]``; "swapped", the same as a view of ``[m, 2, k]``;
    or "vector", which makes it ``[k]``.
    """
    shape = {"batched": (2, m, k), "swapped": (2, m, k), "vector": (k,)}.get(layout, (m, k))
    arrays = _stored_parts(dtype, form, n, k)
    name = "x".join(map(str, shape))
    arrays["x"] = add(f"quantized/{dtype}/x/{name}", Recipe("uniform", dtype, shape))
    if layer == "quantized_linear":
        arrays["bias"] = add(f"quantized/{dtype}/bias/{n}", Recipe("uniform", dtype, (n,)))
    params = {"layer": layer, **_params(dtype, form), "m": m, "n": n, "k": k, "layout": layout}
    needs = (*_needs(layer, dtype, form), *_LAYOUT_NEEDS.get(layout, ()))
    return Case(params, arrays, needs)


def _product_cases() -> list[Case]:
    """Every format with every N; the other parameters rotate so that every pair of values of any two occurs.

    A test of the harness checks the pairs.
    """
    out = []
    for (i, form), (j, n) in product(enumerate(FORMATS), enumerate(N_SIZES)):
        m, k = M_SIZES[(i + j) % 4], _inner_sizes(form)[(i + 2 * j) % 5]
        dtype, layout = FLOATS[(2 * i + j) % 3], LAYOUTS[(i + j // 2 + i // 4) % 4]
        out.append(product_case(form, LAYERS[(i + j // 3) % 2], dtype, m, n, k, layout))
    return out


def _vector_cases() -> list[Case]:
    """One x without a batch, as a model that generates token by token may give."""
    return [
        product_case(form, layer, FLOATS[(i + j) % 3], 1, 8, 3 * form.group_size, "vector")
        for (i, form), (j, layer) in product(enumerate(FORMATS), enumerate(LAYERS))
    ]


def _swapped_cases() -> list[Case]:
    """x whose batch and time were exchanged, as sequence-first models give it."""
    return [
        product_case(form, layer, "float32", 3, 8, 2 * form.group_size, "swapped")
        for form, layer in product(SMALL, LAYERS)
    ]


def _tiled_cases() -> list[Case]:
    """Matrices of three tiles and a rest, where a product takes 4 MiB of float32 weights at a time; one row and two."""
    sizes = [(("affine", 4, 64), 1), (("affine", 4, 64), 2), (("affine", 3, 64), 2), (("mxfp8", 8, 32), 1)]
    return [
        product_case(format_of(*form), LAYERS[i % 2], "float32", m, 3 * 2048 + 5, 512, "dense")
        for i, (form, m) in enumerate(sizes)
    ]


def _empty_cases() -> list[Case]:
    """No rows of x (M = 0): asked in the isolated worker, for it can end the process."""
    out = []
    for i, form in enumerate(FORMATS):
        case = product_case(form, LAYERS[i % 2], FLOATS[i % 3], 0, N_SIZES[i % 10], 2 * form.group_size, "dense")
        out.append(replace(case, hazard="reads"))
    return out


def untransposed_case(form: Format, layer: str, dtype: str, m: int, rows: int, columns: int) -> Case:
    """The gradient of x: the cotangent [m, rows] times the weights [rows, columns] as they lie."""
    arrays = _stored_parts(dtype, form, rows, columns)
    arrays["x"] = add(f"quantized/{dtype}/x/{m}x{columns}", Recipe("uniform", dtype, (m, columns)))
    arrays["cotangent"] = add(f"quantized/{dtype}/cotangent/{m}x{rows}", Recipe("uniform", dtype, (m, rows)))
    params = {"layer": layer, **_params(dtype, form), "m": m, "n": columns, "k": rows}
    return Case(params, arrays, (*_needs(layer, dtype, form), "gradients"))


def _untransposed_cases() -> list[Case]:
    out = []
    for (i, form), (j, k) in product(enumerate(FORMATS), enumerate((1, 7, 33, 512, 8192))):
        sizes = [n for n in (32, 64, 96, 128) if n % form.group_size == 0]
        columns = sizes[(i + j) % len(sizes)]
        out.append(
            untransposed_case(form, LAYERS[(i + j) % 2], FLOATS[(i + j // 2) % 3], M_SIZES[(i + j) % 4], k, columns)
        )
    return out


def _untransposed_empty_cases() -> list[Case]:
    return [
        replace(untransposed_case(f, LAYERS[i % 2], FLOATS[i % 3], 0, 9, 2 * f.group_size), hazard="reads")
        for i, f in enumerate(FORMATS)
    ]


def _integer_parts(form: Format, dtype: str, codes: str, rows: int, columns: int) -> dict[str, str]:
    """Packed parts whose weights are small integers, at most 128 in size; "ones": all of them 1."""
    shape, per_group = (rows, columns * form.bits // 32), (rows, columns // form.group_size)
    sizes = "x".join(map(str, per_group))
    if codes == "ones":
        one = {"E2M1": 0x22222222, "E4M3": 0x38383838}.get(form.element) or _all_codes(1, form.bits)
        words = Recipe("constant", "uint32", shape, {"value": one})
    elif form.element == "E4M3":
        words = Recipe("e4m3 integers", "uint32", shape)
    else:
        # E2M1 without its fraction bit: 0, 1, 2 and 4.
        words = Recipe("words", "uint32", shape, {"mask": 0xEEEEEEEE if form.element else 2**32 - 1})
    key = f"lattice/{'ones' if codes == 'ones' else 'random'}/{form.element or form.bits}/{rows}x{columns}/words"
    out = {"weight": add(key, words)}
    if form.element:
        recipe = Recipe("constant", "uint8", per_group, {"value": {"E8M0": 127, "E4M3": 0x38}[form.scale]})
        return out | {"scales": add(f"lattice/scales/{form.scale}/{sizes}", recipe)}
    bias = 0 if codes == "ones" else -(2 ** (form.bits - 1))
    for part, value in (("scales", 1), ("biases", bias)):
        recipe = Recipe("constant", dtype, per_group, {"value": value})
        out[part] = add(f"lattice/{dtype}/{part}/{value}/{sizes}", recipe)
    return out


def exact_case(form: Format, layer: str, dtype: str, codes: str, columns: int) -> Case:
    """Small integer weights, and x of zeros and ones, or ("wide") of integers too wide for TF32: sums are integers."""
    x = {
        "ones": Recipe("constant", dtype, (1, columns), {"value": 1}),
        "random": Recipe("integers", dtype, (2, columns), {"low": 0, "high": 2}),
        "wide": Recipe("sparse wide", dtype, (2, columns)),
    }[codes]
    arrays = _integer_parts(form, dtype, codes, 1 if codes == "ones" else 4, columns)
    arrays["x"] = add(f"lattice/{dtype}/x/{codes}/{columns}", x)
    params = {"layer": layer, **_params(dtype, form), "codes": codes, "k": columns}
    return Case(params, arrays, _needs(layer, dtype, form))


def _all_codes(code: int, bits: int) -> int:
    """A word of 32 equal codes' first 32 bits; for widths that divide 32, or code 0."""
    return sum(code << place for place in range(0, 32, bits)) & (2**32 - 1)


def _exact_cases() -> list[Case]:
    out = []
    for form, dtype in product(FORMATS, FLOATS):
        layers = LAYERS if form.group_size in (16, 32) else LAYERS[1:]
        out += [exact_case(form, layer, dtype, "random", 4096) for layer in layers]
        if 32 % form.bits == 0:
            out.append(exact_case(form, LAYERS[1], dtype, "ones", 8192))
    for i, form in enumerate(FORMATS):
        out += [
            exact_case(form, LAYERS[(i + j) % 2], "float32", "wide", k)
            for j, k in enumerate((form.group_size, 512, 8192))
        ]
    return out


def _exact_gradient_cases() -> list[Case]:
    """A cotangent of integers too wide for TF32 against small integer weights."""
    out = []
    for i, (form, k) in enumerate(product(FORMATS, (7, 512))):
        layer, columns = LAYERS[i % 2], 2 * form.group_size
        arrays = _integer_parts(form, "float32", "wide", k, columns)
        arrays["x"] = add(f"quantized/float32/x/2x{columns}", Recipe("uniform", "float32", (2, columns)))
        arrays["cotangent"] = add(f"lattice/float32/cotangent/{k}", Recipe("sparse wide", "float32", (2, k)))
        params = {"layer": layer, **_params("float32", form), "n": columns, "k": k}
        out.append(Case(params, arrays, (*_needs(layer, "float32", form), "gradients")))
    return out


def _indivisible() -> list[Case]:
    sizes = [(33, format_of("affine", 4, 32)), (96, format_of("affine", 4, 64)), (64, format_of("affine", 4, 128))]
    sizes += [(24 if f.group_size == 16 else 48, f) for f in BLOCK]
    return [
        Case(
            {"layer": layer, **_params("float32", f), "dims": dims},
            {"table": add(f"quantized/float32/dims={dims}", Recipe("bell", "float32", (4, dims)))},
            _needs(layer, "float32", f),
        )
        for layer, (dims, f) in product(LAYERS, sizes)
    ]


def _one_group_cases() -> list[Case]:
    """A table of a single row and a single group."""
    return [
        Case(
            {"layer": layer, **_params("float32", f)},
            {"table": add(f"quantized/one group/{f.group_size}", Recipe("bell", "float32", (1, f.group_size)))},
            _needs(layer, "float32", f),
        )
        for layer, f in product(LAYERS, FORMATS)
    ]


def _mixed_cases() -> list[Case]:
    """x and the scales in different dtypes, as where a float16 checkpoint meets bfloat16 activations."""
    form, out = format_of("affine", 4, 64), []
    for layer, parts, x in product(LAYERS, FLOATS, FLOATS):
        if parts != x:
            arrays = _stored_parts(parts, form, 32, 512)
            arrays["x"] = add(f"quantized/{x}/x/2x512", Recipe("uniform", x, (2, 512)))
            params = {"layer": layer, "parts": parts, "x": x}
            out.append(Case(params, arrays, (*_needs(layer, parts, form), f"dtype:{x}")))
    return out


def _layer_cases(dtypes: Sequence[str] = ("float32",)) -> list[Case]:
    return [
        Case({"layer": layer, **_params(d, f)}, {"table": ordinary(d)}, _needs(layer, d, f))
        for layer, d, f in product(LAYERS, dtypes, FORMATS)
    ]


AFFINE_FORMS = tuple(f for f in FORMATS if f.mode == "affine")
ORDINARY_CASES = _ordinary()
BOUND_CASES = ORDINARY_CASES + _adversarial(groups.FINITE) + _adversarial(("ties",))
HALF_CASES = _ordinary(AFFINE_FORMS)
RANGE_CASES = _adversarial(("one outlier", "largest", "largest, one-sided", "near largest"))
NONFINITE_CASES = _adversarial(("infinity", "minus infinity", "NaN"))
TINY_CASES = _adversarial(("tiny", "subnormal"))
LATTICE_CASES = _adversarial(("lattice", "lattice, high"))
TIE_CASES = _adversarial(("ties",), BLOCK)
LOOKUP_CASES = _lookup_cases()
DEQUANTIZE_CASES = _dequantize_cases()
PRODUCT_CASES = _product_cases()
VECTOR_CASES = _vector_cases()
TILED_CASES = _tiled_cases()
SWAPPED_CASES = _swapped_cases()
MIXED_CASES = _mixed_cases()
EMPTY_CASES = _empty_cases()
UNTRANSPOSED_CASES = _untransposed_cases()
UNTRANSPOSED_EMPTY_CASES = _untransposed_empty_cases()
EXACT_CASES = _exact_cases()
EXACT_GRADIENT_CASES = _exact_gradient_cases()
INDIVISIBLE_CASES = _indivisible()
ONE_GROUP_CASES = _one_group_cases()
FROZEN_CASES = _layer_cases()
SAVE_CASES = [
    replace(case, needs=(*case.needs, "persistence"))
    for case in (*FROZEN_CASES, *(c for c in _layer_cases(("bfloat16",)) if c.params["bits"] == 4))
]
"""In float32 every format; in bfloat16 those of 4 bits, whose products frameworks may make from a copy of the parts."""
