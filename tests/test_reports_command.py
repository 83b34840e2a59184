"""What do ``touchstone report`` and a run that dies leave behind, print and exit with?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests import made_page
from tests.command import PYTEST, ROOT, run
from tests.made import DEVIATES, KNOWN, end, finish, folder, run_line, target, whole
from touchstone import command
from touchstone.reports.recorder import RENDERED
from touchstone.reports.records import BenchmarkLine, Line

LOOKUP = ("suites/test_lookup.py", "-k", "test_special_values")
"""Six cases: two layers in three dtypes."""


def main(arguments: Sequence[str]) -> int:
    return command.main(["report", *arguments])


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_render_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path, whole("run1", end("a", **DEVIATES)))
    assert main(["render", str(tmp_path)]) == 0
    assert names(tmp_path) == sorted([*RENDERED, "results.jsonl"])
    assert "deviates" in capsys.readouterr().out
    assert main(["render", str(tmp_path), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_render_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folder(tmp_path, whole("run1", end("a", **DEVIATES)))
    first = [main(["render", str(tmp_path), "--quiet"]), *((tmp_path / n).read_bytes() for n in RENDERED)]
    assert first == [main(["render", str(tmp_path), "--quiet"]), *((tmp_path / n).read_bytes() for n in RENDERED)]


DIFFS = {
    "nothing changed": ((), (), 0),
    "a new deviation": ((), (end("a", run="run2", **DEVIATES),), 1),
    "a new departure that is registered": ((), (end("a", run="run2", **KNOWN),), 1),
    "a fixed one": ((end("a", **DEVIATES),), (), 0),
    "another departure": ((end("a", **KNOWN),), (end("a", run="run2", **DEVIATES),), 1),
    "the same deviation": ((end("a", **DEVIATES),), (end("a", run="run2", **DEVIATES),), 0),
}


@pytest.mark.parametrize("kept", ["folder", "night"])
@pytest.mark.parametrize("name", DIFFS)
def test_diff_exits_1_on_a_new_deviation(
    name: str, kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, status = DIFFS[name]
    old, new = folder(tmp_path / "old", whole("run1", *before)), folder(tmp_path / "new", whole("run2", *after))
    if kept == "night":
        assert main(["trend", str(tmp_path / "history"), "--add", str(old), "--quiet"]) == 0
        old = next((tmp_path / "history").glob("*.night.json.gz"))
    assert main(["diff", str(old), str(new)]) == status
    out = capsys.readouterr().out
    assert ("New departures" in out or "Departures that changed" in out) == bool(status)
    assert ("No case changed" in out) == (before == after or name in ("nothing changed", "the same deviation"))


@pytest.mark.parametrize("side", ["old", "new"])
def test_diff_refuses_runs_that_say_nothing(side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {s: folder(tmp_path / s, whole(s)) for s in ("old", "new")}
    silent: list[Line] = [run_line("y", planned={}), finish("y")]
    for lines, told in ((whole("x")[:-1], "truncated: "), (silent, "no framework")):
        folder(paths[side], lines)
        assert main(["diff", str(paths["old"]), str(paths["new"])]) == 2
        assert f"error: {paths[side]}: {told}" in capsys.readouterr().err


def test_diff_of_what_cannot_be_compared_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other suites, or nights that died: nothing was compared, so nothing can be said to be unchanged."""
    old = folder(tmp_path / "old", whole("run1", suite_hash="older"))
    new = folder(tmp_path / "new", whole("run2", end("a", run="run2", **DEVIATES)))
    assert main(["diff", str(old), str(new)]) == 2
    assert "no case could be compared" in capsys.readouterr().err
    died = folder(tmp_path / "died", [run_line("run3"), end("a", run="run3")])
    assert main(["trend", str(tmp_path / "history"), "--add", str(died), "--quiet"]) == 0
    night = next((tmp_path / "history").glob("*.night.json.gz"))
    assert main(["diff", str(night), str(new)]) == 2
    assert f"error: {night}: truncated: " in capsys.readouterr().err


def test_a_fault_of_the_command_is_no_deviation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("touchstone.reports.changes.compare", lambda *_: 1 / 0)
    paths = [str(folder(tmp_path / name, whole(name))) for name in ("old", "new")]
    assert main(["diff", *paths]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_machine_that_was_lost_is_said_by_the_merge(tmp_path: Path) -> None:
    one, out = folder(tmp_path / "one", whole()), tmp_path / "out"
    assert main(["merge", str(one), "-o", str(out), "--problem", "macos-26 left nothing", "--quiet"]) == 0
    assert main(["render", str(out), "--quiet"]) == 0
    shown = json.loads((out / "results.json").read_text())
    assert (shown["state"], shown["problems"]) == ("incomplete", ["macos-26 left nothing"])
    assert "macos-26 left nothing" in (out / "report.html").read_text()


def test_benchmarks_that_two_folders_hold_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = run_line("bench", requirements={}, planned={})
    line = next(r for r in made_page.rich_lines() if isinstance(r, BenchmarkLine) and r.target == "mlx@gpu")
    lines: list[Line] = [header, msgspec.structs.replace(line, run="bench"), finish("bench")]
    parts = [folder(tmp_path / name, lines, stem="benchmarks") for name in ("one", "two")]
    assert main(["merge", *map(str, parts), "-o", str(tmp_path / "out")]) == 2
    assert "has a record already, in " in capsys.readouterr().err


def test_a_first_run_under_bootstrap_is_never_green(tmp_path: Path) -> None:
    minimal = ("--adapter", "tests.hazards:Minimal", "--bootstrap", "minimal@cpu")
    done = pytest_run(*minimal, "--report", tmp_path)
    assert done.returncode == 1
    assert "a first run under --bootstrap is never green" in done.stdout
    assert json.loads((tmp_path / "results.json").read_text())["state"] == "unreviewed"


def test_merge_makes_one_report_of_machines_and_shards(tmp_path: Path) -> None:
    torch = {"torch@mps": target("torch@mps")}
    parts = [
        folder(tmp_path / "mlx", whole("run1")),
        folder(tmp_path / "torch", [*whole("run2", targets=torch, planned={})[:1], finish("run2")]),
    ]
    header, line = run_line("run2", targets=torch, planned={"torch@mps": 1}), end("a", target="torch@mps", run="run2")
    folder(parts[1], [header, line, finish("run2")])
    assert main(["merge", *map(str, parts), "--output", str(tmp_path / "out"), "--quiet"]) == 0
    assert names(tmp_path / "out") == ["results.jsonl"]
    assert main(["render", str(tmp_path / "out"), "--quiet"]) == 0
    shown = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [c["label"] for c in shown["columns"]] == ["mlx@gpu", "torch@mps"]
    assert shown["state"] == "conforms"


MERGES: dict[str, tuple[Sequence[Line], str]] = {
    "truncated": (whole("run2")[:-1], "truncated: "),
    "empty": ([run_line("run2", planned={}), finish("run2", exit_status=5)], "holds no finished case"),
    "nothing answered": (
        [run_line("run2", planned={"mlx@gpu": 1}), end("x", run="run2", verdict="unsupported"), finish("run2")],
        "no framework answered a case",
    ),
    "duplicate": (whole("run2"), "has a record already, in "),
    "other golden data": (whole("run2", golden_hash="other"), "golden_hash other differs from 901de0000000 of "),
    "other suites": (whole("run2", suite_hash="other"), "suite_hash other differs from"),
}


@pytest.mark.parametrize("name", MERGES)
def test_merge_refuses_and_writes_nothing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, told = MERGES[name]
    first = folder(tmp_path / "first", whole("run1"))
    second = folder(tmp_path / "second", lines)
    assert main(["merge", str(first), str(second), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {second}")
    assert told in error
    assert names(tmp_path) == ["first", "second"]


def test_a_truncated_run_is_merged_on_request_and_stays_visible(tmp_path: Path) -> None:
    died = [run_line("run2", targets={"torch@mps": target("torch@mps")}, planned={"torch@mps": 3})]
    parts = [folder(tmp_path / "one", whole("run1")), folder(tmp_path / "died", died)]
    assert main(["merge", *map(str, parts), "-o", str(tmp_path / "out"), "--allow-truncated", "--quiet"]) == 0
    assert main(["render", str(tmp_path / "out"), "--quiet"]) == 0
    shown = json.loads((tmp_path / "out" / "results.json").read_text())
    assert shown["state"] == "incomplete"
    assert {c["label"]: c["state"] for c in shown["columns"]} == {"mlx@gpu": "conforms", "torch@mps": "empty"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["render", "{tmp}/none"], "{tmp}/none: no such folder"),
        (["render", "{tmp}"], "{tmp}: no report, it holds no results.jsonl"),
        (["summary", "{tmp}"], "{tmp}: no report"),
        (["diff", "{tmp}", "{tmp}"], "{tmp}: no report"),
        (["trend", "{tmp}/none"], "{tmp}/none: no such folder"),
        (["trend", "{tmp}/good"], "{tmp}/good: holds no night"),
        (["trend", "{tmp}/history", "--add", "{tmp}"], "{tmp}: no report"),
        (["merge", "{tmp}/good", "{tmp}/good/.", "--output", "{tmp}/out"], "a folder is given twice"),
        (["merge", "{tmp}/good", "--output", "{tmp}/good"], "{tmp}/good: is there already; merge into a new folder"),
        (["render", "{tmp}/good", "--history", "{tmp}/none"], "{tmp}/none: no such folder"),
        (["render", "{tmp}/good", "--previous", "{tmp}"], "{tmp}: no report"),
    ],
    ids=lambda value: " ".join(value).replace("{tmp}", "DIR") if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path / "good", whole())
    assert main([a.format(tmp=tmp_path) for a in arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.strip().splitlines()[-1].startswith(f"error: {told.format(tmp=tmp_path)}")
    assert names(tmp_path) == ["good"]


def test_trend_adds_a_night_and_makes_the_page(tmp_path: Path) -> None:
    new = folder(tmp_path / "new", whole())
    assert main(["trend", str(tmp_path / "history"), "--add", str(new), "--quiet"]) == 0
    assert names(tmp_path / "history") == ["20261120T030000Z-run1.night.json.gz", "trend.html"]
    assert main(["trend", str(tmp_path / "history"), "--output", str(tmp_path / "page.html"), "--quiet"]) == 0
    assert (tmp_path / "page.html").stat().st_size > 1_000


def test_render_compares_with_the_latest_whole_night_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = str(tmp_path / "history")
    nights: dict[str, Sequence[Line]] = {
        "run1": whole("run1", started="2026-11-18T03:00:00+00:00"),
        "dead": [run_line("dead", started="2026-11-19T03:00:00+00:00"), end("a", run="dead")],
        "run3": whole("run3", started="2026-11-22T03:00:00+00:00"),
    }
    for name, lines in nights.items():
        assert main(["trend", history, "--add", str(folder(tmp_path / name, lines)), "--quiet"]) == 0
    new = folder(tmp_path / "new", whole("run2", end("a", run="run2", **DEVIATES)))
    assert main(["summary", str(new), "--history", history]) == 0
    out = capsys.readouterr().out
    assert "Since the run of 2026-11-18T03:00:00+00:00" in out
    assert "New departures: 1" in out
    assert main(["render", str(new), "--history", history, "--quiet"]) == 0
    assert "New departures: 1" in (new / "summary.md").read_text()


def test_diff_with_a_history_takes_its_latest_whole_night(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A night that died hides no deviation that came after the one before it."""
    history = str(tmp_path / "history")
    nights: dict[str, Sequence[Line]] = {
        "run1": whole("run1", started="2026-11-18T03:00:00+00:00"),
        "dead": [run_line("dead", started="2026-11-19T03:00:00+00:00"), end("a", run="dead")],
    }
    for name, lines in nights.items():
        assert main(["trend", history, "--add", str(folder(tmp_path / name, lines)), "--quiet"]) == 0
    new = folder(tmp_path / "new", whole("run2", end("b", run="run2", **DEVIATES)))
    assert main(["diff", history, str(new)]) == 1
    assert "Since the run of 2026-11-18T03:00:00+00:00" in capsys.readouterr().out
    oldest = folder(tmp_path / "oldest", whole("run0", started="2026-11-01T03:00:00+00:00"))
    assert main(["diff", history, str(oldest)]) == 2
    assert "holds no night before 2026-11-01" in capsys.readouterr().err


def test_the_page_links_to_a_trend_page_on_request(tmp_path: Path) -> None:
    folder(tmp_path, whole())
    assert main(["render", str(tmp_path), "--quiet"]) == 0
    assert "All nights" not in (tmp_path / "report.html").read_text()
    assert main(["render", str(tmp_path), "--trend", "trend.html", "--quiet"]) == 0
    assert '<a href="trend.html">All nights</a>' in (tmp_path / "report.html").read_text()


def pytest_run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(*PYTEST, "-q", *LOOKUP, *map(str, arguments))


def test_a_run_writes_its_renderings(tmp_path: Path) -> None:
    done = pytest_run("--adapter", "tests.hazards:Minimal", "--report", tmp_path / "r")
    assert done.returncode == 0, done.stdout + done.stderr
    assert names(tmp_path / "r") == sorted([*RENDERED, "results.jsonl"])
    shown = json.loads((tmp_path / "r" / "results.json").read_text())
    assert (shown["state"], shown["columns"][0]["counts"]) == ("conforms", {"conforms": 6})
    assert shown["suite_hash"]
    assert shown["golden_hash"]


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadgroup")], ids=["alone", "parallel"])
def test_a_run_that_is_killed_is_rendered_as_such(workers: tuple[str, ...], tmp_path: Path) -> None:
    """The adapter kills its process with SIGKILL in the midst of a case."""
    done = pytest_run("--adapter", "tests.hazards:Dies", "--report", tmp_path, *workers)
    assert done.returncode == (1 if workers else -signal.SIGKILL), done.stdout
    assert main(["render", str(tmp_path), "--quiet"]) == 0
    shown = json.loads((tmp_path / "results.json").read_text())
    assert shown["state"] == "incomplete"
    in_flight = [line["id"] for line in shown["columns"][0]["in_flight"]]
    assert in_flight == ["suites/test_lookup.py::test_special_values[dies@cpu-embedding-bfloat16]"]
    assert any(in_flight[0] in problem and "rerun it with" in problem for problem in shown["problems"])
    assert "🟢" not in (tmp_path / "summary.md").read_text()


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    hold = (
        "import pathlib, sys; from touchstone.reports.recorder import Recorder; "
        "held = Recorder(pathlib.Path(sys.argv[1])); input(held.path)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as holder:
        assert holder.stdout
        holder.stdout.read(1)
        done = pytest_run("--adapter", "tests.hazards:Minimal", "--report", tmp_path)
        holder.kill()
    assert done.returncode == 4
    assert f"ERROR: --report {tmp_path}: another run is writing there; choose another folder" in done.stderr


def test_collecting_writes_no_report(tmp_path: Path) -> None:
    done = pytest_run("--adapter", "tests.hazards:Minimal", "--report", tmp_path / "r", "--collect-only")
    assert done.returncode == 0
    assert not (tmp_path / "r").exists()


def test_a_regression_is_seen_by_diff(tmp_path: Path) -> None:
    """The same target, first sound, then with one dtype broken."""
    for name, adapter in (("old", "Minimal"), ("new", "Shifts")):
        pytest_run("--adapter", f"tests.hazards:{adapter}", "--report", tmp_path / name)
    done = run("-m", "touchstone", "report", "diff", str(tmp_path / "old"), str(tmp_path / "new"))
    assert done.returncode == 1, done.stderr
    assert "test_special_values[minimal@cpu-embedding-float16]" in done.stdout
    assert "New departures: 1" in done.stdout
