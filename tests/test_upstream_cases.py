"""Do the cases for faults that were reported find those faults when planted, and is too little memory *not run*?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from tests.test_planted_defects import QUANTIZED, Planted, wrap_layers
from touchstone.adapters import known, memory
from touchstone.adapters.discovery import registry
from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden.cases import extents
from touchstone.golden.catalogue import Case
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, dirt, requirements
from touchstone.suites import extents as large
from touchstone.suites.assay import Assay, Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.verdict import expectation
from touchstone.verdict.rule import Judgement

QUESTIONS = {
    q.function.__name__: q for q in direct.questions() if q.function.__module__.endswith(("extents", "repeated"))
}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


@cache
def target() -> registry.Target:
    return registry.default("torch")


@cache
def entries() -> expectation.Expectations:
    cls = target().cls
    return known.load(known.path_for(cls), cls, requirements.load().keys())


def asked(name: str, case: Case, bench: Bench, plant: Callable[[Any], None] = lambda adapter: None) -> Judgement:
    """The verdict on one case of the test `name`, by PyTorch's adapter with a defect, in this process."""
    adapter = target().cls("cpu")
    plant(adapter)
    here = replace(case, hazard=None)
    assay, error = direct.run(QUESTIONS[name], Planted(replace(target(), device="cpu"), adapter), here, bench)
    return verdict_of(assay, error, entries(), bootstrap=False)[0]


def one(cases: list[Case], **params: Any) -> Case:
    return next(c for c in cases if all(c.params.get(k) == v for k, v in params.items()))


def changes_products(adapter: Any, change: Callable[[Any, Any, Any], Any]) -> None:
    """Have `change(module, x, result)` choose what linear layers return."""

    def planted(layer: Any) -> None:
        call = layer._call
        layer._call = lambda module, x: change(module, x, call(module, x))

    wrap_layers(adapter, ("linear",), planted)


def wraps_batches_at_16_bits(adapter: Any) -> None:
    """pytorch#189495: batch b is written to b mod 2**16, where there is a bias."""

    def wrapped(module: Any, x: Any, out: Any) -> Any:
        if module.bias is None or len(x) <= 2**16:
            return out
        out = out.clone()
        out[: len(x) - 2**16] = out[2**16 :].clone()
        return out

    changes_products(adapter, wrapped)


def reads_one_term_too_many(adapter: Any) -> None:
    """pytorch#195163: from K = 32,767 on, with 16 rows and columns or more."""

    def beyond(module: Any, x: Any, out: Any) -> Any:
        long = x.shape[-1] >= 2**15 - 1 and x.shape[-2] >= 16 and len(module.weight) >= 16
        return out + x[..., -1:] * module.weight[:, -1] if long else out

    changes_products(adapter, beyond)


def forgets_late_columns(adapter: Any) -> None:
    """pytorch#116769: with one input feature and more than 2**15 outputs."""

    def cut(module: Any, x: Any, out: Any) -> Any:
        if x.shape[-1] == 1 and out.shape[-1] > 2**15:
            out = out.clone()
            out[..., 1024:] = 0
        return out

    changes_products(adapter, cut)


def drops_the_bias_of_few_features(adapter: Any) -> None:
    """pytorch#188438 shows where a bias is added to a product of two to four terms."""
    changes_products(
        adapter, lambda module, x, out: out if module.bias is None or x.shape[-1] > 4 else out - module.bias / 4
    )


def reads_a_broadcast_input_as_dense(adapter: Any) -> None:
    """pytorch#167154, were it silent: memory after the one batch is read as the others."""

    def dense(module: Any, x: Any, out: Any) -> Any:
        if x.dim() == 3 and x.stride(0) == 0:
            out = out.clone()
            out[1:] = 0
        return out

    changes_products(adapter, dense)


def reads_a_broadcast_cotangent_as_dense(adapter: Any) -> None:
    """pytorch#189565: zeros beyond the first page, with one output feature."""

    def planted(layer: Any) -> None:
        vjp = layer.vjp

        def wrong(inputs: Any, cotangent: Any, method: Any = "call") -> Any:
            found = vjp(inputs, cotangent, method)
            if getattr(cotangent, "view", ()) and cotangent.shape[-1] == 1:
                found["x"][4096 // 33 :] = 0
            return found

        layer.vjp = wrong

    wrap_layers(adapter, ("linear",), planted)


def changes_packed_products(adapter: Any, change: Callable[[Any, Any], Any]) -> None:
    """Have `change(module, x)` compute the products of quantized layers; None for the right one."""

    def planted(layer: Any) -> None:
        product = layer.native._matmul
        layer.native._matmul = lambda x: product(x) if (out := change(layer.native, x)) is None else out

    wrap_layers(adapter, QUANTIZED, planted)


def table_of(module: Any, x: Any) -> Any:
    from touchstone.adapters.torch.packing import dequantize

    return dequantize(module.weight, module.scales, module.biases, module.scheme, x.dtype)


def takes_raw_scales_below_eight_rows(adapter: Any) -> None:
    """mlx#3762: block modes, one row of x, fewer than 8 rows of weights."""

    def raw(module: Any, x: Any) -> Any:
        if module.biases is None and len(module.weight) < 8 and x.shape[-2] == 1:
            return x @ (table_of(module, x) * 2).T
        return None

    changes_packed_products(adapter, raw)


def drops_half_a_tile(adapter: Any) -> None:
    """mlx#3912: groups of 16, and K not a multiple of 32."""

    def dropped(module: Any, x: Any) -> Any:
        if module.scheme.group_size == 16 and x.shape[-1] % 32 and x.shape[-2] > 1:
            return x[..., :-16] @ table_of(module, x)[:, :-16].T
        return None

    changes_packed_products(adapter, dropped)


def forgets_every_third_answer(adapter: Any) -> None:
    count = iter(range(10**6))
    changes_products(adapter, lambda module, x, out: out if next(count) % 3 != 2 else out * (1 + 2.0**-7))


def changes_every_second_answer_without_a_bias(adapter: Any) -> None:
    """pytorch#180776: half precision, no bias, more than two dimensions."""
    count = iter(range(10**6))

    def changed(module: Any, x: Any, out: Any) -> Any:
        if module.bias is not None or x.dim() < 3 or x.dtype.itemsize != 2:
            return out
        return out if next(count) % 2 == 0 else out * 1.5

    changes_products(adapter, changed)


def jitters_gradients(adapter: Any) -> None:
    count = iter(range(10**6))

    def planted(layer: Any) -> None:
        vjp = layer.vjp

        def jittered(inputs: Any, cotangent: Any, method: Any = "call") -> Any:
            found = vjp(inputs, cotangent, method)
            found["weight"] = found["weight"] * np.asarray(1 + 2.0**-7 * (next(count) % 2), found["weight"].dtype)
            return found

        layer.vjp = jittered

    wrap_layers(adapter, ("linear",), planted)


def leaves_a_row_as_it_was(adapter: Any) -> None:
    """Results lie in blocks that were used before, and the last row is never written."""
    pool: dict[int, Any] = {}
    place = adapter.place

    def remembering(value: Any) -> Any:
        placed = place(value)
        if isinstance(value, np.ndarray) and value.dtype == np.float32:
            pool[value.nbytes] = placed.detach().reshape(-1)
        return placed

    adapter.place = remembering

    def unwritten(module: Any, x: Any, out: Any) -> Any:
        if (held := pool.get(max(dirt.SMALLEST, out.numel() * out.element_size()))) is None or out.dim() != 2:
            return out
        out = out.clone()
        out[-1] = held[: out.shape[-1]].to(out.dtype)
        return out

    changes_products(adapter, unwritten)


LINEAR = extents.LINEAR_CASES
PLANTED: list[tuple[Callable[[Any], None], str, Case]] = [
    (wraps_batches_at_16_bits, "test_linear", one(LINEAR, x="65537x2x8", bias=True)),
    (forgets_late_columns, "test_linear", one(LINEAR, out=2**15 + 1)),
    (drops_the_bias_of_few_features, "test_linear", one(LINEAR, x="80x1x2", bias=True)),
    (reads_a_broadcast_input_as_dense, "test_linear", one(LINEAR, layout="broadcast")),
    (reads_one_term_too_many, "test_long_sums", one(extents.LONG_CASES, x="17x32767")),
    (reads_one_term_too_many, "test_long_sums", one(extents.LONG_CASES, x="2x16x32767", dtype="bfloat16")),
    (takes_raw_scales_below_eight_rows, "test_quantized_products", one(extents.QUANTIZED_CASES, mode="mxfp4", n=5)),
    (drops_half_a_tile, "test_quantized_products", one(extents.QUANTIZED_CASES, mode="nvfp4", k=1040)),
    (reads_a_broadcast_cotangent_as_dense, "test_expanded_cotangent", one(extents.COTANGENT_CASES, out=1)),
    (forgets_every_third_answer, "test_calls", one(extents.REPEAT_CASES, x="129x1024", dtype="float32")),
    (
        changes_every_second_answer_without_a_bias,
        "test_calls",
        one(extents.REPEAT_CASES, x="2x13x1024", dtype="bfloat16"),
    ),
    (jitters_gradients, "test_gradients", one(extents.REPEAT_GRADIENT_CASES, dtype="float32")),
    (leaves_a_row_as_it_was, "test_memory_that_held_nan", one(extents.DIRTY_CASES, layer="linear", dtype="float32")),
]


@pytest.mark.parametrize(
    ("plant", "name", "case"), PLANTED, ids=[f"{plant.__name__}-{case.id}" for plant, _, case in PLANTED]
)
def test_a_planted_fault_is_found(plant: Callable[[Any], None], name: str, case: Case, bench: Bench) -> None:
    assert asked(name, case, bench).verdict == "conforms"
    found = asked(name, case, bench, plant)
    assert found.verdict == "deviates", found
    assert found.missing == "deviation", found.note


def test_the_other_side_of_the_boundary_stays_green(bench: Bench) -> None:
    case = one(LINEAR, x="65536x2x8", bias=True)
    assert asked("test_linear", case, bench, wraps_batches_at_16_bits).verdict == "conforms"


def test_every_listed_fault_cites_its_thread() -> None:
    cases = [c for q in QUESTIONS.values() for c in q.cases]
    assert len(cases) > 100
    assert [c.id for c in cases if not c.upstream.startswith("https://github.com/")] == []


def test_exact_cases_stay_exact() -> None:
    """Integers up to 2 in size and K at most 33: sums below 2**8, which every dtype holds."""
    for case in [*extents.LINEAR_CASES, *extents.COTANGENT_CASES]:
        assert 4 * int(case.params["x"].split("x")[-1]) + 2 < 2**8


def test_edge_ids_lie_on_both_sides_of_every_multiple() -> None:
    rows = extents.ROWS["2**32"]
    found = extents.edge_ids(rows * extents.DIMS, rows)
    for mark in (2**31 // extents.DIMS, 2**32 // extents.DIMS):
        assert {mark - 1, mark, mark + 1} <= set(found)
    assert {0, rows - 1} <= set(found)
    assert max(found) < rows


LARGE = [(name, case) for name, q in QUESTIONS.items() for case in q.cases if case.memory]


@pytest.mark.parametrize(("name", "case"), LARGE, ids=[f"{name}-{case.id}" for name, case in LARGE])
def test_a_cpu_is_not_asked_for_gigabytes_unless_told(name: str, case: Case, bench: Bench) -> None:
    found = asked(name, case, bench)
    assert found.verdict == "not run"
    assert "--large" in found.note


@pytest.mark.parametrize(("name", "case"), LARGE, ids=[f"{name}-{case.id}" for name, case in LARGE])
def test_too_little_memory_is_not_run(name: str, case: Case, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is allocated: the probe asks first."""
    little = SimpleNamespace(available=10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    found = asked(name, case, replace(bench, large=True))
    assert found.verdict == "not run"
    assert found.note == f"needs {case.memory / 1e9:.1f} GB of free memory, 1.0 GB are free"


@pytest.mark.parametrize(("message", "verdict"), [("SIGKILL", "not run"), ("SIGSEGV", "crashed")])
def test_a_process_killed_for_its_memory_is_not_run(
    message: str, verdict: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Assay, "ask", lambda *args, **kwargs: Outcome("crashed", message=message))
    name, case = LARGE[0]
    assert asked(name, case, replace(bench, large=True)).verdict == verdict


def test_a_device_with_less_memory_than_the_host_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7))

    def available(device: int | None) -> int:
        return memory.available(SimpleNamespace(device_memory=lambda: device))  # type: ignore[arg-type]

    assert (available(5), available(9), available(None)) == (5, 7, 7)


def test_other_devices_are_asked_without_being_told(bench: Bench) -> None:
    case = LARGE[0][1]
    for device, asks in (("cpu", False), ("mps", True), ("cuda", True)):
        assay = Assay(replace(target(), device=device), case, requirements.load()["EXTENT-TABLE-1"], bench)
        assert (assay.withheld() is None) == asks


def small(case: Case, bench: Bench, rows: int = 5000) -> Case:
    """A large case over a table of a few rows, in a store of its own."""
    strip = np.arange(rows + extents.DIMS - 1, dtype=np.float32) % 251 - 125
    bench.golden.add_external({"a small strip": strip.astype(np.float16)})
    return replace(case, arrays={**case.arrays, "table": "a small strip"}, memory=1)


def zeroes_late_rows(adapter: Any) -> None:
    """pytorch#188756 at a smaller size."""

    def planted(layer: Any) -> None:
        call = layer._call
        layer._call = lambda module, ids: call(module, ids) * (ids < 4000).unsqueeze(-1).to(module.weight.dtype)

    wrap_layers(adapter, ("embedding",), planted)


def test_rows_that_are_lost_in_a_large_table_are_found(bench: Bench) -> None:
    case = small(one(extents.TABLE_CASES, layer="embedding", dtype="float16"), bench)
    wide = replace(bench, large=True)
    assert asked("test_large_tables", case, wide).verdict == "conforms"
    assert asked("test_large_tables", case, wide, zeroes_late_rows).verdict == "deviates"


def test_a_wrong_product_with_a_large_weight_is_found(bench: Bench) -> None:
    case = small(one(extents.HEAD_CASES, layer="linear"), bench)
    wide = replace(bench, large=True)
    assert asked("test_large_heads", case, wide).verdict == "conforms"

    def cut(module: Any, x: Any, out: Any) -> Any:
        out = out.clone()
        out[..., 4999] = 0
        return out

    assert asked("test_large_heads", case, wide, lambda a: changes_products(a, cut)).verdict == "deviates"


@pytest.mark.parametrize("wrong", [False, True])
def test_a_wrong_element_of_a_large_result_is_found(wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "BLOCK", 64)
    adapter = target().cls("cpu")
    if wrong:

        def cut(module: Any, x: Any, out: Any) -> Any:
            out = out.clone()
            out[-1, -1] += 1
            return out

        changes_products(adapter, cut)
    x = np.array([[1], [2], [3], [1]] * 10, np.float16)
    answer = large.outer_product(adapter, x, np.array([[2], [3], [1]], np.float16))
    assert answer["wrong"] == wrong
    assert ("(39, 2)" in answer["first"]) == wrong


@pytest.mark.parametrize("wrong", [False, True])
def test_a_wrong_row_of_many_is_found(wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "BLOCK", 64)
    adapter = target().cls("cpu")
    if wrong:
        wrap_layers(
            adapter,
            ("embedding",),
            lambda layer: setattr(layer, "_call", lambda m, ids: m.weight[(ids + 1) % len(m.weight)]),
        )
    answer = large.many_rows(adapter, np.arange(35, dtype=np.float16).reshape(7, 5), 100)
    assert bool(answer["wrong"]) == wrong
