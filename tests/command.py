"""The project's commands as a user runs them: in a child process, with nothing inherited from this test run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider")


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python *arguments`` in `cwd`; this run's own pytest and target settings are not passed on."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=clean() | environment, capture_output=True, text=True, timeout=300
    )


def in_shell(text: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What a user types in a shell in `cwd`, with this environment's programs on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", text], cwd=cwd, env=clean() | {"PATH": path}, capture_output=True, text=True, timeout=300
    )


def clean() -> dict[str, str]:
    """The environment without what belongs to this test run."""
    own = ("PYTEST_", "TOUCHSTONE_REQUIRE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def copy_repository(folder: Path) -> Path:
    """What `pytest suites/` needs, copied into `folder` so that it can be damaged."""
    for name in ("adapters", "golden", "migration", "suites", "reports", "touchstone"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder
