"""Does a run go on without any one of the frameworks, say so, and end with an error where it must not?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import PYTEST, ROOT, run

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


def hiding(folder: Path, *adapters: str) -> dict[str, str]:
    """An environment in which Python, and every child, finds none of the adapters' frameworks."""
    names = {name for adapter in adapters for name in PACKAGES[adapter]}
    (folder / "sitecustomize.py").write_text(HIDING.format(names=names))
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


@pytest.mark.parametrize("absent", PACKAGES)
def test_the_others_are_asked(absent: str, tmp_path: Path) -> None:
    environment = hiding(tmp_path, absent)
    chosen = ["suites/test_lookup.py", "suites/test_out_of_range.py", "-q", "-k", "test_special_values or test_checked"]
    done = run(*PYTEST, *chosen, **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert f"not run  ({NAMED[absent]} is not installed)" in done.stdout
    for name in PACKAGES.keys() - {absent}:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name}@cpu ")]
        assert " conforms" in line
    required = run(*PYTEST, *chosen, **environment, TOUCHSTONE_REQUIRE="mlx,jax,torch")
    assert required.returncode == 4
    assert f"TOUCHSTONE_REQUIRE names '{absent}', but {NAMED[absent]} is not installed" in required.stderr


def test_without_any_framework_nothing_is_green(tmp_path: Path) -> None:
    done = run(*PYTEST, "suites/test_lookup.py", "-q", **hiding(tmp_path, *PACKAGES))
    assert done.returncode == 4
    assert "no framework is installed" in done.stderr
