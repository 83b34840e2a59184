"""Training a Llama: are its loss and gradients right, and is one step of gradient descent?"""

from __future__ import annotations

import numpy as np

from touchstone.golden import llama_bounds
from touchstone.golden.cases import llama as cases
from touchstone.suites.assay import Assay
from touchstone.suites.migration import llamas
from touchstone.suites.requirements import requirement
from touchstone.verdict.observation import Deviates, Observation


def _same_names(got: dict[str, np.ndarray], want: set[str]) -> None:
    if got.keys() != want:
        message = f"missing {sorted(want - got.keys())}, unexpected {sorted(got.keys() - want)}"
        raise Deviates(Observation("other names", False, message=message))


@requirement("LLAMA-GRAD-1", cases.GRADIENT_CASES)
def test_loss_and_gradients(assay: Assay) -> None:
    want, bound = llamas.gradients(assay)
    loss, gradients = llamas.shared_model(assay).loss_and_gradients(assay.golden("ids"))
    got = {**llamas.by_meta(assay, gradients), "loss": loss}
    _same_names(got, set(want))
    for name, value in got.items():
        assay.within(value, want[name], bound[name], "float32", name if name != "loss" else "")


@requirement("LLAMA-SGD-1", cases.STEP_CASES)
def test_one_step(assay: Assay) -> None:
    """Every parameter moves down its gradient, and a tied head with its table."""
    gradient, bound = llamas.gradients(assay)
    before, model = llamas.weights(assay), llamas.model(assay)
    model.loss_and_gradients(assay.golden("ids"))
    model.sgd_step(cases.LEARNING_RATE)
    after = llamas.by_meta(assay, model.parameters())
    _same_names(after, set(before))
    for name, value in after.items():
        want = before[name] - cases.LEARNING_RATE * gradient[name]
        allowed = llama_bounds.sgd_step(before[name], gradient[name], bound[name], cases.LEARNING_RATE)
        assay.within(value, want, allowed, "float32", name)
