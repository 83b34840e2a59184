"""Is a fault of an array's members red in its own requirement, planted in what an adapter answers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_planted_defects import Planted
from touchstone.adapters import members
from touchstone.golden.cases import array_members as cases
from touchstone.golden.catalogue import Case
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.test_array_members import right

FRAMEWORKS = ("mlx", "jax", "torch")
FEW = 160
"""Cases of a requirement that are asked with a fault planted, spread over all of them."""
NEEDED_BY = {"member": ("member ", "option "), "python": ("python", "rows"), "rows": ("rows",)}
"""Question -> how needs of cases begin that it answers, where not as it does itself."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


@cache
def questions(beginning: str = "MEMBER-") -> tuple[direct.Question, ...]:
    return tuple(q for q in direct.questions() if q.requirement.id.startswith(beginning))


def _is_about(case: Case, question: str) -> bool:
    beginnings = tuple(f"array:{one}" for one in NEEDED_BY.get(question, (question,)))
    return any(need.startswith(beginnings) for need in case.needs)


Answering = Callable[[Any, dict[str, Any]], Any]
"""(what gives the right answer, what was given) -> the answer."""


def red(name: str, bench: Bench, question: str, answer: Answering | None = None) -> set[str]:
    """Requirements with a red case, for an adapter that answers a question so."""
    target = on_cpu(name)
    adapter: Any = target.cls("cpu")
    real = adapter.array_answer

    def answered(asked: str, **given: Any) -> Any:
        if asked != question or answer is None:
            return real(asked, **given)
        return answer(lambda **how: real(asked, **{**given, **how}), given)

    adapter.array_answer = answered
    found = set()
    for one in questions():
        asked = [case for case in one.cases if _is_about(case, question)]
        for case in asked[:: max(1, len(asked) // FEW)]:
            assay, error = direct.run(one, Planted(target, adapter), case, bench)
            if verdict_of(assay, error, entries_of(name), bootstrap=False)[0].verdict.is_red:
                found.add(one.requirement.id.removeprefix("MEMBER-"))
    return found


def without(real: Any, given: dict[str, Any], *names: str) -> Any:
    return real(options={name: value for name, value in given["options"].items() if name not in names})


def both_without_axis(real: Any, given: dict[str, Any]) -> Any:
    """The function has the fault of the method."""
    return without(real, given, "axis")


def method_without_axis(real: Any, given: dict[str, Any]) -> Any:
    """The method ignores its axis, and the function does not."""
    if "axis" not in given["options"]:
        return real()
    return {**real(), "member": without(real, given, "axis")["member"]}


def method_that_drops_its_axes(real: Any, given: dict[str, Any]) -> Any:
    return {**real(), "member": without(real, given, "keepdims")["member"]}


def method_without_correction(real: Any, given: dict[str, Any]) -> Any:
    return {**real(), "member": without(real, given, "ddof", "correction")["member"]}


def changed(**parts: Callable[[Any], Any]) -> Answering:
    """Some parts of an answer are others."""
    return lambda real, given: {name: parts.get(name, lambda x: x)(value) for name, value in real().items()}


def always(change: Callable[[Any], Any]) -> Answering:
    return lambda real, given: change(real())


def half_to_even(real: Any, given: dict[str, Any]) -> Any:
    x = given["x"]
    is_cast_to_whole = np.dtype(cases.numpy_dtype(given["to"])).kind in "iu" and x.dtype.kind not in "iub"
    return real(x=np.rint(x.astype(np.float64)).astype(x.dtype)) if is_cast_to_whole else real()


def truth_of_whole_parts(real: Any, given: dict[str, Any]) -> Any:
    x = given["x"]
    floating = given["to"] == "bool" and x.dtype.name == "float32"
    return real(x=np.trunc(x)) if floating else real()


def the_first(real: Any, given: dict[str, Any]) -> Any:
    """Of several elements the first answers."""
    return real(x=given["x"].reshape(-1)[:1]) if given["x"].size > 1 and given["name"] == "bool" else real()


def rounds(real: Any, given: dict[str, Any]) -> Any:
    found = real()
    if given["name"] != "int" or given["x"].size != 1 or given["x"].dtype.kind in "iub":
        return found
    return {**found, "value": round(float(given["x"].reshape(-1)[0]))}


def named(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Answering:
    """The answer about one conversion to Python is another."""
    return lambda real, given: change(real()) if given["name"] == name else real()


def swapped(real: Any, given: dict[str, Any]) -> Any:
    """A scalar on the left is taken for one on the right."""
    return {**real(), "operator": real(swapped=False)["operator"]} if given["swapped"] else real()


def the_last_update(real: Any, given: dict[str, Any]) -> Any:
    ids, by = given["ids"], given["by"]
    last = [max(n for n, one in enumerate(ids) if one == row) for row in sorted(set(ids.tolist()))]
    return real(ids=ids[last], by=by[last] if isinstance(by, np.ndarray) else by)


def shared(real: Any, given: dict[str, Any]) -> Any:
    """What is made of an array of NumPy's shows what is written to that."""
    found = real()
    is_array = isinstance(given["source"], np.ndarray) and "written" in found
    return {**found, "written": np.zeros_like(found["written"])} if is_array else found


def misread(real: Any, given: dict[str, Any]) -> Any:
    if given.get("order") != "of swapped bytes":
        return real()
    return {**real(order="C"), "array": given["source"].byteswap()}


def accepts(real: Any, given: dict[str, Any]) -> Any:
    found = real()
    return (
        found if "array" in found else {"ended": "", "dtype": "float32", "array": np.zeros(2), "written": np.zeros(2)}
    )


def doubles(real: Any, given: dict[str, Any]) -> Any:
    found = real()
    is_float = found.get("dtype") == "float32" and not isinstance(given["source"], np.ndarray)
    return {**found, "dtype": "float64"} if is_float else found


def shows(what: str) -> Answering:
    return lambda real, given: {**real(), what: real()["result"]}


FAULTS: dict[str, tuple[str, Answering, set[str]]] = {
    "a method that ignores its axis": ("member", method_without_axis, {"METHOD-1", "METHOD-2"}),
    "a method and a function that ignore their axis": ("member", both_without_axis, {"METHOD-2"}),
    "a method that drops its axes": ("member", method_that_drops_its_axes, {"METHOD-1", "METHOD-2"}),
    "a method that ignores ddof": ("member", method_without_correction, {"METHOD-1", "METHOD-2"}),
    "T that is the array": ("attribute", lambda real, given: given["x"], {"ATTRIBUTE-1"}),
    "nbytes that counts elements": (
        "facts",
        lambda real, given: {**real(), "nbytes": real()["size"]},
        {"FACTS-1"},
    ),
    "2 - x that is x - 2": ("operator", swapped, {"OPERATOR-1", "OPERATOR-2"}),
    "operators that round to bfloat16": (
        "operator",
        changed(
            operator=lambda x: (
                x.view(np.uint32).__and__(np.uint32(0xFFFF0000)).view(x.dtype) if x.dtype == np.float32 else x
            )
        ),
        {"OPERATOR-1", "OPERATOR-2"},
    ),
    "operators and functions in float64": (
        "operator",
        always(lambda a: {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in a.items()}),
        {"OPERATOR-2"},
    ),
    "None that is equal": ("equal to", always(lambda a: "True"), {"EQUAL-1"}),
    "a statement in place that does nothing": (
        "in place",
        lambda real, given: {**real(), "result": given["x"]},
        {"INPLACE-1", "INPLACE-2", "INPLACE-3"},
    ),
    "a statement in place that changes what was computed": ("in place", shows("computed"), {"INPLACE-1"}),
    "a statement in place that a view shows": ("in place", shows("view"), {"INPLACE-2"}),
    "an item of NumPy's": ("python", named("item", lambda a: {**a, "types": ["float32"]}), {"ITEM-1"}),
    "int that rounds": ("python", rounds, {"SCALAR-1", "SCALAR-2"}),
    "a truth of the first element": ("python", the_first, {"SCALAR-3"}),
    "lists without their nesting": (
        "python",
        named("tolist", lambda a: {**a, "value": np.array(a["value"]).reshape(-1).tolist()}),
        {"LIST-1"},
    ),
    "a length in elements": ("python", named("len", lambda a: {**a, "value": 6}), {"ROWS-1"}),
    "rows from the last": ("rows", changed(rows=lambda rows: rows[::-1]), {"ROWS-1"}),
    "everything is in an array": ("contains", always(lambda a: "True"), {"IN-1", "IN-2"}),
    "a text without a dtype": ("repr", always(lambda a: "array(...)"), {"REPR-1"}),
    "casts that round": ("cast", half_to_even, {"CAST-1"}),
    "casts to bool of whole parts": ("cast", truth_of_whole_parts, {"CAST-1"}),
    "views by value": (
        "view",
        lambda real, given: given["x"].astype(cases.numpy_dtype(given["to"])),
        {"VIEW-1", "VIEW-2"},
    ),
    "an array of NumPy's that shares memory": (
        "to numpy",
        changed(kept=lambda x: x if x is None else x * 0),
        {"NUMPY-1"},
    ),
    "asarray that copies": ("write through", always(lambda a: "a copy"), {"NUMPY-3"}),
    "floats that are doubles": ("make", doubles, {"MAKE-1"}),
    "an array that shares NumPy's memory": ("make", shared, {"MAKE-2"}),
    "bytes that are misread": ("make", misread, {"MAKE-4"}),
    "ragged rows that are accepted": ("make", accepts, {"MAKE-1", "MAKE-4", "MAKE-5"}),
    "the last update alone": ("at", the_last_update, {"AT-1"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_red_in_its_requirement(fault: str, bench: Bench) -> None:
    question, answer, requirements = FAULTS[fault]
    assert red("mlx", bench, question, answer) == requirements


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_method_that_ignores_its_axis_is_red_everywhere(name: str, bench: Bench) -> None:
    assert red(name, bench, "member", method_without_axis) == {"METHOD-1", "METHOD-2"}
    assert red(name, bench, "member") == set()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_question_is_answered_or_absent_with_a_reason(name: str) -> None:
    capabilities = on_cpu(name).cls.capabilities
    every = (*questions("MEMBER-"), *questions("FILE-"))
    needs = {need for q in every for case in q.cases for need in case.needs if need.startswith("array:")}
    assert all(capabilities.missing(need) != "" for need in needs)
    asked = {need.partition(":")[2] for need in needs}
    absent = {need.partition(":")[2] for need in capabilities.absent if need.startswith("array:")}
    assert asked - capabilities.array_questions <= absent
    assert not absent & capabilities.array_questions


def test_every_method_of_the_array_is_asked() -> None:
    import mlx.core as mx

    own = {"astype", "item", "tolist", "view", "at"}
    listed = {name for name in dir(mx.array) if not name.startswith("_")}
    facts = {*members.ATTRIBUTES, "dtype", "itemsize", "nbytes", "ndim", "shape", "size"}
    assert listed - own - facts - set(cases.MEMBERS) == set()


def test_what_an_operator_gives_of_numbers() -> None:
    x = np.array([-7, 7], np.int32)
    assert right("//", x, 2)[0].tolist() == [-4, 3]
    assert right("//", x, 2, after=True)[0].tolist() == [-1, 0]
    assert right("/", x, 2)[1] == "float32"
    assert right("<", x, 2)[1] == "bool"
    assert right("+", x.astype(np.float16), 2.5)[1] == "float16"


@pytest.mark.parametrize("order", ["C", "F", "transposed", "strided", "offset", "reversed", "of swapped bytes"])
def test_orders_of_memory_keep_values(order: str) -> None:
    x = cases.values("float32", (3, 4))
    found = members.in_order(x, order)
    assert np.array_equal(found, x)
    assert found.flags.writeable
    assert (found.strides, found.dtype.isnative) != (x.strides, True) or order in ("C", "offset")
