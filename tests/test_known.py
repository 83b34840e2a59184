"""Are files of known deviations checked field by field, matched as written, and updated without losing comments?"""

from __future__ import annotations

import json
import random
import sys
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tools import specification
from touchstone import command
from touchstone.adapters import known, update
from touchstone.adapters.discovery import registry
from touchstone.adapters.known import KnownError, load
from touchstone.adapters.update import UpdateError, induce
from touchstone.errors import InputError
from touchstone.suites import requirements
from touchstone.verdict.expectation import WRITTEN_BY_HAND, Expectations, Place, matches
from touchstone.verdict.observation import Observation
from touchstone.verdict.requirement import Requirement
from touchstone.verdict.rule import Verdict, judge

DEVIATION = """
[[deviation]]
requirement = "R-1"
framework = "torch"
versions = ">=2.13.0"
cases = [{dtype = ["float16", "bfloat16"], bias = [true]}]
seen_on = ["cpu"]
observed = ["beyond bound"]
headroom_at_most = 4.0
seen = 2026-11-21
cause = "It rounds down."
reproduction = "torch.add(1, 1)"
advice = "Round it yourself."
"""
PIN = """
[[pin]]
requirement = "C-1"
framework = "torch"
versions = ">=2.13.0"
cases = [{}]
seen_on = ["cpu"]
class = "rows"
page = "https://docs.pytorch.org/docs/stable/"
"""
IDS = ("R-1", "C-1")
TORCH = registry.adapter_class("torch")
CPU = Place("torch", "cpu", {"system": "Linux", "machine": "x86_64", "instruction_set": "avx2", "torch": "avx2"})


def load_text(folder: Path, text: str | bytes) -> Expectations:
    path = folder / "torch.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, TORCH, IDS)


def test_a_file_is_read(tmp_path: Path) -> None:
    found = load_text(tmp_path, DEVIATION + PIN)
    (deviation,), (pin,) = found.deviations, found.pins
    assert (deviation.observed, deviation.headroom_at_most) == (frozenset({"beyond bound"}), 4.0)
    assert (deviation.seen, deviation.cause) == (date(2026, 11, 21), "It rounds down.")
    assert deviation.origin == f"{tmp_path / 'torch.toml'}: deviation 1 (R-1)"
    assert (pin.classes, pin.page, pin.origin[-11:]) == (
        frozenset({"rows"}),
        "https://docs.pytorch.org/docs/stable/",
        "pin 1 (C-1)",
    )
    assert not deviation.is_candidate
    assert not pin.is_candidate


def test_a_pin_may_name_several_classes(tmp_path: Path) -> None:
    (pin,) = load_text(tmp_path, PIN.replace('"rows"', '["rows", "raises IndexError"]')).pins
    assert pin.classes == {"rows", "raises IndexError"}


def test_a_missing_file_holds_nothing(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml", TORCH, IDS) == Expectations()


@pytest.mark.parametrize("field", WRITTEN_BY_HAND)
def test_an_empty_field_makes_a_candidate(field: str, tmp_path: Path) -> None:
    lines = [f'{field} = ""' if line.startswith(field) else line for line in DEVIATION.splitlines()]
    assert load_text(tmp_path, "\n".join(lines)).deviations[0].is_candidate


def without(text: str, field: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(f"{field} "))


def replaced(text: str, field: str, value: str) -> str:
    return f"{without(text, field)}\n{field} = {value}\n"


ERRORS: dict[str, tuple[str | bytes, list[str]]] = {
    "not TOML": (DEVIATION + "cases = [", []),
    "not UTF-8": (b"# caf\xe9\n" + DEVIATION.encode(), []),
    "unknown table": ("[[deviations]]\n", ["unknown table 'deviations'", "[[deviation]]"]),
    "one table instead of a list": (PIN.replace("[[pin]]", "[pin]"), ["pin"]),
    "unknown requirement": (replaced(DEVIATION, "requirement", '"R-9"'), ["deviation 1 (R-9)", "no such requirement"]),
    "another framework": (
        replaced(DEVIATION, "framework", '"jax"'),
        ["deviation 1 (R-1)", "framework must be 'torch', whose file this is, not 'jax'"],
    ),
    "framework not a string": (replaced(PIN, "framework", "3"), ["pin 1 (C-1)", "framework"]),
    "a target": (PIN + 'target = "torch@cpu"\n', ["pin 1 (C-1)", "unknown field 'target'"]),
    "bad version range": (replaced(PIN, "versions", '"2.13"'), ["pin 1 (C-1)", "bad version range '2.13'"]),
    "version range not a string": (replaced(PIN, "versions", "2.13"), ["pin 1 (C-1)", "version"]),
    "cases a string": (replaced(PIN, "cases", '"all"'), ["pin 1 (C-1)", "cases must be a list, not 'all'"]),
    "cases a number": (replaced(PIN, "cases", "1"), ["pin 1 (C-1)", "cases must be a list, not 1"]),
    "cases one table": (replaced(PIN, "cases", '{dtype = ["x"]}'), ["pin 1 (C-1)", "cases must be a list"]),
    "no cases": (replaced(PIN, "cases", "[]"), ["pin 1 (C-1)", "cases must be a list that is not empty"]),
    "values not a list": (replaced(PIN, "cases", '[{dtype = "x"}]'), ["pin 1 (C-1)", "'dtype' must be a list"]),
    "seen not a date": (replaced(DEVIATION, "seen", '"2026-11-21"'), ["deviation 1 (R-1)", "seen must be a date"]),
    "nothing observed": (
        replaced(DEVIATION, "observed", "[]"),
        ["deviation 1 (R-1)", "observed must be a list that is not empty"],
    ),
    "observed a string": (
        replaced(DEVIATION, "observed", '"crashed"'),
        ["deviation 1 (R-1)", "observed must be a list, not 'crashed'"],
    ),
    "no class": (replaced(PIN, "class", "[]"), ["pin 1 (C-1)", "class must be a list that is not empty"]),
    "cause not a string": (replaced(DEVIATION, "cause", "1"), ["deviation 1 (R-1)", "cause"]),
    "headroom not a number": (
        replaced(DEVIATION, "headroom_at_most", '"4"'),
        ["deviation 1 (R-1)", "headroom_at_most"],
    ),
    "unknown field": (DEVIATION + 'reason = "x"\n', ["deviation 1 (R-1)", "unknown field 'reason'"]),
    "a deviation's field on a pin": (PIN + "seen = 2026-11-21\n", ["pin 1 (C-1)", "unknown field 'seen'"]),
    "duplicate deviation": (DEVIATION + DEVIATION, ["deviation 2 (R-1)", "duplicate of", "deviation 1 (R-1)"]),
    "duplicate pin": (PIN + replaced(PIN, "class", '"raises IndexError"'), ["pin 2 (C-1)", "duplicate of", "pin 1"]),
}


def placed(text: str = DEVIATION, **fields: str) -> str:
    """An entry with these fields, in a `where` of one fact seen on the CPU unless they say otherwise."""
    if "where" in fields and "seen_on" not in fields:
        fields["seen_on"] = '[{device = "cpu", instruction_set = "avx2"}]'
    for name, value in fields.items():
        text = replaced(text, name, value)
    return text


X86_ONLY = '{instruction_set = ["avx2"]}'
PLACES: dict[str, tuple[str | bytes, list[str]]] = {
    "unknown condition": (placed(where="{isa = ['avx2']}"), ["deviation 1 (R-1)", "where", "condition 'isa'", "xla"]),
    "a fact that a run of it lacks": (placed(where='{xla = ["avx2"]}'), ["where names 'xla'", "torch does not record"]),
    "no value of the fact": (
        placed(where='{instruction_set = ["avx3"]}'),
        ["where.instruction_set can never be 'avx3'", "avx512"],
    ),
    "a condition without a value": (
        placed(where="{instruction_set = []}"),
        ["where 'instruction_set' must be a list that is not empty"],
    ),
    "a condition that is a string": (
        placed(where='{system = "Linux"}'),
        ["where 'system' must be a list, not 'Linux'"],
    ),
    "a value twice": (placed(where='{system = ["Linux", "Linux"]}'), ["where.system names 'Linux' twice"]),
    "no condition": (placed(where="{}"), ["where must be a table that is not empty, not {}"]),
    "where a string": (placed(where='"Linux"'), ["where must be a table, not 'Linux'"]),
    "no such device": (placed(PIN, device='"gpu"'), ["pin 1 (C-1)", "device 'gpu' is none", "mps, cuda, cpu"]),
    "no device": (placed(device="[]"), ["device must be a list that is not empty"]),
    "a device that is a number": (placed(device="3"), ["device must be a string or a list, not 3"]),
    "an instruction set of another machine": (
        placed(where='{machine = ["arm64"], instruction_set = ["avx2"]}'),
        ["where can hold nowhere: no machine has machine arm64, instruction_set avx2"],
    ),
    "a library beyond its processor": (
        placed(where='{instruction_set = ["avx"], torch = ["avx512"]}'),
        ["where can hold nowhere", "instruction_set avx, torch avx512"],
    ),
    "a device of another system": (
        placed(device='"mps"', where='{system = ["Linux", "Windows"]}'),
        ["where can hold nowhere: no machine has device mps, system Linux or Windows"],
    ),
    "seen nowhere": (placed(seen_on="[]"), ["seen_on must be a list that is not empty"]),
    "seen on a device that it does not speak of": (
        placed(device='"cpu"', seen_on='["mps"]'),
        ["seen_on names device 'mps', where the entry speaks of cpu"],
    ),
    "seen on no device of the adapter": (placed(seen_on='["gpu"]'), ["seen_on names device 'gpu'", "mps, cuda, cpu"]),
    "seen on a machine that it does not speak of": (
        placed(where=X86_ONLY, seen_on='[{device = "cpu", instruction_set = "avx"}]'),
        ["seen_on names instruction_set 'avx', where the entry speaks of avx2"],
    ),
    "a place without its fact": (
        placed(where=X86_ONLY, seen_on='[{device = "cpu"}]'),
        ["seen_on must be a list of tables with device, instruction_set"],
    ),
    "a place that is a name": (placed(where=X86_ONLY, seen_on='["cpu"]'), ["seen_on must be a list of tables"]),
    "a place that is a table": (
        placed(seen_on='[{device = "cpu"}]'),
        ["seen_on must be a list of devices, each a string"],
    ),
}


@pytest.mark.parametrize("name", [*ERRORS, *PLACES])
def test_errors_name_file_and_entry(name: str, tmp_path: Path) -> None:
    text, told = (ERRORS | PLACES)[name]
    with pytest.raises(KnownError) as error:
        load_text(tmp_path, text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'torch.toml'}: ")
    assert [part for part in told if part not in message] == [], message


NEEDED = {
    *("requirement", "framework", "versions", "cases", "seen_on"),
    *("observed", "seen", *WRITTEN_BY_HAND),
    *("class", "page"),
}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (text, f)
        for text in (DEVIATION, PIN)
        for f in (line.partition(" ")[0] for line in text.splitlines())
        if f in NEEDED
    ],
)
def test_a_missing_field_is_named(text: str, field: str, tmp_path: Path) -> None:
    with pytest.raises(KnownError, match=rf"torch\.toml: (deviation|pin) 1 \(.*\): lacks {field}$"):
        load_text(tmp_path, without(text, field))


def test_the_same_case_may_be_registered_per_version(tmp_path: Path) -> None:
    later = replaced(DEVIATION.replace('"beyond bound"', '"wrong bits"'), "versions", '">=2.14"')
    earlier = replaced(DEVIATION, "versions", '"<2.14"')
    found = load_text(tmp_path, earlier + later)
    params = {"dtype": "float16", "bias": True}
    for version, observed in (("2.13.0", {"beyond bound"}), ("2.14.1", {"wrong bits"})):
        deviation = found.deviation("R-1", CPU, version, params)
        assert deviation is not None
        assert deviation.observed == observed


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"version": "2.13.0+cpu"}, True),
        ({"version": "2.14.0.dev20261120"}, True),
        ({"version": "2.12.1"}, False),
        ({"place": Place("torch", "mps")}, True),
        ({"place": Place("jax", "cpu")}, False),
        ({"requirement": "C-1"}, False),
        ({"params": {"dtype": "bfloat16", "bias": True, "K": 3}}, True),
        ({"params": {"dtype": "float32", "bias": True}}, False),
        ({"params": {"dtype": "float16", "bias": False}}, False),
        ({"params": {"dtype": "float16"}}, False),
    ],
    ids=str,
)
def test_what_an_entry_covers(changes: dict[str, Any], covered: bool, tmp_path: Path) -> None:
    case = {
        "requirement": "R-1",
        "place": CPU,
        "version": "2.13.0",
        "params": {"dtype": "float16", "bias": True},
    }
    found = load_text(tmp_path, DEVIATION).deviation(*(case | changes).values())
    assert (found is not None) == covered


def test_an_empty_pattern_matches_every_case() -> None:
    assert matches({}, {})
    assert matches({}, {"dtype": "float32"})


def test_a_deviation_shows_its_class_up_to_its_headroom(tmp_path: Path) -> None:
    (deviation,) = load_text(tmp_path, DEVIATION).deviations
    assert deviation.shows("beyond bound", 4.0)
    assert deviation.shows("beyond bound", None)
    assert not deviation.shows("beyond bound", 4.1)
    assert not deviation.shows("crashed", None)


@pytest.mark.parametrize("name", [*registry.BUILT_IN, "keras", "qwix"])
def test_shipped_files_load(name: str) -> None:
    cls = registry.adapter_class(name)
    path = known.path_for(cls)
    assert path.is_file()
    found = load(path, cls, requirements.load().keys())
    assert {entry.scope.framework for entry in (*found.deviations, *found.pins)} == {name}


def test_a_third_party_keeps_its_file_beside_its_module() -> None:
    from tests.hazards import Minimal

    assert known.path_for(Minimal) == Path(__file__).parent / "known" / "minimal.toml"


SPACES: list[dict[str, list[Any]]] = [
    {"dtype": ["float32", "float16", "bfloat16"], "bias": [True, False]},
    {"layer": ["embedding", "raw_lookup"], "dtype": ["float32", "float16", "bfloat16"], "K": [1, 2, 33, 4096]},
    {"layer": ["a", "b"], "dtype": ["c", "d"], "bits": [4, 8], "group": [32, 64, 128], "x": ["1", "2", "3"]},
]


def every(space: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]


@pytest.mark.parametrize("space", SPACES, ids=["2", "3", "5"])
@pytest.mark.parametrize("seed", range(12))
def test_patterns_match_what_was_asked_and_nothing_else(space: dict[str, list[Any]], seed: int) -> None:
    everything = every(space)
    chance = random.Random(seed)
    wanted = chance.sample(everything, chance.randint(1, len(everything)))
    patterns = induce(wanted, everything)
    chosen = [p for p in everything if any(matches(pattern, p) for pattern in patterns)]
    assert chosen == [p for p in everything if p in wanted]
    assert len(patterns) <= len(wanted)


@pytest.mark.parametrize(
    ("wanted", "patterns"),
    [
        (lambda p: True, [{}]),
        (lambda p: p["dtype"] == "float16", [{"dtype": ("float16",)}]),
        (lambda p: p["dtype"] != "float32" and p["K"] >= 33, [{"dtype": ("float16", "bfloat16"), "K": (33, 4096)}]),
        (lambda p: p["K"] == 1 or p["dtype"] == "float32", 2),
    ],
    ids=["all", "one value", "a box", "a corner"],
)
def test_patterns_are_short(wanted: Any, patterns: Any) -> None:
    everything = every(SPACES[1])
    found = induce([p for p in everything if wanted(p)], everything)
    assert (len(found) if isinstance(patterns, int) else found) == patterns


def test_a_parameter_that_only_some_cases_have() -> None:
    """A requirement may be asked by two tests whose cases have different parameters."""
    plain, scaled = {"dtype": "float32"}, {"dtype": "float32", "bits": 4}
    patterns = induce([scaled], [plain, scaled])
    assert [matches(p, c) for p in patterns for c in (plain, scaled)] == [False, True]


def test_cases_with_different_parameters_are_split_by_them() -> None:
    wanted, other = [{"a": 1, "c": 1}, {"a": 1, "b": 2}], {"a": 1, "b": 3}
    patterns = induce(wanted, [*wanted, other])
    assert [any(matches(p, c) for p in patterns) for c in (*wanted, other)] == [True, True, False]


@pytest.mark.parametrize("wanted", [[{"a": 1}], [{"a": 1}, {"a": 1, "c": 3}], [{"a": 1}, {"a": 2}]], ids=str)
def test_cases_that_cannot_be_told_apart(wanted: list[dict[str, int]]) -> None:
    with pytest.raises(UpdateError, match=r"no pattern tells the case a=1 from a=1, b=2$"):
        induce(wanted, [*wanted, {"a": 1, "b": 2}])


PARAMS: dict[str, list[dict[str, Any]]] = {
    "R-1": [{"dtype": d, "bias": b} for d in ("float32", "float16", "bfloat16") for b in (True, False)],
    "C-1": [{"dtype": "float32"}],
}


def later(text: str, **changes: str) -> str:
    for name, value in changes.items():
        text = replaced(text, name, value)
    return text


SOUND = {
    "one of each": DEVIATION + PIN,
    "other cases": DEVIATION + later(DEVIATION, cases='[{dtype = ["float32"]}]'),
    "a narrower device": DEVIATION + later(DEVIATION, device='"cpu"'),
    "other devices": later(DEVIATION, device='["mps", "cuda"]', seen_on='["mps"]') + later(DEVIATION, device='"cpu"'),
    "other machines": placed(where=X86_ONLY)
    + placed(where='{instruction_set = ["neon"]}', seen_on='[{device = "cpu", instruction_set = "neon"}]'),
    "facts that no machine has together": placed(
        where='{machine = ["arm64"]}', seen_on='[{device = "cpu", machine = "arm64"}]'
    )
    + placed(where='{torch = ["avx2"]}', seen_on='[{device = "cpu", torch = "avx2"}]'),
    "disjoint versions": later(DEVIATION, versions='"<2.14"') + later(DEVIATION, versions='">=2.14"'),
    "two versions": later(DEVIATION, versions='"==2.13.0"') + later(DEVIATION, versions='">2.13.0"'),
}
UNSOUND = {
    "one device of several": (
        later(DEVIATION, device='["mps", "cpu"]') + later(DEVIATION, device='["cpu", "cuda"]'),
        ["deviation 2 (R-1)", "as does", "deviation 1 (R-1)", "neither is narrower"],
    ),
    "machines that can be one": (
        placed(where=X86_ONLY) + placed(where='{torch = ["avx2"]}', seen_on='[{device = "cpu", torch = "avx2"}]'),
        ["deviation 2 (R-1)", "as does", "deviation 1 (R-1)", "neither is narrower"],
    ),
    "no such value": (
        later(DEVIATION, cases='[{dtype = ["float16"]}, {dtype = ["float61"]}]'),
        ["deviation 1 (R-1)", "no case of R-1 matches dtype float61"],
    ),
    "no such parameter": (later(PIN, cases="[{K = [1]}]"), ["pin 1 (C-1)", "no case of C-1 matches K 1"]),
    "wider versions": (
        DEVIATION + later(DEVIATION, versions='">=2.0"', cases='[{dtype = ["float16"]}]'),
        ["deviation 2 (R-1)", "covers dtype float16, bias True, as does", "deviation 1 (R-1)"],
    ),
    "versions without a lower end": (later(PIN, versions='"<3"') + later(PIN, versions='"<4"'), ["pin 2 (C-1)"]),
    "two overlapping pins": (
        PIN + later(PIN, versions='">2.12,<3"', cases='[{dtype = ["float32"]}]'),
        ["pin 2 (C-1)", "covers dtype float32, as does", "pin 1 (C-1)"],
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_entries_that_agree_with_the_cases(name: str, tmp_path: Path) -> None:
    specification.check_entries(load_text(tmp_path, SOUND[name]), PARAMS)


@pytest.mark.parametrize("name", UNSOUND)
def test_entries_that_do_not(name: str, tmp_path: Path) -> None:
    text, told = UNSOUND[name]
    with pytest.raises(InputError) as error:
        specification.check_entries(load_text(tmp_path, text), PARAMS)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'torch.toml'}: ")
    assert [part for part in told if part not in message] == [], message


def test_shipped_entries_agree_with_the_golden_cases() -> None:
    specification.check_entries(specification.registered(), specification._golden_cases())


def test_the_check_reports_a_wrong_entry_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identifier = next(iter(requirements.load()))
    path = tmp_path / "torch.toml"
    path.write_text(later(DEVIATION, requirement=f'"{identifier}"', cases="[{planted = [1]}]"))
    monkeypatch.setattr(registry, "SHIPPED", {"torch": registry.SHIPPED["torch"]})
    monkeypatch.setattr(known, "path_for", lambda cls: tmp_path / f"{cls.name}.toml")
    monkeypatch.setattr(sys, "argv", ["specification", "--check"])
    assert specification.main() == 1
    told = capsys.readouterr().err
    assert told == f"error: {path}: deviation 1 ({identifier}): no case of {identifier} matches planted 1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of known deviations that `touchstone.adapters.update` may edit."""
    made = tmp_path / "known"
    made.mkdir()
    monkeypatch.setattr(known, "path_for", lambda cls, folder=None: made / f"{cls.name}.toml")
    return made


def record(**changes: Any) -> dict[str, Any]:
    dtype = changes.get("params", {}).get("dtype", "float16")
    made = {
        "event": "end",
        "id": f"suites/test_x.py::test_x[torch@cpu-{dtype}]",
        "target": "torch@cpu",
        "spec": "torch",
        "device": {"name": "AVX2", "facts": dict(CPU.facts)},
        "note": "",
        "assumed": False,
        "versions": {"torch": "2.13.0+cpu"},
        "requirement": "R-1",
        "params": {"dtype": "float16", "bias": True},
        "verdict": "deviates",
        "missing": "deviation",
        "behaviour": "beyond bound",
        "headroom": 3.0,
        "cases": 1,
        "marked": False,
    }
    return made | changes


GREEN = {"verdict": "conforms", "missing": "", "behaviour": "within bound", "headroom": 0.5}
STALE = GREEN | {"verdict": "stale deviation"}


def updated(folder: Path, *records: dict[str, Any]) -> str:
    """What `update` says of a run with these records."""
    report = folder.parent / "report"
    report.mkdir(exist_ok=True)
    lines = [{"event": "start", "id": r["id"]} for r in records] + list(records)
    (report / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return update.update(report)


def loaded(folder: Path) -> Expectations:
    return load(folder / "torch.toml", TORCH, IDS)


def test_a_red_case_becomes_a_candidate_that_stays_red(folder: Path) -> None:
    green = record(params={"dtype": "float32", "bias": True}, **GREEN)
    assert updated(folder, record(), green) == "torch.toml: added a candidate deviation: R-1 beyond bound (1 cases)"
    (deviation,) = loaded(folder).deviations
    assert (deviation.cases, deviation.observed) == (({"dtype": ("float16",)},), frozenset({"beyond bound"}))
    assert (str(deviation.versions), deviation.seen) == (">=2.13.0", date.today())
    assert (str(deviation.scope), deviation.scope.seen_on) == ("torch on cpu", ({"device": "cpu"},))
    assert deviation.headroom_at_most == 6.0
    requirement = Requirement("R-1", "group", "required", "sentence", "source", "linear")
    seen = Observation("beyond bound", False, headroom=3.0)
    found = judge(requirement, seen, loaded(folder), CPU, "2.13.0", {"dtype": "float16"})
    assert found.verdict is Verdict.DEVIATES
    assert "is a candidate" in found.note


def test_an_unpinned_choice_becomes_a_candidate_pin_that_stays_red(folder: Path) -> None:
    updated(folder, record(requirement="C-1", missing="pin", behaviour="rows", headroom=None))
    (pin,) = loaded(folder).pins
    assert (pin.cases, pin.classes, pin.page) == (({},), frozenset({"rows"}), "")
    requirement = Requirement(
        "C-1", "group", "characterised", "sentence", "source", "linear", ("rows",), "silent", "advice"
    )
    found = judge(requirement, Observation("rows", True), loaded(folder), CPU, "2.13.0", {})
    assert found.verdict is Verdict.DEVIATES


def test_undefined_behaviours_are_registered_together(folder: Path) -> None:
    crashed = {"behaviour": "crashed", "verdict": "crashed", "headroom": None}
    foreign = {"behaviour": "foreign memory", "headroom": None, "params": {"dtype": "float32", "bias": True}}
    updated(folder, record(**crashed), record(**foreign))
    (deviation,) = loaded(folder).deviations
    assert deviation.observed == {"crashed", "foreign memory", "timed out", "zeros"}
    assert deviation.headroom_at_most is None


def test_a_sentinel_row_is_no_undefined_behaviour(folder: Path) -> None:
    crashed = {"behaviour": "crashed", "verdict": "crashed", "headroom": None}
    sentinel = {"behaviour": "memory outside the table", "headroom": None, "params": {"dtype": "float32", "bias": True}}
    updated(folder, record(**crashed), record(**sentinel))
    assert [d.observed for d in loaded(folder).deviations] == [update.UNDEFINED, {"memory outside the table"}]


def test_a_requirement_that_ran_in_part_changes_nothing(folder: Path) -> None:
    """Neither a candidate nor a removal may rest on some of the cases."""
    (folder / "torch.toml").write_text(DEVIATION)
    stale = record(**STALE, cases=2)
    other = record(requirement="C-1", missing="pin", cases=3, params={"dtype": "float32"})
    assert updated(folder, stale, stale, other).splitlines() == [
        "torch.toml: R-1 on torch@cpu: only 1 of 2 cases ran; run the whole requirement first",
        "torch.toml: C-1 on torch@cpu: only 1 of 3 cases ran; run the whole requirement first",
    ]
    assert (folder / "torch.toml").read_text() == DEVIATION


@pytest.mark.parametrize("verdict", ["unsupported", "not run"])
def test_a_case_that_was_not_asked_counts_as_ended(verdict: str, folder: Path) -> None:
    unasked = record(verdict=verdict, missing="", params={"dtype": "bfloat16", "bias": True}, cases=2)
    assert "added a candidate deviation" in updated(folder, record(cases=2), unasked)


def test_a_marked_case_does_not_make_up_for_an_unmarked_one(folder: Path) -> None:
    marked = record(marked=True, cases=2, params={"dtype": "bfloat16", "bias": True})
    assert "only 1 of 2 cases ran" in updated(folder, record(cases=2), marked)
    assert not (folder / "torch.toml").exists()


def test_an_entry_that_names_another_class_is_left_to_a_person(folder: Path) -> None:
    (folder / "torch.toml").write_text(DEVIATION)
    second = record(missing="changed", behaviour="wrong bits", params={"dtype": "bfloat16", "bias": True})
    told = updated(folder, record(missing="changed", behaviour="wrong bits"), second)
    assert told == "torch.toml: edit by hand: R-1 on torch@cpu now shows wrong bits (2 cases)"
    assert (folder / "torch.toml").read_text() == DEVIATION


def test_cases_that_no_pattern_tells_apart_are_named(folder: Path) -> None:
    red = record(params={"a": 1})
    green = record(**GREEN, params={"a": 1, "b": 2}, id="other")
    with pytest.raises(UpdateError, match=r"^R-1 on torch@cpu: no pattern tells the case a=1 from a=1, b=2$"):
        updated(folder, red, green)
    assert not (folder / "torch.toml").exists()


@pytest.mark.parametrize("field", ["cases", "marked"])
def test_a_record_of_an_earlier_version_is_refused(field: str, folder: Path) -> None:
    earlier = record()
    del earlier[field]
    with pytest.raises(UpdateError, match="not a report of this version"):
        updated(folder, earlier)


def test_a_run_on_a_users_own_table_changes_nothing(folder: Path) -> None:
    with pytest.raises(UpdateError, match="own arrays"):
        updated(folder, record(params={"key": "model.embed.weight", "dtype": "float16"}))
    assert not (folder / "torch.toml").exists()


def test_an_infinite_headroom_sets_no_limit(folder: Path) -> None:
    updated(folder, record(headroom="inf"))
    assert loaded(folder).deviations[0].headroom_at_most is None


@pytest.mark.parametrize(
    "text",
    [
        placed(device='"mps"', seen_on='["mps"]'),
        replaced(DEVIATION, "seen_on", '["mps"]'),
        placed(where='{instruction_set = ["avx512"]}', seen_on='[{device = "cpu", instruction_set = "avx512"}]'),
    ],
    ids=["another device's", "assumed here", "another machine's"],
)
def test_what_was_not_seen_here_is_never_removed(text: str, folder: Path) -> None:
    """Also where some of its cases may conform, so that each of them has the verdict *conforms*."""
    (folder / "torch.toml").write_text(text + "some_conform = true\n")
    assert updated(folder, record(**GREEN)) == "nothing to change"
    assert len(loaded(folder).deviations) == 1


def a_known(**changes: Any) -> dict[str, Any]:
    return record(verdict="known deviation", missing="", **changes)


def test_a_device_that_confirms_what_was_assumed_is_named(folder: Path) -> None:
    """And only there: the second entry is assumed too, and not confirmed by each of its cases."""
    assumed, other = replaced(DEVIATION, "seen_on", '["mps"]'), replaced(PIN, "seen_on", '["mps"]')
    (folder / "torch.toml").write_text(f"# Why.\n{assumed}{other}")
    pinned = record(requirement="C-1", assumed=True, params={"dtype": "float16"}, cases=2, **GREEN)
    against = pinned | {"verdict": "unreviewed", "missing": "", "params": {"dtype": "float32"}, "id": "another"}
    told = updated(folder, a_known(assumed=True), pinned, against)
    assert told == "torch.toml: seen on torch@cpu now, where they were assumed: 1 entries"
    (deviation,), (pin,) = loaded(folder).deviations, loaded(folder).pins
    assert deviation.scope.seen_on == ({"device": "mps"}, {"device": "cpu"})
    assert pin.scope.seen_on == ({"device": "mps"},)
    assert (folder / "torch.toml").read_text().startswith("# Why.\n")


def test_a_machine_that_confirms_what_was_assumed_is_named(folder: Path) -> None:
    where, seen = '{instruction_set = ["avx2", "avx512"]}', '[{device = "cpu", instruction_set = "avx512"}]'
    (folder / "torch.toml").write_text(placed(where=where, seen_on=seen))
    updated(folder, a_known(assumed=True))
    (deviation,) = loaded(folder).deviations
    assert deviation.scope.seen_on[1] == {"device": "cpu", "instruction_set": "avx2"}


def test_a_stale_entry_leaves_the_wider_one_that_it_hid(folder: Path) -> None:
    (folder / "torch.toml").write_text(DEVIATION + placed(device='"cpu"'))
    assert "removed a stale deviation" in updated(folder, record(**STALE))
    assert [str(d.scope) for d in loaded(folder).deviations] == ["torch"]


def test_an_entry_of_another_version_is_left(folder: Path) -> None:
    (folder / "torch.toml").write_text(later(DEVIATION, versions='">=2.14"'))
    assert updated(folder, record(**STALE)) == "nothing to change"


@pytest.mark.parametrize(("how", "verdict"), [("widen", "deviates"), ("narrow", "unreviewed")])
def test_an_entry_that_holds_in_other_places_than_it_says_is_left_to_a_person(
    how: str, verdict: str, folder: Path
) -> None:
    (folder / "torch.toml").write_text(DEVIATION)
    told = updated(folder, record(missing=how, verdict=verdict, note="deviation 1 holds elsewhere"))
    assert told == f"torch.toml: {how} by hand: R-1 on torch@cpu: deviation 1 holds elsewhere (1 cases)"
    assert (folder / "torch.toml").read_text() == DEVIATION


def test_settled_cases_change_nothing(folder: Path) -> None:
    (folder / "torch.toml").write_text(DEVIATION)
    known_one = record(verdict="known deviation", missing="")
    unsupported = record(verdict="unsupported")
    assert updated(folder, known_one, unsupported, record(**GREEN)) == "nothing to change"
    assert (folder / "torch.toml").read_text() == DEVIATION


def test_a_second_update_adds_nothing_more(folder: Path) -> None:
    updated(folder, record())
    text = (folder / "torch.toml").read_text()
    assert updated(folder, record(missing="")) == "nothing to change"
    assert (folder / "torch.toml").read_text() == text


def two_deviations(between: str = "") -> str:
    """The first speaks of R-1, the second of C-1; comments before, inside and, as given, between them."""
    second = replaced(DEVIATION, "requirement", '"C-1"').replace("seen = ", "# Seen on a laptop.\nseen = ")
    return f"# What PyTorch does.\n{DEVIATION}{between}{second}{PIN}"


def test_a_stale_deviation_is_removed_and_comments_are_kept(folder: Path) -> None:
    (folder / "torch.toml").write_text(two_deviations())
    told = updated(folder, record(**STALE))
    assert told == "torch.toml: removed a stale deviation: R-1, seen 2026-11-21"
    assert [d.requirement for d in loaded(folder).deviations] == ["C-1"]
    assert len(loaded(folder).pins) == 1
    text = (folder / "torch.toml").read_text()
    assert "# What PyTorch does." in text
    assert "# Seen on a laptop." in text


def test_a_comment_above_the_entry_after_a_removed_one_is_kept(folder: Path) -> None:
    (folder / "torch.toml").write_text(two_deviations("\n# Why the next entry is here.\n"))
    updated(folder, record(**STALE))
    assert [d.requirement for d in loaded(folder).deviations] == ["C-1"]
    assert "# Why the next entry is here." in (folder / "torch.toml").read_text()


def test_the_last_deviation_can_be_removed(folder: Path) -> None:
    (folder / "torch.toml").write_text(f"# What PyTorch does.\n{DEVIATION}")
    updated(folder, record(**STALE))
    assert loaded(folder) == Expectations()
    assert "# What PyTorch does." in (folder / "torch.toml").read_text()


def test_a_deviation_of_which_some_cases_conform_goes_when_all_do(folder: Path) -> None:
    text = DEVIATION.replace("seen = ", "some_conform = true\nseen = ")
    conforms = record(**{**STALE, "verdict": "conforms"})
    holds = record(verdict="known deviation", missing="", params={"dtype": "bfloat16", "bias": True})
    (folder / "torch.toml").write_text(text)
    assert updated(folder, conforms, holds) == "nothing to change"
    assert updated(folder, conforms) == "torch.toml: removed a stale deviation: R-1, seen 2026-11-21"
    assert loaded(folder) == Expectations()


def test_some_conform_is_true_or_false(folder: Path) -> None:
    (folder / "torch.toml").write_text(DEVIATION.replace("seen = ", 'some_conform = "yes"\nseen = '))
    with pytest.raises(KnownError, match=r"torch\.toml: deviation 1 .*some_conform must be true or false, not 'yes'"):
        loaded(folder)


def test_a_deviation_that_holds_in_part_is_left_to_a_person(folder: Path) -> None:
    (folder / "torch.toml").write_text(DEVIATION)
    holds = record(verdict="known deviation", missing="", params={"dtype": "bfloat16", "bias": True})
    told = updated(folder, record(**STALE), holds)
    assert told.startswith("torch.toml: narrow by hand: R-1, seen 2026-11-21")
    assert "torch@cpu-float16" in told
    assert len(loaded(folder).deviations) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "holds no finished case"),
        ('{"event": "start", "id": "x"}\n', "holds no finished case"),
        ("garbage\n", "not a report"),
        ("[1]\n", "not a report"),
        ('{"event": "end", "id": "x"}\n', "not a report"),
        (b"\xff\xfe\n", "not a report"),
    ],
    ids=["missing", "empty", "nothing finished", "not JSON", "no record", "a record without fields", "not text"],
)
def test_a_report_that_cannot_be_used(content: str | bytes | None, message: str, tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "results.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UpdateError) as error:
        update.update(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_file_that_cannot_be_edited_is_named(folder: Path) -> None:
    (folder / "torch.toml").write_text("[[pin")
    with pytest.raises((UpdateError, KnownError), match=r"torch\.toml"):
        updated(folder, record())
    assert (folder / "torch.toml").read_text() == "[[pin"


def test_the_command_reports_an_error_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["expectations", "update", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path / 'results.jsonl'}: cannot be read")
    assert told.count("\n") == 1
