"""Are defects planted where they say, told apart rightly, and caught? A few really run here; the rest are recorded."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mutants import __main__ as command
from mutants import defects, own_tests, planting, running
from mutants.defects import CLASSES, Defect, DefectError
from mutants.running import BROKEN, CAUGHT, ELSEWHERE, SURVIVED
from suites import requirements
from tests.command import ROOT, run

EVERY = {d.id: d for d in defects.load()}
RUN = (
    *("mlx-embedding-ids-one-too-low", "mlx-embedding-int8-ids-refused", "mlx-embedding-empty-ids"),
    *("mlx-embedding-bfloat16-as-float32", "mlx-as-linear-half-sum", "mlx-quantize-code-one-too-high"),
    *("mlx-quantized-lookup-swaps-words", "mlx-quantize-packs-with-other-scales", "mlx-as-linear-stale"),
    *("mlx-linear-bias-scaled", "mlx-linear-gradient-of-bias-missing", "mlx-linear-init-shape"),
    *("mlx-quantized-embedding-trainable", "mlx-embedding-clamps-above", "jax-attend-square-untransposed"),
    "torch-embedding-table-offset-lost",
)
"""One of each class, none of them held out."""


def test_the_data_keeps_its_own_rules() -> None:
    assert defects.check(EVERY.values(), requirements.load().keys()) == []


def test_there_are_enough() -> None:
    every = list(EVERY.values())
    assert len(every) >= 120
    assert sum(d.from_upstream for d in every) >= 40
    assert sum(d.held_out for d in every) == defects.HELD_OUT == 30
    assert {d.target for d in every} == {"mlx", "jax", "torch"}
    assert {d.kind for d in every} == set(CLASSES)


def test_who_is_held_out_follows_from_the_names_alone() -> None:
    assert defects.held_out(reversed(EVERY)) == {d.id for d in EVERY.values() if d.held_out}


@pytest.mark.parametrize("defect", EVERY.values(), ids=EVERY)
def test_every_defect_fits_its_module(defect: Defect) -> None:
    compile(defect.code, defect.id, "exec")
    if defect.edits:
        spec = importlib.util.find_spec(defect.module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text()
        compile(changed := planting.edited(source, defect.edits), defect.id, "exec")
        assert changed != source


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown class": (lambda d: d.update({"class": "luck"}), "'luck' is no class"),
    "unknown requirement": (
        lambda d: d.update(expect=["EMB-X-*"]),
        "expects 'EMB-X-\\*', which no requirement matches",
    ),
    "both origins": (lambda d: d.update(upstream="https://x"), "mine.toml: wrong: give upstream or operator"),
    "no plant": (lambda d: d.pop("code"), "give upstream or operator, and edits or code"),
    "no sentence": (lambda d: d.pop("what"), "mine.toml: wrong: .*what"),
    "unknown key": (lambda d: d.update(colour="red"), "mine.toml: wrong: .*colour"),
}


def written(folder: Path, *entries: dict[str, Any]) -> Path:
    lines = ['target = "torch"']
    for entry in entries:
        lines += ["[[defect]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    (folder / "mine.toml").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_named(case: str, tmp_path: Path) -> None:
    change, expected = BAD[case]
    entry = {
        **{"id": "wrong", "layer": "linear", "class": "shape", "operator": "drop", "what": "It is wrong."},
        **{"expect": ["LIN-*"], "module": "torch", "code": "pass"},
    }
    change(entry)
    with pytest.raises(DefectError, match=expected):
        raise DefectError(*defects.check(defects.load(written(tmp_path, entry)), requirements.load().keys()))


def test_one_operator_counts_five_times_at_most(tmp_path: Path) -> None:
    entry = {
        **{"layer": "linear", "class": "shape", "operator": "drop", "what": "It is wrong."},
        **{"expect": ["LIN-*"], "module": "torch", "code": "pass"},
    }
    folder = written(tmp_path, *({"id": f"wrong-{n}", **entry} for n in range(6)))
    assert len(defects.check(defects.load(folder), requirements.load().keys())) == 1
    with pytest.raises(DefectError, match="wrong-1 occur more than once"):
        defects.load(written(tmp_path, *({"id": "wrong-1", **entry} for _ in range(2))))


def test_edits_that_do_not_fit() -> None:
    assert planting.edited("a b a", [{"old": "b", "new": "c"}]) == "a c a"
    assert planting.edited("a b a", [{"old": "a", "new": "c", "which": 1}]) == "a b c"
    for edit in ({"old": "a", "new": "c"}, {"old": "x", "new": "c"}, {"old": "a", "new": "c", "which": 2}):
        with pytest.raises(planting.PlantingError, match="occurs"):
            planting.edited("a b a", [edit])


MINE = Defect("mine", "torch", "linear", "shape", "Wrong.", ("LIN-*",), "colorsys", "operator: drop")
ASK = "import colorsys, subprocess, sys; print(colorsys.ONE_THIRD, flush=True); subprocess.run([sys.executable, *{}])"


@pytest.mark.parametrize(
    "defect",
    [
        replace(MINE, code="ONE_THIRD = 3"),
        replace(MINE, edits=({"old": "ONE_THIRD = 1.0/3.0", "new": "ONE_THIRD = 3"},)),
    ],
    ids=["code", "edits"],
)
def test_a_defect_is_planted_in_child_processes_too(defect: Defect, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(json.dumps(defect.planted(tmp_path / "log")))
    child = ["-c", "import colorsys; print(colorsys.ONE_THIRD)"]
    for environment, value in ((running.environment(tmp_path / "plan"), "3"), (running.environment(None), "0.33")):
        done = subprocess.run(
            [sys.executable, "-c", ASK.format(child)], env=environment, capture_output=True, text=True, check=True
        )
        assert [line[:4] for line in done.stdout.split()] == [value, value]
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_an_edit_leaves_no_bytecode_behind(tmp_path: Path) -> None:
    (tmp_path / "victim.py").write_text("X = 1\n")
    defect = replace(MINE, module="victim", edits=({"old": "X = 1", "new": "X = 2"},))
    (tmp_path / "plan").write_text(json.dumps(defect.planted(tmp_path / "log")))
    for environment, expected in ((running.environment(tmp_path / "plan"), "2"), (running.environment(None), "1")):
        path = f"{environment['PYTHONPATH']}:{tmp_path}"
        program = [sys.executable, "-c", "import victim; print(victim.X)"]
        done = subprocess.run(program, env=environment | {"PYTHONPATH": path}, capture_output=True, text=True)
        assert done.stdout.strip() == expected


RED = {"requirement": "LIN-ERROR-1", "case": "a case", "why": "beyond bound: by far"}
"""A line of mutants.choosing."""


def outcomes(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> list[list[str]]:
    """Has `pytest_with` answer so; the arguments that it is given."""
    given: list[list[str]] = []

    def answer(defect: Defect, folder: Path, arguments: list[str]) -> Any:
        given.append(arguments)
        found = answers[len(given) - 1]
        if isinstance(found, dict):
            red = next(a for a in arguments if a.startswith("--red=")).removeprefix("--red=")
            Path(red).write_text(json.dumps(found) + "\n")
            return subprocess.CompletedProcess([], 1, "", "")
        if isinstance(found, int):
            return subprocess.CompletedProcess([], found, "1 failed", "")
        return found

    monkeypatch.setattr(running, "pytest_with", answer)
    return given


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([RED], CAUGHT),
        ([0, RED], ELSEWHERE),
        ([0, 0], SURVIVED),
        (["colorsys was never imported"], BROKEN),
        ([0, "no end within 900 s"], BROKEN),
        ([1], BROKEN),
        ([subprocess.CompletedProcess([], 1, "stale deviation  LIN-ROUND-1  torch@cpu", "")], CAUGHT),
    ],
)
def test_verdicts(answers: list[Any], verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = outcomes(monkeypatch, *answers)
    found = running.run(MINE)
    assert found.verdict == verdict
    assert "--requirement=LIN-*" in given[0]
    assert all(a[a.index("-m") + 1] == "not fuzz and not inductor" for a in given)
    assert [a for a in given[-1] if a.startswith("--without")] == (["--without=LIN-*"] if len(given) == 2 else [])


def test_a_module_that_is_never_imported_is_no_catch() -> None:
    found = running.run(replace(MINE, target="reference", expect=("EMB-CHECKED-1",), module="antigravity", code="pass"))
    assert (found.verdict, found.why) == (BROKEN, "antigravity was never imported")


def test_nothing_is_red_without_a_defect_in_the_chosen_requirements() -> None:
    """A defect that changes nothing: the cases that are chosen are green, and they are those that were asked for."""
    harmless = replace(MINE, target="mlx", module="mlx.core", code="pass", expect=("INIT-PARAM-1",))
    done = running.pytest_with(None, ROOT, [str(ROOT / "suites"), "-p", "mutants.choosing", *chosen(harmless)])
    assert not isinstance(done, str)
    assert done.returncode == 0
    assert "INIT-PARAM-1" not in done.stdout
    assert 0 < int(done.stdout.strip().splitlines()[-1].split()[0]) < 20


def chosen(defect: Defect) -> list[str]:
    return [f"--requirement={defect.expect[0]}", "--adapter", f"{defect.target}@cpu"]


@pytest.mark.parametrize("name", RUN)
def test_a_defect_of_every_class_is_caught(name: str) -> None:
    found = running.run(EVERY[name])
    assert (found.verdict, EVERY[name].expects(found.requirement)) == (CAUGHT, True), found


def test_one_of_every_class_is_run() -> None:
    assert {EVERY[name].kind for name in RUN} == set(CLASSES)
    assert not any(EVERY[name].held_out for name in RUN)


def test_what_is_recorded_is_what_the_pages_say() -> None:
    done = run("-m", "mutants", "page")
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_names_end_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", "no-such-defect"]) == 2
    assert "error: no defect is called no-such-defect" in capsys.readouterr().err


def test_own_tests_need_their_files(tmp_path: Path) -> None:
    assert own_tests.arguments("mlx", {}) is None
    with pytest.raises(own_tests.OwnTestsError, match=r"lacks .*test_nn.py"):
        own_tests.arguments("mlx", {"mlx": tmp_path})
    (tmp_path / "test_nn.py").write_text("def test_it():\n    assert False\n")
    (tmp_path / "test_quantized.py").touch()
    given = own_tests.arguments("mlx", {"mlx": tmp_path})
    assert given
    with pytest.raises(own_tests.OwnTestsError, match="its own tests are red without any defect"):
        own_tests.control("mlx", given)
