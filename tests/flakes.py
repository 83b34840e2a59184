"""Are verdicts the same in every order, with every hash seed and number of threads? Whole runs, one after the other.

``pytest tests/flakes.py`` (tox -e trust): thirty runs of all suites take two to three hours on two cores.
`TOUCHSTONE_RUNS` sets another number. With `TOUCHSTONE_RUNS_FOLDER` the reports are kept there, and those of the same
suites are not made again. Every odd run has another number of threads than the first; the others have the same, and
then errors agree to the last bit too. Needs pytest-random-order.

What a read or write outside a table does depends on the heap: where an entry of adapters/known registers several such
classes, each of them counts as the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from adapters import known, registry
from adapters.known import Known
from reports import reading
from reports.records import EndLine, RunLine
from suites import identity, requirements
from tests.command import ROOT, clean
from versions.timeline import UNDEFINED

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
    if not is_kept(folder):
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "pytest", "suites/", "-q", "-n", "2", "--dist", "loadgroup"]
        command += ["-p", "no:cacheprovider", "--random-order-bucket=global", f"--random-order-seed={seed}"]
        command += ["--report", str(folder)]
        environment = clean() | threads(count) | {"PYTHONHASHSEED": str(seed), "TOUCHSTONE_REQUIRE": "mlx,jax,torch"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    ends = [line for path in reading.files(folder) for line in reading.lines(path) if isinstance(line, EndLine)]
    return {line.id: (line.verdict, behaviour(line), line.headroom) for line in ends}


def is_kept(folder: Path) -> bool:
    """Whether the folder holds a whole run of these suites on this golden data."""
    if not (folder / "results.json").exists():
        return False
    runs = [line for path in reading.files(folder) for line in reading.lines(path) if isinstance(line, RunLine)]
    now = (identity.suite_hash(), identity.golden_hash())
    return all((run.suite_hash, run.golden_hash) == now for run in runs)


def behaviour(line: EndLine) -> str:
    """The class of behaviour; one name for those among which the heap decides."""
    case = (line.requirement, line.target, next(iter(line.versions.values()), ""), line.params)
    entry = registered(line.spec).deviation(*case)
    if entry and len(entry.observed & UNDEFINED) > 1 and line.behaviour in entry.observed & UNDEFINED:
        return "what the heap holds"
    return line.behaviour


@cache
def registered(name: str) -> Known:
    return known.load([known.path_for(registry.adapter_class(name), name)], requirements.load().keys())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reports are written, a folder each."""
    return Path(os.environ.get("TOUCHSTONE_RUNS_FOLDER") or tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def first(folder: Path) -> Seen:
    return whole_run(folder / "0", 0, 2)


@pytest.mark.parametrize("seed", range(1, RUNS))
def test_a_run_in_another_order_sees_the_same(seed: int, first: Seen, folder: Path) -> None:
    count = 1 if seed % 2 else 2
    seen = whole_run(folder / str(seed), seed, count)
    assert seen.keys() == first.keys()
    parts = 2 if count == 1 else 3
    assert {name: (found, first[name]) for name, found in seen.items() if found[:parts] != first[name][:parts]} == {}
