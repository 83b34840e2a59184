"""Do the benchmarks count bytes and flops honestly, refuse to time the wrong thing, and write what they measured?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import PYTEST, run
from tools.benchmarks import calls, layers, limits, measuring, workloads
from tools.benchmarks.calls import DTYPES
from tools.benchmarks.workloads import ALL, Workload, scheme_of
from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Adapter
from touchstone.reports import model, reading
from touchstone.reports.records import BenchmarkLine, FinishLine, RunLine


@cache
def adapter(name: str = "torch") -> Adapter:
    """Skips where the framework is not installed; cached, since asking by name probes for the device each time."""
    pytest.importorskip({"jax": "flax"}.get(name, name))
    return registry.resolve([f"{name}@cpu"])[0].adapter


def small(**fields: Any) -> Workload:
    """A workload of a few kilobytes."""
    default = Workload("linear", "", "float32", "decode", 4, 96, 128)
    return replace(default, **fields)


class TestCounting:
    @pytest.mark.parametrize("dtype", list(DTYPES))
    @pytest.mark.parametrize("scheme", [*workloads.SCHEMES, "mxfp8", "nvfp4", "affine3g32"])
    def test_a_packed_row_has_the_bytes_of_its_parts(self, scheme: str, dtype: str) -> None:
        parts = calls.packed(8, 256, scheme_of(scheme), DTYPES[dtype])
        held = sum(part.nbytes for part in (parts.weight, parts.scales, parts.biases) if part is not None)
        assert small(scheme=scheme, dtype=dtype, columns=256).row_bytes * 8 == held

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_lookup_reads_ids_and_rows_and_writes_rows(self, dtype: str) -> None:
        table, ids = np.zeros((96, 128), DTYPES[dtype]), np.zeros(4, np.int32)
        rows = table[ids]
        assert small(operation="embedding", dtype=dtype).bytes == ids.nbytes + 2 * rows.nbytes
        assert small(operation="embedding", dtype=dtype).flops == 0

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_product_reads_every_row_once(self, dtype: str) -> None:
        matrix, x, out = (np.zeros(shape, DTYPES[dtype]) for shape in ((96, 128), (4, 128), (4, 96)))
        assert small(dtype=dtype).bytes == matrix.nbytes + x.nbytes + out.nbytes
        assert small(dtype=dtype).flops == 4 * 96 * (128 + 128)

    def test_ids_of_workloads_differ(self) -> None:
        assert len({w.id for w in ALL}) == len(ALL)

    def test_every_operation_is_measured_in_every_dtype_at_both_sizes(self) -> None:
        here = workloads.on("cpu")
        found = {(w.operation, w.dtype, w.name) for w in here}
        assert found == set(product(workloads.OPERATIONS, DTYPES, ("decode", "prefill")))
        heads = {(w.scheme, w.dtype, w.name) for w in here if w.operation == "quantized as_linear"}
        assert heads == set(product(workloads.SCHEMES, DTYPES, ("decode", "prefill")))
        assert {w.name for w in workloads.on("gpu")} - {w.name for w in here} == {"long prefill"}

    def test_the_quick_ones_cover_every_operation_and_size(self) -> None:
        quick = {(w.operation, w.name) for w in workloads.on("cpu") if w.quick}
        assert quick == set(product(workloads.OPERATIONS, ("decode", "prefill")))

    def test_every_table_is_larger_than_the_last_cache(self) -> None:
        """Of 32 MiB, where these were written: a decode must read its table from memory."""
        decodes = [w for w in ALL if w.name == "decode" and not w.is_lookup]
        assert min(w.rows * w.row_bytes for w in decodes) > 32 * 2**20


SMALL = [
    small(operation=operation, scheme=scheme, dtype=dtype)
    for operation, scheme, dtype in (
        ("embedding", "", "float32"),
        ("linear", "", "bfloat16"),
        ("as_linear", "", "float16"),
        ("quantized embedding", "affine4g64", "float16"),
        ("quantized as_linear", "affine8g64", "bfloat16"),
        ("quantized linear", "affine4g64", "float32"),
        ("quantized as_linear", "mxfp4", "float16"),
        ("quantized embedding", "mxfp4", "bfloat16"),
    )
]


@pytest.mark.parametrize("name", calls.FRAMEWORKS)
@pytest.mark.parametrize("workload", SMALL, ids=lambda w: w.id)
def test_what_is_timed_is_what_is_claimed(name: str, workload: Workload) -> None:
    placed = layers.Placed(adapter(name), workload)
    layers.check(placed, workload, layers.function(placed, workload))


def _other_rows(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: function(x).flip(0)


DEFECTS: dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]] = {
    "zeros": lambda f: lambda x: f(x) * 0,
    "other rows": _other_rows,
    "another shape": lambda f: lambda x: f(x)[:1],
    "another dtype": lambda f: lambda x: f(x).double(),
    "twice": lambda f: lambda x: f(x) * 2,
    "inputs": lambda f: lambda x: x,
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("workload", [SMALL[0], SMALL[1], SMALL[4]], ids=lambda w: w.id)
def test_a_call_that_computes_something_else_is_refused(workload: Workload, defect: str) -> None:
    placed = layers.Placed(adapter(), workload)
    with pytest.raises(AssertionError):
        layers.check(placed, workload, DEFECTS[defect](layers.function(placed, workload)))


class TestPlan:
    def test_a_short_call_is_repeated_within_a_round(self) -> None:
        rounds, repeats = measuring.plan(lambda: None)
        assert rounds == measuring.MOST
        assert repeats > 100

    def test_a_long_call_gets_the_fewest_rounds(self) -> None:
        assert measuring.plan(lambda: time.sleep(0.1)) == (measuring.FEWEST, 1)

    def test_one_slow_call_does_not_cost_rounds(self) -> None:
        waits = iter([0.1, *[0.005] * 9])
        assert measuring.plan(lambda: time.sleep(next(waits)))[0] > 20


class TestLimits:
    def test_a_copy_counts_what_it_reads_and_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "COPY_BYTES", 2**20)
        found = limits.copy(adapter())
        assert (found.bytes, found.flops, len(found.seconds)) == (2**21, 0, limits.ROUNDS)
        assert found.bandwidth == found.bytes / sorted(found.seconds)[limits.ROUNDS // 2]

    @pytest.mark.parametrize("name", calls.FRAMEWORKS)
    def test_a_copy_changes_every_element_in_place(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ten negations of ones are ones, nine are not; what is held in the end is what was computed."""
        held: list[Any] = []
        synchronised = calls.synchronised

        def watched(adapter: Any, function: Any, inputs: Any) -> Any:
            call = synchronised(adapter, function, inputs)
            return lambda: held.append(out := call()) or out  # type: ignore[func-returns-value]

        monkeypatch.setattr(limits, "COPY_BYTES", 2**12)
        monkeypatch.setattr(limits, "synchronised", watched)
        made = adapter(name)
        limits.copy(made)
        assert len(held) == limits.ROUNDS + 1
        assert (made.fetch(held[-1]) == (-1) ** len(held)).all()  # type: ignore[attr-defined]

    def test_a_product_is_as_large_as_its_time_allows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "PRODUCT_SECONDS", 0.0)
        found = limits.matmul(adapter(), "float32")
        assert (found.sizes["m"], found.flops, found.name) == (256, 2 * 256**3, "n = 256")
        monkeypatch.setattr(limits, "PRODUCT_SECONDS", 1e9)
        monkeypatch.setattr(limits, "LARGEST_PRODUCT", 512)
        assert limits.matmul(adapter(), "float32").name == "n = 512"


def test_a_run_writes_its_lines_and_a_table(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    selected = ("-m", "quick", "-k", "embedding and decode", "--adapter", "torch@cpu")
    done = run(*PYTEST, "tools/benchmarks/", "-q", *selected, "--report", str(tmp_path))
    assert done.returncode == 0, done.stdout
    first, *middle, last = reading.lines(tmp_path / "benchmarks.jsonl")
    assert isinstance(first, RunLine)
    assert isinstance(last, FinishLine)
    assert (list(first.targets), first.golden_hash, first.requirements) == (["torch@cpu"], "", {})
    lines = [line for line in middle if isinstance(line, BenchmarkLine)]
    assert [line.operation for line in lines] == ["copy", "matmul", "embedding", "matmul", "quantized embedding"]
    for line in lines:
        assert line.run == first.run
        assert line.machine == first.machine.id
        assert 0 < line.minimum <= line.q1 <= line.median <= line.q3
        assert line.rounds >= measuring.FEWEST
    copy, product = lines[0], lines[1]
    assert copy.copy_bandwidth == pytest.approx(copy.bytes / copy.median)
    assert product.matmul_peak == pytest.approx(product.flops / product.median)
    assert {line.copy_bandwidth for line in lines} == {copy.copy_bandwidth}
    assert lines[2].matmul_peak == product.matmul_peak, "a share of the peak in the same dtype"
    assert lines[4].matmul_peak == lines[3].matmul_peak
    row = next(x for x in done.stdout.splitlines() if x.startswith("torch@cpu  quantized embedding"))
    assert f"{1e3 * lines[4].median:.3f} ms" in row
    assert [c.target for c in model.load(tmp_path).columns] == ["torch@cpu"]
    assert (tmp_path / "report.html").exists()


def test_a_target_whose_results_cannot_be_waited_for_is_refused() -> None:
    done = run(*PYTEST, "tools/benchmarks/", "--adapter", "reference")
    assert done.returncode == 4
    assert "--adapter reference: the benchmarks can wait for results of mlx, jax, torch only" in done.stderr


def test_collecting_writes_no_report(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = run(*PYTEST, "tools/benchmarks/", "--co", "-q", "--adapter", "torch@cpu", "--report", str(tmp_path / "r"))
    assert done.returncode == 0
    assert "test_throughput[torch@cpu-linear-float32-decode]" in done.stdout
    assert not (tmp_path / "r").exists()
