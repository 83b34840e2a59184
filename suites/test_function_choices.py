"""What documentation leaves open of a function: in which precision it runs, its slope at a kink, integers, defaults."""

from __future__ import annotations

import numpy as np

from touchstone.golden.cases import function_choices
from touchstone.golden.operations.functions import BY_DEFAULT, FUNCTIONS
from touchstone.suites import judging, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

CLOSE = 1e-5
"""Relative: far above the rounding of float32, far below what tells one slope or value from another."""


@requirement("FUN-CLASS-1", function_choices.CLASS_CASES)
def test_precision_inside(assay: Assay) -> None:
    operation = FUNCTIONS[assay.params["operation"]]
    got = assay.value(assay.ask(probes.operation, name=operation.name, operands=[assay.golden("x")]))
    judging.precision(assay, operation, got)


@requirement("FUN-CLASS-2", function_choices.GRADIENT_CLASS_CASES)
def test_precision_inside_gradients(assay: Assay) -> None:
    operation = FUNCTIONS[assay.params["operation"]]
    asked = {"name": operation.name, "operands": [assay.golden("x")], "cotangent": assay.golden("cotangent")}
    judging.precision(assay, operation, assay.value(assay.ask(probes.operation_gradient, place=0, **asked)))


@requirement("FUN-KINK-1", function_choices.KINK_CASES)
def test_slope_at_a_kink(assay: Assay) -> None:
    operation, kink = FUNCTIONS[assay.params["operation"]], assay.params["at"]
    x, cotangent = assay.golden("x"), assay.golden("cotangent")
    got = assay.value(
        assay.ask(probes.operation_gradient, name=operation.name, operands=[x], place=0, cotangent=cotangent)
    )
    slopes, knots = got / cotangent, operation.sample.regions["knots"]
    at = np.flatnonzero(x[knots] == kink)[0] + knots.start
    beside = assay.golden("value") / cotangent
    sides = [beside[x == np.nextafter(np.float32(kink), np.float32(to))][0] for to in (-np.inf, np.inf)]
    slope = float(slopes[at])
    is_between = min(sides) - CLOSE <= slope <= max(sides) + CLOSE
    message = f"slope {slope:.6g} at {kink:g}, {sides[0]:.6g} before and {sides[1]:.6g} after it"
    is_side = {"that before it": abs(slope - sides[0]) <= CLOSE, "that after it": abs(slope - sides[1]) <= CLOSE}
    which = next((name for name, holds in is_side.items() if holds), "between")
    assay.behaves(which if is_between else "outside of both", conforms=bool(is_between), message=message)


@requirement("FUN-INTEGER-1", function_choices.INTEGER_CASES)
def test_integers(assay: Assay) -> None:
    operation = FUNCTIONS[assay.params["operation"]]
    x = assay.golden("x").astype(np.float64)
    chosen = np.flatnonzero(np.isfinite(x) & (x == np.rint(x)) & (np.abs(x) <= 20))
    outcome = assay.ask(probes.operation, name=operation.name, operands=[x[chosen].astype(np.int32)])
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), message=outcome.message)
        return
    got, want = outcome.value, assay.golden("value")[chosen]
    right = got.shape == want.shape and np.allclose(got.astype(np.float64), want, rtol=CLOSE, atol=CLOSE)
    shown = got.dtype.name if right else f"wrong values in {got.dtype.name}"
    assay.behaves(shown, conforms=bool(right), message=f"{operation.name} of int32")


@requirement("FUN-DEFAULT-1", function_choices.DEFAULT_CASES)
def test_defaults(assay: Assay) -> None:
    name = assay.params["operation"]
    got = assay.value(assay.ask(probes.operation, name=name, operands=[assay.golden("x")]))
    place = FUNCTIONS[next(iter(BY_DEFAULT[name].values()))].sample.regions["ordinary"]
    found = judging.chosen(assay, got, BY_DEFAULT[name], place)
    assay.behaves(found or "another function", conforms=bool(found))


@requirement("FUN-RANGE-1", function_choices.RANGE_CASES)
def test_options_beyond_their_range(assay: Assay) -> None:
    judging.beyond_its_range(assay, FUNCTIONS[assay.params["operation"]])
