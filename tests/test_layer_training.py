"""Is a fault in a layer's step, or in its modes, red under its requirement, and are parameters put back in place?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_functions import questions
from tests.test_planted_defects import Planted
from touchstone.adapters import kept
from touchstone.golden import bounds
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

Answer = Callable[..., Any]
STEP, NOTHING, BIAS = "LAYER-STEP-1", "LAYER-STEP-2", "LAYER-STEP-3"
MODES, MOVED = "LAYER-MODE-1", "LAYER-MODE-2"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def _red(bench: Bench, operation: str, fault: Callable[[Answer], Answer], requirement: str) -> int:
    """How many cases of PyTorch's layer are red after its answers were changed."""
    target = on_cpu("torch")
    adapter: Any = target.cls("cpu")
    adapter.module_answer = fault(adapter.module_answer)
    count = 0
    for question in questions(requirement):
        for case in question.cases:
            if case.params["operation"] == operation and adapter.capabilities.unmet(case.needs) is None:
                assay, error = direct.run(question, Planted(target, adapter), case, bench)
                count += verdict_of(assay, error, entries_of("torch"), bootstrap=False)[0].verdict.is_red
    return count


def _asked(**changed: Any) -> Callable[[Answer], Answer]:
    """Another question than the one that was asked."""
    return lambda answer: lambda question, **given: answer(question, **{**given, **changed})


def _operand(place: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Answer], Answer]:
    """What the layer holds in that place is another one afterwards."""

    def plant(answer: Answer) -> Answer:
        def changed(question: str, **given: Any) -> Any:
            found = answer(question, **given)
            found.operands[place] = change(found.operands[place])
            return found

        return changed

    return plant


def _once(answer: Answer) -> Answer:
    """A second bias stays."""
    return lambda question, **given: replace(answer(question, **given), beside={})


def _seen(at: int, **change: Callable[[Any], Any]) -> Callable[[Answer], Answer]:
    """In the first, second or third mode something else was seen."""

    def plant(answer: Answer) -> Answer:
        def changed(question: str, **given: Any) -> Any:
            found = answer(question, **given)
            for what, make in change.items():
                found[at][what] = make(found[at][what])
            return found

        return changed

    return plant


def _moved(name: str) -> Callable[[Any], Any]:
    return lambda arrays: {**arrays, name: arrays[name] + np.float32(2.0**-20)}


def _in_one_mode(answer: Answer) -> Answer:
    """The layer never hears that it is trained."""

    def changed(question: str, **given: Any) -> Any:
        found = answer(question, **given)
        return [found[0], {**found[0]}, found[0]] if question == "modes of a layer" else found

    return changed


FAULTS: dict[str, tuple[str, str, Callable[[Answer], Answer]]] = {
    "another rate": ("Linear", STEP, _asked(rate=0.099)),
    "another rate of slopes": ("PReLU", STEP, _asked(rate=0.099)),
    "uphill": ("Conv2d", STEP, _asked(rate=-0.1)),
    "the rate in bfloat16": ("LayerNorm", STEP, _asked(rate=0.10009765625)),
    "another step of a bias": ("Linear", STEP, _operand(2, lambda b: b + np.asarray(0.001, b.dtype))),
    "a kernel turned round": ("ConvTranspose1d", STEP, _operand(1, lambda w: w[:, ::-1])),
    "a step of the running mean": ("BatchNorm", STEP, _operand(3, lambda m: m * np.asarray(0.9, m.dtype))),
    "another order of the gates": ("LSTM", STEP, _operand(1, lambda w: np.roll(w, 4, 0))),
    "a second bias that stays": ("LSTM", BIAS, _once),
    "a parameter of a rotation": ("RoPE of neighbours", NOTHING, lambda a: lambda q, **g: ["frequencies"]),
    "scales that are trained": ("QuantizedLinear", NOTHING, lambda a: lambda q, **g: ["scales"]),
    "dropping in evaluation": ("Dropout", MODES, _seen(0, result=lambda y: y * (np.arange(y.shape[-1]) > 0))),
    "dropping nothing in training": ("Dropout", MODES, _in_one_mode),
    "channels dropped in evaluation": ("Dropout2d", MODES, _seen(2, result=lambda y: y * np.float32(0.5))),
    "statistics of the batch in evaluation": ("BatchNorm", MODES, _seen(0, result=lambda y: y - y.mean(0))),
    "statistics moved by evaluation": ("BatchNorm", MODES, _seen(2, after=_moved("running_mean"))),
    "a weight moved by a mode": ("BatchNorm", MODES, _seen(1, before=_moved("weight"))),
    "another convolution in training": ("Conv1d", MODES, _seen(1, result=lambda y: y * np.float32(1.001))),
    "a weight moved by a call": ("LayerNorm", MODES, _seen(1, after=_moved("weight"))),
    "a weight moved in training": ("BatchNorm", MOVED, _seen(1, after=_moved("weight"))),
    "statistics that stay": ("BatchNorm", MOVED, _in_one_mode),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_red_under_its_requirement(fault: str, bench: Bench) -> None:
    operation, requirement, plant = FAULTS[fault]
    assert not _red(bench, operation, lambda answer: answer, requirement)
    assert _red(bench, operation, plant, requirement)


def test_a_step_is_within_its_bound_and_no_more_than_half_as_far_off() -> None:
    """By NumPy in each dtype; a step that rounds five times as coarsely is beyond it."""
    generator = np.random.default_rng(0)
    for dtype, coarse in (("float32", np.float16), ("float16", None)):
        p, g = (generator.normal(size=1000).astype(dtype) for _ in range(2))
        wide = [one.astype(np.float64) for one in (p, g)]
        bound = bounds.sgd_step(wide[0], wide[1], 0 * wide[1], 0.1, dtype)
        stray = np.abs((p - np.asarray(0.1, dtype) * g).astype(np.float64) - (wide[0] - 0.1 * wide[1])) / bound
        assert 0.4 < stray.max() <= 1
        if coarse is not None:
            rough = (p - np.asarray(0.1, coarse).astype(dtype) * g).astype(np.float64)
            assert (np.abs(rough - (wide[0] - 0.1 * wide[1])) > bound).any()


def test_parameters_are_put_back_from_turned_and_packed_ones() -> None:
    x, first, second = np.zeros((1, 3), np.float32), np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    _, one, two = kept.numbered([x, first, second])
    places = {"packed": np.concatenate([one.T.reshape(-1), [0, 1], two]), "other": np.zeros(2)}
    values = {"packed": np.arange(10, dtype=np.float32), "other": np.ones(2, np.float32)}
    found = kept.by_operand([x, first, second], places, values)
    told = [None if held is None else held.tolist() for held in found.operands]
    assert told == [None, [[0, 2, 4], [1, 3, 5]], [8, 9]]
    assert list(found.beside) == ["other"]
