"""Does a framework that ends, leaves or hangs where nobody expected it cost that one case, and not the run?"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.command import run

ADAPTER = "tests.hazards:Plagued"
SELECTION = "suites/test_linear.py::test_exact_integers"
PLAGUES = {
    "abort": ("crashed", "crashed", "SIGABRT"),
    "exit": ("crashed", "ended without an answer", "exit status 0"),
    "hang": ("timed out", "timed out", "no answer within 2 s"),
}
"""What is planted -> verdict, class and message of the cases that meet it."""


def _ended(folder: Path) -> list[dict[str, str]]:
    lines = (json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == "end"]


@pytest.mark.parametrize(("plague", "workers"), [("abort", "0"), ("exit", "0"), ("hang", "0"), ("abort", "2")])
def test_one_case_is_lost(plague: str, workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_TEST_PLAGUE", plague)
    options = ["--time-limit", "2", "-n", workers, "--report", str(tmp_path)]
    done = run("-m", "pytest", SELECTION, "--adapter", ADAPTER, "-k", "1x3- or x31- or 2x64-", *options)
    verdict, behaviour, message = PLAGUES[plague]
    met = [line for line in _ended(tmp_path) if "x31-" in line["id"] and "no_bias" not in line["id"]]
    assert done.returncode == 1, done.stdout
    assert met
    assert {(line["verdict"], line["behaviour"]) for line in met} == {(verdict, behaviour)}
    assert all(line["message"].startswith(message) for line in met)
    others = Counter(line["verdict"] for line in _ended(tmp_path) if line not in met)
    assert set(others) == {"conforms"}
    assert others["conforms"] > len(met)


def test_three_deaths_in_a_row_end_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_TEST_PLAGUE", "abort everywhere")
    options = ["-n", "0", "--report", str(tmp_path)]
    done = run("-m", "pytest", SELECTION, "--adapter", ADAPTER, "--adapter", "reference", *options)
    of_target = [line for line in _ended(tmp_path) if line["target"] == "plagued@cpu"]
    counts = Counter(line["verdict"] for line in of_target)
    assert done.returncode == 1
    assert counts == {"crashed": 3, "not run": len(of_target) - 3}
    told = f"{'not run':<33} plagued@cpu    {counts['not run']:>4} x its process ended in 3 cases in a row"
    assert told in done.stdout, done.stdout[-3000:]
    assert {line["verdict"] for line in _ended(tmp_path) if line["target"] == "reference@cpu"} <= {
        "conforms",
        "known deviation",
    }
