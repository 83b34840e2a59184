"""Initializers: is what they give a draw from the documented distribution, of the right scale, dtype and seed?"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden.cases import initializers as cases
from touchstone.golden.operations.initializers import INITIALIZERS, fans
from touchstone.golden.streams import DTYPES
from touchstone.suites import draws
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

SEED = 7


def _ask(assay: Assay, seed: int = SEED, times: int = 1, before: Sequence[tuple[int, ...]] = ()) -> Outcome:
    dtype = None if assay.params["dtype"] == cases.DEFAULT else assay.params["dtype"]
    return assay.ask(
        draws.initialized,
        name=assay.params["initializer"],
        shapes=[*before, *[cases.shape(assay.case)] * times],
        dtype=dtype,
        seed=seed,
        options=cases.options(assay.case),
    )


def _drawn(assay: Assay, seed: int = SEED, times: int = 1) -> list[np.ndarray]:
    """Weights of the shape and the dtype that the case asks for; where they have others, the case ends there."""
    found: list[np.ndarray] = assay.value(_ask(assay, seed, times))
    shape, dtype = cases.shape(assay.case), assay.params["dtype"]
    for one in found:
        if one.shape != shape:
            assay.behaves("another shape", conforms=False, message=f"got {one.shape}, want {shape}")
        if one.dtype.name != ("float32" if dtype == cases.DEFAULT else dtype):
            assay.behaves("another dtype", conforms=False, message=f"got {one.dtype.name}, want {dtype}")
    return found


def _follows_its_distribution(assay: Assay) -> None:
    (weight,) = _drawn(assay)
    _judge(assay, weight)


def _judge(assay: Assay, weight: np.ndarray) -> None:
    shape, record = cases.shape(assay.case), INITIALIZERS[assay.params["initializer"]]
    found = draws.nearest(weight, record.laws(shape, cases.options(assay.case)))
    message = "; ".join(one.message for one in found)
    if found:
        message = f"{message}; {record.formula}, fan_in {fans(shape)[0]}, fan_out {fans(shape)[1]}"
    assay.behaves(found[0].behaviour if found else "as documented", conforms=not found, message=message)


@requirement("INITIALIZER-DISTRIBUTION-1", cases.DISTRIBUTION_CASES)
def test_distributions(assay: Assay) -> None:
    _follows_its_distribution(assay)


@requirement("INITIALIZER-CONSTANT-1", cases.CONSTANT_CASES)
def test_constants(assay: Assay) -> None:
    (weight,) = _drawn(assay)
    want = np.full(cases.shape(assay.case), assay.params["value"], np.float64).astype(weight.dtype)
    assay.same_bits(weight, want)


@requirement("INITIALIZER-FAN-1", cases.FAN_CASES)
def test_fans(assay: Assay) -> None:
    _follows_its_distribution(assay)


@requirement("INITIALIZER-REUSED-1", cases.REUSED_CASES)
def test_a_second_shape(assay: Assay) -> None:
    """Of the same initializer, which has filled a small weight before."""
    *_, weight = assay.value(_ask(assay, before=[cases.SMALL]))
    _judge(assay, weight)


@requirement("INITIALIZER-GAIN-1", cases.GAIN_CASES)
def test_gains(assay: Assay) -> None:
    _follows_its_distribution(assay)


@requirement("INITIALIZER-HALF-1", cases.HALF_CASES)
def test_half_precision(assay: Assay) -> None:
    _follows_its_distribution(assay)


def _only(assay: Assay, named: dict[str, dict[str, Any]], *, by_form: bool = False) -> None:
    """Record which one of several distributions fits, each by the options that make it; or by its form."""
    (weight,) = _drawn(assay)
    shape, record = cases.shape(assay.case), INITIALIZERS[assay.params["initializer"]]
    left, told = [], []
    for name, options in named.items():
        for law in record.laws(shape, options):
            label = FORMS[law.form] if by_form else name
            found = draws.departures(weight, law)
            left += [] if found else [label]
            told += [f"not {label}: {found[0].message}"] if found else []
    assay.behaves(" or ".join(dict.fromkeys(left)) or "none of those considered", message="; ".join(told))


FORMS = {"normal": "not truncated", "truncated normal": "truncated at two standard deviations"}


@requirement("INITIALIZER-TRUNCATION-1", cases.TRUNCATION_CASES)
def test_truncation(assay: Assay) -> None:
    _only(assay, {"": cases.options(assay.case)}, by_form=True)


_HE = {
    f"{told}, {mode}": {"gain": gain, "mode": mode}
    for told, gain in (("gain 1", 1.0), ("gain sqrt(2)", sqrt(2)))
    for mode in ("fan_in", "fan_out")
}
_GLOROT = {"gain 1": {"gain": 1.0}, "gain sqrt(2)": {"gain": sqrt(2)}}
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "normal": {"N(0, 1)": {"std": 1.0}, "N(0, 0.01**2)": {"std": 0.01}},
    "uniform": {"U(0, 1)": {"high": 1.0}, "U(0, 0.01)": {"high": 0.01}},
    "glorot_normal": _GLOROT,
    "glorot_uniform": _GLOROT,
    "he_normal": _HE,
    "he_uniform": _HE,
}
"""What an initializer may draw from where it is given no option."""


@requirement("INITIALIZER-DEFAULT-1", cases.DEFAULT_CASES)
def test_defaults(assay: Assay) -> None:
    _only(assay, DEFAULTS[assay.params["initializer"]])


@requirement("INITIALIZER-DTYPE-1", cases.DTYPE_CASES)
def test_dtypes(assay: Assay) -> None:
    (weight,) = _drawn(assay)
    assay.behaves(weight.dtype.name)


@requirement("INITIALIZER-SEED-1", cases.SEED_CASES)
def test_seeds(assay: Assay) -> None:
    first, again, other = (_drawn(assay, seed)[0].tobytes() for seed in (SEED, SEED, SEED + 1))
    behaviour = "does not repeat" if first != again else "ignores the seed" if first == other else "repeats"
    assay.behaves(behaviour, conforms=behaviour == "repeats")


@requirement("INITIALIZER-APART-1", cases.APART_CASES)
def test_two_draws_are_independent(assay: Assay) -> None:
    """Of two weights from one generator, and of the parts of one, none tells another."""
    first, second = _drawn(assay, times=2)
    laws = INITIALIZERS[assay.params["initializer"]].laws(first.shape, cases.options(assay.case))
    found = draws.alike(first, second, laws[0])
    message = "; ".join(one.message for one in found)
    assay.behaves(found[0].behaviour if found else "independent", conforms=not found, message=message)


def _eye(assay: Assay) -> np.ndarray:
    rows, columns = cases.shape(assay.case)
    return np.eye(rows, columns, dtype=DTYPES[assay.params["dtype"]])


@requirement("INITIALIZER-IDENTITY-1", cases.IDENTITY_CASES)
def test_the_identity(assay: Assay) -> None:
    (weight,) = _drawn(assay)
    assay.same_bits(weight, _eye(assay))


@requirement("INITIALIZER-IDENTITY-2", cases.RECTANGLE_CASES)
def test_the_identity_of_a_rectangle(assay: Assay) -> None:
    outcome = _ask(assay)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    right = _drawn(assay)[0].tobytes() == _eye(assay).tobytes()
    assay.behaves("ones on the diagonal" if right else "another matrix")


@requirement("INITIALIZER-SHAPE-1", cases.REFUSED_CASES)
def test_shapes_without_the_axes(assay: Assay) -> None:
    outcome = _ask(assay)
    refused = outcome.kind == "raised" and outcome.behaviour == "raises ValueError"
    assay.behaves(outcome.behaviour if outcome.kind != "value" else "not refused", conforms=refused)


@requirement("INITIALIZER-EMPTY-1", cases.EMPTY_CASES)
def test_shapes_without_elements(assay: Assay) -> None:
    _drawn(assay)
    assay.behaves("empty")
