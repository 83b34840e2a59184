"""Does what goes away leave the rest whole: a process that is killed, at any moment, or a framework?

``pytest tests/kills.py`` (tox -e trust): runs that are killed at forty random moments, a golden store that is killed at
every moment of its writing (about eighty), and whole runs without each framework.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tests.command import ROOT, clean
from tests.test_absent import NAMED, check_absence, hiding
from touchstone import command
from touchstone.golden import store
from touchstone.reports import reading
from touchstone.reports.records import EndLine

RUNS = 40
SUITES = ["suites/test_out_of_range.py", "suites/test_checked_lookup.py", "-k", "raw or checked"]
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


CHILD = """
import os, pathlib, pickle, signal, sys
from touchstone import command
from touchstone.golden import writer

moment, content, *sys.argv[1:] = sys.argv[1:]
passed = 0


def pass_a_moment():
    global passed
    passed += 1
    if passed == int(moment):
        os.kill(os.getpid(), signal.SIGKILL)


def after_a_moment(function):
    def wrapped(*arguments, **options):
        pass_a_moment()
        return function(*arguments, **options)

    return wrapped


def in_two_halves(function):
    def wrapped(path, data):
        pass_a_moment()
        function(path, data[: len(data) // 2])
        pass_a_moment()
        return function(path, data)

    return wrapped


pathlib.Path.write_bytes = in_two_halves(pathlib.Path.write_bytes)
pathlib.Path.unlink = after_a_moment(pathlib.Path.unlink)
os.replace = after_a_moment(os.replace)
if content:
    writer.generated = lambda: pickle.loads(pathlib.Path(content).read_bytes())
sys.exit(command.main(["golden", *sys.argv[1:]]))
"""
"""`touchstone golden`, which kills itself at a moment: before each call that changes a file, and within each that
writes one. With `content` what is computed, and is the same every time, is read from there."""

Files = dict[str, bytes]


def golden(home: Path, *arguments: str, moment: int = 0, content: Path | str = "") -> subprocess.CompletedProcess[str]:
    """`touchstone golden` in the copy at `home`, killed at that moment of its writing; never at moment 0."""
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(moment), str(content), *arguments],
        cwd=home.parent, env=clean(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def files_of(home: Path) -> Files:
    """The manifest and the data files, and whatever was left beside them."""
    found = [*(home / "data").iterdir(), *(p for p in home.iterdir() if "manifest" in p.name)]
    return {str(p.relative_to(home)): p.read_bytes() for p in found}


def put(home: Path, files: Files) -> None:
    for name in files_of(home).keys() - files.keys():
        (home / name).unlink()
    for name, content in files.items():
        (home / name).write_bytes(content)


def older(home: Path) -> Files:
    """What an older catalogue wrote: one element of every family is another, and a family that is no more is there."""
    manifest = json.loads((home / store.MANIFEST).read_text())
    changed: Files = {}
    for name in manifest["files"]:
        arrays = {key: np.array(array) for key, array in load_file(home / "data" / name).items()}
        key = next(key for key in sorted(arrays) if arrays[key].size)
        arrays[key].reshape(-1).view(np.uint8)[0] ^= 1
        manifest["arrays"][key]["sha256"] = store.digest(arrays[key])
        changed[name] = save(arrays)
    retired = np.arange(3, dtype=np.float32)
    changed["retired.safetensors"] = save({"retired/array": retired})
    entry = {"file": "retired.safetensors", "dtype": "float32", "shape": [3], "sha256": store.digest(retired)}
    manifest["arrays"]["retired/array"] = entry | {"made": "values(float32, [3])"}
    manifest["files"] = {n: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for n, c in changed.items()}
    manifest["sha256"] = store.seal(manifest)
    return {f"data/{n}": c for n, c in changed.items()} | {store.MANIFEST: json.dumps(manifest, indent=1).encode()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of golden/ that can be written."""
    folder = tmp_path_factory.mktemp("written") / "golden"
    shutil.copytree(store.HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def verify(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status of `touchstone golden verify` on the copy, and what it says."""
    for name, path in {"HERE": home, "DATA": home / "data", "RECORDED": home / "recorded"}.items():
        monkeypatch.setattr(store, name, path)
    status, said = command.main(["golden", "verify"]), capsys.readouterr()
    return status, said.out + said.err


def test_a_write_killed_at_any_moment_leaves_each_file_old_or_new(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`golden generate` over an older store, killed at every moment of its writing, one after the other."""
    new, old = files_of(home), older(home)
    assert all(old[name] != content for name, content in new.items())
    content = tmp_path / "content"
    content.write_bytes(pickle.dumps({name.removeprefix("data/"): data for name, data in new.items()}))
    mixed = 0
    for moment in itertools.count(1):
        put(home, old)
        killed = golden(home, "generate", moment=moment, content=content)
        found = {name: data for name, data in files_of(home).items() if not name.endswith(".partial")}
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert all(data in (old.get(name), new.get(name)) for name, data in found.items()), moment
        assert found.keys() in (old.keys(), new.keys()), moment
        status, said = verify(home, monkeypatch, capsys)
        assert (status == 0) == (found == new), (moment, said)
        assert status == 0 or (said.startswith("error: ") and "`touchstone golden generate`" in said), (moment, said)
        mixed += found not in (old, new)
        assert golden(home, "generate", content=content).returncode == 0
        assert files_of(home) == new, moment
    assert found == new
    assert moment > 3 * len(new)
    assert mixed >= len(new)


def test_a_generation_that_computes_can_be_killed_too(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is read from elsewhere; half of the files are renamed when it dies."""
    put(home, older(home))
    assert golden(home, "generate", moment=5 * len(files_of(home)) // 2).returncode == -signal.SIGKILL
    assert verify(home, monkeypatch, capsys)[0] == 1
    assert golden(home, "generate").returncode == 0
    assert verify(home, monkeypatch, capsys)[0] == 0
    assert golden(home, "generate", "--check").returncode == 0


@pytest.mark.parametrize("absent", NAMED)
def test_a_whole_run_without_a_framework(absent: str, tmp_path: Path) -> None:
    """Every case of every target: those of the absent framework are not run, the others answer as ever."""
    command = [sys.executable, "-m", "pytest", "suites/", "-q", "-n", "2", "--dist", "loadgroup"]
    command += ["-p", "no:cacheprovider", "--report", str(tmp_path / "report")]
    environment = clean() | hiding(tmp_path, absent)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert len(check_absence(tmp_path / "report", absent).cases) > 4000
