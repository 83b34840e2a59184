"""Does a move from one target to another list what differs, how badly, and what to do?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests import made
from tests.made import DEVIATES, KNOWN, MACHINE, REQUIREMENTS, end, target
from touchstone.reports import differences, severity
from touchstone.reports.cases import LAYERS, case_name, layer_of, spelled
from touchstone.reports.differences import Difference
from touchstone.reports.model import Column, Report
from touchstone.reports.records import EndLine, Requirement
from touchstone.reports.severity import Severity

SOURCE, TARGET = "torch@cpu", "mlx@gpu"
EXACT: dict[str, Any] = {"behaviour": "exact"}
WITHIN: dict[str, Any] = {"behaviour": "within bound"}
RAISES: dict[str, Any] = {"behaviour": "raises IndexError", "headroom": None}
NAN: dict[str, Any] = {"behaviour": "NaN row", "headroom": None}
REFUSES: dict[str, Any] = KNOWN | {"behaviour": "refuses good ids too", "headroom": None}
WRONGLY_RAISES: dict[str, Any] = DEVIATES | {"behaviour": "raises OverflowError", "headroom": None}
CRASHED: dict[str, Any] = KNOWN | {"behaviour": "crashed", "headroom": None}
TIMED_OUT: dict[str, Any] = {"verdict": "timed out", "behaviour": "timed out", "conforms": False, "headroom": None}
UNSUPPORTED: dict[str, Any] = {"verdict": "unsupported", "behaviour": "unsupported", "note": "no float16"}
NOT_RUN: dict[str, Any] = {"verdict": "not run", "behaviour": "not run", "note": "not installed"}
UNREVIEWED: dict[str, Any] = {"verdict": "unreviewed", "behaviour": "zeros", "conforms": False}
ONE, TWO = {"behaviour": "one rounding"}, {"behaviour": "two roundings"}

REQUIRED: dict[str, tuple[dict[str, Any], dict[str, Any], Severity | None]] = {
    "the same": (EXACT, EXACT, None),
    "both conform": (EXACT, WITHIN, None),
    "depart alike": (KNOWN, KNOWN, None),
    "depart alike, one registered": (KNOWN, KNOWN | {"verdict": "deviates"}, None),
    "depart differently": (KNOWN, DEVIATES, "silent"),
    "a wrong value": (EXACT, DEVIATES, "silent"),
    "a wrong value that nobody reviewed": (EXACT, UNREVIEWED, "silent"),
    "an error becomes a wrong value": (RAISES, KNOWN, "silent"),
    "an error becomes a permitted value": (RAISES, NAN, "silent"),
    "an error becomes the right value": (RAISES, WITHIN, "better"),
    "a permitted value becomes an error": (NAN, RAISES, "error"),
    "a value becomes a wrong error": (EXACT, WRONGLY_RAISES, "error"),
    "a value becomes a refusal": (EXACT, REFUSES, "error"),
    "errors, both permitted": (RAISES, RAISES | {"behaviour": "raises ValueError"}, None),
    "errors, the second wrong": (RAISES, WRONGLY_RAISES, "error"),
    "a crash": (RAISES, CRASHED, "crash"),
    "a wrong value becomes a crash": (DEVIATES, CRASHED, "crash"),
    "it hangs": (EXACT, TIMED_OUT, "crash"),
    "both crash": (CRASHED, TIMED_OUT, None),
    "a crash becomes a wrong value": (CRASHED, DEVIATES, "silent"),
    "a crash becomes an error": (CRASHED, WRONGLY_RAISES, "error"),
    "a crash becomes right": (CRASHED, EXACT, "better"),
    "a wrong value becomes right": (KNOWN, EXACT, "better"),
    "a wrong value becomes a permitted error": (DEVIATES, RAISES, "better"),
    "another dtype": (EXACT, DEVIATES | {"behaviour": "wrong dtype"}, "dtype"),
    "not available there": (EXACT, UNSUPPORTED, "unavailable"),
    "departs, and is not available there": (KNOWN, NOT_RUN, "unavailable"),
    "newly available": (UNSUPPORTED, EXACT, "better"),
    "newly available, and wrong": (UNSUPPORTED, DEVIATES, None),
    "available nowhere": (UNSUPPORTED, NOT_RUN, None),
}
CHARACTERISED: dict[str, tuple[dict[str, Any], dict[str, Any], Severity | None]] = {
    "the same choice": (ONE, ONE, None),
    "another choice": (ONE, TWO, "rounding"),
    "a choice that is not permitted": (ONE, DEVIATES, "silent"),
    "the source departs": (DEVIATES, TWO, "better"),
    "another error": (RAISES, RAISES | {"behaviour": "raises TypeError"}, "convention"),
    "another error, wrongly": (RAISES, WRONGLY_RAISES, "error"),
    "an error becomes a value": (RAISES, NAN, "silent"),
    "a value becomes an error": (ONE, RAISES, "error"),
}


@pytest.mark.parametrize(
    ("requirement", "name"), [("EMB-1", n) for n in REQUIRED] + [("LIN-1", n) for n in CHARACTERISED]
)
def test_severity(requirement: str, name: str) -> None:
    before, after, expected = (REQUIRED if requirement == "EMB-1" else CHARACTERISED)[name]
    pair = end("a", requirement, SOURCE, **before), end("a", requirement, TARGET, **after)
    assert severity.between(*pair, REQUIREMENTS[requirement]) == expected


@pytest.mark.parametrize("difference", ["silent", "dtype", "rounding", "convention"])
def test_two_permitted_values_differ_as_the_requirement_says(difference: Severity) -> None:
    requirement = msgspec.structs.replace(REQUIREMENTS["LIN-1"], difference=difference)
    pair = end("a", "LIN-1", SOURCE, **ONE), end("a", "LIN-1", TARGET, **TWO)
    assert severity.between(*pair, requirement) == difference
    departs = end("a", "LIN-1", TARGET, **DEVIATES)
    assert severity.between(pair[0], departs, requirement) == ("dtype" if difference == "dtype" else "silent")


def column(name: str, records: Sequence[EndLine]) -> Column:
    return Column(name, MACHINE, target(name), name, {r.id: r for r in records}, planned=len(records))


def found(before: Sequence[EndLine], after: Sequence[EndLine], **requirements: Requirement) -> list[Difference]:
    columns = [column(SOURCE, before), column(TARGET, after)]
    report = Report(columns, [made.run_line()], REQUIREMENTS | requirements, [])
    return differences.differences(report, *columns)


def test_cases_are_matched_by_name_and_alike_ones_are_one_difference() -> None:
    before = [
        end(n, target=SOURCE, params={"layer": n[0], "ids": n}, **RAISES) for n in ("a1", "a2", "b1", "only here")
    ]
    after = [end(n, target=TARGET, params={"layer": n[0], "ids": n}, **KNOWN) for n in ("a1", "a2", "there")]
    after.append(end("b1", target=TARGET, params={"layer": "b", "ids": "b1"}, **RAISES))
    (difference,) = found(before, after)
    assert (difference.severity, difference.before, difference.after) == (
        "silent",
        "raises IndexError",
        "foreign memory",
    )
    assert [a.params["ids"] for a, _ in difference.cases] == ["a1", "a2"]
    assert difference.where == {"layer": ["a"], "ids": ["a1", "a2"]}


def test_a_requirement_that_only_a_record_names_comes_last() -> None:
    """A record may be of another version than the catalogue; the page must not fail on it."""
    cases = [("1", "unheard of"), ("2", "EMB-1")]
    before, after = ([end(n, r, name, **what) for n, r in cases] for name, what in ((SOURCE, EXACT), (TARGET, KNOWN)))
    assert [d.requirement for d in found(before, after)] == ["EMB-1", "unheard of"]


def test_every_two_targets_that_were_there_are_compared() -> None:
    columns = [column(SOURCE, [end("a", target=SOURCE, **EXACT)]), column(TARGET, [end("a", target=TARGET, **KNOWN)])]
    absent = column("jax@cpu", [end("a", target="jax@cpu", **NOT_RUN)])
    absent.facts = target("jax@cpu", unavailable="no JAX here")
    report = Report([absent, *columns], [made.run_line()], REQUIREMENTS, [])
    pairs = differences.pairs(report)
    assert {key: [d.severity for d in found] for key, found in pairs.items()} == {
        (1, 2): ["silent"],
        (2, 1): ["better"],
    }


def test_worst_first_then_departures_then_the_order_of_the_requirements() -> None:
    cases = {
        "1": ("EMB-1", EXACT, UNSUPPORTED),
        "2": ("LIN-1", ONE, TWO),
        "3": ("EMB-1", KNOWN, EXACT),
        "4": ("LIN-1", RAISES, KNOWN),
        "5": ("EMB-1", RAISES, NAN),
        "6": ("EMB-1", EXACT, CRASHED),
        "7": ("EMB-1", EXACT, WRONGLY_RAISES),
    }
    before = [end(n, requirement, SOURCE, **a) for n, (requirement, a, _) in cases.items()]
    after = [end(n, requirement, TARGET, **b) for n, (requirement, _, b) in cases.items()]
    names = [d.cases[0][0].params["name"] for d in found(before, after)]
    assert names == ["4", "5", "6", "7", "2", "1", "3"]


def test_the_example_is_the_case_furthest_from_its_bound() -> None:
    values = {"a": 3.0, "b": "inf", "c": 40.0, "d": None}
    before = [end(n, target=SOURCE, **EXACT) for n in values]
    after = [end(n, target=TARGET, **DEVIATES, headroom=value) for n, value in values.items()]
    (difference,) = found(before, after)
    assert difference.example[1].headroom == "inf"


ADVICE = {
    "the target's": (EXACT | {"advice": "of the source"}, KNOWN | {"advice": "of the target"}, "of the target"),
    "the source's": (EXACT | {"advice": "of the source"}, DEVIATES, "of the source"),
    "in general": (EXACT, DEVIATES, severity.DEFAULT_ADVICE["silent"]),
    "the reason": (EXACT | {"advice": "of the source"}, UNSUPPORTED, "no float16"),
    "nothing": (KNOWN, EXACT, severity.DEFAULT_ADVICE["better"]),
}


@pytest.mark.parametrize("name", ADVICE)
def test_advice(name: str) -> None:
    before, after, expected = ADVICE[name]
    (difference,) = found([end("a", target=SOURCE, **before)], [end("a", target=TARGET, **after)])
    assert difference.advice == expected


def test_the_advice_of_a_requirement() -> None:
    (difference,) = found([end("a", "LIN-1", SOURCE, **ONE)], [end("a", "LIN-1", TARGET, **TWO)])
    assert difference.advice == "Compare within the bound."


def test_other_advice_is_another_difference() -> None:
    before = [end(n, target=SOURCE, **EXACT) for n in "ab"]
    after = [end(n, target=TARGET, **KNOWN | {"advice": f"of {n}"}) for n in "ab"]
    assert [d.advice for d in found(before, after)] == ["of a", "of b"]


def test_every_severity_is_named() -> None:
    for names in (severity.TITLES, severity.MEANINGS, severity.DEFAULT_ADVICE):
        assert tuple(names) == severity.ORDER


NAMES = {
    "suites/a.py::test_b[mlx@gpu-float32-x]": "suites/a.py::test_b[float32-x]",
    "suites/a.py::test_b[mlx@gpu]": "suites/a.py::test_b",
    "suites/a.py::test_b[torch@cpu-x]": "suites/a.py::test_b[torch@cpu-x]",
    "suites/a.py::test_b": "suites/a.py::test_b",
    "suites/a.py::test_b[mlx@gpu-x[1]-y]": "suites/a.py::test_b[x[1]-y]",
}


@pytest.mark.parametrize("identifier", NAMES)
def test_the_name_of_a_case(identifier: str) -> None:
    assert case_name(identifier, "mlx@gpu") == NAMES[identifier]


def of_layer(layer: str) -> Requirement:
    return msgspec.structs.replace(REQUIREMENTS["EMB-1"], layer=layer)


LAYER_OF: dict[str, tuple[Requirement, dict[str, Any], str]] = {
    "its own parameter": (of_layer("embedding"), {"layer": "raw_lookup"}, "raw lookup"),
    "its requirement's": (of_layer("linear"), {}, "linear"),
    "a tied head": (of_layer("embedding"), {"layer": "as_linear"}, "embedding"),
    "a quantized layer": (of_layer("quantized embedding"), {"layer": "quantized_linear"}, "quantized linear"),
    "a layer that is converted": (of_layer("quantized embedding"), {"layer": "linear"}, "quantized linear"),
    "weights alone": (of_layer("quantized weights"), {"bits": 4}, "quantized weights"),
    "a norm of a Llama": (of_layer("llama"), {"layer": "rms_norm"}, "llama"),
    "a tensor": (of_layer("checkpoint"), {"tensor": "layers.0.linear.weight"}, "checkpoint"),
    "a record of before": (of_layer(""), {}, "not recorded"),
}


@pytest.mark.parametrize("name", LAYER_OF)
def test_layers(name: str) -> None:
    requirement, params, expected = LAYER_OF[name]
    assert layer_of(requirement, params) == expected
    assert expected in LAYERS


def test_where_is_spelled() -> None:
    assert spelled({"dtype": ["float16"], "group_size": [1, 2, 3, 4, 5, None]}) == (
        "dtype float16; group size 1, 2, 3, 4 and 2 more"
    )
    assert spelled({"bias": [None, True]}) == "bias none, True"
    assert spelled({}) == ""
