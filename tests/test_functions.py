"""Are functions held to what they are, a region of their inputs at a time, and is a fault red in its own region?"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_planted_defects import Planted
from touchstone.golden import bounds
from touchstone.golden.cases import layer_choices, layers
from touchstone.golden.cases import operations as cases
from touchstone.golden.operations import arithmetic, precise, regions
from touchstone.golden.operations.catalogue import OPERATIONS
from touchstone.golden.operations.functions import BY_DEFAULT, FUNCTIONS, IN_PLACE
from touchstone.golden.operations.losses import WITHOUT_OPTIONS
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.operations.samples import NUMBERS, Sample
from touchstone.golden.store import open_golden, open_recorded
from touchstone.golden.streams import SIGNIFICAND_BITS
from touchstone.suites import direct
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.verdict.expectation import matches

FRAMEWORKS = ("mlx", "jax", "torch")
REQUIREMENT = "FUN-VALUES-1"
SIZE = sum(regions.SIZES.values())


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


BY_MATH: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "hardswish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "softsign": lambda x: x / (1 + abs(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "log_sigmoid": lambda x: -math.log1p(math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "gelu_approx": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "celu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
}


def value(name: str, *arrays: np.ndarray) -> np.ndarray:
    return precise.made((name, "", 0), "value", *arrays)


@pytest.mark.parametrize("name", BY_MATH)
def test_values_agree_with_float64(name: str) -> None:
    x = regions.make("agree", (SIZE,), "float32")[NUMBERS.regions["ordinary"]]
    by_math = np.array([BY_MATH[name](float(v)) for v in x])
    np.testing.assert_allclose(value(name, x), by_math, rtol=1e-13, atol=4e-16)


@pytest.mark.parametrize("name", [name for name in BY_MATH if FUNCTIONS[name].slopes])
def test_gradients_agree_with_differences(name: str) -> None:
    x = regions.make("agree", (SIZE,), "float32")[NUMBERS.regions["ordinary"]]
    ones = np.ones(x.shape, np.float32)
    found = precise.made((name, "x", 0), "value", ones, x)
    step = 1e-6
    slope = [(BY_MATH[name](float(v) + step) - BY_MATH[name](float(v) - step)) / (2 * step) for v in x]
    away = np.all([np.abs(x - kink) > 2 * step for kink in (*FUNCTIONS[name].kinks, np.inf)], axis=0)
    np.testing.assert_allclose(found[away], np.array(slope)[away], rtol=2e-7, atol=1e-8)


@pytest.mark.parametrize("name", BY_MATH)
def test_limits(name: str) -> None:
    x = np.array([-np.inf, np.inf, np.nan, 0.0], np.float32)
    found = value(name, x)
    assert np.isnan(found[2])
    assert not np.isnan(found[[0, 1, 3]]).any()
    assert found[1] in (1.0, 6.0, 0.0, np.inf)
    assert np.isfinite(precise.made((name, "", 0), "error", x)).all()


def _computed(name: str, x: np.ndarray) -> np.ndarray:
    """By the formula, each step rounded to float16."""
    one, half = np.float16(1), x.astype(np.float16)
    made: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sigmoid": lambda v: one / (one + np.exp(-v)),
        "softsign": lambda v: v / (one + np.abs(v)),
        "hardswish": lambda v: v * np.minimum(np.maximum(v + np.float16(3), 0), 6).astype(np.float16) / np.float16(6),
        "tanh": np.tanh,
    }
    return made[name](half)


@pytest.mark.parametrize("name", ["sigmoid", "softsign", "hardswish", "tanh"])
def test_the_error_covers_who_computes_it_step_by_step(name: str) -> None:
    """And is no more than twenty times what shows, at the worst of 512 inputs."""
    x = regions.make("steps", (SIZE,), "float16")[NUMBERS.regions["ordinary"]]
    error = precise.made((name, "", 0), "error", x) + bounds.rounding(value(name, x), "float16")
    apart = np.abs(_computed(name, x).astype(np.float64) - value(name, x)) / error
    assert 0.05 < apart.max() <= 1


def test_the_error_grows_with_what_a_formula_cancels() -> None:
    finely = arithmetic.precision("float32")
    with arithmetic.mpmath().workdps(arithmetic.DIGITS):
        x = arithmetic.numbers(np.array([1e-6, 1.0]), finely)
        written = arithmetic.exp(x) - 1
    assert 5e-8 < float(written.error[0]) < 1e-6
    assert float(written.error[0] / abs(written.value[0])) > 1e4 * float(written.error[1] / abs(written.value[1]))


def test_a_comparison_with_nan_takes_no_branch() -> None:
    finely = arithmetic.precision("float32")
    with arithmetic.mpmath().workdps(arithmetic.DIGITS):
        x = arithmetic.numbers(np.array([np.nan, 2.0]), finely)
        found = arithmetic.most(x, 1).value.astype(np.float64)
    np.testing.assert_array_equal(found, [np.nan, 2.0])


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_every_region_is_what_it_is_called(dtype: str) -> None:
    x = regions.make("regions", (SIZE,), dtype).astype(np.float64)
    least = bounds.SMALLEST_SUBNORMAL[dtype] * 2 ** (SIGNIFICAND_BITS[dtype] - 1)
    limits = {"ordinary": (2.0**-8, 8.0), "tails": (8.0, np.inf), "tiny": (least, 2.0**-8), "subnormal": (0.0, least)}
    for region, (low, high) in limits.items():
        sizes = np.abs(x[NUMBERS.regions[region]])
        assert low <= sizes.min()
        assert sizes.max() < high
        assert len(set(sizes)) > 0.7 * len(sizes)
    knots = x[NUMBERS.regions["knots"]]
    assert {*regions.KNOTS} <= {*np.abs(knots).tolist()}
    special = x[NUMBERS.regions["special"]]
    assert [np.isnan(special).sum(), np.isinf(special).sum(), (special == 0).sum()] == [2, 2, 2]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_operation_is_spelled_or_absent(name: str) -> None:
    adapter: Any = on_cpu(name).cls("cpu")
    told = {need.removeprefix("operation:") for need in adapter.capabilities.absent if need.startswith("operation:")}
    others = {*BY_DEFAULT, *WITHOUT_OPTIONS, *IN_PLACE, *layers.ACTIVATIONS, *layer_choices.WITHOUT_RECORD}
    assert adapter.capabilities.operations | told == {*OPERATIONS, *PLAIN, *others}
    assert not adapter.capabilities.operations & told
    found = adapter.operation("softplus", [np.zeros(3, np.float32)])
    np.testing.assert_allclose(found, math.log(2), rtol=1e-6)


def test_a_run_imports_no_arithmetic_of_many_digits() -> None:
    """Expected values are stored: what computes them is needed where they are generated alone."""
    imported = "touchstone.golden.cases, touchstone.suites.test_functions, touchstone.suites.test_losses"
    block = f"import sys; sys.modules['mpmath'] = None; import {imported}"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@cache
def questions(requirement: str) -> list[direct.Question]:
    """The tests of one requirement."""
    return [question for question in direct.questions() if question.requirement.id == requirement]


Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""What an adapter says that answers x with this of its real answer."""


def red(
    name: str, bench: Bench, operation: str, change: Change, *, requirement: str = REQUIREMENT, only: str = ""
) -> set[str]:
    """Dtype and region of the red cases of an operation whose answer is changed, or whose gradient is."""
    target = on_cpu(name)
    adapter: Any = target.cls("cpu")
    answer, gradient = adapter.operation, adapter.operation_gradient
    adapter.operation = lambda name, operands, **options: change(operands[0], answer(name, operands, **options))
    adapter.operation_gradient = lambda name, operands, place, cotangent, **options: change(
        operands[0], gradient(name, operands, place, cotangent, **options)
    )
    found = set()
    for question in questions(requirement):
        for case in question.cases:
            shown = f"{case.params['dtype']} {case.params['region']}"
            if case.params["operation"] != operation or only not in ("", shown):
                continue
            assay, error = direct.run(question, Planted(target, adapter), replace(case, hazard=None), bench)
            if verdict_of(assay, error, entries_of(name), bootstrap=False)[0].verdict.is_red:
                found.add(shown)
    return found


def _sample(operation: str) -> Sample:
    return PLAIN[operation].samples[0] if operation in PLAIN else OPERATIONS[operation].sample


def _registered() -> list[tuple[str, str, str]]:
    """Framework, requirement and operation of every deviation of the chapters of functions, losses and arrays.

    Of what is judged in regions: a result that is judged as a whole has no other region.
    """
    found = set()
    for name in FRAMEWORKS:
        for entry in entries_of(name).deviations:
            if entry.requirement in BY_REGION:
                found |= {(name, entry.requirement, o) for pattern in entry.cases for o in pattern["operation"]}
    return sorted(one for one in found if len(_sample(one[2]).regions) > 1)


BY_REGION = (
    *("FUN-VALUES-1", "FUN-GRADIENT-1", "LOSS-VALUES-1", "LOSS-GRADIENT-1"),
    *("ARRAY-VALUES-1", "ARRAY-GRADIENT-1", "ARRAY-PLAIN-1"),
)


def _more_than_registered(name: str, requirement: str, operation: str) -> tuple[str, str]:
    """A dtype and a region in which nothing is registered of the operation."""
    patterns = [p for entry in entries_of(name).deviations if entry.requirement == requirement for p in entry.cases]
    for params in (case.params for question in questions(requirement) for case in question.cases):
        asked = params["operation"] == operation and "of" not in params and params["region"] not in SMALL
        if asked and not any(matches(pattern, params) for pattern in patterns):
            return params["dtype"], params["region"]
    return "", ""


SMALL = ("special", "zero", "equal", "no variance", "minus infinity", "all minus infinity", "infinity", "NaN")
"""Regions in which the result may be zero, or no number, so that a factor changes nothing."""


@pytest.mark.parametrize(("name", "requirement", "operation"), _registered())
def test_a_registered_fault_hides_none_in_another_region(
    name: str, requirement: str, operation: str, bench: Bench
) -> None:
    dtype, region = _more_than_registered(name, requirement, operation)
    if not region:
        assert (name, requirement, operation) in WHOLLY_REGISTERED
        return
    for factor, want in ((1.0, set()), (1.25, {f"{dtype} {region}"})):
        change = partial(_scaled, factor, _sample(operation).regions[region])
        assert red(name, bench, operation, change, requirement=requirement, only=f"{dtype} {region}") == want


WHOLLY_REGISTERED = (("mlx", "FUN-VALUES-1", "step"),)
"""What deviates everywhere: the dtype of its result is another one."""


def _scaled(factor: float, place: slice, x: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Booleans and integers have their lowest bit changed instead."""
    if answer.dtype.kind in "iub":
        bits = answer.copy().reshape(-1)
        bits[place] ^= factor != 1
        return bits.reshape(answer.shape)
    out = answer.astype(np.float64).reshape(answer.shape)
    rows = out.reshape(len(out), -1) if out.ndim > 1 else out
    flat = rows.reshape(-1)
    flat[place] *= factor
    return flat.reshape(answer.shape).astype(answer.dtype)


FAULTS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray], set[str]]] = {
    "NaN becomes zero": ("relu", lambda x, a: np.nan_to_num(a), {"special"}),
    "infinite from a quarter of the largest number on": (
        "softplus",
        lambda x, a: np.where(a > np.finfo(np.float32).max / 4, np.inf, a).astype(a.dtype),
        {"special"},
    ),
    "the wrong branch at 6": (
        "relu6",
        lambda x, a: np.where(x.astype(np.float64) >= 6, x, a).astype(a.dtype),
        {"ordinary", "tails", "knots", "special"},
    ),
    "the other approximation": (
        "gelu",
        lambda x, a: value("gelu_approx", x).astype(a.dtype),
        {"ordinary", "knots"},
    ),
    "its sign": ("softsign", lambda x, a: -a, {"ordinary", "tails", "tiny", "subnormal", "knots"}),
    "a constant of half precision": (
        "leaky_relu",
        lambda x, a: np.where(x.astype(np.float64) < 0, np.float16(0.01) * x, a).astype(a.dtype),
        {"ordinary", "tails", "tiny", "knots"},
    ),
    "the slope of the other side": ("elu", lambda x, a: np.maximum(x, -1).astype(a.dtype), {"ordinary", "knots"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_red_where_it_is(fault: str, bench: Bench) -> None:
    operation, change, where = FAULTS[fault]
    with np.errstate(all="ignore"):
        found = {
            case.partition(" ")[2] for case in red("torch", bench, operation, change) if case.startswith("float32")
        }
    assert where <= found
