"""Do the layers of a list keep their order, in use, in files and in copies?"""

from __future__ import annotations

import numpy as np

from touchstone.golden.cases import sequences
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("STATE-LIST-1", sequences.STACKED_CASES)
def test_lists_of_layers(assay: Assay) -> None:
    weights = [assay.golden(f"weight {number}") for number in range(sequences.STACKED)]
    x, model = assay.golden("x"), assay.adapter.layer("stack", weights)
    if assay.params["first"] == "save":
        other = assay.adapter.layer("stack", [np.zeros_like(weight) for weight in weights])
        probes.hand_over(model, other)
        model = other
    if assay.params["first"] == "copy":
        for how in sorted(assay.target.cls.capabilities.copying):
            model = model.copied(how)
    want = x
    for weight in weights:
        want = want @ weight.T
    assay.same_bits(model(x), want, signed_zero=False)
