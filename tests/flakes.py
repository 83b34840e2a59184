"""Are verdicts the same in every order, with every hash seed and number of threads? Whole runs, one after the other.

``pytest tests/flakes.py`` (tox -e trust): thirty runs of all suites take two to three hours on two cores.
`TOUCHSTONE_RUNS` sets another number. With `TOUCHSTONE_RUNS_FOLDER` the reports are kept there, and those of the same
suites are not made again. Every odd run is single-threaded; among runs with as many threads, errors agree to the last
bit too. Needs pytest-random-order.

What a read or write outside a table does depends on the heap: where a known deviation registers several such
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

from tests.command import ROOT, clean
from tools.versions.timeline import UNDEFINED
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.reports import reading
from touchstone.reports.records import EndLine, FinishLine, Number, RunLine
from touchstone.suites import identity, requirements
from touchstone.verdict.expectation import Expectations, Place

RUNS = int(os.environ.get("TOUCHSTONE_RUNS", "30"))
Seen = dict[str, tuple[str, str, Number | None]]
"""Case -> its verdict, class and headroom."""


def threads(seed: int) -> dict[str, str]:
    """For PyTorch, for the libraries below NumPy and MLX, and for XLA, whose pool of threads NPROC sizes."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    return dict.fromkeys(names, "1" if seed % 2 else "2")


def whole_run(folder: Path, seed: int) -> Seen:
    """Every case of every target, shuffled by the seed, on two workers."""
    if not is_kept(folder):
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "pytest", "suites/", "-q", "-n", "2", "--dist", "loadgroup"]
        command += ["-p", "no:cacheprovider", "--random-order-bucket=global", f"--random-order-seed={seed}"]
        command += ["--report", str(folder)]
        environment = clean() | threads(seed) | {"PYTHONHASHSEED": str(seed), "TOUCHSTONE_REQUIRE": "mlx,jax,torch"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    ends = [line for path in reading.files(folder) for line in reading.lines(path) if isinstance(line, EndLine)]
    return {line.id: (line.verdict, behaviour(line), line.headroom) for line in ends}


def is_kept(folder: Path) -> bool:
    """Whether the folder holds a whole and green run of these suites on this golden data."""
    if not (folder / "results.json").exists():
        return False
    lines = [line for path in reading.files(folder) for line in reading.lines(path)]
    now = (identity.suite_hash(), identity.golden_hash())
    runs = [(line.suite_hash, line.golden_hash) == now for line in lines if isinstance(line, RunLine)]
    ends = [line.exit_status == 0 for line in lines if isinstance(line, FinishLine)]
    return bool(runs) and bool(ends) and all(runs) and all(ends)


def behaviour(line: EndLine) -> str:
    """The class of behaviour; one name for those among which the heap decides."""
    framework, _, device = line.target.partition("@")
    place = Place(framework, device, line.device.facts)
    case = (line.requirement, place, next(iter(line.versions.values()), ""), line.params)
    entry = registered(line.spec).deviation(*case)
    if entry and len(entry.observed & UNDEFINED) > 1 and line.behaviour in entry.observed & UNDEFINED:
        return "what the heap holds"
    return line.behaviour


@cache
def registered(name: str) -> Expectations:
    cls = registry.adapter_class(name)
    return known.load(known.path_for(cls), cls, requirements.load().keys())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reports are written, a folder each."""
    return Path(os.environ.get("TOUCHSTONE_RUNS_FOLDER") or tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def first(folder: Path) -> dict[bool, Seen]:
    """Whether single-threaded -> the first run of its kind."""
    return {single: whole_run(folder / str(int(single)), int(single)) for single in (False, True)}


def different(seen: Seen, wanted: Seen, parts: int) -> dict[str, object]:
    """Cases that only one of two runs saw, or whose first `parts` of verdict, class and headroom are not the same."""
    nothing = ("", "", None)
    pairs = {name: (seen.get(name, nothing), wanted.get(name, nothing)) for name in seen.keys() | wanted.keys()}
    return {name: pair for name, pair in pairs.items() if pair[0][:parts] != pair[1][:parts]}


@pytest.mark.parametrize("seed", range(1, RUNS))
def test_a_run_in_another_order_sees_the_same(seed: int, first: dict[bool, Seen], folder: Path) -> None:
    seen = whole_run(folder / str(seed), seed)
    assert different(seen, first[False], parts=2) == {}
    assert different(seen, first[bool(seed % 2)], parts=3) == {}
