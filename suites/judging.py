"""How a case of an operation is judged: one region of its result, by the error of who computes it as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases.operations import told
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Sample
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.verdict.observation import Deviates, Observation


def sample_of(assay: Assay, operation: Operation) -> Sample:
    """The sample that the case is about."""
    name = assay.params.get("of", operation.sample.name)
    return next(one for one in operation.samples if one.name == name)


def options_of(assay: Assay, operation: Operation) -> Mapping[str, Any]:
    """The options that the case names."""
    names = {name for options in operation.every_option for name in options}
    given = {name: value for name, value in assay.params.items() if name in names}
    return next(options for options in operation.every_option if told(options) == given)


def operands_of(assay: Assay, operation: Operation) -> list[np.ndarray]:
    """The arrays that the operation takes, in their order."""
    return [assay.golden(name) for name in sample_of(assay, operation).arguments]


def value(assay: Assay, operation: Operation, shape: tuple[int, ...] | None = None) -> None:
    """The result of the case's operands and options; shape: that the operands are given in."""
    operands = operands_of(assay, operation)
    operands = operands if shape is None else [one.reshape(shape) for one in operands]
    given = options_of(assay, operation)
    got = assay.value(assay.ask(probes.operation, name=operation.name, operands=operands, **given))
    judge(assay, operation, got)


def gradient(assay: Assay, operation: Operation) -> None:
    """What the first operand gets of a cotangent, or the one that the case names, where there is a slope."""
    asked = {"name": operation.name, "operands": operands_of(assay, operation), "cotangent": assay.golden("cotangent")}
    names, given = list(sample_of(assay, operation).arguments), options_of(assay, operation)
    place = names.index(assay.params.get("by", names[0]))
    got = assay.value(assay.ask(probes.operation_gradient, place=place, **asked, **given))
    judge(assay, operation, got, is_gradient=True)


def judge(assay: Assay, operation: Operation, got: Any, *, is_gradient: bool = False) -> None:
    """One region of an answer, within the error that is stored beside what is right and one rounding more.

    is_gradient: what it is at a kink, or so near one that a rounding leads there, and at operands that are not finite,
    is not judged here.
    """
    sample, dtype = sample_of(assay, operation), operation.inside or assay.params["dtype"]
    want, error = assay.golden("value"), assay.golden("error").astype(np.float64)
    bound = 0 * error if sample.exact and not is_gradient else error + bounds.rounding(want, dtype)
    if isinstance(got, np.ndarray) and got.shape == want.shape:
        place = sample.regions[assay.params["region"]]
        if place == slice(0, prod(sample.result)):
            place = slice(None)
        elif is_gradient and (row := want.size // prod(sample.result)) > 1:
            place = slice(place.start * row, place.stop * row)
        first = assay.golden(next(iter(sample.arguments))).astype(np.float64)
        alike = first.shape == want.shape
        no_value = np.isin(first, operation.no_value_at) if alike else np.zeros(want.shape, bool)
        free = ~_has_a_slope(first, operation.kinks, dtype) if alike and is_gradient else np.zeros(want.shape, bool)
        got, want, bound, no_value, free = (one.reshape(-1)[place] for one in (got, want, bound, no_value, free))
        right = free | _is_right_without_a_number(got.astype(np.float64), want, bound, no_value, bounds.overflow(dtype))
        got, want = np.where(right, 0, got.astype(np.float64)).astype(got.dtype), np.where(right, 0, want)
    assay.within(got, want, bound, dtype, "value")


def slopes(assay: Assay) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Operands and cotangent of a PReLU, and what its slopes get: a sum over ordinary rows, and its bound."""
    alpha, place = assay.golden("alpha"), FUNCTIONS["prelu"].sample.regions["ordinary"]
    rows = slice(place.start // alpha.size, place.stop // alpha.size)
    x, cotangent = (assay.golden(name)[rows] for name in ("x", "cotangent"))
    terms = cotangent.astype(np.float64) * np.minimum(x, 0).astype(np.float64)
    bound = bounds.gamma(len(x) + 1, bounds.unit_roundoff("float32")) * np.abs(terms).sum(0)
    return {"operands": [x, alpha], "cotangent": cotangent}, terms.sum(0), bound


def compiled(assay: Assay, operation: Operation, **options: Any) -> None:
    """Two answers under the case's compiler: the first is right, and the second the same."""
    asked = {"name": operation.name, "operands": operands_of(assay, operation), "compiler": assay.params["compiler"]}
    first, second = assay.value(assay.ask(probes.compiled_operation, **asked, **options))
    judge(assay, operation, first)
    if not np.array_equal(first, second, equal_nan=True):
        raise Deviates(Observation("another second answer", False, message="the compiled function answers otherwise"))


def precision(assay: Assay, operation: Operation, got: np.ndarray) -> None:
    """Whether one region of an answer of a half dtype is as of a computation inside float32, rounded once."""
    dtype, place = assay.params["dtype"], sample_of(assay, operation).regions[assay.params["region"]]
    want, finely = (assay.golden(what).astype(np.float64) for what in ("value", "error in float32"))
    inside = np.zeros(1, bool)
    if got.shape == want.shape:
        got, want, finely = (one.astype(np.float64).reshape(-1)[place] for one in (got, want, finely))
        inside = np.abs(got - want) <= finely + bounds.rounding(want, dtype)
    assay.behaves(f"computed in {'float32' if inside.all() else 'the dtype'}", message=f"{operation.name} of {dtype}")


def chosen(assay: Assay, got: np.ndarray, choices: Iterable[str], place: slice | tuple[()] = ()) -> str:
    """Which of several right answers this is in `place`, empty where it is none; their roles: "value of mean"."""
    for choice in choices:
        want, error = (assay.golden(f"{what} of {choice}").astype(np.float64) for what in ("value", "error"))
        bound = error + bounds.rounding(want, "float32")
        if (np.abs(got.astype(np.float64) - want) <= bound)[place].all():
            return choice
    return ""


def beyond_its_range(assay: Assay, operation: Operation) -> None:
    """Of an option that its page does not allow: what the formula gives, another value, or an exception's class."""
    asked = {"name": operation.name, "operands": operands_of(assay, operation), **options_of(assay, operation)}
    outcome = assay.ask(probes.operation, **asked)
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), message=outcome.message)
        return
    place = sample_of(assay, operation).regions[assay.params["region"]]
    got, want = (one[place].astype(np.float64) for one in (outcome.value, assay.golden("value")))
    bound = assay.golden("error")[place].astype(np.float64) + bounds.rounding(want, "float32")
    with np.errstate(invalid="ignore"):
        right = (np.abs(got - want) <= bound) | (got == want) | (np.isnan(got) & np.isnan(want))
    assay.behaves("as the formula" if right.all() else "another value", message=f"{int((~right).sum())} differ")


def _has_a_slope(x: np.ndarray, kinks: tuple[float, ...], dtype: str) -> np.ndarray:
    """Where a function has a slope, and an argument that is moved by two units in the last place has the same."""
    near = 4 * bounds.unit_roundoff(dtype)
    away = [np.abs(x - kink) > near * abs(kink) for kink in kinks]
    return np.isfinite(x) & np.logical_and.reduce([np.ones(x.shape, bool), *away])


def _is_right_without_a_number(
    got: np.ndarray, want: np.ndarray, bound: np.ndarray, no_value: np.ndarray, overflow: float
) -> np.ndarray:
    """Where NaN or infinity is a right answer: infinity, of what may be rounded to it."""
    nan = np.isnan(got) & (np.isnan(want) | no_value)
    with np.errstate(invalid="ignore"):
        return nan | (np.isinf(got) & (np.sign(got) == np.sign(want)) & (np.abs(want) + bound >= overflow))
