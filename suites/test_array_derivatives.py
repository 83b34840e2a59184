"""Second derivatives: is the gradient of a gradient right?"""

from __future__ import annotations

import numpy as np

from touchstone.golden.bounds import unit_roundoff
from touchstone.golden.cases import array_derivatives
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

ROUNDINGS = 64
"""u of the largest second derivative: the rules for two derivatives take some ten calls of 4u and twenty roundings, of
terms that are no larger here. What is wrong with a second derivative is a term of it, which is thousands of times more.
"""


@requirement("ARRAY-SECOND-1", array_derivatives.CASES)
def test_second_derivatives(assay: Assay) -> None:
    points, second = array_derivatives.SECOND[assay.params["operation"]]
    got = assay.value(assay.ask(probes.second_derivative, name=assay.params["operation"], x=points.astype(np.float32)))
    want = second(points)
    bound = np.full(want.shape, ROUNDINGS * unit_roundoff("float32") * np.abs(want).max())
    assay.within(got, want, bound, "float32")
