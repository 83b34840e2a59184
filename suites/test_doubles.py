"""float64: do lookups, products and gradients keep all of its bits?"""

from __future__ import annotations

from touchstone.golden import oracle
from touchstone.golden.cases import doubles
from touchstone.suites import exact, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("DOUBLE-1", doubles.CASES)
def test_float64(assay: Assay) -> None:
    weight, looks_up = assay.golden("weight"), exact.looks_up(assay)
    answer, found = assay.value(
        assay.ask(
            probes.answer_and_gradients,
            layer=assay.params["layer"],
            spelling=assay.params.get("spelling"),
            method=assay.params["method"],
            weight=weight,
            bias=assay.bias,
            inputs=assay.golden("ids" if looks_up else "x"),
            cotangent=assay.golden("cotangent"),
        )
    )
    want = oracle.lookup(weight, assay.golden("ids")) if looks_up else oracle.linear(assay.golden("x"), weight)
    assay.same_bits(answer, want if assay.bias is None else want + assay.bias, signed_zero=False)
    for role, value in exact.gradients(assay).items():
        assay.same_bits(found.get(role), value, signed_zero=False)
