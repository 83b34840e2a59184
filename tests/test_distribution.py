"""Is a run of whole folders spread over the cores, a closer look kept in one process, and a target kept together?"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.command import ROOT, run
from touchstone import distribution, plugin

SUITES = ROOT / "suites"
PLAIN: dict[str, Any] = {"numprocesses": None, "dist": "no", "capture": "fd"}


def config(arguments: list[str], *, xdist: bool = True, **options: Any) -> Any:
    plugins = SimpleNamespace(hasplugin=lambda name: xdist)
    return SimpleNamespace(
        args=arguments,
        option=SimpleNamespace(**{**PLAIN, "pyargs": False, **options}),
        pluginmanager=plugins,
        invocation_params=SimpleNamespace(dir=ROOT),
    )


def wanted_by(made: Any) -> int:
    return distribution.processes(made, SUITES, plugin.places(made))


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "threads", lambda: 3)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * 2**30))


@pytest.mark.parametrize("arguments", [["suites/"], [str(SUITES)], ["."], ["tests/", "suites/"]])
def test_whole_folders_use_the_cores(arguments: list[str]) -> None:
    assert wanted_by(config(arguments)) == 3


@pytest.mark.parametrize(
    ("cores", "gigabytes", "wanted"),
    [(2, 16, 2), (4, 16, 4), (64, 64, 4), (3, 7, 2), (4, 4, 0), (1, 16, 0), (2, 2, 0)],
    ids=["two cores", "a hosted Linux", "many", "a hosted Mac", "little memory", "one core", "hardly any memory"],
)
def test_cores_and_memory_bound_it(monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, wanted: int) -> None:
    monkeypatch.setattr(distribution, "threads", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=gigabytes * 2**30))
    assert wanted_by(config(["suites/"])) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"capture": "no"},
        {"usepdb": True},
        {"maxfail": 1},
        {"collectonly": True},
        {"keyword": "tied"},
        {"in_process": True},
        {"numprocesses": 0},
        {"numprocesses": 2, "dist": "loadgroup"},
        {"source": "A"},
        {"table": ["FILE:KEY"]},
    ],
    ids=str,
)
def test_a_closer_look_and_an_own_choice_are_left_alone(options: dict[str, Any]) -> None:
    assert wanted_by(config(["suites/"], **options)) == 0


@pytest.mark.parametrize(
    "arguments", [["suites/test_linear.py"], ["suites/test_linear.py::test_layouts"], ["tests/"], ["suites/migration"]]
)
def test_files_and_other_folders_stay_in_one_process(arguments: list[str]) -> None:
    assert wanted_by(config(arguments)) == 0


def test_without_xdist_the_header_says_that_one_process_is_used() -> None:
    remark = distribution.remark(config(["suites/"], xdist=False))
    assert remark == "pytest-xdist is not there: one process, though there are 3 cores"
    assert distribution.remark(config(["suites/"])) == ""


TARGETS = ["mlx@cpu", "mlx@gpu", "pkg.mine@cpu"]


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("suites/test_linear.py::test_layouts[mlx@cpu-float32-x]", "suites/test_linear.py::mlx@cpu"),
        ("suites/test_linear.py::test_layouts[mlx@gpu]", "suites/test_linear.py::mlx@gpu"),
        ("suites/test_linear.py::test_layouts[pkg.mine@cpu-a::b]", "suites/test_linear.py::pkg.mine@cpu"),
        ("tests/test_known.py::test_it[mlx-1]", "tests/test_known.py"),
        ("tests/test_known.py::test_it", "tests/test_known.py"),
    ],
)
def test_a_scope_is_one_target_in_one_file(nodeid: str, scope: str) -> None:
    assert distribution.scope_of(nodeid, TARGETS) == scope


def cases(number: int) -> dict[str, bool]:
    return dict.fromkeys(map(str, range(number)), False)


def test_a_process_keeps_its_target_and_then_helps_where_most_is_left() -> None:
    waiting = {"a::x": cases(1), "b::x": cases(3), "a::y": cases(5), "b::y": cases(2), "a::z": cases(4)}
    assert distribution.choose(waiting, [], []) == "a::y", "the target with most cases, its largest file"
    assert distribution.choose(waiting, [], ["y"]) == "b::x", "one that no other process has"
    assert distribution.choose(waiting, ["y", "x"], ["z"]) == "b::x", "its own"
    assert distribution.choose(waiting, ["w"], ["x", "y", "z"]) == "a::y", "where most is left"
    waiting["suites/test_crosses.py::y"] = dict.fromkeys("ab", False)
    assert distribution.choose(waiting, [], []) == "suites/test_crosses.py::y", "few cases that make many calls"
    assert all((ROOT / file).exists() for file in distribution.CALLS)


@pytest.mark.parametrize(
    ("options", "workers"), [((), False), (("-n", "2"), True), (("-n", "0"), False), (("-p", "no:xdist"), False)]
)
def test_a_few_cases_are_answered_alike_in_any_way(options: tuple[str, ...], workers: bool, tmp_path: Path) -> None:
    done = run("-m", "pytest", "suites/test_tied_output.py", "--adapter", "mlx", "-k", "exact", *options)
    assert done.returncode == 0, done.stdout
    assert ("2 workers" in done.stdout) == workers
    assert "mlx@cpu          12 conforms" in done.stdout


@pytest.mark.parametrize("loaded", [(), ("-p", "xdist"), ("-p", "touchstone.plugin", "-p", "xdist")], ids=" ".join)
def test_a_whole_run_is_spread_whichever_plugin_is_loaded_first(loaded: tuple[str, ...]) -> None:
    done = run("-m", "pytest", *loaded, "suites/", "--adapter", "reference", "-m", "fuzz and inductor")
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert ("created: " in done.stdout) == (here != 1), done.stdout
