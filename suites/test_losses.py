"""Losses: of each element or row, their mean and sum, gradients and options."""

from __future__ import annotations

from touchstone.golden.cases import losses
from touchstone.golden.operations.losses import LOSSES
from touchstone.suites import judging
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("LOSS-VALUES-1", losses.VALUE_CASES)
def test_values(assay: Assay) -> None:
    judging.value(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-REDUCTION-1", losses.REDUCTION_CASES)
def test_reductions(assay: Assay) -> None:
    judging.value(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-OPTIONS-1", losses.OPTION_CASES)
def test_options(assay: Assay) -> None:
    judging.value(assay, LOSSES[assay.params["operation"]])


@requirement("LOSS-GRADIENT-1", losses.GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    judging.gradient(assay, LOSSES[assay.params["operation"]])
