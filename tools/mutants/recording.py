"""How do outcomes come into ``measured``? Each replaces what was known of its defect, and names its run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from tools.mutants import score
from tools.mutants.defects import Defect
from tools.mutants.running import CASES, ROOT, Outcome, pytest_with
from tools.mutants.score import Facts
from touchstone import files
from touchstone.errors import InputError

CONTROL = "INIT-REPR-1"
"""A requirement with few cases, asked without any defect: the record of that run says where and with what it ran."""
FRAMEWORKS = ("mlx", "jax", "flax", "torch")


class RecordingError(InputError):
    """Outcomes cannot be recorded here, or the suites are red without any defect."""


def facts(targets: Iterable[str]) -> Facts:
    """Where and with what the suites run, by their own record. Raises RecordingError where they are red already."""
    with tempfile.TemporaryDirectory(prefix="touchstone-control-") as name:
        adapters = [part for target in targets for part in ("--adapter", f"{target}@cpu")]
        chosen = ["-p", "tools.mutants.choosing", f"--requirement={CONTROL}", *CASES["stored"]]
        report = ["--report", f"{name}/report"]
        done = pytest_with(None, Path(name), [str(ROOT / "suites"), *chosen, *adapters, *report])
        if isinstance(done, str) or done.returncode:
            why = done if isinstance(done, str) else (done.stdout + done.stderr)[-500:]
            raise RecordingError(f"{CONTROL} is red without any defect: {why}")
        with (Path(name) / "report" / "results.jsonl").open() as lines:
            return _facts(lines.readline())


def _facts(run_line: str) -> Facts:
    run = json.loads(run_line)
    machine, packages = run["machine"], run["packages"]
    return Facts(
        recorded=run["started"][:10],
        machine=f"{machine['os']}, {machine['architecture']}, {machine['chip']}, {machine['cores']} cores",
        versions=", ".join(f"{name} {packages[name]}" for name in FRAMEWORKS if name in packages),
        suite_hash=run["suite_hash"],
        golden_hash=run["golden_hash"],
    )


class Recording:
    """One file of outcomes. It is whole at every moment: each outcome replaces the file."""

    def __init__(self, cases: str, defects: Iterable[Defect], folder: Path) -> None:
        """Raises RecordingError where the folder cannot be written to, ScoreError where what it holds is damaged."""
        self._folder, self._path = folder, folder / score.FILES[cases]
        self._order = [d.id for d in defects]
        self._known = score.read(self._path) if self._path.exists() else {}
        self._runs = score.read_facts(folder) if (folder / score.FACTS).exists() else {}
        self._run = ""
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise RecordingError(f"{folder}: outcomes cannot be written there ({error})") from error

    def begin(self, facts: Facts) -> None:
        """What is added from here on is of this run."""
        self._run = facts.key
        self._runs[facts.key] = facts
        self._write_runs()

    def add(self, outcome: Outcome) -> None:
        self._known[outcome.id] = replace(outcome, run=self._run)
        kept = [self._known[name] for name in self._order if name in self._known]
        files.write(self._path, "".join(json.dumps(asdict(one)) + "\n" for one in kept))

    def end(self) -> None:
        """Leave out the runs that no outcome is of any more."""
        files = [self._folder / name for name in score.FILES.values()]
        used = {outcome.run for file in files if file.exists() for outcome in score.read(file).values()}
        self._runs = {key: facts for key, facts in self._runs.items() if key in used}
        self._write_runs()

    def _write_runs(self) -> None:
        runs = {key: asdict(facts) for key, facts in self._runs.items()}
        files.write(self._folder / score.FACTS, json.dumps(runs, indent=1) + "\n")
