"""``python -m tools.speed``: how fast the suites run, against a floor of the same calls without pytest.

One run measures everything side by side: with cold caches (no compiled kernels, no probed devices) and warm ones, all
targets on every core and each alone in one process. CPU seconds are of all processes together, peak memory is that of
the largest, and executables are those that JAX compiled, as its cache counts them.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import settings
from touchstone.adapters.discovery import machine, registry
from touchstone.adapters.isolation.outcome import attempt
from touchstone.errors import InputError
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct
from touchstone.suites.assay import Assay, Bench
from touchstone.verdict.observation import NotAsked

ROOT = Path(__file__).parent.parent
ALONE = ["-n", "0"]
CATALOGUE = (
    "test_functions or test_losses",
    "(test_functions or test_losses) and ordinary",
    "test_functions and test_values and relu6 and float32 and ordinary",
)
"""Which cases are of every region, of one, and one alone."""
GROWTH = (20, 40)
"""Examples of a generated case, in two runs whose peaks are compared."""


@dataclass(frozen=True)
class Used:
    """What one command took: wall and CPU seconds, and the peak of its largest process in MB."""

    wall: float
    cpu: float
    peak: float


def timed(command: Sequence[str], caches: Path, status: int = 0) -> Used:
    """What a command takes whose compilation and probe caches live in `caches`, its children included.

    SystemExit where it ends with another status.
    """
    environment = settings.with_caches(caches)
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, ended, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(ended)
    if child.returncode != status:
        raise SystemExit(f"error: {' '.join(command)} exited with {child.returncode}")
    return Used(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def suite(caches: Path, report: Path, specs: Sequence[str], *options: str) -> tuple[int, Used]:
    """How many cases one run of the suites on these targets had, and what it took."""
    asked = [registry.adapter_class(spec.partition("@")[0]).is_framework for spec in specs]
    chosen = [f"--adapter={spec}" for spec in specs]
    command = ["-m", "pytest", "suites/", "-q", "--report", str(report), *chosen, *options]
    used = timed(command, caches, 0 if any(asked) else 1)  # they end with 1 where no framework was asked
    ends = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    return sum(r["event"] == "end" for r in ends), used


def executables(caches: Path) -> int:
    """How many executables JAX has compiled with these caches."""
    return len(list((caches / "jax").glob("*-cache")))


def replay(path: Path, spec: str) -> None:
    """Make the framework calls that `keep_calls` stored, without pytest and without comparing anything.

    Cases that use a layer directly instead of asking are run whole.
    """
    target, bench = registry.resolve([spec])[0], Bench(open_golden(), open_recorded())
    questions = {q.function.__name__ + q.function.__module__: q for q in direct.questions()}
    for name, index, asked, hazard in pickle.loads(path.read_bytes()):  # written by our own child
        for probe, arguments in asked:
            if hazard:
                unsafe = hazard == "writes" and target.cls.corrupts_memory
                bench.worker(target).run(probe, arguments, discard=unsafe)
            else:
                attempt(probe, target.adapter, arguments)
        if not asked:
            direct.run(questions[name], target, questions[name].cases[index], bench)
    bench.close()


def keep_calls(path: Path, spec: str) -> None:
    """Run every case once and store (test, case number, [(probe, arguments)], hazard) in file order."""
    target, bench = registry.resolve([spec])[0], Bench(open_golden(), open_recorded())
    calls: list[tuple[str, int, list[Any], Any]] = []
    original = Assay.ask

    def ask(self: Assay, probe: Any, **arguments: Any) -> Any:
        calls[-1][2].append((probe, arguments))
        return original(self, probe, **arguments)

    Assay.ask = ask  # type: ignore[method-assign]
    for question in direct.questions():
        for index, case in enumerate(question.cases):
            if case.marks:
                continue
            name = question.function.__name__ + question.function.__module__
            calls.append((name, index, [], case.hazard))
            if isinstance(direct.run(question, target, case, bench)[1], NotAsked):
                calls.pop()
    bench.close()
    path.write_bytes(pickle.dumps(calls))


def main() -> int:
    """The exit status: 2 where a target cannot be used. Hidden options tell children of the command what to run."""
    parser = argparse.ArgumentParser(prog="python -m tools.speed", description=__doc__)
    parser.add_argument("--keep-calls", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("specs", nargs="*", metavar="NAME[@DEVICE]", help="targets to measure (default: all)")
    options = parser.parse_args()
    if options.keep_calls:
        keep_calls(options.keep_calls, options.specs[0])
        return 0
    if options.replay:
        replay(options.replay, options.specs[0])
        return 0
    try:
        _measure(options.specs or [t.id for t in registry.resolve() if not t.unavailable])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _measure(specs: Sequence[str]) -> None:
    here = machine.describe()
    facts = ", ".join(f"{name} {value}" for name, value in here["facts"].items())
    print(f"{here['chip']}, {here['cores']} cores; {facts}")
    print(f"{'what':<34} {'cases':>6} {'wall s':>8} {'CPU s':>8} {'cases/s':>8} {'peak MB':>8}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        caches, report = Path(folder) / "caches", Path(folder) / "report"
        for name in ("all targets, cold", "all targets, warm"):
            _line(name, *suite(caches, report, specs))
        _line("collection alone", 0, timed(["-m", "pytest", "suites/", "--collect-only", "-q"], caches))
        for spec in specs:
            own = Path(folder) / spec
            _line(f"{spec}, cold", *suite(own, report, [spec], *ALONE))
            if count := executables(own):
                print(f"{'':<34} {count:>6} executables", flush=True)
            cases, used = suite(own, report, [spec], *ALONE)
            _line(f"{spec}, warm", cases, used)
            _floor_line(spec, own, cases, used)
            _growth_line(spec, own, report)
            _catalogue_line(spec, Path(folder) / f"{spec} catalogue", report)


def _floor_line(spec: str, caches: Path, cases: int, used: Used) -> None:
    """The same calls in a process of their own, which like the suites starts, imports and probes."""
    kept = caches / "calls.pickle"
    timed(["-m", "tools.speed", "--keep-calls", str(kept), spec], caches)
    floor = timed(["-m", "tools.speed", "--replay", str(kept), spec], caches)
    _line(f"{spec}, floor without pytest", 0, floor)
    ratio, above = used.cpu / floor.cpu, 1000 * (used.cpu - floor.cpu) / cases
    print(f"{'':<34} the suites take {ratio:.2f} times its CPU, {above:.1f} ms a case above it", flush=True)


def _growth_line(spec: str, caches: Path, report: Path) -> None:
    """By how much the largest process grows with each generated case of other shapes, beyond the warm-up's."""
    few, many = (suite(caches, report, [spec], *ALONE, "-m", "fuzz", "--fuzz-examples", str(count)) for count in GROWTH)
    drawn = few[0] * (GROWTH[1] - GROWTH[0])
    growth = max(0.0, 1000 * (many[1].peak - few[1].peak) / drawn)
    print(f"{spec + ', growth':<34} {growth:.0f} kB a generated case, over {drawn} more of them", flush=True)


def _catalogue_line(spec: str, caches: Path, report: Path) -> None:
    """What a compiled shape and a further case of the functions and losses cost, with warm caches.

    From three runs: of every case, of one region of each array, which compiles as many shapes, and of one case.
    """
    asked = ([*ALONE, "-k", chosen] for chosen in CATALOGUE)
    suite(caches, report, [spec], *ALONE, "-k", CATALOGUE[0])
    shapes = executables(caches)
    (cases, every), (few, ordinary), (_, start) = (suite(caches, report, [spec], *options) for options in asked)
    a_case = max(0.0, 1000 * (every.cpu - ordinary.cpu) / (cases - few))
    text = f"{a_case:.1f} ms a further case"
    if shapes:
        a_shape = (1000 * (ordinary.cpu - start.cpu) - few * a_case) / shapes
        text = f"{a_shape:.0f} ms a compiled shape of {shapes}, {text}"
    print(f"{spec + ', functions and losses':<34} {text}", flush=True)


def _line(name: str, cases: int, used: Used) -> None:
    rate = f"{cases / used.wall:.0f}" if cases else ""
    print(f"{name:<34} {cases or '':>6} {used.wall:>8.1f} {used.cpu:>8.1f} {rate:>8} {used.peak:>8.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
