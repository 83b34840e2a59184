"""Are records on disk as soon as they are made, are shards taken in, and does a second run keep out?"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import made
from tests.command import ROOT
from touchstone.reports.recorder import RENDERED, Recorder, RecorderError


def test_a_record_is_on_disk_as_soon_as_it_is_made(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "folder")
    recorder.write(made.start("a"))
    assert b'"event":"start"' in recorder.path.read_bytes()
    recorder.write(made.end("a"))
    assert b'"event":"end"' in recorder.path.read_bytes()
    recorder.close()


def test_a_parallel_worker_writes_a_shard_of_its_own(tmp_path: Path) -> None:
    for worker in ("gw0", "gw1"):
        Recorder(tmp_path, worker).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results.gw0.jsonl", "results.gw1.jsonl"]


def test_a_recorder_names_what_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").symlink_to("/dev/full")
    recorder = Recorder(tmp_path)
    with pytest.raises(RecorderError, match=r"results\.jsonl: cannot be written \(No space left on device\)"):
        recorder.write(made.start("a"))
    with contextlib.suppress(RecorderError):
        recorder.close()


def test_shards_are_taken_in_by_the_main_recorder(tmp_path: Path) -> None:
    """Half a line, as a killed worker leaves it, is left out."""
    recorder = Recorder(tmp_path)
    for worker in ("gw0", "gw1"):
        shard = Recorder(tmp_path, worker)
        shard.write(made.start(worker))
        shard.close()
        with shard.path.open("ab") as file:
            file.write(b'{"event":"end","id":"')
    recorder.close()
    assert [line.count(b"gw") for line in recorder.path.read_bytes().splitlines()] == [2, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_disk_that_fills_while_shards_are_taken_in(tmp_path: Path) -> None:
    """The error names the file, no half of it is left, and the shards are still there."""
    recorder, shard = Recorder(tmp_path), Recorder(tmp_path, "gw0")
    shard.write(made.start("a"))
    shard.close()
    (tmp_path / f".results.jsonl.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(RecorderError, match=r"results\.jsonl: cannot be written \(No space left on device\)"):
        recorder.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results.gw0.jsonl", "results.jsonl"]


def test_a_second_run_keeps_out_of_the_folder(tmp_path: Path) -> None:
    first = Recorder(tmp_path)
    first.write(made.start("a"))
    with pytest.raises(RecorderError, match="another run is writing there; choose another folder"):
        Recorder(tmp_path)
    assert first.path.read_bytes().count(b"\n") == 1
    first.close()
    Recorder(tmp_path).close()


HOLD = """
import pathlib, sys
from touchstone.reports.recorder import Recorder

held = Recorder(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_run_does_not_keep_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(RecorderError, match="another run"):
            Recorder(tmp_path)
        holder.kill()
    Recorder(tmp_path).close()


def test_what_an_earlier_run_left_is_removed_at_the_start(tmp_path: Path) -> None:
    """Else a page of yesterday would lie beside the records of a run that died today."""
    for name in (*RENDERED, "results.gw7.jsonl", "notes.txt"):
        (tmp_path / name).write_text("old")
    Recorder(tmp_path).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "results.jsonl"]
