"""Layers in training: a step of SGD, and what the modes of training and evaluation change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from touchstone.adapters.kept import Parted
from touchstone.golden import bounds
from touchstone.golden.cases import layer_training
from touchstone.golden.operations.layers import LAYERS
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

Arrays = Mapping[str, np.ndarray]


def _stepped(assay: Assay) -> Parted:
    """The parameters of the case's layer after a step."""
    operands = judging.operands_of(assay, LAYERS[assay.params["operation"]])
    asked = {"name": assay.params["operation"], "operands": operands, "rate": assay.params["rate"]}
    probe = {"question": "step of a layer", "cotangent": assay.golden("cotangent"), **asked}
    found: Parted = assay.value(assay.ask(probes.module_answer, **probe))
    return found


@requirement("LAYER-STEP-1", layer_training.STEP_CASES)
def test_a_step_of_sgd(assay: Assay) -> None:
    one, dtype, rate = LAYERS[assay.params["operation"]], assay.params["dtype"], assay.params["rate"]
    operands = judging.operands_of(assay, one)
    for name, before, got in zip(one.sample.arguments, operands, _stepped(assay).operands, strict=True):
        if name in layer_training.parameters(one):
            gradient, error = (assay.golden(f"{what} of {name}").astype(np.float64) for what in ("value", "error"))
            error = error + bounds.rounding(gradient, dtype)
            wide = before.astype(np.float64)
            bound = bounds.sgd_step(wide, gradient, error, rate, dtype)
            assay.within(got, wide - rate * gradient, bound, dtype, f"value of {name}")
        elif got is not None:
            assay.same_bits(got, before)


@requirement("LAYER-STEP-1", layer_training.SLOPE_CASES)
def test_a_step_of_slopes(assay: Assay) -> None:
    """Over the rows of ordinary numbers."""
    rate, wide = assay.params["rate"], assay.golden("alpha").astype(np.float64)
    given, gradient, error = judging.slopes(assay)
    asked = {"name": "PReLU", "rate": rate, **given}
    found: Parted = assay.value(assay.ask(probes.module_answer, question="step of a layer", **asked))
    bound = bounds.sgd_step(wide, gradient, error, rate, "float32")
    assay.within(found.operands[1], wide - rate * gradient, bound, "float32")


@requirement("LAYER-STEP-3", layer_training.BIAS_CASES)
def test_a_step_of_the_sum_of_two_biases(assay: Assay) -> None:
    """What is added to every gate: the bias that a case names, and one that the framework has besides, zero before."""
    one = LAYERS[assay.params["operation"]]
    place, found = list(one.sample.arguments).index("bias"), _stepped(assay)
    before = judging.operands_of(assay, one)[place].astype(np.float64)
    biases = [found.operands[place], *(value for value in found.beside.values() if value.shape == before.shape)]
    moved = np.sum([np.asarray(bias, np.float64) for bias in biases], 0) - before
    due = -assay.params["rate"] * assay.golden("value of bias").astype(np.float64)
    times = next((n for n in (1, 2) if np.allclose(moved, n * due, 1e-4, 1e-6)), 0)
    assay.behaves({1: "once", 2: "twice", 0: "another step"}[times], message=f"{moved[:4]} where one step is {due[:4]}")


def _same(assay: Assay, got: Arrays, want: Arrays) -> None:
    """The same arrays, bit for bit."""
    if got.keys() != want.keys():
        assay.behaves("other arrays", conforms=False, message=f"{sorted(got)} instead of {sorted(want)}")
    for name, value in want.items():
        assay.same_bits(got[name], value)


def _in_modes(assay: Assay) -> list[dict[str, Any]]:
    """What the case's layer holds and gives in evaluation, in training, and in evaluation again."""
    record, params = layer_training.record(assay.case), assay.params
    operands = judging.operands_of(assay, record) if record else [assay.golden("x")]
    options = {"dropout": params["dropout"]} if "dropout" in params else {}
    asked = {"name": params["operation"], "operands": operands, **options}
    found: list[dict[str, Any]] = assay.value(assay.ask(probes.module_answer, question="modes of a layer", **asked))
    return found


@requirement("LAYER-MODE-1", layer_training.MODE_CASES)
def test_modes(assay: Assay) -> None:
    first, trained, again = _in_modes(assay)
    record, moves = layer_training.record(assay.case), layer_training.is_moded(assay.case)
    _same(assay, trained["before"], first["before"])
    _same(assay, again["before"], trained["after"])
    for one in (first, again, *([] if moves else [trained])):
        _same(assay, one["after"], one["before"])
    if assay.params["operation"] not in layer_training.OF_STATISTICS:
        assay.same_bits(again["result"], first["result"])
    if record is None:
        assay.same_bits(first["result"], assay.golden("x"))
    elif moves or trained["result"].tobytes() != first["result"].tobytes():
        for one in (first, *([] if moves else [trained])):
            judging.judge(assay, record, one["result"])
    if moves and np.array_equal(trained["result"], first["result"]):
        assay.behaves("the same in training", conforms=False)


@requirement("LAYER-MODE-2", layer_training.MOVED_CASES)
def test_what_a_call_in_training_changes(assay: Assay) -> None:
    _, trained, _ = _in_modes(assay)
    before, after = trained["before"], trained["after"]
    changed = [name for name, value in after.items() if value.tobytes() != before[name].tobytes()]
    assay.behaves(", ".join(sorted(changed)) or "nothing")


@requirement("LAYER-STEP-2", layer_training.NOTHING_CASES)
def test_layers_that_train_nothing(assay: Assay) -> None:
    record = layer_training.record(assay.case)
    operands = judging.operands_of(assay, record) if record else [assay.golden("x")]
    asked = {"name": assay.params["operation"], "operands": operands}
    found = assay.value(assay.ask(probes.module_answer, question="parameters of a layer", **asked))
    assay.behaves("trains nothing" if not found else "trains something", conforms=not found, message=str(found))
