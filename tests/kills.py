"""Does a run that is killed at any moment leave whole files behind, and the next one go on as if nothing had been?

``pytest tests/kills.py`` (tox -e trust): fifty kills, some ten minutes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golden import store
from reports import reading
from reports.records import EndLine
from tests.command import ROOT, clean, copy_repository

RUNS = 40
WRITES = 10
SUITES = ["suites/test_lookup.py", "suites/test_out_of_range.py", "-k", "embedding or raw"]
TARGETS = ["--adapter", "torch@cpu", "--adapter", "mlx@cpu"]


def suites(folder: Path, *more: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", *SUITES, *TARGETS, "-q", "-p", "no:cacheprovider"]
    return [*command, "--report", str(folder), *more]


def verdicts(folder: Path) -> dict[str, str]:
    lines = [line for path in reading.files(folder) for line in reading.lines(path)]
    return {line.id: line.verdict for line in lines if isinstance(line, EndLine)}


def kill_after(command: list[str], seconds: float, cwd: Path = ROOT) -> bool:
    """Kill the command and everything that it started; whether it was still running."""
    process = subprocess.Popen(
        command, cwd=cwd, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Verdicts of a run that nobody disturbs, and how long it takes."""
    folder = tmp_path_factory.mktemp("whole") / "report"
    begun = time.monotonic()
    done = subprocess.run(suites(folder), cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
    return verdicts(folder), time.monotonic() - begun


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_killed_run_leaves_whole_files_and_the_next_is_clean(
    seed: int, whole: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    expected, duration = whole
    folder, parallel = tmp_path / "report", ["-n", "2", "--dist", "loadgroup"] if seed % 2 else []
    killed = kill_after(suites(folder, *parallel), random.Random(seed).uniform(0.5, duration))
    if folder.is_dir() and list(folder.glob("results*.jsonl")):
        seen = verdicts(folder)
        assert seen.items() <= expected.items()
        for path in folder.glob("*.json"):
            json.loads(path.read_text())
        for path in folder.glob("*.html"):
            assert path.read_text().rstrip().endswith("</html>")
    if killed:
        assert not (folder / "results.json").exists() or verdicts(folder) == expected
    done = subprocess.run(suites(folder), cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert verdicts(folder) == expected
    assert not [p.name for p in folder.iterdir() if p.suffix in (".partial", ".tmp")]


@pytest.mark.parametrize("seed", range(WRITES))
def test_killed_generation_leaves_the_old_or_the_new_store(seed: int, tmp_path: Path) -> None:
    """`golden generate` over a store that lacks its last file, killed while it computes or writes."""
    copy = copy_repository(tmp_path)
    before = {p: p.read_bytes() for p in sorted((copy / "golden").rglob("*")) if p.suffix in (".safetensors", ".json")}
    kill_after([sys.executable, "-m", "golden", "generate"], random.Random(seed).uniform(0.3, 6), cwd=copy)
    for path, content in before.items():
        assert path.read_bytes() == content  # generating gives the same bytes, so old and new are one
    done = subprocess.run(
        [sys.executable, "-m", "golden", "generate"], cwd=copy, env=clean(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    verified = subprocess.run([sys.executable, "-m", "golden", "verify"], cwd=copy, env=clean(), capture_output=True)
    assert verified.returncode == 0
    left = {p.name for p in (copy / "golden" / "data").iterdir()}
    assert left == {p.name for p in store.DATA.iterdir()}
