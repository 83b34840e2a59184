"""Generated products: are linear layers, tied heads and their gradients right for whatever is drawn?"""

from __future__ import annotations

from touchstone.golden.cases import generated
from touchstone.suites.assay import Assay
from touchstone.suites.generated import linear
from touchstone.suites.generated.explore import explore
from touchstone.suites.requirements import requirement


@requirement("LIN-ERROR-1", generated.LINEAR_CASES)
def test_linear(assay: Assay) -> None:
    explore(assay, linear.LINEAR)


@requirement("LIN-EXACT-1", generated.LINEAR_CASES)
def test_exact_linear(assay: Assay) -> None:
    explore(assay, linear.EXACT)


@requirement("TIED-ERROR-1", generated.TIED_CASES)
def test_tied_head(assay: Assay) -> None:
    explore(assay, linear.TIED)


@requirement("GRAD-LINEAR-1", generated.LINEAR_GRADIENT_CASES)
def test_linear_gradients(assay: Assay) -> None:
    explore(assay, linear.GRADIENT)
