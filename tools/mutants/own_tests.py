"""Do a framework's own tests catch the same defects? Run where they are installed or published as files.

PyTorch's wheel carries its samples (`torch_own_tests`); Flax's source distribution its test files; MLX's tests are
published in its repository only: a checkout's ``python/tests`` can be named. Nobody else tests the adapters' code.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tools.mutants.defects import Defect
from tools.mutants.running import BROKEN, CAUGHT, ROOT, SURVIVED, Outcome, pytest_with
from touchstone.errors import InputError

FILES = {
    "torch": ("torch_own_tests.py",),
    "jax": ("tests/nnx/nn/embed_test.py", "tests/nnx/nn/linear_test.py"),
    "mlx": ("test_nn.py", "test_quantized.py"),
}
"""Test files of each framework, below the folder that holds them."""
INSTALLED = {"torch": ROOT / "tools" / "mutants"}


class OwnTestsError(InputError):
    """Test files are missing, or red without any defect."""


def folders(given: Sequence[str]) -> dict[str, Path]:
    """Target -> folder, from TARGET=FOLDER each. Raises OwnTestsError for what is not spelled so, or has no tests."""
    found = {}
    for text in given:
        target, sign, folder = text.partition("=")
        if not sign or target not in FILES:
            raise OwnTestsError(f"--tests {text}: give TARGET=FOLDER, and for TARGET one of {', '.join(FILES)}")
        found[target] = Path(folder)
    return found


def arguments(target: str, folders: Mapping[str, Path]) -> list[str] | None:
    """What pytest is given for the framework's own tests; None where nobody named their folder.

    Raises OwnTestsError where the folder lacks a file.
    """
    folder = folders.get(target, INSTALLED.get(target))
    if folder is None:
        return None
    files = [folder / name for name in FILES[target]]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise OwnTestsError(f"{folder}: lacks {', '.join(missing)}; name the folder that holds {FILES[target][0]}")
    return ["-c", "/dev/null", "--rootdir", str(folder), *map(str, files)]


def control(target: str, given: list[str]) -> None:
    """Raises OwnTestsError where the tests are red without a defect."""
    done = pytest_with(None, ROOT, given)
    if isinstance(done, str) or done.returncode:
        why = done if isinstance(done, str) else (done.stdout + done.stderr)[-500:]
        raise OwnTestsError(f"{target}: its own tests are red without any defect: {why}")


def run(defect: Defect, given: list[str]) -> Outcome:
    """Whether the framework's own tests turn red; `case` is the first that does."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="touchstone-own-") as name:
        done = pytest_with(defect, Path(name), given)
    if isinstance(done, str):
        outcome = Outcome(defect.id, BROKEN, why=done)
    elif done.returncode == 0:
        outcome = Outcome(defect.id, SURVIVED)
    else:
        outcome = Outcome(defect.id, CAUGHT, case=_first_failure(done))
    return replace(outcome, seconds=round(time.monotonic() - begun, 1), digest=defect.digest)


def _first_failure(done: subprocess.CompletedProcess[str]) -> str:
    found = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return found[0].partition(" - ")[0].rpartition("/")[2] if found else ""
