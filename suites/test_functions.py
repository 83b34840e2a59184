"""Functions of arrays: are values and gradients right over the whole range of each dtype, a region at a time?"""

from __future__ import annotations

from touchstone.golden.cases import functions
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("FUN-VALUES-1", functions.VALUE_CASES)
def test_values(assay: Assay) -> None:
    judging.value(assay, FUNCTIONS[assay.params["operation"]])


@requirement("FUN-OPTIONS-1", functions.OPTION_CASES)
def test_options(assay: Assay) -> None:
    judging.value(assay, FUNCTIONS[assay.params["operation"]])


@requirement("FUN-GRADIENT-1", functions.GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    judging.gradient(assay, FUNCTIONS[assay.params["operation"]])


@requirement("FUN-GRADIENT-1", functions.SLOPE_CASES)
def test_gradients_of_slopes(assay: Assay) -> None:
    """Each is a sum over the rows."""
    given, want, bound = judging.slopes(assay)
    got = assay.value(assay.ask(probes.operation_gradient, name=assay.params["operation"], place=1, **given))
    assay.within(got, want, bound, "float32")
