"""Losses: of each element or row, their mean and sum, gradients and options."""

from __future__ import annotations

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import losses
from touchstone.golden.operations.losses import LOSSES
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import moved
from touchstone.suites.requirements import requirement


@requirement("LOSS-VALUES-1", losses.VALUE_CASES)
def test_values(assay: Assay) -> None:
    judging.value(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-REDUCTION-1", [*losses.REDUCTION_CASES, *losses.MATRIX_CASES])
def test_reductions(assay: Assay) -> None:
    shape = tuple(map(int, assay.params["shape"].split("x"))) if "shape" in assay.params else None
    judging.value(assay, LOSSES[assay.params["operation"]], shape)


@requirement("LOSS-OPTIONS-1", losses.OPTION_CASES)
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
    given = [one[rows] for one in judging.operands_of(assay, loss)]
    operands = [np.ascontiguousarray(there(one) if one.ndim == 2 else one.reshape(shape)) for one in given]
    asked = {"name": loss.name, "operands": operands, "axis": axis, "reduction": "none"}
    got = assay.value(assay.ask(probes.operation, **asked))
    want, error = (assay.golden(what)[rows].astype(np.float64).reshape(shape) for what in ("value", "error"))
    assay.within(got, want, error + bounds.rounding(want, "float32"), "float32", "value")
