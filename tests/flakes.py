"""Are verdicts the same in every order, with every hash seed and number of threads? Whole runs, one after the other.

``pytest tests/flakes.py`` (tox -e trust): thirty runs of all suites take two hours on two cores. `TOUCHSTONE_RUNS`
sets another number. Every odd run has another number of threads than the first; the others have the same, and then
errors agree to the last bit too. Needs pytest-random-order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports import reading
from reports.records import EndLine
from tests.command import ROOT, clean

RUNS = int(os.environ.get("TOUCHSTONE_RUNS", "30"))
Seen = dict[str, tuple[str, str, float | None]]
"""Case -> its verdict, class and headroom."""


def threads(count: int) -> dict[str, str]:
    """For the libraries below NumPy and PyTorch, and for XLA."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    eigen = f"--xla_cpu_multi_thread_eigen={str(count > 1).lower()} intra_op_parallelism_threads={count}"
    return dict.fromkeys(names, str(count)) | {"XLA_FLAGS": eigen}


def whole_run(folder: Path, seed: int, count: int) -> Seen:
    """Every case of every target, shuffled by the seed, on two workers."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "suites/",
        "-q",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--report",
        str(folder),
    ]
    command += ["-p", "no:cacheprovider", "--random-order-bucket=global", f"--random-order-seed={seed}"]
    environment = clean() | threads(count) | {"PYTHONHASHSEED": str(seed), "TOUCHSTONE_REQUIRE": "mlx,jax,torch"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    lines = [line for path in reading.files(folder) for line in reading.lines(path)]
    return {line.id: (line.verdict, line.behaviour, line.headroom) for line in lines if isinstance(line, EndLine)}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return whole_run(tmp_path_factory.mktemp("first") / "report", 0, 2)


@pytest.mark.parametrize("seed", range(1, RUNS))
def test_a_run_in_another_order_sees_the_same(seed: int, first: Seen, tmp_path: Path) -> None:
    count = 1 if seed % 2 else 2
    seen = whole_run(tmp_path / "report", seed, count)
    assert seen.keys() == first.keys()
    parts = 2 if count == 1 else 3
    assert {name: (found, first[name]) for name, found in seen.items() if found[:parts] != first[name][:parts]} == {}
