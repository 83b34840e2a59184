"""Are defects planted where they say, told apart rightly, and caught? A few really run here; the rest are recorded."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.command import ROOT, run
from tools.mutants import __main__ as command
from tools.mutants import choosing, defects, own_tests, page, planting, recording, running, score
from tools.mutants.defects import CLASSES, Defect, DefectError
from tools.mutants.running import BROKEN, CAUGHT, ELSEWHERE, SURVIVED, Outcome
from touchstone.suites import identity, requirements

EVERY = {d.id: d for d in defects.load()}
RUN = (
    *("mlx-embedding-ids-one-too-low", "mlx-embedding-int8-ids-refused", "mlx-embedding-empty-ids"),
    *("mlx-embedding-bfloat16-as-float32", "mlx-as-linear-half-sum", "mlx-quantize-code-one-too-high"),
    *("mlx-quantized-lookup-swaps-words", "mlx-quantize-packs-with-other-scales", "mlx-as-linear-stale"),
    *("mlx-linear-bias-scaled", "mlx-linear-gradient-of-bias-missing", "mlx-linear-init-shape"),
    *("mlx-quantized-embedding-trainable", "mlx-embedding-clamps-above", "jax-attend-square-untransposed"),
    *("torch-embedding-table-offset-lost", "mlx-hard-shrink-keeps-the-border"),
)
"""One of each class, none of them held out."""


def test_the_data_keeps_its_own_rules() -> None:
    assert defects.check(EVERY.values(), requirements.load().keys()) == []


def test_there_are_enough() -> None:
    every = list(EVERY.values())
    assert len(every) >= 120
    assert sum(d.from_upstream for d in every) >= 40
    assert sum(bool(d.held_out) for d in every) >= 96
    assert {d.target for d in every} == {"mlx", "jax", "torch"}
    assert {d.kind for d in every} == set(CLASSES)


def test_those_held_out_are_in_files_of_their_own_and_were_all_in_the_first_run() -> None:
    held_out = {d.id for d in EVERY.values() if d.held_out}
    assert held_out == {d.id for d in EVERY.values() if d.id.startswith("blind")}
    assert held_out <= score.read(score.MEASURED / score.FIRST).keys()
    assert all(d.documented for d in EVERY.values() if d.held_out)


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
    "unknown operator": (lambda d: d.update(operator="omit"), "'omit' is no operator"),
    "too many requirements": (lambda d: d.update(expect=["LIN-*"]), "expects any of 6 requirements; name 4 at most"),
    "both origins": (
        lambda d: d.update(upstream="https://x"),
        "mine.toml: defect 1 \\(wrong\\): give upstream or operator",
    ),
    "no plant": (lambda d: d.pop("code"), "give upstream or operator, and edits or code"),
    "no sentence": (lambda d: d.pop("what"), "mine.toml: defect 1 \\(wrong\\): lacks what"),
    "unknown key": (lambda d: d.update(colour="red"), "mine.toml: defect 1 \\(wrong\\): .*colour"),
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
        **{"expect": ["LIN-ERROR-1"], "module": "torch", "code": "pass"},
    }
    change(entry)
    with pytest.raises(DefectError, match=expected):
        raise DefectError(*defects.check(defects.load(written(tmp_path, entry)), requirements.load().keys()))


def test_one_operator_counts_five_times_at_most(tmp_path: Path) -> None:
    entry = {
        **{"layer": "linear", "class": "shape", "operator": "drop", "what": "It is wrong."},
        **{"expect": ["LIN-ERROR-1"], "module": "torch", "code": "pass"},
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


RED = {"requirement": "LIN-ERROR-1", "case": "a case", "behaviour": "beyond bound", "why": "beyond bound: by far"}
"""A line of tools.mutants.choosing."""


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
        ([RED | {"behaviour": "harness error"}], BROKEN),
        ([0, RED | {"behaviour": "harness error"}], BROKEN),
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
    assert all(a[a.index("-m") + 1] == "not fuzz and not inductor and not wide" for a in given)
    assert [a for a in given[-1] if a.startswith("--without")] == (["--without=LIN-*"] if len(given) == 2 else [])


def test_a_module_that_is_never_imported_is_no_catch() -> None:
    found = running.run(replace(MINE, target="reference", expect=("EMB-CHECKED-1",), module="antigravity", code="pass"))
    assert (found.verdict, found.why) == (BROKEN, "antigravity was never imported")


def test_nothing_is_red_without_a_defect_in_the_chosen_requirements() -> None:
    """A defect that changes nothing: the cases that are chosen are green, and they are those that were asked for."""
    harmless = replace(MINE, target="mlx", module="mlx.core", code="pass", expect=("INIT-PARAM-1",))
    done = running.pytest_with(None, ROOT, [str(ROOT / "suites"), "-p", "tools.mutants.choosing", *chosen(harmless)])
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
    done = run("-m", "tools.mutants", "page", "--check")
    assert (done.returncode, done.stderr) == (0, "")


BAD_COMMANDS = {
    "unknown name": (["run", "mlx-as-linear-stale", "no-such-defect"], "no defect is called no-such-defect"),
    "unknown pattern": (["list", "jax-*", "x-*", "y-*"], "no defect is called x-\\* or y-\\*"),
    "no target": (["own", "--tests", "nope=folder"], "--tests nope=folder: give TARGET=FOLDER, and for TARGET one of"),
    "no folder": (["own", "--tests", "torch"], "--tests torch: give TARGET=FOLDER"),
    "adapters only": (["own", "packed-*"], "packed-\\*: in adapters only"),
    "tests nowhere": (["own", "mlx-linear-k-odd"], "nothing was run: name the folder"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_bad_input_is_one_error_before_anything_runs(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = BAD_COMMANDS[case]
    outcomes(monkeypatch)
    assert command.main(arguments) == 2
    assert re.fullmatch(f"error: {expected}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_processes_are_one_or_more(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["run", "-n", count])
    assert ended.value.code == 2
    assert "not a number of processes, 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"), [("[[defect]", "Expected"), ("[[defect]]", "lacks the key 'target'"), (None, "directory")]
)
def test_a_file_that_cannot_be_read_is_named(text: str | None, expected: str, tmp_path: Path) -> None:
    if text is None:
        (tmp_path / "mine.toml").mkdir()
    else:
        (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DefectError, match=f"{tmp_path / 'mine.toml'}: .*{expected}"):
        defects.load(tmp_path)


def test_every_operator_is_used() -> None:
    assert {d.operator for d in EVERY.values()} - {""} == set(defects.OPERATORS)


def test_a_digest_is_of_what_is_planted_and_expected() -> None:
    one = replace(MINE, code="X = 1")
    for change in (
        {"target": "jax"},
        {"module": "math"},
        {"code": "X = 2"},
        {"edits": ({"old": "a", "new": "b"},)},
        {"expect": ("LIN-*", "EMB-*")},
    ):
        assert replace(one, **change).digest != one.digest
    assert replace(one, id="other", what="Else.", kind="rounding", origin="https://x", since="x").digest == one.digest


FACTS = score.Facts("2026-11-21", "a machine", "torch 2", "aaaaaaaaaaaa", "bbbbbbbbbbbb")
TWO = [replace(MINE, id=name, held_out="first", expect=("LIN-ERROR-1",)) for name in ("one", "two")]


def seen(defect: Defect, **changes: Any) -> Outcome:
    kept = {"requirement": "LIN-ERROR-1", "digest": defect.digest, "run": FACTS.key}
    return Outcome(**{"id": defect.id, "verdict": CAUGHT} | kept | changes)


def measured(folder: Path, **changed: list[Outcome]) -> Path:
    """A folder of outcomes of both defects; changed: "stored", "generated", "own" or "first" -> other outcomes."""
    for cases, name in {**score.FILES, "first": score.FIRST}.items():
        found = changed.get(cases, [seen(d) for d in TWO])
        (folder / name).write_text("".join(json.dumps(asdict(one)) + "\n" for one in found))
    (folder / score.FACTS).write_text(json.dumps({FACTS.key: asdict(FACTS)}))
    return folder


@pytest.mark.parametrize("cases", score.FILES)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"digest": ""}, "is not what was planted and expected when it ran"),
        ({"requirement": "EMB-OOR-1"}, "counts as caught by EMB-OOR-1, which it does not expect"),
        ({"run": "elsewhere"}, "is of a run that facts.json lacks"),
    ],
)
def test_outcomes_of_something_else_are_refused(
    cases: str, changes: dict[str, str], expected: str, tmp_path: Path
) -> None:
    measured(tmp_path, **{cases: [seen(TWO[0]), seen(TWO[1], **changes)]})
    file, again = tmp_path / score.FILES[cases], score.AGAIN[cases].format("two")
    with pytest.raises(score.ScoreError, match=re.escape(f"{file}: two {expected}; run {again}")):
        score.recorded(TWO, tmp_path)
    parsed = again.removeprefix("python -m tools.mutants ").replace("two", "mlx-as-linear-stale")
    assert command.main(["list", parsed.split()[1]]) == 0


def test_outcomes_that_are_missing_or_too_many(tmp_path: Path) -> None:
    assert score.recorded(TWO, measured(tmp_path)).blind == (2, 2)
    with pytest.raises(score.ScoreError, match="two is no defect any more; remove its line"):
        score.recorded(TWO[:1], tmp_path)
    with pytest.raises(score.ScoreError, match=r"two was never run; run python -m tools\.mutants run two --record"):
        score.recorded(TWO, measured(tmp_path, stored=[seen(TWO[0])]))
    for damage in ("{", "[]", '{"x": {"recorded": "today"}}'):
        (measured(tmp_path) / score.FACTS).write_text(damage)
        with pytest.raises(score.ScoreError, match=r"facts.json: does not say which runs were recorded"):
            score.recorded(TWO, tmp_path)
    (tmp_path / score.FACTS).unlink()
    with pytest.raises(score.ScoreError, match=r"facts.json: does not say which runs were recorded"):
        score.recorded(TWO, tmp_path)


def test_the_blind_score_is_of_the_first_run(tmp_path: Path) -> None:
    found = score.recorded(TWO, measured(tmp_path, first=[seen(TWO[0]), seen(TWO[1], verdict=ELSEWHERE)]))
    assert (found.blind, found.held_out.share, found.blind_missed) == ((1, 2), "2 of 2", [TWO[1]])
    assert "**1 of 2** of those held out, in the first run of each set;" in " ".join(page.headline(found).split())
    assert page.page(found).split("\n\n")[2].startswith("**1 of 2** of those held out, in the first run of each set:")
    assert "## Missed by the first run" in page.page(found)
    assert page.summary(found)["first"] == [1, 2]
    assert page.summary(found)["measured"] == asdict(FACTS)


def test_what_the_first_run_missed_of_the_held_out_is_listed() -> None:
    found = score.recorded(defects.load(), score.MEASURED)
    listed = page.page(found).partition("## Missed by the first run")[2].partition("\n## ")[0]
    assert found.blind_missed
    assert all(f"`{d.id}`" in listed for d in found.blind_missed)


def test_recording_replaces_what_ran_and_keeps_the_rest(tmp_path: Path) -> None:
    kept = recording.Recording("stored", TWO, measured(tmp_path))
    later = replace(FACTS, suite_hash="cccccccccccc")
    kept.begin(later)
    kept.add(seen(TWO[0], verdict=SURVIVED, run=""))
    found = score.recorded(TWO, tmp_path)
    assert [found.suites[name].verdict for name in ("one", "two")] == [SURVIVED, CAUGHT]
    assert [found.suites[name].run for name in ("one", "two")] == [later.key, FACTS.key]
    assert {facts.suite_hash: count for facts, count in found.runs} == {FACTS.suite_hash: 5, later.suite_hash: 1}
    kept.begin(FACTS)
    kept.add(seen(TWO[0]))
    kept.end()
    assert score.read_facts(tmp_path) == {FACTS.key: FACTS}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted((*score.FILES.values(), score.FIRST, score.FACTS))


def test_outcomes_are_kept_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is ended in between leaves what it has; what it does not reach stays as it was."""
    monkeypatch.setattr(score, "MEASURED", measured(tmp_path, stored=[]))
    monkeypatch.setattr(defects, "load", lambda: TWO)
    monkeypatch.setattr(recording, "facts", lambda targets: FACTS)

    def ended(defect: Defect, cases: str) -> Outcome:
        if defect.id == "two":
            raise KeyboardInterrupt
        return seen(defect, run="")

    monkeypatch.setattr(running, "run", ended)
    with pytest.raises(KeyboardInterrupt):
        command.main(["run", "--record"])
    assert list(score.read(tmp_path / "suites.jsonl")) == ["one"]


def test_a_folder_that_cannot_be_written_is_found_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score, "MEASURED", tmp_path / "nowhere")
    outcomes(monkeypatch)
    assert command.main(["run", "mlx-as-linear-stale", "--record"]) == 2
    assert "nowhere: outcomes cannot be written there" in capsys.readouterr().err


def test_facts_are_of_the_run_itself() -> None:
    found = recording.facts(["mlx"])
    assert (found.suite_hash, found.golden_hash) == (identity.suite_hash(), identity.golden_hash())
    assert re.search(r"\bmlx \d+\.\d+", found.versions)


def test_suites_that_are_red_already_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "pytest_with", lambda *given: subprocess.CompletedProcess([], 1, "1 failed", ""))
    with pytest.raises(recording.RecordingError, match="INIT-REPR-1 is red without any defect: 1 failed"):
        recording.facts(["mlx"])


def test_a_test_that_fails_of_itself_is_told_apart() -> None:
    record = {"behaviour": "wrong bits", "message": "first difference\nmore"}
    of_a_case: Any = SimpleNamespace(user_properties=[("touchstone", json.dumps(record))], longrepr="")
    assert choosing._seen(of_a_case) == {"behaviour": "wrong bits", "why": "wrong bits: first difference"}
    without: Any = SimpleNamespace(user_properties=[], longrepr="E   ValueError\nE   no fixture")
    assert choosing._seen(without) == {"behaviour": running.FAILED_ITSELF, "why": "E   no fixture"}


@pytest.mark.parametrize(
    "text", ["", "{0} x", "x {1}", "{1} x {0}", "{0} x {1} {1}", "{0} {0} x {1}", "{0} x {1} {0} y {1}"]
)
def test_a_readme_without_one_place_is_left_alone(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text.format(page.BEGIN, page.END)
    for name in ("README", "PAGE", "FOR_REPORTS"):
        monkeypatch.setattr(page, name, tmp_path / name)
    (tmp_path / "README").write_text(text)
    assert command.main(["page", "--write"]) == 2
    assert f"give {page.BEGIN} once and {page.END} once after it" in capsys.readouterr().err
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("README", text)]


def test_a_page_is_checked_written_and_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("README", "PAGE", "FOR_REPORTS"):
        monkeypatch.setattr(page, name, tmp_path / name)
    (tmp_path / "README").write_text(f"before {page.BEGIN} old {page.END} after\n")
    told = []
    for option, status in (("--check", 1), ("--write", 0), ("--check", 0)):
        assert command.main(["page", option]) == status
        told.append(capsys.readouterr().out)
    assert [told[0].count("is stale"), told[1].count(": written"), told[2].count("are current")] == [3, 3, 1]
    text = (tmp_path / "README").read_text()
    assert text.startswith(f"before {page.BEGIN}\n")
    assert text.endswith(f"{page.END} after\n")


def test_how_long_it_takes_is_said_where_it_is_measured_and_nowhere_else(tmp_path: Path) -> None:
    stored, own = [seen(d, seconds=900.0) for d in TWO], [seen(d, seconds=200.0) for d in TWO]
    assert score.recorded(TWO, measured(tmp_path, stored=stored, own=own)).minutes(2) == 25
    untimed = [own[0], replace(own[1], seconds=0.0)]
    assert score.recorded(TWO, measured(tmp_path, stored=stored, own=untimed)).minutes(2) == 25
    for name in ("tox.ini", "README.md"):
        (line,) = [
            line for line in (ROOT / name).read_text().splitlines() if re.search("plants? (every )?defect", line)
        ]
        assert not re.search("hour|minute", line), (name, line)


def test_own_tests_that_say_nothing_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tests, "control", lambda target, given: None)
    for answer, status in ((0, 0), (1, 0), ("no end within 900 s", 1)):
        done = subprocess.CompletedProcess([], answer, "", "") if isinstance(answer, int) else answer
        monkeypatch.setattr(own_tests, "pytest_with", lambda *given, done=done: done)
        assert command.main(["own", "torch-linear-bias-dropped"]) == status


def test_own_tests_are_of_what_was_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tests, "pytest_with", lambda *given: subprocess.CompletedProcess([], 0, "", ""))
    assert own_tests.run(MINE, []) == Outcome("mine", SURVIVED, digest=MINE.digest)


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
