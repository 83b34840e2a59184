"""Functions of arrays: are values and gradients right over the whole range of each dtype, a region at a time?"""

from __future__ import annotations

import numpy as np

from touchstone.golden import bounds
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
    operation = FUNCTIONS[assay.params["operation"]]
    alpha = assay.golden("alpha")
    place = operation.sample.regions["ordinary"]
    rows = slice(place.start // alpha.size, place.stop // alpha.size)
    x, cotangent = (assay.golden(name)[rows] for name in ("x", "cotangent"))
    asked = {"name": operation.name, "operands": [x, alpha], "cotangent": cotangent}
    got = assay.value(assay.ask(probes.operation_gradient, place=1, **asked))
    terms = cotangent.astype(np.float64) * np.minimum(x, 0).astype(np.float64)
    bound = bounds.gamma(len(x) + 1, bounds.unit_roundoff("float32")) * np.abs(terms).sum(0)
    assay.within(got, terms.sum(0), bound, "float32")
