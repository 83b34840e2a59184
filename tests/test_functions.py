"""Are functions held to what they are, a region of their inputs at a time, and is a fault red in its own region?"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.test_planted_defects import Planted
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.golden import bounds
from touchstone.golden.cases import functions as cases
from touchstone.golden.operations import precise, regions
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.store import open_golden, open_recorded
from touchstone.golden.streams import SIGNIFICAND_BITS
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_agree_with_float64(name: str) -> None:
    x = regions.make("agree", (SIZE,), "float32")[regions.place("ordinary")].astype(np.float64)
    by_math = np.array([BY_MATH[name](float(v)) for v in x])
    np.testing.assert_allclose(precise.values(name, x), by_math, rtol=1e-13, atol=4e-16)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits(name: str) -> None:
    found = precise.values(name, np.array([-np.inf, np.inf, np.nan, 0.0]))
    assert np.isnan(found[2])
    assert not np.isnan(found[[0, 1, 3]]).any()
    assert found[1] in (1.0, 6.0, 0.0, np.inf)
    assert np.isfinite(precise.scales(name, np.array([-np.inf, np.inf, np.nan]))).all()


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_every_region_is_what_it_is_called(dtype: str) -> None:
    x = regions.make("regions", (SIZE,), dtype).astype(np.float64)
    least = bounds.SMALLEST_SUBNORMAL[dtype] * 2 ** (SIGNIFICAND_BITS[dtype] - 1)
    limits = {"ordinary": (2.0**-8, 8.0), "tails": (8.0, np.inf), "tiny": (least, 2.0**-8), "subnormal": (0.0, least)}
    for region, (low, high) in limits.items():
        sizes = np.abs(x[regions.place(region)])
        assert low <= sizes.min()
        assert sizes.max() < high
        assert len(set(sizes)) > 0.7 * len(sizes)
    knots = x[regions.place("knots")]
    assert {*regions.KNOTS} <= {*np.abs(knots).tolist()}
    special = x[regions.place("special")]
    assert [np.isnan(special).sum(), np.isinf(special).sum(), (special == 0).sum()] == [2, 2, 2]
    with pytest.raises(KeyError):
        regions.place("elsewhere")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_operation_is_spelled(name: str) -> None:
    adapter: Any = registry.resolve([f"{name}@cpu"])[0].cls("cpu")
    assert adapter.capabilities.operations == frozenset(FUNCTIONS)
    found = adapter.operation("softplus", np.zeros(3, np.float32))
    np.testing.assert_allclose(found, math.log(2), rtol=1e-6)


def test_a_run_imports_no_arithmetic_of_many_digits() -> None:
    """Expected values are stored: what computes them is needed where they are generated alone."""
    block = "import sys; sys.modules['mpmath'] = None; import touchstone.golden.cases, touchstone.suites.test_functions"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def red(name: str, bench: Bench, operation: str, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> set[str]:
    """Dtype and region of the red cases of an operation that answers what `change` makes of x and the real answer."""
    target = registry.resolve([f"{name}@cpu"])[0]
    adapter: Any = target.cls("cpu")
    real = adapter.operation
    adapter.operation = lambda name, x: change(x, real(name, x))
    entries = known.load(known.path_for(target.cls), target.cls, requirements.load().keys())
    found = set()
    for question in direct.questions():
        for case in question.cases if question.requirement.id == REQUIREMENT else ():
            if case.params["operation"] != operation:
                continue
            assay, error = direct.run(question, Planted(target, adapter), replace(case, hazard=None), bench)
            if verdict_of(assay, error, entries, bootstrap=False)[0].verdict.is_red:
                found.add(f"{case.params['dtype']} {case.params['region']}")
    return found


def _by(factor: float, region: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The values of one region times a factor."""

    def change(x: np.ndarray, answer: np.ndarray) -> np.ndarray:
        out = answer.astype(np.float64)
        out[regions.place(region)] *= factor
        return out.astype(answer.dtype)

    return change


WITH_DEVIATIONS = (
    *(("mlx", name) for name in ("hardswish", "gelu", "sigmoid", "silu")),
    *(("jax", name) for name in ("relu", "leaky_relu", "hard_tanh", "softsign", "elu", "mish", "tanh", "sigmoid")),
    *(("torch", name) for name in ("hardswish", "gelu")),
)


@pytest.mark.parametrize(("name", "operation"), WITH_DEVIATIONS)
def test_a_registered_fault_hides_none_in_another_region(name: str, operation: str, bench: Bench) -> None:
    assert red(name, bench, operation, lambda x, answer: answer) == set()
    changed = red(name, bench, operation, _by(1.25, "ordinary"))
    assert changed == {f"{dtype} ordinary" for dtype in cases.DTYPES}


FAULTS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray], set[str]]] = {
    "NaN becomes zero": ("relu", lambda x, a: np.nan_to_num(a), {"special"}),
    "the largest number becomes infinite": (
        "softplus",
        lambda x, a: np.where(a == np.nanmax(a[np.isfinite(a)]), np.inf, a).astype(a.dtype),
        {"special"},
    ),
    "the wrong branch at 6": (
        "relu6",
        lambda x, a: np.where(x.astype(np.float64) >= 6, x, a).astype(a.dtype),
        {"ordinary", "tails", "knots", "special"},
    ),
    "the other approximation": (
        "gelu",
        lambda x, a: precise.values("gelu_approx", x).astype(a.dtype),
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
