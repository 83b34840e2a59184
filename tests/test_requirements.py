"""Is requirements.toml checked entry by entry, and does every requirement have a test and every test a requirement?"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from touchstone.golden.catalogue import Case
from touchstone.migration import inputs
from touchstone.suites import real, requirements
from touchstone.suites.requirements import RequirementError, load
from touchstone.verdict.requirement import Requirement

REQUIRED = """
[[requirement]]
id = "R-1"
group = "Lookup"
layer = "linear"
level = "required"
sentence = "A lookup returns rows."
source = "https://example.org"
"""
CHARACTERISED = """
[[requirement]]
id = "C-1"
group = "Lookup"
layer = "linear"
level = "characterised"
permitted = ["rows", "raises *"]
sentence = "A lookup returns rows or raises."
source = "https://example.org"
difference = "silent"
advice = "Check ids first."
"""


def load_text(folder: Path, text: str | bytes) -> dict[str, Requirement]:
    path = folder / "requirements.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path)


def test_a_file_is_read_in_order(tmp_path: Path) -> None:
    found = load_text(tmp_path, CHARACTERISED + REQUIRED)
    assert list(found) == ["C-1", "R-1"]
    assert found["C-1"].permitted == ("rows", "raises *")
    assert (found["R-1"].level, found["R-1"].permitted) == ("required", ())


@pytest.mark.parametrize(
    ("behaviour", "permitted"),
    [
        ("rows", True),
        ("raises IndexError", True),
        ("raises", False),
        ("row", False),
        ("Rows", False),
        ("crashed", False),
    ],
)
def test_what_a_requirement_permits(behaviour: str, permitted: bool, tmp_path: Path) -> None:
    assert load_text(tmp_path, CHARACTERISED)["C-1"].permits(behaviour) == permitted


@pytest.mark.parametrize("field", ["id", "group", "level", "sentence", "source"])
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    lines = [line for line in REQUIRED.splitlines() if not line.startswith(f"{field} ")]
    with pytest.raises(RequirementError, match=rf"requirements\.toml: requirement 1 \(.*\): lacks {field}$"):
        load_text(tmp_path, "\n".join(lines))


ERRORS: dict[str, tuple[str | bytes, str]] = {
    "bad level": (
        REQUIRED.replace('"required"', '"optional"'),
        "requirement 1 (R-1): level must be one of required, characterised, not 'optional'",
    ),
    "permitted on a required one": (REQUIRED + 'permitted = ["rows"]\n', "requirement 1 (R-1): permitted belongs to"),
    "characterised without permitted": (
        REQUIRED.replace('"required"', '"characterised"'),
        "requirement 1 (R-1): permitted belongs to",
    ),
    "advice on a required one": (REQUIRED + 'advice = "Wait."\n', "requirement 1 (R-1): advice belongs to"),
    "characterised without advice": (
        CHARACTERISED.replace("advice", "# advice"),
        "requirement 1 (C-1): advice belongs to",
    ),
    "unknown difference": (
        CHARACTERISED.replace('"silent"', '"loud"'),
        "requirement 1 (C-1): difference must be one of silent, dtype, rounding, convention",
    ),
    "unknown field": (REQUIRED + 'note = "x"\n', "requirement 1 (R-1): has an unknown field 'note'; use id, group"),
    "duplicate id": (REQUIRED + CHARACTERISED + REQUIRED, "requirement 3 (R-1): duplicate id"),
    "empty file": ("", "holds no requirement"),
    "another table": ("[[rule]]\n", "unknown table 'rule'; use [[requirement]]"),
    "one table instead of a list": (REQUIRED.replace("[[requirement]]", "[requirement]"), "requirement"),
    "not TOML": ("[[requirement", ""),
    "not UTF-8": (b"# caf\xe9\n" + REQUIRED.encode(), ""),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_file_and_entry(name: str, tmp_path: Path) -> None:
    text, told = ERRORS[name]
    with pytest.raises(RequirementError) as error:
        load_text(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'requirements.toml'}: ")
    assert told in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequirementError, match=r"none\.toml"):
        load(tmp_path / "none.toml")


def suite_tests() -> dict[str, Callable[..., Any]]:
    """Every test function by ``file::name``."""
    out: dict[str, Callable[..., Any]] = {}
    folder = requirements.PATH.parent
    for path in sorted(folder.rglob("test_*.py")):
        module = importlib.import_module(
            ".".join(("touchstone", "suites", *path.relative_to(folder).with_suffix("").parts))
        )
        for name, function in vars(module).items():
            if name.startswith("test") and function.__module__ == module.__name__:
                out[f"{path.name}::{name}"] = function
    return out


TESTS = suite_tests()


def named(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """(requirement, cases) of each marker on the function."""
    return [mark.args for mark in getattr(function, "pytestmark", []) if mark.name == "requirement"]


def problems(function: Callable[..., Any], known: Any) -> list[str]:
    """What is wrong with the requirement and the cases of one test."""
    found = named(function)
    if len(found) != 1:
        return [f"names {len(found)} requirements instead of one"]
    ((identifier, cases),) = found
    out = [] if identifier in known else [f"names {identifier}, which does not exist"]
    if isinstance(cases, str):
        given = (*real.KINDS, *inputs.KINDS)
        return out if cases in given else [*out, f"asks for {cases!r}, which is no kind of real input"]
    if not cases:
        out.append("has no case")
    out += [f"has two cases with the id {i!r}" for i, n in Counter(case.id for case in cases).items() if n > 1]
    return out


@pytest.mark.parametrize("name", TESTS)
def test_a_test_names_one_requirement_and_distinct_cases(name: str) -> None:
    assert problems(TESTS[name], load()) == []


def test_every_requirement_is_asked_about() -> None:
    asked = {identifier for function in TESTS.values() for identifier, _ in named(function)}
    assert load().keys() - asked == set()


def test_every_requirement_has_golden_cases() -> None:
    """Asked about real input alone, it would never run by default; a check of two checkpoints needs two."""
    asked = [marker for function in TESTS.values() for marker in named(function)]
    golden = {identifier for identifier, cases in asked if not isinstance(cases, str)}
    given = {identifier for identifier, cases in asked if cases in inputs.KINDS}
    assert load().keys() - golden == given
    assert {identifier.partition("-")[0] for identifier in given} == {"MIG"}


def planted(*markers: tuple[str, Any]) -> Callable[[], None]:
    def function() -> None: ...

    for identifier, cases in markers:
        function = requirements.requirement(identifier, cases)(function)
    return function


CASE = Case({"dtype": "float32"})


@pytest.mark.parametrize(
    ("markers", "problem"),
    [
        ([], "names 0 requirements"),
        ([("EMB-BITS-1", [CASE]), ("EMB-SIZE-1", [CASE])], "names 2 requirements"),
        ([("EMB-BITS-9", [CASE])], "names EMB-BITS-9, which does not exist"),
        ([("EMB-BITS-1", [])], "has no case"),
        ([("EMB-BITS-1", [CASE, CASE])], "two cases with the id 'float32'"),
        ([("EMB-BITS-1", "tables")], "no kind of real input"),
    ],
    ids=["no marker", "two markers", "unknown id", "no case", "same id twice", "unknown kind"],
)
def test_planted_problems_are_found(markers: list[tuple[str, Any]], problem: str) -> None:
    (found,) = problems(planted(*markers), load())
    assert problem in found


def test_case_ids_spell_out_every_parameter() -> None:
    case = Case({"dtype": "float16", "K": 3, "bias": True, "fused": False, "ids": "rank 2"})
    assert case.id == "float16-K=3-bias-no_fused-rank2"
