"""Are slower benchmarks flagged, and is noise not? On simulated nights, and on five real runs of one busy machine."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from touchstone.reports import history, regressions
from touchstone.reports.records import SCHEMA, BenchmarkLine, Machine
from touchstone.reports.regressions import Change, find

REAL = Path(__file__).parent / "data" / "benchmarks-busy.jsonl"
"""Five runs of ``pytest tools/benchmarks/ -m quick`` on two cores that other processes kept busy; medians of one
workload differ by up to 2.7 times between them."""

TARGETS = ("mlx@cpu", "jax@cpu", "torch@cpu")
OPERATIONS = ("embedding", "as_linear", "linear", "quantized embedding", "quantized as_linear")
NOISE = 0.04
"""Standard deviation of the logarithm of a round, and of a night."""


def line(target: str, operation: str, dtype: str, median: float, **other: object) -> BenchmarkLine:
    fields = {
        "schema": SCHEMA, "run": "r", "id": f"{target}-{operation}", "target": target, "versions": {"x": "1"},
        "machine": "m1", "operation": operation, "scheme": "", "dtype": dtype, "workload": "decode", "sizes": {"m": 1},
        "minimum": median * 0.97, "median": median, "q1": median * 0.985, "q3": median * 1.02, "rounds": 21,
        "bytes": 10**6, "flops": 10**6, "copy_bandwidth": 5e10, "matmul_peak": 1e11,
    }  # fmt: skip
    return BenchmarkLine(**{**fields, **other})  # type: ignore[arg-type]


def night(seed: int, machine: float = 1.0) -> list[BenchmarkLine]:
    """Thirty benchmarks and nine limits; `machine`: how many times as long everything takes that night."""
    rng = random.Random(seed)

    def around(value: float) -> float:
        return value * machine * math.exp(rng.gauss(0, NOISE))

    out = []
    for target in TARGETS:
        bandwidth, peak = 5e10 / around(1), 1e11 / around(1)
        limits = {"copy_bandwidth": bandwidth, "matmul_peak": peak}
        out += [line(target, "copy", "float32", 1 / bandwidth, **limits)]
        out += [line(target, "matmul", d, 1 / peak, **limits) for d in ("float32", "float16")]
        for number, operation in enumerate(OPERATIONS):
            out += [line(target, operation, d, around(1e-3 * 3**number), **limits) for d in ("float32", "float16")]
    return out


def changed(
    lines: Sequence[BenchmarkLine], factor: float, wanted: Callable[[BenchmarkLine], bool]
) -> list[BenchmarkLine]:
    """The lines, those wanted with times multiplied by `factor`."""
    return [
        msgspec.structs.replace(
            x, minimum=x.minimum * factor, median=x.median * factor, q1=x.q1 * factor, q3=x.q3 * factor
        )
        if wanted(x)
        else x
        for x in lines
    ]


def one(x: BenchmarkLine) -> bool:
    return (x.target, x.operation, x.dtype) == ("jax@cpu", "linear", "float32")


def names(found: Sequence[Change]) -> list[tuple[str, str, str, str]]:
    return [(c.kind, c.target, c.operation, c.dtype) for c in found]


@pytest.mark.parametrize("nights", [1, 2, 5, 14])
def test_a_planted_slowdown_is_flagged_and_nothing_else(nights: int) -> None:
    earlier = [night(seed) for seed in range(nights)]
    found = find(earlier, changed(night(99), 2.0, one))
    assert names(found) == [("regression", "jax@cpu", "linear", "float32")]
    assert 1.8 < found[0].ratio < 2.2
    assert found[0].nights == min(nights, regressions.NIGHTS)
    assert "jax@cpu linear float32 decode: 2." in str(found[0])


def test_an_improvement_is_named_as_one() -> None:
    found = find([night(seed) for seed in range(5)], changed(night(99), 0.5, one))
    assert names(found) == [("improvement", "jax@cpu", "linear", "float32")]
    assert "times as fast" in str(found[0])


def test_noise_is_not_flagged() -> None:
    """A hundred nights of 39 benchmarks each, after one night and after eight."""
    for seed in range(100):
        tonight = night(1000 + seed)
        assert find([night(seed)], tonight) == []
        assert find([night(seed * 10 + i) for i in range(8)], tonight) == []


@pytest.mark.parametrize("machine", [0.5, 2.0])
def test_a_slower_or_faster_machine_is_not_flagged(machine: float) -> None:
    assert find([night(seed) for seed in range(5)], night(99, machine)) == []


def test_a_slowdown_on_a_slower_machine_is_flagged() -> None:
    found = find([night(seed) for seed in range(5)], changed(night(99, 2.0), 2.0, one))
    assert names(found) == [("regression", "jax@cpu", "linear", "float32")]
    assert found[0].raw == pytest.approx(2 * found[0].ratio, rel=0.3)


def test_a_framework_whose_product_became_slower_cannot_hide_behind_its_own_peak() -> None:
    slow = changed(night(99), 2.0, lambda x: x.target == "jax@cpu" and x.operation in ("matmul", "linear"))
    slow = [msgspec.structs.replace(x, matmul_peak=x.matmul_peak / 2) if x.target == "jax@cpu" else x for x in slow]
    found = names(find([night(seed) for seed in range(5)], slow))
    assert {("regression", "jax@cpu", "matmul", d) for d in ("float32", "float16")} == set(found)


def test_a_limit_without_another_target_is_not_judged() -> None:
    def alone(lines: list[BenchmarkLine]) -> list[BenchmarkLine]:
        return [x for x in lines if x.target == "jax@cpu" and x.operation in ("copy", "matmul")]

    assert alone(night(99))
    assert find([alone(night(0))], alone(night(99, 4.0))) == []


@pytest.mark.parametrize(
    "other", [{"machine": "m2"}, {"sizes": {"m": 2}}, {"workload": "prefill"}, {"scheme": "mxfp4"}]
)
def test_what_is_not_the_same_is_not_compared(other: dict[str, object]) -> None:
    tonight = [msgspec.structs.replace(x, **other) for x in changed(night(99), 4.0, one)]
    assert find([night(seed) for seed in range(5)], tonight) == []


@pytest.mark.parametrize("factors", [(1.0, 1.9, 1.1, 1.8, 1.0), (1.0, 1.3, 1.6, 1.9, 0.8)])
def test_nights_that_differ_widen_the_band(factors: tuple[float, ...]) -> None:
    """The same slowdown, of a workload whose earlier nights have two levels, or differ from night to night."""
    earlier = [changed(night(seed), factors[seed], one) for seed in range(5)]
    assert find(earlier, changed(night(99), 2.0, one)) == []


def test_one_odd_night_hides_nothing() -> None:
    earlier = [changed(night(seed), 2.0 if seed == 2 else 1.0, one) for seed in range(5)]
    assert names(find(earlier, changed(night(99), 2.0, one))) == [("regression", "jax@cpu", "linear", "float32")]


def test_a_change_that_stays_is_named_until_a_third_of_the_nights_show_it() -> None:
    nights = [changed(night(seed), 2.0 if seed >= 7 else 1.0, one) for seed in range(10)]
    named = [bool(find(nights[:count], nights[count])) for count in range(5, 10)]
    assert named == [False, False, True, True, True]
    assert find([*nights, changed(night(10), 2.0, one)], changed(night(11), 2.0, one)) == []


def test_rounds_that_differ_widen_the_band() -> None:
    def wide(lines: list[BenchmarkLine]) -> list[BenchmarkLine]:
        return [msgspec.structs.replace(x, q1=x.median * 0.6, q3=x.median * 1.7) if one(x) else x for x in lines]

    assert find([wide(night(0))], wide(changed(night(99), 2.0, one))) == []


def test_the_fastest_round_must_agree() -> None:
    """Interference slows most rounds, not all."""
    tonight = [
        msgspec.structs.replace(x, median=x.median * 2, q1=x.q1 * 2, q3=x.q3 * 2) if one(x) else x for x in night(99)
    ]
    assert find([night(seed) for seed in range(5)], tonight) == []


def test_a_machine_whose_benchmarks_scatter_gets_a_wider_band() -> None:
    def scattered(seed: int) -> list[BenchmarkLine]:
        rng = random.Random(seed)
        factors = {x.id + x.dtype: math.exp(rng.gauss(0, 0.4)) for x in night(seed)}
        return [changed([x], factors[x.id + x.dtype], lambda _: True)[0] for x in night(seed)]

    assert find([scattered(0)], changed(scattered(99), 2.0, one)) == []


def real() -> list[list[BenchmarkLine]]:
    lines = [msgspec.json.decode(raw, type=BenchmarkLine) for raw in REAL.read_bytes().splitlines()]
    runs = dict.fromkeys(x.run for x in lines)
    return [[x for x in lines if x.run == run] for run in runs]


def test_real_runs_of_unchanged_code_are_not_flagged() -> None:
    runs = real()
    assert [len(r) for r in runs] == [45] * 5
    medians = [{regressions.key(x): x.median for x in run} for run in runs]
    assert max(a[k] / b[k] for a in medians for b in medians for k in a) > 2.5, "these runs show no noise"
    for number, tonight in enumerate(runs):
        assert find([r for r in runs if r is not tonight], tonight) == []
        for other in range(number):
            assert len(find([runs[other]], tonight)) <= 1


def test_a_slowdown_planted_in_a_real_run_is_flagged() -> None:
    """Of six times, since on that machine noise explains more than twice."""
    *earlier, tonight = real()
    slow = changed(tonight, 6.0, lambda x: x.operation == "quantized as_linear" and x.target == "torch@cpu")
    found = find(earlier, slow)
    assert {(c.kind, c.target, c.operation) for c in found} == {("regression", "torch@cpu", "quantized as_linear")}
    assert {c.workload for c in found} == {"decode", "prefill"}


def test_nights_of_a_history_are_compared_where_the_benchmarks_are_the_same() -> None:
    here = Machine(id="m1", chip="c", model="", architecture="", cores=2, memory=1, os="", os_build="", virtual=False,
                   python="")  # fmt: skip

    def kept(run: str, lines: list[BenchmarkLine], benchmark_hash: str = "b") -> history.Night:
        column = history.NightColumn(
            target="", label="", system="", framework=True, state="conforms", machine=here, versions={}, packages={},
            planned=0, deselected=0, counts={}, cases={}, listed={}, stale={}, headroom={}, benchmarks=lines,
        )  # fmt: skip
        return history.Night(
            schema=history.SCHEMA, started=run, run=run, suite_hash="", golden_hash="", benchmark_hash=benchmark_hash,
            state="conforms", problems=[], columns={"c": column},
        )  # fmt: skip

    slow = changed(night(99), 2.0, one)
    nights = [kept(str(seed), night(seed)) for seed in range(5)]
    assert len(regressions.between(nights, kept("9", slow))) == 1
    assert regressions.between(nights, kept("9", slow, "other benchmarks")) == []
    assert regressions.between([*nights, kept("9", slow)], kept("9", slow)), "tonight itself is no earlier night"
