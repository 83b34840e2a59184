"""What documentation leaves open of a loss: its default reduction, empty batches, shapes, and classes outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden.cases import loss_choices
from touchstone.golden.operations.losses import DIRECTIONS, LOSSES, REDUCTIONS
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


def _operands(assay: Assay, *, many: bool = False) -> list[np.ndarray]:
    loss = LOSSES[assay.params["operation"]]
    return [assay.golden(name) for name in loss.samples[-1 if many else 0].arguments]


@requirement("LOSS-CLASS-1", loss_choices.CLASS_CASES)
def test_precision_inside(assay: Assay) -> None:
    loss = LOSSES[assay.params["operation"]]
    asked = {"name": loss.name, "operands": _operands(assay), "reduction": "none"}
    judging.precision(assay, loss, assay.value(assay.ask(probes.operation, **asked)))


@requirement("LOSS-DEFAULT-1", loss_choices.DEFAULT_CASES)
def test_default_reduction(assay: Assay) -> None:
    got = assay.value(assay.ask(probes.operation, name=assay.params["operation"], operands=_operands(assay, many=True)))
    if got.shape:
        assay.behaves("none")
        return
    found = judging.chosen(assay, got, REDUCTIONS)
    assay.behaves(found or "another number", conforms=bool(found), message=f"{float(got)!r}")


@requirement("LOSS-DEFAULT-2", loss_choices.EPSILON_CASES)
def test_default_epsilon(assay: Assay) -> None:
    """Of a vector of zeros, whose norm only an epsilon keeps from being divided by."""
    operands = [assay.golden(name) for name in DIRECTIONS.arguments]
    got = assay.value(assay.ask(probes.operation, name=assay.params["operation"], operands=operands))
    of_zeros = got[DIRECTIONS.regions["zero"]]
    shown = "NaN" if np.isnan(of_zeros).all() else "0" if (of_zeros == 0).all() else "another number"
    assay.behaves(shown, conforms=shown != "another number")


@requirement("LOSS-BROADCAST-1", loss_choices.BROADCAST_CASES)
def test_shapes_that_do_not_match(assay: Assay) -> None:
    """A vector of predictions against a column of targets."""
    first, second = (array[:6] for array in _operands(assay))
    asked = {"name": assay.params["operation"], "operands": [first, second[:, None]], "reduction": "none"}
    _record(assay, assay.ask(probes.operation, **asked), {(6, 6): "broadcasts"})


@requirement("LOSS-EMPTY-1", loss_choices.EMPTY_CASES)
def test_the_mean_of_nothing(assay: Assay) -> None:
    operands = [array[:0] for array in _operands(assay, many=True)]
    asked = {"name": assay.params["operation"], "operands": operands, "reduction": "mean"}
    outcome = assay.ask(probes.operation, **asked)
    if outcome.kind == "value" and outcome.value.shape == ():
        assay.behaves(f"{float(outcome.value):g}")
    else:
        _record(assay, outcome, {})


def _record(assay: Assay, outcome: Any, by_shape: dict[tuple[int, ...], str]) -> None:
    """The class of error that something ended with, or by its shape what was made."""
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), message=outcome.message)
        return
    shown = by_shape.get(outcome.value.shape, f"shape {outcome.value.shape}")
    assay.behaves(shown, conforms=outcome.value.shape in by_shape)


def _of_a_class(assay: Assay) -> tuple[Any, float]:
    """The outcome where one target is the case's, and the loss of that row; others must stay right.

    It is the row from which the class lies within the logits, should it be counted from there: the first one, and
    the last one of a class below zero. Of a mean: zero where it is that of the other rows, else the mean.
    """
    rows, reduction = 8, assay.params.get("reduction", "none")
    logits, classes = (np.array(array[:rows]) for array in _operands(assay))
    place = 0 if assay.params["target"] >= 0 else rows - 1
    classes[place] = assay.params["target"]
    asked = {"name": assay.params["operation"], "operands": [logits, classes], "reduction": reduction}
    outcome = assay.ask(probes.operation, **asked)
    if outcome.kind != "value":
        return outcome, np.nan
    want = np.delete(assay.golden("value")[:rows], place)
    if reduction == "mean":
        found = float(outcome.value)
        return outcome, 0.0 if np.isclose(found, want.mean(), rtol=1e-5) else found
    assert outcome.value.shape == (rows,)
    others = np.allclose(np.delete(outcome.value, place), want, rtol=1e-5)
    return outcome, float(outcome.value[place]) if others else np.inf


def _tell(assay: Assay, loss: float) -> None:
    """NaN, which conforms, or a number."""
    is_nan = bool(np.isnan(loss))
    assay.behaves("NaN" if is_nan else "a number", conforms=is_nan, message=f"loss {loss:.6g}")


@requirement("LOSS-TARGETS-1", loss_choices.TARGET_CASES)
def test_a_class_outside(assay: Assay) -> None:
    outcome, loss = _of_a_class(assay)
    if outcome.kind != "value":
        raised = outcome.kind == "raised"
        assay.behaves(str(outcome.behaviour), conforms=raised, message=outcome.message)
    else:
        _tell(assay, loss)


@requirement("LOSS-IGNORED-1", loss_choices.IGNORED_CASES)
def test_the_class_that_is_ignored(assay: Assay) -> None:
    outcome, loss = _of_a_class(assay)
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), message=outcome.message)
    elif loss == 0:
        assay.behaves("left out")
    else:
        _tell(assay, loss)


@requirement("LOSS-ZERO-1", loss_choices.ZERO_CASES)
def test_the_gradient_at_zero(assay: Assay) -> None:
    predictions, targets = (np.array(array[:4]) for array in _operands(assay))
    predictions[0] = 0
    asked = {"name": assay.params["operation"], "operands": [predictions, targets], "reduction": "none"}
    got = assay.value(assay.ask(probes.operation_gradient, place=0, cotangent=np.ones(4, np.float32), **asked))
    others = got.shape == predictions.shape and bool(np.isfinite(got[1:]).all())
    assay.behaves("finite" if np.isfinite(got[0]).all() else "NaN", conforms=others)


@requirement("LOSS-FLOOR-1", loss_choices.FLOOR_CASES)
def test_the_gradient_below_the_floor(assay: Assay) -> None:
    """Of variances of zero, by the default eps of 1e-6."""
    place = LOSSES["gaussian_nll_loss"].sample.regions["no variance"]
    x, y, variances = (array[place] for array in _operands(assay))
    asked = {"name": "gaussian_nll_loss", "operands": [x, y, variances], "reduction": "none"}
    got = assay.value(assay.ask(probes.operation_gradient, place=2, cotangent=np.ones(len(x), np.float32), **asked))
    at_eps = (1e6 - (x.astype(np.float64) - y) ** 2 * 1e12) / 2
    shown = "none" if not got.any() else "as at eps" if np.allclose(got, at_eps, rtol=1e-5) else "another number"
    assay.behaves(shown, conforms=shown != "another number")


@requirement("LOSS-RANGE-1", loss_choices.RANGE_CASES)
def test_options_beyond_their_range(assay: Assay) -> None:
    judging.beyond_its_range(assay, LOSSES[assay.params["operation"]])
