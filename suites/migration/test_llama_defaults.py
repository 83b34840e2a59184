"""Defaults that a Llama's layers have where nothing is said: does a norm add the same epsilon everywhere?"""

from __future__ import annotations

import numpy as np

from touchstone.golden.cases import llama as cases
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("LLAMA-EPS-1", cases.DEFAULT_CASES)
def test_the_epsilon_of_a_norm(assay: Assay) -> None:
    """y = x / sqrt(x² + ε) where every x is the same, so that ε = (x / y)² - x²."""
    x = assay.golden("x")
    layer = assay.adapter.construct(assay.params["layer"], x.shape[-1:], seed=0)
    y = layer(x).astype(np.float64)
    found = {f"{(cases.TINY / value) ** 2 - cases.TINY**2:.3g}" for value in y.reshape(-1)}
    assay.behaves(", ".join(sorted(found)))
