"""Losses: of each element or row, their mean and sum, gradients and options."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import losses
from touchstone.golden.operations.losses import LOSSES
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import lay_out, moved
from touchstone.suites.requirements import requirement


@requirement("LOSS-VALUES-1", losses.VALUE_CASES)
def test_values(assay: Assay) -> None:
    judging.value(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-REDUCTION-1", [*losses.REDUCTION_CASES, *losses.MATRIX_CASES])
def test_reductions(assay: Assay) -> None:
    shape = tuple(map(int, assay.params["shape"].split("x"))) if "shape" in assay.params else None
    judging.value(assay, LOSSES[assay.params["operation"]], shape)


@requirement("LOSS-OPTIONS-1", [*losses.OPTION_CASES, *losses.REDUCED_OPTION_CASES])
def test_options(assay: Assay) -> None:
    judging.value(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-GRADIENT-1", losses.GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    judging.gradient(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-AXIS-1", losses.AXIS_CASES)
def test_axes(assay: Assay) -> None:
    loss = LOSSES[assay.params["operation"]]
    rows = loss.sample.regions["ordinary"]
    axis, there, _ = moved(assay.params["axis"])
    shape = (-1,) if axis == 0 else (2, -1)
    operands = []
    for one in judging.operands_of(assay, loss):
        if len(one) == len(assay.golden("value")):  # all but weights of classes
            one = there(one[rows]) if one.ndim == 2 else one[rows].reshape(shape)
        operands.append(np.ascontiguousarray(one))
    asked = {"name": loss.name, "operands": operands, "axis": axis, "reduction": "none"}
    got = assay.value(assay.ask(probes.operation, **asked))
    want, error = (assay.golden(what)[rows].astype(np.float64).reshape(shape) for what in ("value", "error"))
    assay.within(got, want, error + bounds.rounding(want, "float32"), "float32", "value")


@requirement("LOSS-LAYOUT-1", losses.LAYOUT_CASES)
def test_layouts(assay: Assay) -> None:
    """Every operand in it; what is of elements has two rows, so that it can be transposed."""
    loss, layout = LOSSES[assay.params["operation"]], assay.params["layout"]
    is_of_elements = loss not in losses.OF_ROWS
    given = [one.reshape(2, -1) if is_of_elements else one for one in judging.operands_of(assay, loss)]
    operands = [lay_out(one, layout, filler=3.0) for one in given]
    asked: dict[str, Any] = {"name": loss.name, "operands": operands, "reduction": "none"}
    is_gradient, shape = assay.params["result"] == "gradient", assay.golden("value").shape
    if is_gradient:
        cotangent = assay.golden("cotangent")
        asked["cotangent"] = cotangent.reshape(2, -1) if is_of_elements else cotangent
        got = assay.value(assay.ask(probes.operation_gradient, place=0, **asked))
    else:
        got = assay.value(assay.ask(probes.operation, **asked))
    if is_of_elements and got.shape == given[0].shape:
        got = got.reshape(shape)
    judging.judge(assay, loss, got, is_gradient=is_gradient)


@requirement("LOSS-COMPILED-1", losses.COMPILED_CASES)
def test_compiled(assay: Assay) -> None:
    loss = LOSSES[assay.params["operation"]]
    judging.compiled(assay, loss, **judging.options_of(assay, loss))
