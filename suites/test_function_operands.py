"""Functions along another axis, of operands in unusual layouts, of no element or no axis, and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import function_operands
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.operations.samples import HALVES, NUMBERS
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import Move, lay_out, moved
from touchstone.suites.requirements import requirement


def _is_of_a_gradient(assay: Assay) -> bool:
    return bool(assay.params["result"] == "gradient")


def _answer(assay: Assay, arranged: Move, **asked: Any) -> Any:
    """The result that the case is about; arranged: its cotangent as the operand is."""
    if not _is_of_a_gradient(assay):
        return assay.value(assay.ask(probes.operation, **asked))
    cotangent = arranged(assay.golden("cotangent"))
    return assay.value(assay.ask(probes.operation_gradient, place=0, cotangent=cotangent, **asked))


@requirement("FUN-AXIS-1", function_operands.AXIS_CASES)
def test_axes(assay: Assay) -> None:
    operation = FUNCTIONS[assay.params["operation"]]
    axis, there, back = moved(assay.params["axis"])
    x = np.ascontiguousarray(there(assay.golden("x")))
    asked = {"name": operation.name, "operands": [x], function_operands.PLACES[assay.params["axis"]]: axis}
    halved = operation.sample is HALVES
    got = _answer(assay, lambda cotangent: np.ascontiguousarray(there(cotangent)), **asked)
    shape = tuple(n // 2 if halved and at == axis else n for at, n in enumerate(x.shape))
    if isinstance(got, np.ndarray) and got.shape == shape:
        got = back(got)
    judging.judge(assay, operation, got)


@requirement("FUN-AXIS-1", function_operands.EVERY_AXIS_CASES)
def test_every_axis_at_once(assay: Assay) -> None:
    """Of the first row, as a matrix; the others are taken for right."""
    operation, x = FUNCTIONS[assay.params["operation"]], assay.golden("x")
    got = assay.value(assay.ask(probes.operation, name=operation.name, operands=[x[0].reshape(6, -1)], axis=None))
    answer = assay.golden("value").astype(x.dtype)
    if got.size == answer[0].size:
        answer[0] = got.reshape(-1)
    judging.judge(assay, operation, answer if got.shape == (6, x.shape[1] // 6) else got)


@requirement("FUN-LAYOUT-1", function_operands.LAYOUT_CASES)
def test_layouts(assay: Assay) -> None:
    operation, x = FUNCTIONS[assay.params["operation"]], assay.golden("x")
    given = x.reshape(2, -1) if operation.sample is NUMBERS else x
    asked = {"name": operation.name, "operands": [lay_out(given, assay.params["layout"], filler=3.0)]}
    got = _answer(assay, lambda cotangent: cotangent.reshape(given.shape), **asked)
    if isinstance(got, np.ndarray) and got.shape == given.shape:
        got = got.reshape(x.shape)
    judging.judge(assay, operation, got, is_gradient=_is_of_a_gradient(assay))


@requirement("FUN-INPLACE-1", function_operands.IN_PLACE_CASES)
def test_in_place(assay: Assay) -> None:
    """What the operand holds afterwards."""
    operation, x = FUNCTIONS[assay.params["operation"]], assay.golden("x")
    given = x.reshape(2, -1)
    laid_out = lay_out(given.copy(), assay.params["layout"], filler=3.0)
    got = assay.value(assay.ask(probes.operation, name=f"{operation.name} in place", operands=[laid_out]))
    judging.judge(assay, operation, got.reshape(x.shape) if got.shape == given.shape else got)


@requirement("FUN-EMPTY-1", function_operands.EMPTY_CASES)
def test_no_element_or_axis(assay: Assay) -> None:
    operation = FUNCTIONS[assay.params["operation"]]
    shape = {"no element": (0,), "no row": (0, 3), "no axis": ()}[assay.params["shape"]]
    x = np.ones(shape, np.float32)
    got = assay.value(assay.ask(probes.operation, name=operation.name, operands=[x]))
    is_one = assay.golden("x") == 1
    want, error = (assay.golden(what)[is_one][:1].astype(np.float64) for what in ("value", "error"))
    value = np.resize(want, shape) if shape == () else np.zeros(shape)
    assay.within(got, value, np.resize(error, shape) + bounds.rounding(value, "float32"), "float32")


@requirement("FUN-COMPILED-1", function_operands.COMPILED_CASES)
def test_compiled(assay: Assay) -> None:
    judging.compiled(assay, FUNCTIONS[assay.params["operation"]])
