"""Does each tox environment install what it needs into the one that all share, without making that anew?"""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from typing import Any

import pytest

from tests.command import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CONSTRAINTS = {
    re.sub(r"[-_.]+", "-", line.partition("==")[0].split("[")[0]).lower()
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
}

pytestmark = pytest.mark.skipif(not (ROOT / "tox.ini").exists(), reason="an installed package carries no tox.ini")


def environments(text: str) -> dict[str, dict[str, str]]:
    parser = ConfigParser(interpolation=None)
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def faults(text: str) -> list[str]:
    """Environments for which tox would install all anew, extras that do not exist, installations without a pin."""
    found = environments(text)
    base = found["testenv"]["deps"]
    out = [] if "torch==" in base and "-c {tox_root}/constraints.txt" in base else ["the frameworks are not pinned"]
    for name, content in found.items():
        if name.startswith("testenv:") and content.keys() & {
            "deps",
            "env_dir",
            "extras",
            "dependency_groups",
            "runner",
        }:
            out.append(f"{name} is installed apart")
        lines = content.get("commands_pre", "").splitlines()
        for line in lines:
            if names := re.findall(r"\[with\]extras\}\[([\w,]+)\]", line):
                out += [f"{name}: no extra {extra}" for extra in names[0].split(",") if extra not in EXTRAS]
            elif "pip install" in line and "-c {tox_root}/constraints.txt" not in line:
                out.append(f"{name} installs what is not pinned")
    return out


def test_all_share_one_installation() -> None:
    assert faults((ROOT / "tox.ini").read_text()) == []


def test_the_suites_install_no_opt_in_library_and_no_tool() -> None:
    found = environments((ROOT / "tox.ini").read_text())
    assert "commands_pre" not in found["testenv:suites"]
    assert re.findall(r"\[([\w,]+)\]$", found["testenv"]["deps"]) == ["mlx,jax,torch"]


def test_what_is_declared_is_pinned() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\[;<>= ]", line)[0]).lower() for line in declared}
    assert names - CONSTRAINTS - {project["name"]} == set()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[testenv:suites]\n", "[testenv:suites]\ndeps = numpy\n", "testenv:suites is installed apart"),
        ("[testenv:speed]\n", "[testenv:speed]\nenv_dir = elsewhere\n", "testenv:speed is installed apart"),
        ("{[with]extras}[dev]", "{[with]extras}[devel]", "testenv:tests: no extra devel"),
        ("-q --no-deps -c {tox_root}/constraints.txt gt", "-q --no-deps gt", "testenv:realweights installs what is"),
        ("    torch==2.13.0\n", "    torch\n", "the frameworks are not pinned"),
    ],
)
def test_a_planted_defect_is_found(old: str, new: str, said: str) -> None:
    text = (ROOT / "tox.ini").read_text()
    assert old in text
    assert any(fault.startswith(said) for fault in faults(text.replace(old, new, 1)))
