"""A Llama's operations one by one: is each right, given the inputs that float64 found for it?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from touchstone.golden import llama, llama_bounds, rounding
from touchstone.golden.cases import llama as cases
from touchstone.golden.llama import Step
from touchstone.suites.assay import Assay
from touchstone.suites.migration import llamas
from touchstone.suites.requirements import requirement

_WEIGHTS = {"linear": 1, "rms_norm": 1, "embedding": 0}
"""Which input of an operation is a weight, which the model holds itself."""


def _rounded(step: Step, dtype: str, **settings: int) -> Step:
    """The operation on its inputs rounded to the dtype, carried out in float64."""
    inputs = tuple(_round(x, dtype).astype(np.float64) if x.dtype.kind == "f" else x for x in step.inputs)
    changed = {**step.settings, **settings}
    return replace(step, inputs=inputs, settings=changed, output=llama.KINDS[step.kind].function(*inputs, **changed))


def _round(values: np.ndarray, dtype: str) -> np.ndarray:
    return rounding.to_dtype(values, dtype)


def _ask(assay: Assay, step: Step, **settings: int) -> np.ndarray:
    """What the target's model makes of the step's inputs."""
    dtype = assay.params["dtype"]
    given = [x for i, x in enumerate(step.inputs) if i != _WEIGHTS.get(step.kind)]
    placed = [_round(x, dtype) if x.dtype.kind == "f" else x.astype(np.int32) for x in given]
    return llamas.operation(assay, step.name, llamas.shared_model(assay, dtype))(*placed, **settings)


@requirement("LLAMA-EXACT-1", cases.EXACT_CASES)
def test_lookups_and_sums(assay: Assay) -> None:
    dtype = assay.params["dtype"]
    step = _rounded(llamas.step(assay, assay.params["operation"]), dtype)
    exact = rounding.add_to_odd(*step.inputs) if step.kind == "add" else step.output
    assay.same_bits(_ask(assay, step), _round(exact, dtype))


@requirement("LLAMA-OP-1", cases.BOUNDED_CASES)
def test_operations(assay: Assay) -> None:
    dtype = assay.params["dtype"]
    step = _rounded(llamas.step(assay, assay.params["operation"]), dtype)
    assay.within(_ask(assay, step), step.output, llama_bounds.of(step, dtype), dtype)


@requirement("LLAMA-ROPE-1", cases.OFFSET_CASES)
def test_rotation_from_an_offset(assay: Assay) -> None:
    dtype, offset = assay.params["dtype"], assay.params["offset"]
    step = _rounded(llamas.step(assay, assay.params["operation"]), dtype, offset=offset)
    assay.within(_ask(assay, step, offset=offset), step.output, llama_bounds.of(step, dtype), dtype)


@requirement("LLAMA-LOSS-1", cases.LOSS_CASES)
def test_the_loss(assay: Assay) -> None:
    step = _rounded(llamas.step(assay, assay.params["operation"]), "float32")
    assay.within(_ask(assay, step), step.output, llama_bounds.of(step, "float32"), "float32")
