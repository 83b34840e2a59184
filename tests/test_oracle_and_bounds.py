"""Is the oracle right by hand and by exact fractions, and do the bounds pass right products and refuse wrong ones?

Wrong: accumulation in float16 or bfloat16, a bias added twice, TF32 products. The emulations are the mildest
form of each defect: operands and products stay exact, only what the defect rounds is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import fsum, prod
from typing import Any

import numpy as np
import pytest

from touchstone.adapters.discovery.registry import BUILT_IN
from touchstone.golden import bounds, oracle
from touchstone.golden.cases import gradients, linear
from touchstone.golden.catalogue import Case
from touchstone.golden.recipes import Recipe
from touchstone.golden.store import Store, open_golden
from touchstone.golden.streams import DTYPES, words
from touchstone.suites.exact import rounded_once
from touchstone.suites.test_linear import rounded_twice
from touchstone.verdict.comparing import same_bits, within
from touchstone.verdict.observation import Deviates

HALVES = ("float16", "bfloat16")
EXACT_CASES = [*linear.EXACT_CASES, *linear.TIED_EXACT_CASES]


@pytest.fixture(scope="module")
def golden() -> Store:
    return open_golden()


def arrays_of(golden: Store, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x, weight and, where the case has one, bias."""
    bias = golden[case.arrays["bias"]] if "bias" in case.arrays else None
    return golden[case.arrays["x"]], golden[case.arrays["weight"]], bias


def wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def ids_of(cases: Sequence[Case]) -> dict[str, Any]:
    return {"argvalues": cases, "ids": [case.id for case in cases]}


def operands() -> tuple[np.ndarray, np.ndarray]:
    """float32 values of very different sizes that nearly cancel: a plain float64 sum of their products is wrong."""
    values = (words("oracle", 6 * 40) >> np.uint64(40)).astype(np.float32).reshape(6, 40) - np.float32(2**23)
    scale = np.float32(2.0) ** (np.arange(40) % 13 * 5 - 30).astype(np.float32)
    x = values[:3] * scale
    x[:, 1::2] = -x[:, ::2]
    weight = values[3:]
    weight[:, 1::2] = weight[:, ::2] + 1
    return x, weight


def exact_product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x Wᵀ by fractions; `float` of a fraction is correctly rounded."""
    rows = [
        [sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(r, w, strict=True)) for w in weight] for r in x
    ]
    return np.array([[float(value) for value in row] for row in rows])


def test_linear_is_correctly_rounded() -> None:
    x, weight = operands()
    want = exact_product(x, weight)
    assert (oracle.linear(x, weight) == want).all()
    assert ((wide(x)[:, None] * wide(weight)).cumsum(-1)[..., -1] != want).any(), "any sum passes on these operands"


@pytest.mark.parametrize("dtype", HALVES)
def test_linear_of_half_precision_is_correctly_rounded(dtype: str) -> None:
    x, weight = (Recipe("bell", dtype, (3, 40)).make(key) for key in ("oracle x", "oracle weight"))
    assert (oracle.linear(x, weight) == exact_product(x, weight)).all()


@pytest.mark.parametrize(
    ("x", "out", "shape"), [((5,), 3, (3,)), ((2, 3, 5), 4, (2, 3, 4)), ((2, 0, 5), 4, (2, 0, 4)), ((2, 0), 4, (2, 4))]
)
def test_linear_shapes(x: tuple[int, ...], out: int, shape: tuple[int, ...]) -> None:
    """Zero inputs give empty sums: zeros."""
    product = oracle.linear(np.ones(x, np.float32), np.ones((out, x[-1]), np.float32))
    assert product.shape == shape
    assert (product == x[-1]).all()


def test_magnitude_takes_absolute_values() -> None:
    assert oracle.magnitude(np.array([[1.0, -2.0]]), np.array([[-3.0, 5.0]])).tolist() == [[13.0]]


def test_lookup_keeps_bits_and_shape() -> None:
    table = np.array([0x7FC00001, 0x80000000, 1, 0xFF800000], np.uint32).view(np.float32).reshape(2, 2)
    rows = oracle.lookup(table, np.array([[1], [0]]))
    assert rows.shape == (2, 1, 2)
    assert rows.tobytes() == table[::-1].tobytes()


def test_table_gradient_sums_repeated_ids() -> None:
    cotangent = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    gradient = oracle.table_gradient(np.zeros((4, 2)), np.array([2, 0, 2]), cotangent)
    assert gradient.tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]
    magnitude = oracle.table_gradient_magnitude(np.zeros((4, 2)), np.array([2, 0, 2]), -cotangent)
    assert magnitude.tolist() == gradient.tolist()


def test_table_gradient_of_no_ids_is_zero() -> None:
    gradient = oracle.table_gradient(np.zeros((4, 2)), np.empty(0, int), np.empty((0, 2)))
    assert gradient.tolist() == np.zeros((4, 2)).tolist()


def test_linear_gradients_by_hand() -> None:
    x, weight = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[7.0, 11.0], [13.0, 17.0], [19.0, 23.0]])
    cotangent = np.array([[1.0, -1.0, 2.0], [0.0, 1.0, 1.0]])
    assert oracle.weight_gradient(x, cotangent).tolist() == [[1, 2], [2, 3], [5, 9]]
    assert oracle.input_gradient(weight, cotangent).tolist() == [[32, 40], [32, 40]]
    assert oracle.bias_gradient(cotangent).tolist() == [1, 0, 3]
    assert oracle.bias_gradient_magnitude(cotangent).tolist() == [1, 2, 3]


def test_tied_gradient_is_the_slope_of_the_loss() -> None:
    """The loss is quadratic in the table, so half a central difference is exact on integers."""
    table = np.array([[1, -2], [0, 3], [2, 1]], np.float64)
    ids, cotangent = np.array([0, 2, 0]), np.array([[1, 0, -1], [2, 1, 0], [0, -1, 1]], np.float64)

    def loss(t: np.ndarray) -> float:
        return fsum((cotangent * (t[ids] @ t.T)).reshape(-1))

    for index in np.ndindex(table.shape):
        step = np.zeros_like(table)
        step[index] = 1
        assert oracle.tied_gradient(table, ids, cotangent)[index] == (loss(table + step) - loss(table - step)) / 2


@pytest.mark.parametrize("case", **ids_of(EXACT_CASES))
def test_exact_cases_stay_exact(case: Case, golden: Store) -> None:
    """Σ|x||w| below 2**24, so that no order of float32 additions rounds; results inside the dtype's range."""
    x, weight, bias = arrays_of(golden, case)
    added = 0.0 if bias is None else np.abs(wide(bias))
    magnitude = np.abs(wide(x)) @ np.abs(wide(weight)).T + added
    assert magnitude.max() < 2**24
    assert magnitude.max() < bounds.LARGEST[case.params["dtype"]]
    product = golden[case.arrays["product"]]
    assert (product == wide(x) @ wide(weight).T).all()
    assert product.any(axis=-1).all()


@pytest.mark.parametrize("case", **ids_of([c for c in EXACT_CASES if c.params["dtype"] == "float32"]))
def test_float32_operands_are_wider_than_tf32(case: Case, golden: Store) -> None:
    for operand in arrays_of(golden, case)[:2]:
        if case.params["x"].endswith("x1") and operand is golden[case.arrays["weight"]]:
            continue  # of one product only one factor is wide
        assert (operand != keep_bits(operand, 11)).any(axis=-1).all()


def keep_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Rounded to `bits` significant bits, ties to even, in float64."""
    fraction, exponent = np.frexp(wide(array))
    return np.ldexp(np.rint(fraction * 2**bits), exponent - bits)


def accumulate(x: np.ndarray, weight: np.ndarray, dtype: str) -> np.ndarray:
    """x Wᵀ summed term by term, each partial sum rounded to `dtype` and each product exact."""
    products = np.moveaxis(wide(x)[..., None, :] * wide(weight), -1, 0)
    total = np.zeros(products.shape[1:])
    with np.errstate(over="ignore"):
        for product in products:
            total = wide((total + product).astype(DTYPES[dtype]))
    return total


def is_red(got: np.ndarray, product: np.ndarray, bias: np.ndarray | None, dtype: str) -> bool:
    """Whether LIN-EXACT-1 refuses `got`: neither one rounding nor, with a bias, two."""
    right = [rounded_once(product, bias, dtype)]
    if bias is not None:
        right.append(rounded_twice(product, bias, dtype))
    refused = 0
    for want in right:
        try:
            same_bits(got, want, signed_zero=False)
        except Deviates:
            refused += 1
    return refused == len(right)


def finished(total: np.ndarray, bias: np.ndarray | None, dtype: str) -> list[np.ndarray]:
    """The result in the dtype, with the bias fused or added to the rounded product."""
    with np.errstate(over="ignore"):
        fused = [rounded_once(total, bias, dtype)]
        return fused if bias is None else [*fused, rounded_twice(total, bias, dtype)]


@pytest.mark.parametrize("case", **ids_of(linear.EXACT_CASES))
def test_right_products_are_green(case: Case, golden: Store) -> None:
    x, weight, bias = arrays_of(golden, case)
    dtype, product = case.params["dtype"], golden[case.arrays["product"]]
    for got in finished(accumulate(x, weight, "float32"), bias, dtype):
        assert not is_red(got, product, bias, dtype)


@pytest.mark.parametrize("case", **ids_of(linear.EXACT_CASES))
def test_accumulation_in_half_precision_is_red(case: Case, golden: Store) -> None:
    """From K = 2 on; a single product is rounded once either way, except where the result is float32."""
    x, weight, bias = arrays_of(golden, case)
    dtype, product = case.params["dtype"], golden[case.arrays["product"]]
    distinguishable = x.shape[-1] >= 2 or dtype == "float32"
    for accumulator in HALVES if dtype == "float32" else (dtype,):
        for got in finished(accumulate(x, weight, accumulator), bias, dtype):
            assert is_red(got, product, bias, dtype) == distinguishable


@pytest.mark.parametrize("case", **ids_of([c for c in linear.EXACT_CASES if c.params["bias"]]))
def test_a_bias_added_twice_is_red(case: Case, golden: Store) -> None:
    _, _, bias = arrays_of(golden, case)
    assert bias is not None
    dtype, product = case.params["dtype"], golden[case.arrays["product"]]
    for once in finished(product, bias, dtype):
        assert is_red(rounded_once(wide(once), bias, dtype), product, bias, dtype)
    assert is_red(rounded_once(product, 2 * wide(bias), dtype), product, bias, dtype)


@pytest.mark.parametrize("case", **ids_of([c for c in linear.EXACT_CASES if c.params["dtype"] == "float32"]))
def test_tf32_products_are_red(case: Case, golden: Store) -> None:
    x, weight, bias = arrays_of(golden, case)
    product = golden[case.arrays["product"]]
    narrow = keep_bits(x, 11) @ keep_bits(weight, 11).T
    assert is_red(rounded_once(narrow, bias, "float32"), product, bias, "float32")


def bound_for(golden: Store, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(expected, bound) of a LIN-ERROR case."""
    x, _, bias = arrays_of(golden, case)
    product, magnitude = golden[case.arrays["product"]], golden[case.arrays["magnitude"]]
    if bias is None:
        return product, bounds.linear(product, magnitude, x.shape[-1], case.params["dtype"])
    bound = bounds.linear_with_bias(product, magnitude, wide(bias), x.shape[-1], case.params["dtype"])
    return product + wide(bias), bound


def float32_products(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, dtype: str) -> list[np.ndarray]:
    """Right answers: by BLAS and term by term in float32, the bias fused or added after a rounding."""
    single, narrow = np.float32, DTYPES[dtype]
    products = x.astype(single)[..., None, :] * weight.astype(single)
    sums = [x.astype(single) @ weight.astype(single).T, np.add.accumulate(products, axis=-1)[..., -1]]
    if bias is None:
        return [total.astype(narrow) for total in sums]
    fused = [(total + bias.astype(single)).astype(narrow) for total in sums]
    return fused + [(total.astype(narrow).astype(single) + bias.astype(single)).astype(narrow) for total in sums]


@pytest.mark.parametrize("case", **ids_of(linear.ERROR_CASES))
def test_right_products_are_within_their_bound(case: Case, golden: Store) -> None:
    expected, bound = bound_for(golden, case)
    for got in float32_products(*arrays_of(golden, case), case.params["dtype"]):
        within(got, expected, bound, case.params["dtype"])


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.05), ("float16", 0.5), ("bfloat16", 0.5)])
def test_bounds_are_not_absurdly_wide(dtype: str, least: float, golden: Store) -> None:
    """Some right product comes within a factor of 20 of its float32 bound, of 2 where its rounding dominates."""
    headrooms = []
    for case in linear.ERROR_CASES:
        if case.params["dtype"] == dtype and "0" not in case.params["x"].split("x"):
            expected, bound = bound_for(golden, case)
            found = [within(got, expected, bound, dtype) for got in float32_products(*arrays_of(golden, case), dtype)]
            headrooms += [f.headroom for f in found if f.headroom is not None]
    assert max(headrooms) >= least


@pytest.mark.parametrize(("dtype", "accumulator"), [("float32", "bfloat16"), ("bfloat16", "bfloat16")])
def test_bfloat16_accumulation_is_beyond_the_bound_of_a_long_sum(dtype: str, accumulator: str, golden: Store) -> None:
    cases = [c for c in linear.ERROR_CASES if c.params["dtype"] == dtype and c.params["x"].endswith("x4096")]
    assert cases
    for case in cases:
        x, weight, bias = arrays_of(golden, case)
        expected, bound = bound_for(golden, case)
        for got in finished(accumulate(x, weight, accumulator), bias, dtype):
            with pytest.raises(Deviates, match="beyond bound"):
                within(got, expected, bound, dtype)


def test_lambda_is_the_one_written_down() -> None:
    """2 K exp(-λ²/2) over all elements is the false-alarm rate; the docstring says 9.3 at K = 4096."""
    assert round(bounds.lambda_for(4096), 1) == 9.3
    failure = 2 * 4096 * np.exp(-(bounds.lambda_for(4096) ** 2) / 2) * bounds.ELEMENTS
    assert failure == pytest.approx(bounds.FALSE_ALARM)


def test_gamma_is_the_smaller_of_the_two() -> None:
    u = 2.0**-24
    assert bounds.gamma(0) == 0
    assert bounds.gamma(2) == 2 * u / (1 - 2 * u)
    assert bounds.gamma(4096) < 4096 * u / 5
    assert all(bounds.gamma(k) < bounds.gamma(2 * k) for k in (1, 64, 128, 4096, 2**25))


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
def test_rounding_is_what_one_cast_may_change(dtype: str) -> None:
    """Tight: a value halfway between two neighbours reaches it, in the normal and the subnormal range."""
    u, tiny = bounds.unit_roundoff(dtype), bounds.SMALLEST_SUBNORMAL[dtype]
    halfway = np.array([1 + u, 1.5 * tiny])
    error = np.abs(wide(halfway.astype(DTYPES[dtype])) - halfway)
    assert (error == np.array([u, tiny / 2])).all()
    assert (error <= bounds.rounding(halfway, dtype)).all()
    assert (bounds.rounding(halfway, dtype) <= np.array([1.01 * u * (1 + u), 1.01 * tiny])).all()
    assert wide(np.array(bounds.LARGEST[dtype]).astype(DTYPES[dtype])) == bounds.LARGEST[dtype]


def test_the_union_bound_covers_every_element(golden: Store) -> None:
    """Of every case with a linear bound, on as many targets as there are built-in adapters."""
    products = [*linear.ERROR_CASES, *linear.LAYOUT_CASES, *linear.TIED_CASES]
    keys = [case.arrays["product"] for case in products]
    for case in (*gradients.LINEAR_CASES, *gradients.TABLE_CASES):
        keys += [key for role, key in case.arrays.items() if role.startswith("d_") or role == "gradient"]
    compared = sum(prod(golden.arrays[key]["shape"]) for key in keys)
    assert len(keys) > 300
    assert compared * len(BUILT_IN) < bounds.ELEMENTS
