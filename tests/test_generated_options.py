"""Do the options of generated cases do what they say, from the command line, and is a finding printed to be pasted?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.command import PYTEST, ROOT, run

BROKEN = '''
"""A third party's adapter whose linear layers forget the bias from eight features on."""
from touchstone.adapters.reference.adapter import ReferenceAdapter

class Broken(ReferenceAdapter):
    name = "broken"
    is_framework = True

    def layer(self, name, weight, bias=None, **parts):
        forgotten = name == "linear" and bias is not None and len(bias) >= 8
        return super().layer(name, weight, bias=bias * 0 if forgotten else bias, **parts)
'''


def suites(*options: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``pytest suites/`` in another folder, so that whatever Hypothesis might write there shows."""
    path = os.pathsep.join(str(p) for p in (ROOT, folder) if p)
    return run(*PYTEST, str(ROOT / "suites"), "-q", *options, cwd=folder or ROOT, PYTHONPATH=path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--fuzz-seed", "yesterday"], "--fuzz-seed yesterday: give a number, or fresh"),
        (["--fuzz-examples", "0"], "--fuzz-examples 0: give at least 1"),
    ],
    ids=["seed", "examples"],
)
def test_a_wrong_option_is_one_error(option: list[str], message: str) -> None:
    done = suites("--adapter", "reference", *option)
    assert done.returncode == 4
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.fixture
def third_party(tmp_path: Path) -> Path:
    (tmp_path / "broken_adapter.py").write_text(BROKEN)
    return tmp_path


def test_a_finding_fails_the_run_and_is_printed_with_its_seed(third_party: Path) -> None:
    """Fresh seeds differ, are printed and recorded, and draw the same again when given."""
    options = ["-m", "fuzz", "-k", "test_linear and not gradients", "--adapter", "broken_adapter:Broken"]
    report = third_party / "report"
    done = suites(
        *options, "--fuzz-seed", "fresh", "--fuzz-examples", "40", "--report", str(report), folder=third_party
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (seed,) = set(re.findall(r"40 examples each, of quantized layers a quarter, of --fuzz-seed (\d+)", done.stdout))
    text = done.stdout.partition("[[regression]]")[2].partition("\n\n")[0]
    entry = tomllib.loads("[[regression]]" + text)["regression"][0]
    assert entry["target"] == "broken@cpu"
    assert entry["arrays"]["bias"]["shape"][0] >= 8
    assert f"-m fuzz --fuzz-seed {seed} --fuzz-examples 40" in done.stdout
    lines = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    red = [line for line in lines if line["event"] == "end" and line["verdict"] == "deviates"]
    assert red
    assert all(f"seed {seed}: " in line["message"] for line in red)
    again = suites(*options, "--fuzz-seed", seed, "--fuzz-examples", "40", folder=third_party)
    assert again.stdout.partition("[[regression]]")[2].partition("\n\n")[0] == text
    assert not [p.name for p in third_party.iterdir() if p.name.startswith(".hypothesis")]


def test_generated_cases_can_be_left_out_and_run_by_default() -> None:
    counts = {}
    for name, options in {
        "default": (),
        "without": ("-m", "not fuzz and not inductor and not wide"),
        "alone": ("-m", "fuzz"),
    }.items():
        done = suites("--adapter", "reference", "--collect-only", *options)
        counts[name] = sum("::" in line for line in done.stdout.splitlines())
    assert counts["default"] == counts["without"] + counts["alone"]
    assert counts["alone"] > 50
