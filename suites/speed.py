"""``python -m suites.speed``: how fast the suites run, against a floor of the same calls without pytest.

One run measures everything side by side: with cold caches (no compiled kernels, no probed devices) and warm ones, alone
and on two cores. Peak memory is the largest of the run's processes.
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
from pathlib import Path
from typing import Any

from adapters import registry
from adapters.isolation import attempt
from golden.store import open_golden, open_recorded
from suites import direct
from suites.assay import Assay, Bench
from suites.observation import NotAsked

ROOT = Path(__file__).parent.parent
ALL = ["-n", "2", "--dist", "loadgroup"]


def with_caches(folder: Path) -> dict[str, str]:
    """The environment in which compiled kernels and probed devices are cached in `folder`, and nowhere else."""
    folder.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "TOUCHSTONE_JAX_CACHE"}
    return {**kept, "TOUCHSTONE_CACHE": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}


def timed(command: Sequence[str], caches: Path) -> tuple[float, float]:
    """(wall seconds, peak MB) of a command whose compilation and probe caches live in `caches`."""
    environment = with_caches(caches)
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"error: {' '.join(command)} exited with {child.returncode}")
    return wall, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def suite(caches: Path, report: Path, *options: str) -> tuple[int, float, float]:
    """(cases, wall seconds, peak MB) of one run of the suites."""
    wall, peak = timed(["-m", "pytest", "suites/", "-q", "--report", str(report), *options], caches)
    ends = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    return sum(r["event"] == "end" for r in ends), wall, peak


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
    parser = argparse.ArgumentParser(prog="python -m suites.speed", description=__doc__)
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
    measure(options.specs or [t.id for t in registry.resolve() if not t.unavailable])
    return 0


def measure(specs: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        caches, report = Path(folder) / "caches", Path(folder) / "report"
        chosen = [f"--adapter={s}" for s in specs]
        print(f"{'what':<34} {'cases':>6} {'wall s':>8} {'cases/s':>8} {'peak MB':>8}", flush=True)
        for name, where in (("all, two cores, cold", caches), ("all, two cores, warm", caches)):
            _line(name, *suite(where, report, *ALL, *chosen))
        _line("all, one process, warm", *suite(caches, report, *chosen))
        wall, peak = timed(["-m", "pytest", "suites/", "--collect-only", "-q"], caches)
        _line("collection alone", 0, wall, peak)
        for spec in specs:
            own = Path(folder) / spec
            if registry.resolve([spec])[0].cls.is_framework:
                _line(f"{spec}, cold", *suite(own, report, f"--adapter={spec}"))
                cases, wall, peak = suite(own, report, f"--adapter={spec}")
                _line(f"{spec}, warm", cases, wall, peak)
                _floor_line(spec, own, cases, wall)


def _floor_line(spec: str, caches: Path, cases: int, wall: float) -> None:
    """The same calls in a process of their own, which like the suites starts, imports and probes."""
    kept = caches / "calls.pickle"
    timed(["-m", "suites.speed", "--keep-calls", str(kept), spec], caches)
    floor, peak = timed(["-m", "suites.speed", "--replay", str(kept), spec], caches)
    above = 1000 * (wall - floor) / cases
    print(f"{spec + ', floor without pytest':<34} {'':>6} {floor:>8.1f} {'':>8} {peak:>8.0f}"
          f"   the suites take {above:.1f} ms a case above it", flush=True)  # fmt: skip


def _line(name: str, cases: int, wall: float, peak: float) -> None:
    rate = f"{cases / wall:.0f}" if cases else ""
    print(f"{name:<34} {cases or '':>6} {wall:>8.1f} {rate:>8} {peak:>8.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
