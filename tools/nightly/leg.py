"""``python -m tools.nightly leg NAME``: the suites and benchmarks of one leg, one process per target.

A process that dies costs the leg its own target only. Records go to ``OUTPUT/TARGET``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.nightly import NEW_NAMES, candidates, legs, outcome
from tools.nightly.outcome import Ran
from touchstone import files
from touchstone.adapters.discovery import registry

ROOT = Path(__file__).parents[2]
SUITES, BENCHMARKS = "suites/", "tools/benchmarks/"
WIDE = ("-m", "not inductor")
"""Cases of seconds each too, which a run without `-m` leaves out."""
GENERATED = ("--fuzz-examples", "2000", "--fuzz-seed", "fresh")
"""Other generated cases every night; the seed is printed, and recorded with each case."""
GRACE = 20.0
"""Seconds between asking a process that is out of time to end and killing it."""


def run(name: str, output: Path, *, minutes: float, accept_unreviewed: bool = False) -> int:
    """Run the leg and return its exit status (`tools.nightly.outcome`). Raises NightlyError.

    minutes: what the suites of one target may take, and its benchmarks a third of it. accept_unreviewed: a first
    night on a device is no failure.
    """
    leg = legs.named(name)
    output.mkdir(parents=True, exist_ok=True)
    done = [Ran(target=target, required=target in leg.required) for target in leg.targets]
    _write(name, done, output, accept_unreviewed)
    for ran in done:
        _target(leg, ran, output / ran.target, 60 * minutes)
        # After every target, so that a leg that is killed leaves what it knows.
        _write(name, done, output, accept_unreviewed)
        print(f"== {ran}", flush=True)
    if new := [output / r.target for r in done if r.first_night and r.answered]:
        print(candidates.write(new, output / "candidates"), flush=True)
    _new_names(output)
    status = outcome.worst(done, accept_unreviewed=accept_unreviewed)
    print(f"\n{name}: {('green', 'red', 'broken')[status]}", *done, sep="\n  ", flush=True)
    return status


def _new_names(output: Path) -> None:
    """Keep the public names of the installed MLX that no list of ours holds, for the night's summary."""
    command = [sys.executable, "-m", "tools.coverage", "unclassified"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 1:
        files.write(output / NEW_NAMES, done.stdout)


def _write(name: str, done: Sequence[Ran], output: Path, accept_unreviewed: bool) -> None:
    status = outcome.worst(done, accept_unreviewed=accept_unreviewed)
    outcome.write(outcome.Leg(name=name, status=status, ran=list(done)), output)


def _target(leg: legs.Leg, ran: Ran, folder: Path, limit: float) -> None:
    try:
        registry.resolve([ran.target])  # asks for the device in a child process: without Metal, asking MLX aborts
    except registry.TargetError as error:
        ran.absent = str(error)
        return
    ran.first_night = candidates.is_first_night(ran.target)
    chosen = ["--adapter", ran.target, "--report", str(folder.resolve())]
    suites = ["pytest", SUITES, *chosen, *GENERATED, *WIDE, *(["-k", leg.select] if leg.select else [])]
    ran.suites = child([*suites, *(["--bootstrap", ran.target] if ran.first_night else [])], limit)
    if leg.benchmarks != "none":
        marker = {"all": "not aim", "quick": "quick"}[leg.benchmarks]
        ran.benchmarks = child(["pytest", BENCHMARKS, *chosen, "-m", marker], limit / 3)
    ran.read(folder)


def child(command: Sequence[str], limit: float) -> int:
    """Run ``python -m COMMAND`` in the repository; its exit status, negative for the signal that ended it.

    One that takes longer than `limit` seconds is ended, with the workers it started.
    """
    print(f"\n$ python -m {shlex.join(command)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"error: no end after {limit:.0f} s", flush=True)
        _end(process)
        return process.wait()
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
