"""What documentation leaves open of array operations: dtypes, integer edges, ties, what is refused, views."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden.cases import array_choices as cases
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.streams import DTYPES
from touchstone.suites import plainly, probes
from touchstone.suites.assay import Assay
from touchstone.suites.layouts import lay_out
from touchstone.suites.requirements import requirement

NUMBERS = DTYPES | {"complex64": np.dtype("complex64")}
COMPLEX_ROUNDINGS = 16
"""u of the size of a complex result: a product of complex numbers is off by sqrt(5) u (Brent, Percival, Zimmermann,
Mathematics of Computation 76, 2007), a quotient and a function of one by a few of these."""


def _promoted(assay: Assay, *dtypes: str) -> str:
    """The dtype of a result, or the class of error that its operands are refused with."""
    outcome = assay.ask(probes.result_dtype, name=assay.params["operation"], dtypes=dtypes)
    return str(outcome.value) if outcome.kind == "value" else str(outcome.behaviour)


@requirement("ARRAY-DTYPE-1", cases.PAIR_CASES)
def test_the_dtype_of_a_sum(assay: Assay) -> None:
    a, b = assay.params["a"], assay.params["b"]
    here, there = _promoted(assay, a, b), _promoted(assay, b, a)
    assay.behaves(here if here == there else f"{here}, and {there} in the other order")


@requirement("ARRAY-DTYPE-2", cases.PROMOTION_CASES)
def test_the_dtype_of_others(assay: Assay) -> None:
    """Beside every dtype, against that of the sum of the two."""
    found: dict[str, list[str]] = {}
    for b in cases.FEW:
        if assay.target.cls.capabilities.missing(cases.dtype_need(b)) is not None:
            continue
        got, summed = _promoted(assay, assay.params["a"], b), _sum_of(assay, assay.params["a"], b)
        if got != summed:
            found.setdefault(got, []).append(b)
    told = "; ".join(f"{got} with {', '.join(others)}" for got, others in found.items())
    assay.behaves(told or "as add")


def _sum_of(assay: Assay, a: str, b: str) -> str:
    outcome = assay.ask(probes.result_dtype, name="add", dtypes=(a, b))
    return str(outcome.value) if outcome.kind == "value" else str(outcome.behaviour)


@requirement("ARRAY-SCALAR-1", cases.SCALAR_CASES)
def test_the_dtype_beside_a_scalar(assay: Assay) -> None:
    """Of an array times a Python number, on either side."""
    scalar, one = cases.SCALARS[assay.params["scalar"]], np.ones((2,), NUMBERS[assay.params["dtype"]])
    outcomes = [
        assay.ask(probes.operation, name="multiply", operands=given) for given in ([one, scalar], [scalar, one])
    ]
    told = [o.value.dtype.name if o.kind == "value" else str(o.behaviour) for o in outcomes]
    right = all(o.kind != "value" or (o.value.astype(complex) == o.value.dtype.type(scalar)).all() for o in outcomes)
    assay.behaves(told[0] if told[0] == told[1] else f"{told[0]}, and {told[1]} in the other order", conforms=right)


def _tell(assay: Assay, outcome: Any, *, conforms: bool = True) -> None:
    """The number that came, or the class of error."""
    if outcome.kind != "value":
        assay.behaves(str(outcome.behaviour), conforms=outcome.kind == "raised", message=outcome.message)
        return
    several = outcome.value if isinstance(outcome.value, list) else [outcome.value]
    assay.behaves(" and ".join(_spelled(one) for one in several), conforms=conforms)


def _spelled(array: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in array.reshape(-1).astype(np.float64).tolist()) or "nothing"


@requirement("ARRAY-DIVISION-1", cases.DIVISION_CASES)
def test_integer_divisions_without_a_value(assay: Assay) -> None:
    dtype, (a, b) = DTYPES[assay.params["dtype"]], cases.DIVISIONS[assay.params["division"]]
    first = np.iinfo(dtype).min if assay.params["division"] == "smallest by -1" else a
    operands = [np.array([v], dtype) for v in (first, b)]
    _tell(assay, assay.ask(probes.operation, name=assay.params["operation"], operands=operands))


@requirement("ARRAY-SHIFT-1", cases.SHIFT_CASES)
def test_shifts_beyond_the_width(assay: Assay) -> None:
    dtype = DTYPES[assay.params["dtype"]]
    by = {"width": np.iinfo(dtype).bits, "width + 1": np.iinfo(dtype).bits + 1, "-1": -1}[assay.params["by"]]
    first = 5 if assay.params["operation"] == "left_shift" or dtype.kind == "u" else -8
    operands = [np.array([v], dtype) for v in (first, by)]
    _tell(assay, assay.ask(probes.operation, name=assay.params["operation"], operands=operands))


@requirement("ARRAY-CONVERT-1", cases.CONVERSION_CASES)
def test_floats_that_an_integer_does_not_hold(assay: Assay) -> None:
    """Eight of them, as a vector of the processor holds."""
    operands = [np.full(8, cases.UNFIT[assay.params["number"]], np.float32)]
    got = assay.value(assay.ask(probes.operation, name="astype", operands=operands, to=assay.params["to"]))
    assay.behaves(_spelled(got[:1]) if (got == got[0]).all() else "several numbers")


@requirement("ARRAY-BETA-1", cases.BETA_CASES)
def test_what_beta_zero_makes_of_nan(assay: Assay) -> None:
    held = {"NaN": np.nan, "infinity": np.inf}[assay.params["held"]]
    operands = [np.full((2, 2), held, np.float32), *(np.eye(2, dtype=np.float32),) * 2]
    got = assay.value(assay.ask(probes.operation, name="addmm", operands=operands, beta=0.0))
    shown = "left out" if np.array_equal(got, np.eye(2)) else "NaN" if np.isnan(got).all() else "another matrix"
    assay.behaves(shown, conforms=shown != "another matrix")


@requirement("ARRAY-MEDIAN-1", cases.MEDIAN_CASES)
def test_the_median_of_an_even_count(assay: Assay) -> None:
    operands = [np.array([[4, 1, 2, 7]], DTYPES[assay.params["dtype"]])]
    got = float(assay.value(assay.ask(probes.operation, name="median", operands=operands, axis=1))[0])
    told = {3.0: "mean of the middle two", 2.0: "lower of the middle two", 4.0: "upper of the middle two"}
    assay.behaves(told.get(got, "another number"), conforms=got in told, message=f"{got:g} of 1, 2, 4, 7")


@requirement("ARRAY-EMPTY-1", cases.EMPTY_CASES)
def test_reductions_of_nothing(assay: Assay) -> None:
    shape = tuple(map(int, assay.params["shape"].split("x")))
    outcome = assay.ask(probes.operation, name=assay.params["operation"], operands=[np.ones(shape, np.float32)])
    _tell(assay, outcome)


@requirement("ARRAY-INTEGER-1", cases.INTEGER_CASES)
def test_functions_of_integers(assay: Assay) -> None:
    """The dtype of the result: of ones, which every domain holds."""
    count = 2 if assay.params["operation"] == "logaddexp" else 1
    dtypes = (assay.params["dtype"],) * count
    outcome = assay.ask(probes.result_dtype, name=assay.params["operation"], dtypes=dtypes)
    assay.behaves(str(outcome.value) if outcome.kind == "value" else str(outcome.behaviour), message=outcome.message)


def _gradient_at(assay: Assay) -> tuple[np.ndarray, cases.Kink]:
    kink = next(k for k in cases.KINKS if (k.operation, k.at) == (assay.params["operation"], assay.params["at"]))
    operands = [np.array(one, np.float32) for one in kink.operands]
    (result,) = PLAIN[kink.operation].expected(operands, kink.options)
    asked = {"name": kink.operation, "operands": operands, "place": kink.place, **kink.options}
    outcome = assay.ask(probes.operation_gradient, cotangent=np.ones(result.shape, np.float32), **asked)
    return assay.value(outcome).astype(np.float64), kink


@requirement("ARRAY-KINK-1", cases.KINK_CASES)
def test_gradients_at_kinks(assay: Assay) -> None:
    got, kink = _gradient_at(assay)
    least, most = np.array(kink.least), np.array(kink.most)
    within = (np.isinf(least) & np.isinf(most)) | ((got >= least) & (got <= most))
    assay.behaves(_spelled(got), conforms=bool(got.shape == least.shape and within.all()))


@requirement("ARRAY-SLOPE-1", cases.SLOPE_CASES)
def test_gradients_at_edges(assay: Assay) -> None:
    got, kink = _gradient_at(assay)
    right = np.array_equal(got, np.array(kink.least))
    assay.behaves(_spelled(got), conforms=right, message=f"want {_spelled(np.array(kink.least))}")


@requirement("ARRAY-REFUSE-1", cases.REFUSED_CASES)
def test_operands_that_do_not_fit(assay: Assay) -> None:
    name, shapes, options = cases.REFUSED[assay.params["given"]]
    operands = [np.ones(shape, np.float32) for shape in shapes]
    outcome = assay.ask(probes.operation, name=name, operands=operands, **options)
    message = outcome.message if outcome.kind != "value" else f"gave {_spelled(outcome.value)}"
    assay.behaves(
        "refused" if outcome.kind == "raised" else str(outcome.behaviour),
        conforms=outcome.kind == "raised",
        message=message,
    )


@requirement("ARRAY-LAYOUT-1", cases.LAYOUT_CASES)
def test_views(assay: Assay) -> None:
    plain, sample, _ = plainly.asked_of(assay)
    whole = [assay.golden(name) for name in sample.arguments]
    given = [one.reshape(len(one) // 7, 7) if one.ndim == 1 and len(one) % 7 == 0 else one for one in whole]
    laid_out = [lay_out(one, assay.params["layout"]) for one in given]
    values = [one.value() if hasattr(one, "view") and not isinstance(one, np.ndarray) else one for one in laid_out]
    got = assay.value(assay.ask(probes.operation, name=plain.name, operands=laid_out))
    plainly.judge(assay, plain, got, [np.asarray(one) for one in values], {}, slice(None))


@requirement("ARRAY-COMPLEX-1", [*cases.COMPLEX_CASES, *cases.LARGE_COMPLEX_CASES])
def test_complex_numbers(assay: Assay) -> None:
    name = assay.params["operation"]
    x, y = (
        np.array(v, np.complex64).reshape(2, 2)
        for v in ([1 + 2j, -0.5 + 1j, 3 - 1j, 2j], [2 - 1j, 1.5j, -1 + 1j, 0.5 + 0j])
    )
    x = x * np.float32(5e37) if "numbers" in assay.params else x
    given = {"where": [np.array([[True, False], [False, True]]), x, y], "outer": [x[0], y[0]]}
    operands = given.get(name, [x, y][: _arity(name)])
    got = assay.value(assay.ask(probes.operation, name=name, operands=operands))
    wide = [one.astype(np.complex128) if one.dtype.kind == "c" else one for one in operands]
    want = np.asarray(COMPLEX[name](*wide))
    if want.dtype.kind == "c" or name == "abs":
        kind = "complex64" if want.dtype.kind == "c" else "float32"
        if got.dtype.name != kind or got.shape != want.shape:
            assay.behaves(
                "another form", conforms=False, message=f"got {got.dtype.name} {got.shape}, want {kind} {want.shape}"
            )
        off = np.abs(got.astype(np.complex128) - want)
        bound = COMPLEX_ROUNDINGS * 2.0**-24 * np.abs(want).max()
        assay.behaves(
            "within bound" if (off <= bound).all() else "beyond bound",
            conforms=bool((off <= bound).all()),
            message=f"off by {off.max():.3g}, bound {bound:.3g}",
        )
    else:
        plainly.compare(assay, got, want)


def _arity(name: str) -> int:
    return (
        2
        if name
        in (
            "add",
            "subtract",
            "multiply",
            "divide",
            "power",
            "equal",
            "not_equal",
            "matmul",
            "inner",
            "outer",
            "isclose",
        )
        else 1
    )


COMPLEX: dict[str, Any] = {
    **{
        name: getattr(np, name)
        for name in (
            *(
                "abs",
                "negative",
                "square",
                "add",
                "subtract",
                "multiply",
                "divide",
                "power",
                "equal",
                "not_equal",
                "exp",
            ),
            *("sin", "cos", "tan", "sinh", "cosh", "sqrt", "log", "sum", "mean", "prod", "matmul", "inner", "outer"),
            *("isnan", "isfinite", "where", "isclose"),
        )
    },
    "reciprocal": lambda x: 1 / x,
    "cumsum": lambda x: np.cumsum(x),
}
