"""Are operations of arrays held to what they are: does each of these faults turn its own requirement red?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_functions import questions
from tests.test_planted_defects import Planted
from touchstone.golden.operations import precise
from touchstone.golden.operations.arrays import ARRAYS
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


Operation = Callable[..., Any]


@dataclass(frozen=True)
class Fault:
    """What an adapter does instead of one operation, and a requirement that has to turn red.

    only: a parameter of the cases that turn red, where it is not all of them.
    """

    requirement: str
    operation: str
    instead: Callable[..., Any]
    """Of the real operation, the operands and the options."""
    only: tuple[str, Any] = ("operation", "")
    method: str = "operation"
    """Which answer of the adapter it is about; the first parameter after the name holds the operands."""


def _without(option: str, real: Operation, *operands: Any, **options: Any) -> Any:
    return real(*operands, **{name: value for name, value in options.items() if name != option})


def _changed(change: Callable[[np.ndarray], np.ndarray], real: Operation, *operands: Any, **options: Any) -> Any:
    return change(real(*operands, **options))


def _of_contiguous(real: Operation, *operands: Any, **options: Any) -> Any:
    """The base of a view is read in its own order."""
    given = [one if isinstance(one, np.ndarray) else one.base.reshape(-1)[: one.value().size] for one in operands]
    shapes = [one.shape for one in operands]
    return real(*(one.reshape(shape) for one, shape in zip(given, shapes, strict=True)), **options)


FAULTS: dict[str, Fault] = {
    "an axis ignored": Fault("ARRAY-PLAIN-1", "sum", partial(_without, "axis"), ("axis", 0)),
    "keepdims ignored": Fault("ARRAY-PLAIN-1", "max", partial(_without, "keepdims"), ("keepdims", True)),
    "ddof ignored": Fault("ARRAY-PLAIN-1", "var", partial(_without, "ddof"), ("ddof", 1)),
    "NaN taken for the smallest number": Fault(
        "ARRAY-PLAIN-1",
        "maximum",
        lambda real, a, b: np.fmax(a, b),
        ("region", "special"),
    ),
    "a sign of zero lost": Fault("ARRAY-PLAIN-1", "floor", partial(_changed, lambda y: y + 0), ("region", "special")),
    "a rounding in half precision": Fault(
        "ARRAY-PLAIN-1",
        "add",
        lambda real, a, b: real(a, b).astype(np.float16).astype(a.dtype),
        ("dtype", "float32"),
    ),
    "integers that saturate": Fault(
        "ARRAY-PLAIN-1",
        "multiply",
        lambda real, a, b: (
            np.clip(a.astype(np.float64) * b.astype(np.float64), -128, 127).astype(a.dtype)
            if a.dtype == np.int8
            else real(a, b)
        ),
        ("dtype", "int8"),
    ),
    "a remainder of the dividend's sign": Fault(
        "ARRAY-PLAIN-1", "remainder", lambda real, a, b: np.fmod(a, b).astype(a.dtype), ("region", "ordinary")
    ),
    "ties in another order": Fault(
        "ARRAY-PLAIN-1",
        "stable argsort",
        lambda real, x, **options: (
            x.shape[-1] - 1 - np.argsort(x[..., ::-1], kind="stable") if x.dtype.kind == "f" else real(x, **options)
        ),
    ),
    "the last of two largest": Fault(
        "ARRAY-PLAIN-1",
        "argmax",
        lambda real, x, **options: x.size - 1 - np.argmax(x.reshape(-1)[::-1]) if not options else real(x, **options),
    ),
    "a pattern without its transposition": Fault(
        "ARRAY-PLAIN-1",
        "einsum",
        lambda real, *operands, subscripts: (
            real(*operands, subscripts=subscripts.replace("->ki", "->ik"))
            if subscripts == "ij,kj->ki"
            else real(*operands, subscripts=subscripts)
        ),
        ("subscripts", "ij,kj->ki"),
    ),
    "beta ignored": Fault("ARRAY-PLAIN-1", "addmm", partial(_without, "beta"), ("beta", 0.5)),
    "a value of half precision": Fault(
        "ARRAY-VALUES-1",
        "sin",
        lambda real, x: np.sin(x.astype(np.float16)).astype(x.dtype),
        ("dtype", "float32"),
    ),
    "a mean in its dtype": Fault(
        "ARRAY-VALUES-1",
        "mean of rows",
        lambda real, x: np.array(
            [np.add.accumulate(row.astype(np.float16))[-1] / np.float16(len(row)) for row in x]
        ).astype(x.dtype),
        ("dtype", "float16"),
    ),
    "a scan of half precision": Fault(
        "ARRAY-VALUES-1",
        "cumsum of rows",
        lambda real, x: np.add.accumulate(x, -1, dtype=x.dtype),
        ("dtype", "float16"),
    ),
    "another dtype": Fault("ARRAY-DTYPE-1", "add", partial(_changed, lambda y: y.astype(np.float32)), ("a", "float16")),
    "a scalar that widens": Fault(
        "ARRAY-SCALAR-1", "multiply", partial(_changed, lambda y: y.astype(np.float32)), ("dtype", "float16")
    ),
    "another half of the middle": Fault(
        "ARRAY-MEDIAN-1", "median", lambda real, x, axis: np.median(x.astype(np.float32), axis).astype(x.dtype)
    ),
    "shapes that are cut to fit": Fault(
        "ARRAY-REFUSE-1",
        "add",
        lambda real, a, b: real(a[: len(b)], b[: len(a)]) if a.ndim == 1 and b.ndim == 1 else real(a, b),
    ),
    "strides ignored": Fault("ARRAY-LAYOUT-1", "abs", _of_contiguous, ("layout", "strided")),
    "an order of axes ignored": Fault("ARRAY-LAYOUT-1", "sum", _of_contiguous, ("layout", "strided")),
    "an index that is clamped": Fault(
        "ARRAY-OUTSIDE-1",
        "take",
        lambda real, operands, **options: real([operands[0], np.clip(operands[1], 0, 4)], **options),
        method="whole operation",
    ),
    "a gradient that goes to the wrong half": Fault(
        "ARRAY-GRADIENT-3",
        "roll",
        lambda real, operands, **options: real(operands, **options)[::-1].copy(),
        method="operation_gradient",
    ),
    "a gradient that is not summed over what was repeated": Fault(
        "ARRAY-GRADIENT-2",
        "add",
        lambda real, operands, **options: np.ones_like(real(operands, **options)),
        ("of", "3x1 against 1x4"),
        method="operation_gradient",
    ),
    "a gradient of a tie that is counted twice": Fault(
        "ARRAY-KINK-1",
        "maximum",
        lambda real, operands, **options: 2 * real(operands, **options),
        method="operation_gradient",
    ),
    "a gradient that divides by zero": Fault(
        "ARRAY-SLOPE-1",
        "prod",
        lambda real, operands, **options: np.prod(operands[0]) / operands[0],
        method="operation_gradient",
    ),
    "a second derivative without its inner term": Fault(
        "ARRAY-SECOND-1",
        "tan",
        lambda real, x: (2 * np.tan(x)).astype(x.dtype),
        method="second_derivative",
    ),
    "a conjugate": Fault("ARRAY-COMPLEX-1", "multiply", partial(_changed, np.conj)),
}


def red(bench: Bench, fault: Fault) -> set[str]:
    """Ids of the cases of the fault's operation that turn red, of PyTorch's adapter."""
    target = on_cpu("torch")
    adapter: Any = target.cls("cpu")
    method = "operation" if fault.method == "whole operation" else fault.method
    answer = getattr(adapter, method)

    def changed(name: str, given: Any, *others: Any, **options: Any) -> Any:
        if name != fault.operation:
            return answer(name, given, *others, **options)
        if fault.method != "operation":
            return np.asarray(fault.instead(lambda of, **how: answer(name, of, *others, **how), given, **options))
        return np.asarray(fault.instead(lambda *operands, **how: answer(name, operands, **how), *given, **options))

    setattr(adapter, method, changed)
    found = set()
    for question in questions(fault.requirement):
        for case in question.cases:
            if case.params["operation"] == fault.operation:
                assay, error = direct.run(question, Planted(target, adapter), replace(case, hazard=None), bench)
                if verdict_of(assay, error, entries_of("torch"), bootstrap=False)[0].verdict.is_red:
                    name, value = fault.only
                    found.add("where it is" if case.params.get(name) == value else "elsewhere")
    return found


@pytest.mark.parametrize("what", FAULTS)
def test_a_planted_fault_is_red(what: str, bench: Bench) -> None:
    fault = FAULTS[what]
    with np.errstate(all="ignore"):
        found = red(bench, fault)
        clean = red(bench, replace(fault, instead=lambda real, *operands, **options: real(*operands, **options)))
    assert ("where it is" in found) if fault.only[1] else found
    assert not clean


BY_NUMPY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{
        name: getattr(np, name)
        for name in ("exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "arcsinh")
    },
    **{name: getattr(np, name) for name in ("arccosh", "arctanh", "log", "log1p", "log2", "log10", "sqrt")},
    **{name: getattr(np, name) for name in ("degrees", "radians")},
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}


@pytest.mark.parametrize("name", BY_NUMPY)
def test_values_agree_with_float64(name: str) -> None:
    operation = ARRAYS[name]
    x = next(iter(operation.sample.arguments.values())).recipe("float32", "agree").make("agree")
    with np.errstate(all="ignore"):
        by_numpy = BY_NUMPY[name](x.astype(np.float64))
    inside = operation.sample.regions["ordinary"]
    found = precise.made((name, "", 0), "value", x)[inside]
    np.testing.assert_allclose(found, by_numpy[inside], rtol=2e-13, atol=1e-15)


def test_the_inverse_error_function_is_one() -> None:
    x = next(iter(ARRAYS["erfinv"].sample.arguments.values())).recipe("float32", "agree").make("agree")
    inside = np.abs(x) < 0.99
    found = precise.made(("erfinv", "", 0), "value", x)[inside]
    np.testing.assert_allclose(BY_NUMPY["erf"](found), x[inside].astype(np.float64), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in BY_NUMPY if name not in ("degrees", "radians")])
def test_slopes_agree_with_differences(name: str) -> None:
    operation = ARRAYS[name]
    x = next(iter(operation.sample.arguments.values())).recipe("float32", "agree").make("agree")
    step = 1e-6 * np.maximum(1, np.abs(x.astype(np.float64)))
    slopes = precise.made((name, "x", 0), "value", np.ones(x.shape, np.float32), x)
    inside = operation.sample.regions["ordinary"]
    x, step, found = (one[inside].astype(np.float64) for one in (x, step, slopes))
    with np.errstate(all="ignore"):
        want = (BY_NUMPY[name](x + step) - BY_NUMPY[name](x - step)) / (2 * step)
    known = np.isfinite(want) & np.isfinite(found) & (np.abs(x) > 0.01) & (np.abs(np.abs(x) - 1) > 0.01)
    np.testing.assert_allclose(found[known], want[known], rtol=1e-6, atol=1e-8)


def test_every_plain_operation_is_asked_of_distinct_samples() -> None:
    """A case is found again by its operation, sample and options, which must name one."""
    for plain in PLAIN.values():
        told = [(sample.name, str(options)) for sample, options in plain.asked]
        assert len(told) == len(set(told)), plain.name
