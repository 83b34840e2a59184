"""Operations of arrays: are values and gradients right over the whole range of every dtype, a region at a time?"""

from __future__ import annotations

from touchstone.golden.cases import arrays
from touchstone.golden.operations.arrays import ARRAYS
from touchstone.suites import judging, plainly
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("ARRAY-VALUES-1", [*arrays.VALUE_CASES, *arrays.OPTION_CASES])
def test_values(assay: Assay) -> None:
    judging.value(assay, ARRAYS[assay.params["operation"]])


@requirement("ARRAY-GRADIENT-1", arrays.GRADIENT_CASES)
def test_gradients(assay: Assay) -> None:
    judging.gradient(assay, ARRAYS[assay.params["operation"]])


@requirement("ARRAY-PLAIN-1", arrays.PLAIN_CASES)
def test_plain_values(assay: Assay) -> None:
    plainly.value(assay)


@requirement("ARRAY-GRADIENT-2", arrays.PLAIN_GRADIENT_CASES)
def test_plain_gradients(assay: Assay) -> None:
    plainly.gradient(assay)


@requirement("ARRAY-GRADIENT-3", arrays.MOVE_GRADIENT_CASES)
def test_gradients_of_moves(assay: Assay) -> None:
    plainly.moved_gradient(assay)
