"""How a case of a plain operation is judged: against NumPy's answer, to the bit or within the roundings it may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases.arrays import dtypes_of
from touchstone.golden.cases.operations import told
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.samples import Sample
from touchstone.golden.rounding import to_dtype
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.verdict.observation import Deviates, Observation

COUNTING = "int64"
"""In which integers are compared whose dtype documentation leaves open."""


def asked_of(assay: Assay) -> tuple[Plain, Sample, Mapping[str, Any]]:
    """The operation, its sample and the options that the case names."""
    plain = PLAIN[assay.params["operation"]]
    name = assay.params.get("of", plain.samples[0].name)
    names = {option for _, options in plain.asked for option in options}
    given = {option: value for option, value in assay.params.items() if option in names - {"dtype"}}
    return next(
        (plain, s, options)
        for s, options in plain.asked
        if s.name == name
        and {option: value for option, value in told(options).items() if option != "dtype"} == given
        and assay.params["dtype"] in dtypes_of(plain, s, options)
    )


def value(assay: Assay) -> None:
    """The result of the case's operands and options."""
    plain, sample, options = asked_of(assay)
    operands = [assay.golden(name) for name in sample.arguments]
    got = assay.value(assay.ask(probes.operation, name=plain.name, operands=operands, **options))
    judge(assay, plain, got, operands, options, sample.regions[assay.params["region"]])


def judge(
    assay: Assay, plain: Plain, got: Any, operands: Sequence[np.ndarray], options: Mapping[str, Any], place: slice
) -> None:
    """One region of an answer, or each of several arrays."""
    layout = str(assay.params.get("layout"))
    wanted = assay.expected(lambda: plain.expected(operands, options), plain.name, str(options), layout)
    answers = got if isinstance(got, list | tuple) else [got]
    if len(answers) != len(wanted):
        message = f"got {len(answers)} arrays, want {len(wanted)}"
        raise Deviates(Observation("another number of arrays", False, message=message))
    for one, want in zip(answers, wanted, strict=True):
        if plain.in_order and one.shape == want.shape:
            one = plain.in_order(one, *operands, **options)
            want = plain.in_order(want, *operands, **options)
        if plain.its_own_integers and isinstance(one, np.ndarray) and one.dtype.kind in "iub":
            one, want = one.astype(COUNTING), want.astype(COUNTING)
        compare(assay, one, want, place, off=plain.off, signed_zeros=plain.signed_zeros)


def compare(
    assay: Assay, got: Any, want: np.ndarray, place: slice = slice(None), *, off: float = 0, signed_zeros: bool = True
) -> None:
    """To the bit, whatever a NaN carries; off: u of the result that it may be away."""
    if isinstance(got, np.ndarray) and got.shape == want.shape and got.dtype == want.dtype:
        got, want = (one.reshape(-1)[place] for one in (got, want))
        if want.dtype.kind not in "iub":
            unknown = np.isnan(got) & np.isnan(want)
            got, want = (np.where(unknown, np.zeros((), one.dtype), one) for one in (got, want))
    if not off or want.dtype.kind in "iub":
        assay.same_bits(got, want, signed_zero=signed_zeros)
        return
    dtype = want.dtype.name
    if isinstance(got, np.ndarray) and got.shape == want.shape:
        same = np.isinf(got) & (got == want)
        got, want = (np.where(same, np.zeros((), one.dtype), one) for one in (got, want))
    exact = want.astype(np.float64)
    bound = off * bounds.unit_roundoff(dtype) * np.abs(exact) + bounds.SMALLEST_SUBNORMAL[dtype] / 2
    assay.within(got, exact, bound, dtype)


def gradient(assay: Assay) -> None:
    """What the argument that the case names gets of a cotangent."""
    plain, sample, _ = asked_of(assay)
    operands, cotangent = [assay.golden(name) for name in sample.arguments], assay.golden("cotangent")
    argument = assay.params["by"]
    asked = {"name": plain.name, "operands": operands, "cotangent": cotangent}
    got = assay.value(assay.ask(probes.operation_gradient, place=list(sample.arguments).index(argument), **asked))
    exact = [one.astype(np.float64) if one.dtype.kind not in "iub" else one for one in (cotangent, *operands)]
    found = plain.slopes[argument](*exact)
    want = to_dtype(_summed(found, assay.golden(argument).shape), cotangent.dtype.name)
    compare(assay, got, want, sample.regions[assay.params["region"]], off=plain.slopes_off, signed_zeros=False)


def _summed(found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Over the axes that an operand of this shape was repeated along: small numbers, whose sums are exact."""
    found = found.sum(tuple(range(found.ndim - len(shape))))
    along = tuple(axis for axis, n in enumerate(shape) if n == 1 and found.shape[axis] != 1)
    return found.sum(along, keepdims=True)


def moved_gradient(assay: Assay) -> None:
    """What one operand gets, each of whose elements is told from the others: sums of the cotangents where it went.

    Where its elements go is found by moving them all by one number: what does not move is no element of it.
    """
    plain, sample, options = asked_of(assay)
    operands, cotangent = [assay.golden(name) for name in sample.arguments], assay.golden("cotangent")
    asked = {"name": plain.name, "operands": operands, "cotangent": cotangent, **options}
    place = list(sample.arguments).index(assay.params.get("by", next(iter(sample.arguments))))
    got = assay.value(assay.ask(probes.operation_gradient, place=place, **asked))
    first, before, after = operands[place], operands[:place], operands[place + 1 :]
    places = np.arange(first.size, dtype=np.float32).reshape(first.shape)
    (here,), (there,) = (plain.expected([*before, first + by, *after], options) for by in map(np.float32, (0, 4096)))
    of_value = dict(zip(first.reshape(-1).tolist(), places.reshape(-1).tolist(), strict=True))
    want = np.zeros(first.size)
    for value, moved, share in zip(*(one.reshape(-1).tolist() for one in (here, there, cotangent)), strict=True):
        if moved != value:
            want[int(of_value[value])] += share
    compare(assay, got, want.astype(np.float32).reshape(first.shape), signed_zeros=False)
