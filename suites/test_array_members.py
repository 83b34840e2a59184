"""Arrays themselves: do their methods, operators, properties and conversions give what the functions and Python do?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import array_members as members
from touchstone.golden.cases.array_members import FLOATS, SHAPES, numpy_dtype, values
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

COUNTING = "int64"
"""In which integers indices are compared, whose dtype documentation leaves open."""


def _answer(assay: Assay, question: str, **given: Any) -> Any:
    return assay.value(assay.ask(probes.array_answer, question=question, **given))


def _same(assay: Assay, got: Any, want: Any) -> None:
    """The same arrays to the bit, one or a list of them."""
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            assay.behaves("another number of arrays", conforms=False)
        for one, other in zip(got, want, strict=True):
            _same(assay, one, other)
        return
    assay.same_bits(got, want)


def _as_documented(assay: Assay, is_right: bool, wrong: str, message: str = "") -> None:
    """A class of behaviour of its own for what is right, and this one for what is not."""
    assay.behaves("as it is documented" if is_right else wrong, conforms=is_right, message=message)


def _must_raise(assay: Assay, how_it_ended: str, message: str = "") -> None:
    _as_documented(assay, how_it_ended.startswith("raises"), how_it_ended or "not refused", message)


@requirement("MEMBER-METHOD-1", members.MEMBER_CASES)
def test_methods_are_the_functions_of_their_names(assay: Assay) -> None:
    found = _member(assay)
    _same(assay, found["member"], found["function"])


@requirement("MEMBER-METHOD-2", members.MEMBER_CASES)
def test_methods_give_what_their_formulas_give(assay: Assay) -> None:
    member, found = members.MEMBERS[assay.params["member"]], _member(assay)["member"]
    want = member.right(members.INPUTS[member.of], **members.options_of(assay.case))
    if isinstance(want, list):
        _same(assay, found, want)
    elif member.index and isinstance(found, np.ndarray) and found.dtype.kind in "iu":
        assay.same_bits(found.astype(COUNTING), np.asarray(want).astype(COUNTING))
    elif member.exact:
        assay.same_bits(found, np.asarray(want))
    else:
        _near(assay, found, np.asarray(want), "float32", members.NEAR)


def _near(assay: Assay, got: Any, want: np.ndarray, dtype: str, units: float) -> None:
    """Within units of roundoff of the largest finite element; infinity where it is infinity."""
    finite = np.isfinite(want)
    if isinstance(got, np.ndarray) and got.shape == want.shape and np.array_equal(got[~finite], want[~finite]):
        got = np.where(finite, got, np.zeros((), got.dtype))
        want = np.where(finite, want, 0.0)
    largest = np.abs(want[np.isfinite(want)]).max(initial=0)
    bound = np.full(want.shape, units * bounds.unit_roundoff(dtype) * largest + bounds.SMALLEST_SUBNORMAL[dtype])
    assay.within(got, want, bound, dtype)


def _member(assay: Assay) -> dict[str, Any]:
    name = assay.params["member"]
    x = members.INPUTS[members.MEMBERS[name].of]
    found: dict[str, Any] = _answer(assay, "member", name=name, x=x, options=members.options_of(assay.case))
    return found


@requirement("MEMBER-ATTRIBUTE-1", members.ATTRIBUTE_CASES)
def test_attributes_that_are_arrays(assay: Assay) -> None:
    x = values(assay.params["dtype"], SHAPES[assay.params["shape"]])
    name = assay.params["attribute"]
    want = x.mT if name == "mT" else {"T": x.T, "real": x.real, "imag": x.imag}[name]
    assay.same_bits(_answer(assay, "attribute", name=name, x=x), want)


@requirement("MEMBER-FACTS-1", members.FACT_CASES)
def test_what_an_array_says_of_its_form(assay: Assay) -> None:
    x = values(assay.params["dtype"], SHAPES[assay.params["shape"]])
    found = _answer(assay, "facts", x=x)
    names = ("ndim", "size", "itemsize", "nbytes")
    want = {"dtype": assay.params["dtype"], "shape": x.shape, **{name: getattr(x, name) for name in names}}
    wrong = [f"{name} {found[name]}, and not {want[name]}" for name in want if found[name] != want[name]]
    _as_documented(assay, not wrong, "another form", "; ".join(wrong))


@requirement("MEMBER-OPERATOR-1", members.OPERATOR_CASES)
def test_operators_are_the_functions_they_stand_for(assay: Assay) -> None:
    found = _operated(assay)
    assay.same_bits(found["operator"], found["function"])


def _operated(assay: Assay) -> dict[str, Any]:
    x, other = members.operand(assay.case)
    after = assay.params.get("after", False)
    found: dict[str, Any] = _answer(assay, "operator", name=assay.params["operator"], x=x, other=other, swapped=after)
    return found


@requirement("MEMBER-OPERATOR-2", members.OPERATOR_CASES)
def test_operators_give_what_python_gives_of_the_elements(assay: Assay) -> None:
    x, other = members.operand(assay.case)
    got, name = _operated(assay)["operator"], assay.params["operator"]
    _judge_operator(assay, got, name, x, other, assay.params.get("after", False))


def _judge_operator(assay: Assay, got: Any, name: str, x: np.ndarray, other: Any, after: bool = False) -> None:
    """To the bit, in the dtype that a Python scalar leaves as it is; powers of floats within a few roundings."""
    want, dtype = right(name, x, other, after)
    if name in ("**", "@") and dtype in FLOATS:
        _near(assay, got, want.astype(np.float64), dtype, members.NEAR)
    else:
        assay.same_bits(got, want.astype(numpy_dtype(dtype)), signed_zero=name not in ("%", "//"))


def right(name: str, x: np.ndarray, other: Any, after: bool = False) -> tuple[np.ndarray, str]:
    """(the answer of Python's operator, exact or in float64; the dtype that it is due in)."""
    wide = {"c": np.complex64, "f": np.float64, "V": np.float64, "b": bool}.get(x.dtype.kind, np.int64)
    operands: list[Any] = [x.astype(bool if x.dtype == bool else wide)]
    if other is not None:
        operands.append(other.astype(operands[0].dtype) if isinstance(other, np.ndarray) else other)
    operands = operands[::-1] if after else operands
    found = np.asarray(PYTHON[name](*operands))
    if name in members.COMPARISONS:
        return found, "bool"
    is_whole = x.dtype.kind in "iub"
    if is_whole and (name == "/" or isinstance(other, float)):
        return found, "float32"
    return found, x.dtype.name


PYTHON: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "negative": lambda a: -a,
    "abs": abs,
    "~": lambda a: ~a,
}
"""What an operator does to wide numbers."""


@requirement("MEMBER-EQUAL-1", members.EQUAL_CASES)
def test_comparing_with_what_is_no_number(assay: Assay) -> None:
    other = members.OTHERS[assay.params["to"]]
    assay.behaves(_answer(assay, "equal to", x=values("float32", (3,)), other=other))


def _operands_in_place(assay: Assay) -> tuple[np.ndarray, Any]:
    name, dtype = assay.params["statement"], assay.params.get("dtype", "float32")
    by = assay.params.get("by", "an array")
    if name == "[1] =":
        return values(dtype, (3, 4)), members.SCALARS["two"]
    x, other = values(dtype, (3, 4)), members.SCALARS.get(by)
    if name in ("**=", "<<=", ">>="):
        x = np.abs(x) + np.array(1, x.dtype)
    if by == "an array":
        other = (np.abs(x[::-1].astype(np.float64)) % 3 + 1).astype(x.dtype)
    return x, other


def _in_place(assay: Assay) -> tuple[np.ndarray, Any, dict[str, Any]]:
    x, other = _operands_in_place(assay)
    found = _answer(assay, "in place", name=assay.params["statement"], x=x, other=other)
    return x, other, found


@requirement("MEMBER-INPLACE-1", members.IN_PLACE_CASES)
def test_statements_in_place(assay: Assay) -> None:
    x, other, found = _in_place(assay)
    if found["ended"]:
        assay.behaves(found["ended"], conforms=False)
    assay.same_bits(found["computed"], x + x)
    name = assay.params["statement"]
    if name == "[1] =":
        want = x.copy()
        want[1] = other
        assay.same_bits(found["result"], want)
    else:
        _judge_operator(assay, found["result"], members.STATEMENTS[name], x, other)


@requirement("MEMBER-INPLACE-2", members.ALIAS_CASES)
def test_what_other_names_show_after_a_statement_in_place(assay: Assay) -> None:
    x, _, found = _in_place(assay)
    if found["ended"]:
        assay.behaves(found["ended"], conforms=False)
    seen = found[assay.params["alias"]].reshape(x.shape)
    changed = np.array_equal(seen, found["result"])
    kept = np.array_equal(seen, x)
    assay.behaves("changes" if changed else "stays" if kept else "is neither", conforms=changed or kept)


@requirement("MEMBER-INPLACE-3", members.OTHER_DTYPE_CASES)
def test_statements_in_place_whose_result_has_another_dtype(assay: Assay) -> None:
    x, other, found = _in_place(assay)
    if found["ended"]:
        assay.behaves(found["ended"])
        return
    got = found["result"]
    exact, _ = right(members.STATEMENTS.get(assay.params["statement"], "&"), x.astype(np.int32), other)
    is_right = np.array_equal(got, exact.astype(got.dtype))
    assay.behaves(got.dtype.name if is_right else "other values", conforms=is_right)


@requirement("MEMBER-ITEM-1", members.ELEMENT_CASES)
def test_items_are_python_numbers(assay: Assay) -> None:
    _judge_python(assay, "item", None)


@requirement("MEMBER-SCALAR-1", members.PYTHON_CASES)
def test_conversions_to_python_numbers(assay: Assay) -> None:
    name = assay.params["python"]
    made = {"bool": bool, "int": int, "float": float, "complex": complex, "index": int}[name]
    _judge_python(assay, name, made)


def _judge_python(assay: Assay, name: str, made: Any) -> None:
    """One element: its value and its type are those that Python has for it, or for what `made` makes of it."""
    dtype = assay.params["dtype"]
    element = members.elements(dtype)[assay.params["element"]]
    found = _answer(assay, "python", name=name, x=np.array(element).astype(numpy_dtype(dtype)))
    want = element if made is None else made(element)
    seen = f"{found['value']!r} of type {', '.join(found['types'])}"
    is_right = not found["ended"] and found["value"] == want and found["types"] == [type(want).__name__]
    _as_documented(assay, is_right, found["ended"] or "another value or type", f"got {seen}, want {want!r}")


@requirement("MEMBER-SCALAR-2", members.ONE_ELEMENT_CASES)
def test_conversions_of_one_element_with_axes(assay: Assay) -> None:
    x = np.full(SHAPES[assay.params["shape"]], 2.75, np.float32)
    found = _answer(assay, "python", name=assay.params["python"], x=x)
    want = {"bool": True, "int": 2}.get(assay.params["python"], 2.75)
    is_right = bool(found["ended"]) or found["value"] == want
    assay.behaves(found["ended"] or ("its value" if is_right else "another value"), conforms=is_right)


@requirement("MEMBER-SCALAR-3", members.SEVERAL_CASES)
def test_conversions_of_several_elements(assay: Assay) -> None:
    x = values("float32", SHAPES[assay.params["shape"]])
    found = _answer(assay, "python", name=assay.params["python"], x=x)
    _must_raise(assay, found["ended"], f"got {found['value']!r}")


@requirement("MEMBER-SCALAR-4", members.EMPTY_CASES)
def test_truth_of_no_elements(assay: Assay) -> None:
    found = _answer(assay, "python", name="bool", x=np.zeros(0, np.float32))
    assay.behaves(found["ended"] or str(found["value"]))


@requirement("MEMBER-ROWS-1", members.LENGTH_CASES)
def test_length_and_rows(assay: Assay) -> None:
    x = values(assay.params["dtype"], SHAPES[assay.params["shape"]])
    length, looped = _answer(assay, "python", name="len", x=x), _answer(assay, "rows", x=x)
    if not x.ndim:
        _must_raise(assay, length["ended"])
        _must_raise(assay, looped["ended"])
        return
    if length["value"] != len(x) or looped["ended"]:
        assay.behaves(looped["ended"] or "another length", conforms=False, message=f"got {length['value']}")
    _same(assay, looped["rows"], list(x))
    assay.behaves("as it is documented")


@requirement("MEMBER-IN-1", members.CONTAINS_CASES)
def test_membership_in_one_axis(assay: Assay) -> None:
    found = assay.params["found"]
    x = values(assay.params["dtype"], (5,)) if assay.params["dtype"] != "bool" else np.full(5, True)
    value: Any = x.tolist()[-1] if found else (not x[0] if x.dtype == bool else 77)
    value = bool(value) if x.dtype == bool else value
    got = _answer(assay, "contains", x=x, value=value)
    _as_documented(assay, got == str(found), got, f"got {got}, want {found}")


@requirement("MEMBER-IN-2", members.CONTAINS_MATRIX_CASES)
def test_membership_in_several_axes(assay: Assay) -> None:
    x = values("float32", (2, 3))
    found = assay.params["found"]
    got = _answer(assay, "contains", x=x, value=float(x[1, 1]) if found else 77.0)
    if got in ("True", "False"):
        assay.behaves("as of its elements" if got == str(found) else "another answer", conforms=got == str(found))
    else:
        assay.behaves(got)


@requirement("MEMBER-LIST-1", members.LIST_CASES)
def test_nested_lists(assay: Assay) -> None:
    dtype = assay.params["dtype"]
    x = values(dtype, SHAPES[assay.params["shape"]])
    found = _answer(assay, "python", name="tolist", x=x)
    kind = "bool" if dtype == "bool" else "complex" if dtype == "complex64" else "float" if dtype in FLOATS else "int"
    want = x.astype(np.float64).tolist() if dtype == "bfloat16" else x.tolist()
    types = [kind] if x.size else []
    is_right = not found["ended"] and found["value"] == want and found["types"] == types
    message = f"got {found['value']!r} of {found['types']}, want {want!r}"
    _as_documented(assay, is_right, found["ended"] or "another list", message)


@requirement("MEMBER-REPR-1", members.REPR_CASES)
def test_text_of_an_array(assay: Assay) -> None:
    found = _answer(assay, "repr", x=values(assay.params["dtype"], (2, 3)))
    assay.behaves("names its dtype" if assay.params["dtype"] in found else "leaves its dtype out")


@requirement("MEMBER-CAST-1", members.CAST_CASES)
def test_casts(assay: Assay) -> None:
    to = assay.params["to"]
    x = members.cast_values(assay.params["dtype"], to)
    assay.same_bits(_answer(assay, "cast", x=x, to=to), x.astype(numpy_dtype(to)))


@requirement("MEMBER-VIEW-1", members.VIEW_CASES)
def test_views_as_another_dtype(assay: Assay) -> None:
    x, to = values(assay.params["dtype"], (3, 4)), assay.params["to"]
    assay.same_bits(_answer(assay, "view", x=x, to=to), x.view(numpy_dtype(to)))


@requirement("MEMBER-VIEW-2", members.NO_VIEW_CASES)
def test_views_whose_bytes_do_not_fit(assay: Assay) -> None:
    x = values(assay.params["dtype"], SHAPES[assay.params["shape"]])
    outcome = assay.ask(probes.array_answer, question="view", x=x, to=assay.params["to"])
    raised = outcome.kind == "raised"
    _as_documented(assay, raised, "not refused" if outcome.kind == "value" else outcome.behaviour, outcome.message)


@requirement("MEMBER-NUMPY-1", members.NUMPY_CASES)
def test_arrays_for_numpy(assay: Assay) -> None:
    x = values(assay.params["dtype"], SHAPES[assay.params["shape"]])
    found = _answer(assay, "to numpy", x=x)
    if found["ended"]:
        assay.behaves(found["ended"], conforms=False)
    assay.same_bits(found["array"], x)
    assay.same_bits(found["kept"], x)


@requirement("MEMBER-NUMPY-2", members.NUMPY_BFLOAT16_CASES)
def test_arrays_of_bfloat16_for_numpy(assay: Assay) -> None:
    x = values("bfloat16", (2, 3))
    found = _answer(assay, "to numpy", x=x)
    is_right = bool(found["ended"]) or np.array_equal(found["array"].astype(np.float32), x.astype(np.float32))
    assay.behaves(found["ended"] or (found["array"].dtype.name if is_right else "other values"), conforms=is_right)


@requirement("MEMBER-NUMPY-3", members.WRITE_CASES)
def test_writing_to_what_numpy_is_given(assay: Assay) -> None:
    x = values(assay.params["dtype"], (2, 3)) + np.array(1, numpy_dtype(assay.params["dtype"]))
    assay.behaves(_answer(assay, "write through", x=x))


def _made(assay: Assay, source: Any) -> dict[str, Any]:
    found: dict[str, Any] = _answer(assay, "make", source=source)
    return found


@requirement("MEMBER-MAKE-1", members.MAKE_CASES)
def test_dtypes_of_what_is_made_of_python_numbers(assay: Assay) -> None:
    source = members.SOURCES[assay.params["source"]]
    _choose(assay, _made(assay, source), np.array(source))


def _choose(assay: Assay, found: dict[str, Any], want: np.ndarray) -> None:
    """The dtype of what was made is a documented choice; its values and its shape are not."""
    if found["ended"]:
        assay.behaves(found["ended"])
        return
    got = found["array"]
    is_right = got.shape == want.shape and np.array_equal(got, want.astype(got.dtype)) and np.array_equal(got, want)
    assay.behaves(found["dtype"] if is_right else "other values", conforms=is_right, message=f"got {got!r}")


def _made_in_order(assay: Assay) -> tuple[dict[str, Any], np.ndarray]:
    """What was made of an array in the case's order, and its values."""
    order = assay.params["order"]
    want = values(assay.params["dtype"], members.FORMS.get(order, (3, 4)))
    return _answer(assay, "make", source=want, order=order), want


@requirement("MEMBER-MAKE-2", members.ARRAY_CASES)
def test_what_is_made_of_numpy_arrays(assay: Assay) -> None:
    found, want = _made_in_order(assay)
    if found["ended"]:
        assay.behaves(found["ended"], conforms=False)
    assay.same_bits(found["array"], want)
    assay.same_bits(found["written"], want)


@requirement("MEMBER-MAKE-3", members.WIDE_CASES)
def test_what_is_made_of_wide_numpy_arrays(assay: Assay) -> None:
    source = np.array([1, 2, 100]).astype(numpy_dtype(assay.params["dtype"]))
    _choose(assay, _made(assay, source), source)


@requirement("MEMBER-MAKE-4", members.ODD_CASES)
def test_what_is_made_of_numpy_arrays_of_an_odd_order(assay: Assay) -> None:
    found, want = _made_in_order(assay)
    is_right = bool(found["ended"]) or np.array_equal(found["array"], want)
    assay.behaves(found["ended"] or ("the same values" if is_right else "other values"), conforms=is_right)


@requirement("MEMBER-MAKE-5", members.REFUSED_CASES)
def test_what_no_array_is_made_of(assay: Assay) -> None:
    found = _made(assay, members.NOT_ARRAYS[assay.params["source"]])
    _must_raise(assay, found["ended"], str(found.get("array")))


@requirement("MEMBER-AT-1", members.AT_CASES)
def test_updates_of_rows_that_come_twice(assay: Assay) -> None:
    dtype = numpy_dtype(assay.params["dtype"])
    x, ids = values(assay.params["dtype"], (4, 3)), np.array([2, 0, 2, 2], np.int32)
    by: Any = (
        2 if assay.params["by"] == "a scalar" else np.array([[1], [2], [4], [2]]).astype(dtype) * np.ones(3, dtype)
    )
    found = _answer(assay, "at", name=assay.params["update"], x=x, ids=ids, by=by)
    want = x.copy()
    members.UPDATES[assay.params["update"]].at(want, ids, by)
    assay.same_bits(found["result"], want)
    assay.same_bits(found["array"], x)
