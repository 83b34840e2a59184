"""What do the suites say with one defect planted? A pytest run in a child process, and another for what is left.

First the cases of the requirements that the defect should turn red, until one does; where none does, all others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tools.mutants.defects import Defect
from tools.mutants.planting import VARIABLE

ROOT = Path(__file__).parents[2]
LIMIT = 900
"""Seconds for one pytest run."""
CASES = {"stored": ("-m", "not fuzz and not inductor and not wide"), "generated": ("-m", "fuzz")}
"""The suites' own cases, and those that Hypothesis draws, whose score is measured apart."""
_STALE = re.compile(r"^stale deviation +(\S+)", re.MULTILINE)
FAILED_ITSELF = "harness error"
"""The class of a case whose test ended with an error of its own: that says nothing of the framework."""
CAUGHT, ELSEWHERE, SURVIVED, BROKEN = "caught", "caught elsewhere", "survived", "broken"


@dataclass(frozen=True)
class Outcome:
    """How a run with a defect ended. `requirement`, `case` and `why` are of the first red case.

    digest: of the defect that was planted. run: which of the recorded runs this is of ("" where it is not recorded).
    """

    id: str
    verdict: str
    requirement: str = ""
    case: str = ""
    why: str = ""
    seconds: float = 0.0
    digest: str = ""
    run: str = ""


def run(defect: Defect, cases: str = "stored") -> Outcome:
    """Plant the defect and ask; "broken" is a run that says nothing: it planted or asked nothing, or failed itself.

    cases: a key of `CASES`.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="touchstone-mutant-") as name:
        first = Outcome(defect.id, SURVIVED)
        if defect.expect:
            first = _ask(defect, Path(name), [*CASES[cases], *(f"--requirement={p}" for p in defect.expect)])
        if first.verdict == SURVIVED:
            rest = _ask(defect, Path(name), [*CASES[cases], *(f"--without={p}" for p in defect.expect)])
            first = rest if rest.verdict != CAUGHT else replace(rest, verdict=ELSEWHERE)
    return replace(first, seconds=round(time.monotonic() - begun, 1), digest=defect.digest)


def environment(plan: Path | None) -> dict[str, str]:
    """This process's environment, with the hook that plants on the path of every child."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TOUCHSTONE_REQUIRE"))}
    own["PYTHONPATH"] = os.pathsep.join((str(ROOT / "tools" / "mutants" / "hook"), str(ROOT)))
    return own | ({VARIABLE: str(plan)} if plan else {})


def _ask(defect: Defect, folder: Path, choice: Sequence[str]) -> Outcome:
    red = folder / "red"
    red.unlink(missing_ok=True)
    suites = [str(ROOT / "suites"), "-p", "tools.mutants.choosing", f"--red={red}", "--adapter", f"{defect.target}@cpu"]
    done = pytest_with(defect, folder, [*suites, *choice])
    if isinstance(done, str):
        return Outcome(defect.id, BROKEN, why=done)
    if done.returncode == 0:
        return Outcome(defect.id, SURVIVED)
    if red.exists():
        found = json.loads(red.read_text().splitlines()[0])
        if found["behaviour"] == FAILED_ITSELF:
            return Outcome(defect.id, BROKEN, found["requirement"], found["case"], found["why"])
        return Outcome(defect.id, CAUGHT, found["requirement"], found["case"], found["why"])
    if stale := _STALE.search(done.stdout):
        return Outcome(defect.id, CAUGHT, stale[1], why="a registered deviation no longer holds")
    return Outcome(defect.id, BROKEN, why=f"red without a red case: {_last_line(done)}")


def pytest_with(
    defect: Defect | None, folder: Path, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str] | str:
    """pytest in a child process with the defect planted, up to the first failure; why it says nothing where it does.

    It says something where it ran tests to an exit status of 0 or 1, and the defect's module was imported.
    """
    plan, log = folder / "defect.json", folder / "planted"
    if defect:
        plan.write_text(json.dumps(defect.planted(log)))
    # Rewriting assertions, pytest would import the project's own modules itself, past the planter.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--assert=plain",
        "--maxfail=1",
        *arguments,
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(plan if defect else None), capture_output=True, text=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return f"no end within {LIMIT} s"
    if done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED and "fuzz" in arguments:
        done.returncode = 0  # no generated case asks about these requirements
        return done
    if done.returncode not in (0, 1):
        return f"pytest ended with {done.returncode}: {_last_line(done)}"
    if defect and not log.exists():
        return f"{defect.module} was never imported"
    return done


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return ((done.stderr.strip() or done.stdout.strip()).splitlines() or [""])[-1][:300]
