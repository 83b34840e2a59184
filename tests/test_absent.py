"""Does a run go on without any one of the frameworks, say so, and end with an error where it must not?

The absent one has a case of every test function, the others have one of every file of stored cases. All cases of all
targets: ``pytest tests/kills.py`` (tox -e trust).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.command import PYTEST, ROOT, run
from touchstone.reports import model
from touchstone.suites import direct

PACKAGES = {"mlx": ("mlx",), "jax": ("jax", "jaxlib", "flax", "optax"), "torch": ("torch",)}
NAMED = {"mlx": "mlx", "jax": "flax", "torch": "torch"}
"""The package that is missed first."""
HIDING = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""
FEW = '''
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Keep one case of every test function of the absent target, and one of every file of the others, none drawn."""
    kept = {}
    for item in reversed(items):
        function, _, case = item.nodeid.partition("[")
        target = case.partition("-")[0]
        if target.endswith("@absent"):
            kept[function, target] = item
        elif not item.get_closest_marker("fuzz"):
            kept[function.partition("::")[0], target] = item
    chosen = {item.nodeid for item in kept.values()}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
    items[:] = [item for item in items if item.nodeid in chosen]
'''


def hiding(folder: Path, *adapters: str) -> dict[str, Any]:
    """An environment in which Python, and every child, finds none of the adapters' frameworks."""
    names = {name for adapter in adapters for name in PACKAGES[adapter]}
    (folder / "sitecustomize.py").write_text(HIDING.format(names=names))
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def check_absence(report: Path, absent: str) -> model.Column:
    """Every case of the absent framework is *not run*, with the reason, and every other target answered."""
    columns = {column.facts.spec: column for column in model.load(report).columns}
    missed = columns.pop(absent)
    reason = f"{NAMED[absent]} is not installed"
    assert Counter((r.verdict, r.note) for r in missed.cases.values()) == {("not run", reason): missed.planned}
    assert columns.keys() == {*PACKAGES, "reference"} - {absent}
    for column in columns.values():
        assert column.state == "conforms", column.counts
        assert column.counts["conforms"] > 0
    return missed


@pytest.mark.parametrize("absent", PACKAGES)
def test_the_others_are_asked(absent: str, tmp_path: Path) -> None:
    (tmp_path / "few.py").write_text(FEW)
    environment = hiding(tmp_path, absent)
    done = run(*PYTEST, "-p", "few", "suites/", "-q", "--report", str(tmp_path / "report"), **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert f"not run  ({NAMED[absent]} is not installed)" in done.stdout
    missed = check_absence(tmp_path / "report", absent)
    asked = {"touchstone." + name.partition("[")[0].replace("/", ".").replace(".py::", ".") for name in missed.cases}
    wanted = {f"{q.function.__module__}.{q.function.__name__}" for q in direct.questions() if is_default(q)}
    assert asked >= wanted


def is_default(question: direct.Question) -> bool:
    """Whether the frameworks are asked it, and not those of `tox -e elsewhere` alone."""
    return not question.requirement.id.startswith("ELSE-")


@pytest.mark.parametrize("absent", PACKAGES)
def test_an_absence_that_is_not_permitted_is_an_error(absent: str, tmp_path: Path) -> None:
    done = run(*PYTEST, "suites/", **hiding(tmp_path, absent), TOUCHSTONE_REQUIRE="mlx,jax,torch")
    assert done.returncode == 4
    assert f"TOUCHSTONE_REQUIRE names '{absent}', but {NAMED[absent]} is not installed" in done.stderr


def test_without_any_framework_nothing_is_green(tmp_path: Path) -> None:
    done = run(*PYTEST, "suites/test_lookup.py", "-q", **hiding(tmp_path, *PACKAGES))
    assert done.returncode == 4
    assert "no framework is installed" in done.stderr
