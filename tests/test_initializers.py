"""Are initializers held to their distributions, is a right draw accepted, and is a fault red in its own requirement?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from math import sqrt
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_planted_defects import Planted
from touchstone.golden.cases import initializers as cases
from touchstone.golden.cases.operations import HALVES
from touchstone.golden.operations.initializers import DRAWN, INITIALIZERS, SCALED, Law, fans
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, draws
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

FRAMEWORKS = ("mlx", "jax", "torch")
GROUP = "Initializers"
TARGETS = 10
"""More than the frameworks of a run have devices."""
COMPARISONS = 16
"""More than a case makes: six of each of two distributions, or four of two draws."""
NORMAL, UNIFORM, TRUNCATED = (Law(form, 0.0, 0.05) for form in ("normal", "uniform", "truncated normal"))
SHAPE = cases.MATRIX
HALF_PRECISION = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def sample(law: Law, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A right draw, by NumPy."""
    rng = np.random.Generator(np.random.PCG64(seed))
    if law.form == "uniform":
        return law.mean + law.half_width * rng.uniform(-1, 1, shape)
    z = rng.normal(0, 1, shape)
    while law.form != "normal" and (beyond := np.abs(z) > 2).any():
        z[beyond] = rng.normal(0, 1, int(beyond.sum()))
    return law.mean + z * (law.half_width / 2 if law.form == "truncated normal" else law.std)


LAWS = (NORMAL, UNIFORM, TRUNCATED, Law("normal", 3.0, 0.25), Law("uniform", 1.0, 4 / sqrt(12)))


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_right_draw_is_accepted(law: Law, dtype: str) -> None:
    for seed in range(4):
        drawn = sample(law, seed).astype(HALF_PRECISION.get(dtype, np.float32))
        assert draws.departures(drawn, law) == []


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_a_distribution_is_what_its_moments_say(law: Law) -> None:
    x = np.linspace(law.mean - min(law.half_width, 9 * law.std), law.mean + min(law.half_width, 9 * law.std), 200_001)
    mass = np.diff(law.cdf(x))
    middle = (x[1:] + x[:-1]) / 2
    assert mass.sum() == pytest.approx(1, abs=1e-12)
    assert (middle * mass).sum() == pytest.approx(law.mean, abs=1e-9)
    assert ((middle - law.mean) ** 2 * mass).sum() == pytest.approx(law.std**2, rel=1e-6)
    density = mass / np.diff(x)
    assert (density * law.std).max() < 0.5
    assert (np.abs(middle - law.mean) * density).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("form", ["normal", "truncated normal", "uniform"])
def test_sums_have_no_wider_tails_than_those_of_normal_values(form: Any) -> None:
    """E exp(t x) <= exp(t**2 s**2 / 2), on which the bounds of means and correlations rest; and the squares' range."""
    law = Law(form, 0.0, 1.0)
    x = np.linspace(-min(law.half_width, 12), min(law.half_width, 12), 400_001)
    mass = np.diff(law.cdf(x))
    middle = (x[1:] + x[:-1]) / 2
    for t in (0.01, 0.1, 0.5, 1.0, 2.0, 4.0):
        assert (np.exp(t * middle) * mass).sum() <= np.exp(t**2 / 2) * (1 + 1e-6)
    if form != "normal":
        assert law.half_width**2 <= 5.2
        assert (middle**4 * mass).sum() - 1 <= 2


def test_fans_count_the_kernel() -> None:
    assert fans((8, 4)) == (4, 8)
    assert fans((8, 4, 3, 5)) == (60, 120)
    with pytest.raises(ValueError, match="draws nothing"):
        INITIALIZERS["identity"].laws((3, 3), {})


def test_no_run_is_red_by_chance() -> None:
    asked = [case for question in questions() for case in question.cases]
    assert len(asked) * COMPARISONS * TARGETS * draws.FALSE_ALARM < 1e-6


@cache
def questions() -> tuple[direct.Question, ...]:
    return tuple(q for q in direct.questions() if q.requirement.group == GROUP)


def _clipped(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 2.6 * NORMAL.std)


def _copied_rows(x: np.ndarray) -> np.ndarray:
    x[1::2] = x[::2]
    return x


def _grid(x: np.ndarray, step: float) -> np.ndarray:
    return np.round(x / step) * step


STATISTICS: dict[str, tuple[Law, Callable[[np.ndarray], np.ndarray], str]] = {
    "one value that is not finite": (NORMAL, lambda x: np.where(x == x.max(), np.nan, x), "not finite"),
    "one value far away": (NORMAL, lambda x: np.where(x == x.max(), 1e6, x), "outside its range"),
    "a range that is a little too wide": (UNIFORM, lambda x: x * 1.001, "outside its range"),
    "a mean of a thirtieth": (NORMAL, lambda x: x + NORMAL.std / 30, "another mean"),
    "two percent too wide": (NORMAL, lambda x: x * 1.02, "another variance"),
    "uniform of the same variance": (NORMAL, lambda x: sample(UNIFORM), "another distribution"),
    "truncated of the same variance": (NORMAL, lambda x: sample(TRUNCATED), "another distribution"),
    "one tail cut off": (NORMAL, _clipped, "without its tails"),
}


@pytest.mark.parametrize("fault", STATISTICS)
def test_a_wrong_sample_is_found(fault: str) -> None:
    law, change, behaviour = STATISTICS[fault]
    found = draws.departures(change(sample(law)).astype(np.float32), law)
    assert behaviour in [one.behaviour for one in found]


@pytest.mark.parametrize("dtype", HALF_PRECISION)
@pytest.mark.parametrize("law", [NORMAL, UNIFORM, TRUNCATED], ids=str)
def test_the_ladder_of_half_precision(dtype: str, law: Law) -> None:
    """Steps of the dtype's spacing at two standard deviations are accepted, and of four times that are not."""
    step = 2.0 ** (-4 + 1 - {"float16": 11, "bfloat16": 8}[dtype])
    for times, fine in ((1, True), (4, False)):
        found = draws.departures(_grid(sample(law), times * step).astype(HALF_PRECISION[dtype]), law)
        assert ("coarser than its dtype" not in [one.behaviour for one in found]) == fine


ALIKE: dict[str, tuple[Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], str]] = {
    "the same draw": (lambda a, b: (a, a.copy()), "the same draw twice"),
    "the draw with its sign turned": (lambda a, b: (a, -a), "correlated"),
    "a thirtieth of the first in the second": (lambda a, b: (a, b + a / 30), "correlated"),
    "rows that come twice": (lambda a, b: (_copied_rows(a.copy()), b), "repeated rows"),
    "halves that are copies": (lambda a, b: (np.concatenate([a[:128], a[:128]]), b), "repeated rows"),
    "halves that are opposite": (lambda a, b: (np.concatenate([a[:128], -a[:128]]), b), "correlated"),
    "pairs of values": (lambda a, b: (np.repeat(a.reshape(-1)[::2], 2).reshape(a.shape), b), "correlated"),
}


@pytest.mark.parametrize("fault", ALIKE)
def test_draws_that_depend_on_each_other_are_found(fault: str) -> None:
    change, behaviour = ALIKE[fault]
    a, b = sample(UNIFORM, 1), sample(UNIFORM, 2)
    assert draws.alike(a, b, UNIFORM) == []
    assert behaviour in [one.behaviour for one in draws.alike(*change(a, b), UNIFORM)]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_initializer_is_spelled_or_absent_with_a_reason(name: str) -> None:
    capabilities = on_cpu(name).cls.capabilities
    needs = {need for q in questions() for case in q.cases for need in case.needs}
    missing = {need: capabilities.missing(need) for need in needs if capabilities.missing(need) is not None}
    assert all(missing.values())
    absent = {"initializer:identity", "initializer:normal mean", "initializer:uniform low"}
    of_one_framework = {need for need in missing if need.endswith((" generator", " named"))}
    assert missing.keys() - of_one_framework == (absent if name == "jax" else set())


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_convolution_is_stored_in_the_order_of_the_framework(name: str) -> None:
    adapter: Any = on_cpu(name).cls("cpu")
    for shape in ((), (5,), (5, 4), (5, 4, 3), (5, 4, 3, 2)):
        (found,) = adapter.initialize("constant", [shape], "float16", 7, value=2.0)
        assert (found.shape, found.dtype) == (shape, np.float16)
    first, second = adapter.initialize("normal", [(64, 3)] * 2, None, 7)
    assert first.tobytes() != second.tobytes()


Real = Callable[..., list[np.ndarray]]
Fault = Callable[..., list[np.ndarray]]


def _mapped(change: Callable[[np.ndarray], np.ndarray], *names: str) -> Fault:
    """A fault that changes what is drawn, of some initializers or of all that draw."""

    def fault(real: Real, name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
        found = real(name, *arguments, **options)
        return [change(one).astype(one.dtype) if name in (names or DRAWN) and one.size else one for one in found]

    return fault


def _exchanges_the_fans(real: Real, name: str, shape: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
    if not name.startswith("he") or len(shape) < 2:
        return real(name, shape, *arguments, **options)
    mode = {"fan_out": "fan_in"}.get(options.get("mode", "fan_in"), "fan_out")
    return real(name, shape, *arguments, **{**options, "mode": mode})


def _forgets_the_kernel(real: Real, name: str, shape: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
    """fan_in and fan_out without the size of the kernel, as for a matrix."""
    factor = sqrt(np.prod(shape[2:])) if name in SCALED else 1
    return [(one * factor).astype(one.dtype) for one in real(name, shape, *arguments, **options)]


def _ignores_the_gain(real: Real, name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
    return real(name, *arguments, **{**options, **({"gain": 1.0} if "gain" in options else {})})


def _ignores_the_seed(real: Real, name: str, shape: Any, dtype: Any, seed: int, *more: Any, **options: Any) -> Any:
    return real(name, shape, dtype, 0, *more, **options)


def _draws_the_same_twice(
    real: Real, name: str, shape: Any, dtype: Any, seed: int, times: int = 1, **options: Any
) -> Any:
    return real(name, shape, dtype, seed, 1, **options) * times


def _redrawn(x: np.ndarray, form: Any) -> np.ndarray:
    """Values of another form with the mean and the variance of `x`, others for another `x`."""
    law = Law(form, float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64)))
    return sample(law, int.from_bytes(x.tobytes()[:8], "little"), x.shape)


def _answers_in_float32(real: Real, name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
    return [one.astype(np.float32) for one in real(name, *arguments, **options)]


def _draws_in_steps(real: Real, name: str, shape: Any, dtype: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
    found = real(name, shape, dtype, *arguments, **options)
    if name not in DRAWN or dtype not in HALVES:
        return found
    return [_grid(one.astype(np.float64), float(np.abs(one).max()) / 64).astype(one.dtype) for one in found]


def _takes_a_vector(real: Real, name: str, shape: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
    return real(name, (*shape, *(1,) * (2 - len(shape))), *arguments, **options)


def _fills_a_rectangle(real: Real, name: str, shape: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
    return (
        [np.ones(shape, np.float32)]
        if name == "identity" and len(shape) == 2
        else real(name, shape, *arguments, **options)
    )


def _has_another_default(real: Real, name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
    """N(0, 0.01**2), as another framework has it."""
    return real(name, *arguments, **({"std": 0.01} if name == "normal" and not options else options))


def _keeps_the_first_shape(found: Any, *unused: Any, **options: Any) -> list[np.ndarray]:
    """Weights after the first of another shape are as wide as if that were theirs."""
    shapes = [one.shape for one in found]
    return [
        one if shape == shapes[0] else (one * 4).astype(one.dtype) for one, shape in zip(found, shapes, strict=True)
    ]


def _cut(x: np.ndarray) -> np.ndarray:
    """Without the upper tail: what lies there is drawn at the middle."""
    return np.where(x > 2.5 * x.std(dtype=np.float64), 0, x)


OF_THE_SCALE = ("FAN-1", "GAIN-1", "HALF-1")
OF_CHOICES = ("TRUNCATION-1", "DEFAULT-1")
FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "fans exchanged": (_exchanges_the_fans, {"DISTRIBUTION-1", *OF_THE_SCALE, *OF_CHOICES}),
    "fans without the kernel": (_forgets_the_kernel, {"FAN-1"}),
    "gain ignored": (_ignores_the_gain, {"GAIN-1"}),
    "gain squared": (
        lambda real, name, *a, **o: real(name, *a, **{**o, **({"gain": o["gain"] ** 2} if "gain" in o else {})}),
        {"GAIN-1"},
    ),
    "seed ignored": (_ignores_the_seed, {"SEED-1"}),
    "the same draw twice": (_draws_the_same_twice, {"APART-1"}),
    "rows that come twice": (_mapped(lambda x: np.repeat(x[::2], 2, axis=0)[: len(x)]), {"APART-1"}),
    "one tail missing": (_mapped(_cut), {"DISTRIBUTION-1", *OF_THE_SCALE, *OF_CHOICES, "APART-1"}),
    "uniform instead of normal": (
        _mapped(lambda x: _redrawn(x, "uniform"), "normal", "glorot_normal", "he_normal"),
        {"DISTRIBUTION-1", *OF_THE_SCALE, *OF_CHOICES},
    ),
    "truncated": (
        _mapped(lambda x: 0.995 * _redrawn(x, "truncated normal"), "glorot_normal", "he_normal"),
        {"TRUNCATION-1"},
    ),
    "two percent too wide": (_mapped(lambda x: x * 1.02), {"DISTRIBUTION-1", *OF_THE_SCALE, *OF_CHOICES}),
    "another dtype": (_answers_in_float32, {"DTYPE-1", "HALF-1", "CONSTANT-1", "IDENTITY-1"}),
    "steps in half precision": (_draws_in_steps, {"HALF-1"}),
    "a constant of half precision": (
        lambda real, name, *a, **o: (
            [(one + 2.0**-13).astype(one.dtype) for one in real(name, *a, **o)]
            if name == "constant"
            else real(name, *a, **o)
        ),
        {"CONSTANT-1"},
    ),
    "the first shape kept": (_keeps_the_first_shape, {"REUSED-1"}),
    "a vector is taken": (_takes_a_vector, {"SHAPE-1"}),
    "a rectangle of ones": (_fills_a_rectangle, {"IDENTITY-1", "IDENTITY-2", "DTYPE-1"}),
    "another default": (_has_another_default, {"DEFAULT-1"}),
    "something where nothing is": (
        lambda real, name, shape, *a, **o: real(name, tuple(max(1, n) for n in shape), *a, **o),
        {"EMPTY-1"},
    ),
}
"""Fault -> the requirements that turn red, and no other does."""


def red(name: str, bench: Bench, fault: Fault | None) -> set[str]:
    """Requirements with a red case, for an adapter whose `initialize` has a fault."""
    target = on_cpu(name)
    adapter: Any = target.cls("cpu")
    real = adapter.initialize

    def of_one_shape(name: str, shape: Any, dtype: Any, seed: int, times: int = 1, **options: Any) -> list[np.ndarray]:
        made: list[np.ndarray] = real(name, [shape] * times, dtype, seed, **options)
        return made

    def faulty(name: str, shapes: Any, dtype: Any, seed: int, **options: Any) -> list[np.ndarray]:
        if fault is _keeps_the_first_shape or len(set(shapes)) > 1:
            found = real(name, shapes, dtype, seed, **options)
            return _keeps_the_first_shape(found) if fault is _keeps_the_first_shape else found
        assert fault is not None
        return fault(of_one_shape, name, shapes[0], dtype, seed, len(shapes), **options)

    if fault is not None:
        adapter.initialize = faulty
    found = set()
    for question in questions():
        for case in question.cases:
            assay, error = direct.run(question, Planted(target, adapter), replace(case, hazard=None), bench)
            if verdict_of(assay, error, entries_of(name), bootstrap=False)[0].verdict.is_red:
                found.add(question.requirement.id.removeprefix("INITIALIZER-"))
    return found


@pytest.mark.filterwarnings("default:Initializing zero-element tensors")
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_nothing_is_red_without_a_fault(name: str, bench: Bench) -> None:
    assert red(name, bench, None) == set()


@pytest.mark.filterwarnings("default:Initializing zero-element tensors")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_red_where_it_is(fault: str, bench: Bench) -> None:
    change, where = FAULTS[fault]
    assert red("torch", bench, change) == where


def test_every_requirement_has_a_planted_fault() -> None:
    planted = {f"INITIALIZER-{name}" for _, where in FAULTS.values() for name in where}
    assert planted == {q.requirement.id for q in questions()}
