"""Options, the target x case matrix, and the recorder. What conforms is decided in suites/, not here."""

from __future__ import annotations

import gc
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from adapters import known, registry
from adapters.registry import Target
from golden.catalogue import Case
from golden.store import GoldenError, open_golden, open_recorded
from reports.failure import explain
from reports.recorder import Recorder, RecorderError
from reports.summary import Tally
from suites import requirements
from suites.assay import Assay, Bench
from suites.observation import Deviates, NotAsked, Observation
from suites.real import RealInput, RealInputError
from suites.verdict import Judgement, Verdict, verdict_of

BAD_INPUT = (
    GoldenError,
    known.KnownError,
    RealInputError,
    RecorderError,
    registry.TargetError,
    requirements.RequirementError,
)
SUITES = Path(__file__).parent / "suites"


OPTIONS = {
    "--adapter": ("NAME[@DEVICE]", "a target to run, or package.module:Class (default: all on their best device)"),
    "--table": ("FILE:KEY", "run the embedding, tied-output and quantization requirements on this table"),
    "--linear": ("FILE:KEY", "run the linear and quantization requirements on this weight [out, in]"),
    "--bootstrap": ("TARGET", "a target never reviewed before: what has no pin yet is listed as unreviewed"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("touchstone")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(name, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")
    group.addoption("--report", metavar="DIR", help="write results.jsonl to this folder")


class Run:
    """The state of one pytest process: targets, golden stores, known deviations, recorder."""

    def __init__(self, config: pytest.Config) -> None:
        required = [n for n in os.environ.get("TOUCHSTONE_REQUIRE", "").split(",") if n]
        self.config = config
        self.targets = registry.resolve(config.getoption("adapter"), required)
        self.unmarked: Counter[str] = Counter()
        """Cases without a marker per requirement and target, as collected."""
        self.bootstrap = set(config.getoption("bootstrap"))
        if unknown := self.bootstrap - {t.id for t in self.targets}:
            raise registry.TargetError(f"--bootstrap {unknown.pop()}: not among this run's targets")
        self.requirements = requirements.load()
        self.known = {t.id: known.load([known.path_for(t.cls, t.spec)], self.requirements.keys()) for t in self.targets}
        self.real = RealInput.open(config.getoption("table"), config.getoption("linear"))
        self.bench = Bench(self.real.extend(open_golden()), open_recorded())
        self.schemes = {s for t in self.targets for s in t.cls.capabilities.schemes}
        directory = config.getoption("report")
        self.recorder = Recorder(Path(directory), os.environ.get("PYTEST_XDIST_WORKER")) if directory else None

    def concerns(self, case: Case) -> bool:
        """Whether any target of the run has the case's quantization scheme: others' schemes are no gap in coverage."""
        return all(kind != "scheme" or name in self.schemes for kind, _, name in (n.partition(":") for n in case.needs))


RUN = pytest.StashKey[Run]()
TALLY = pytest.StashKey[Tally]()
ASSAY = pytest.StashKey[Assay]()
STARTED = pytest.StashKey[float]()


def _wants_suites(config: pytest.Config) -> bool:
    """Whether any argument lies in, or above, suites/; the tests of the harness need no targets."""
    paths = [Path(config.invocation_params.dir, a.partition("::")[0]).resolve() for a in config.args]
    return any(p == SUITES or SUITES in p.parents or p in SUITES.parents for p in paths)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(id, cases): the requirement a test asks about, and its cases")
    config.addinivalue_line("markers", "xdist_group(name): cases of one target run in one worker of pytest-xdist")
    if not _wants_suites(config):
        return
    try:
        config.stash[RUN] = Run(config)
    except BAD_INPUT as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[TALLY] = Tally()


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(RUN, None):
        run.bench.close()
        try:
            if run.recorder:
                run.recorder.close()
        except RecorderError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --table or --linear only the suite on real input is collected, without them every other."""
    run = config.stash.get(RUN, None)
    if run is None or collection_path.parent != SUITES or not collection_path.name.startswith("test_"):
        return None
    return (collection_path.name == "test_real_input.py") != bool(run.real) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("requirement")
    if marker is None:
        return
    identifier, cases = marker.args
    run = metafunc.config.stash[RUN]
    if identifier not in run.requirements:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} names {identifier!r}, which requirements.toml lacks")
    requirement = run.requirements[identifier]
    chosen = [case for case in run.real.cases(cases) if run.concerns(case)]
    run.unmarked[identifier] += sum(not c.marks for c in chosen)
    assays = [
        pytest.param((t, c, requirement), id=f"{t.id}-{c.id}", marks=_marks(t, c)) for t in run.targets for c in chosen
    ]
    metafunc.parametrize("assay", assays, indirect=True)


def _marks(target: Target, case: Case) -> list[pytest.MarkDecorator]:
    """The case's own markers, and one group per target for pytest-xdist, so that each imports one framework."""
    return [pytest.mark.xdist_group(target.id), *(getattr(pytest.mark, name) for name in case.marks)]


def _identifier(item: pytest.Item) -> str:
    """The node id without the group that pytest-xdist appends."""
    return item.nodeid[: item.nodeid.rindex("]") + 1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the workers that hazardous cases will need, while the main process imports its frameworks."""
    run = config.stash.get(RUN, None)
    if run:  # a test without cases in this run leaves pytest's placeholder
        items[:] = [item for item in items if isinstance(_parameters(item), tuple | None)]
    if run is None or config.option.collectonly or hasattr(config, "workerinput"):
        return
    wanted = {c[0].id: c[0] for c in (_parameters(i) for i in items) if c and c[1].hazard and not c[0].unavailable}
    for target in wanted.values():
        run.bench.worker(target).prefetch()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take thousands of collected items out of the garbage collector's sight: frameworks make it run often."""
    gc.collect()
    gc.freeze()


def _parameters(item: pytest.Item) -> Any:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("assay") if callspec else None


@pytest.fixture
def assay(request: pytest.FixtureRequest) -> Assay:
    target, case, requirement = request.param
    made = Assay(target, case, requirement, request.config.stash[RUN].bench)
    request.node.stash[ASSAY] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    run, parameters = item.config.stash.get(RUN, None), _parameters(item)
    if run and run.recorder and parameters:
        _record_or_exit(run.recorder.start, _identifier(item))
    return (yield)


def _record_or_exit(write: Callable[..., None], content: Any) -> None:
    """A report that can no longer be written ends the run: nobody would see what is missing from it."""
    try:
        write(content)
    except RecorderError as error:
        pytest.exit(f"error: {error}", returncode=1)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[Any]:
    """Ask nothing of a target that is not there, or that declares that it cannot answer."""
    made = pyfuncitem.stash.get(ASSAY, None)
    pyfuncitem.stash[STARTED] = time.perf_counter()
    if made is None or not (made.target.unavailable or made.unmet_need()):
        return (yield)
    raise NotAsked


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    report = yield
    made = item.stash.get(ASSAY, None)
    if made is None or (report.when != "call" and report.passed):
        return report
    run = item.config.stash[RUN]
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, GoldenError):
        pytest.exit(f"error: {error}", returncode=1)
    judgement, seen = verdict_of(made, error, run.known[made.target.id], bootstrap=made.target.id in run.bootstrap)
    record = _record(run, _identifier(item), made, judgement, seen)
    record["duration"] = round(time.perf_counter() - item.stash.get(STARTED, call.start), 6)
    report.user_properties.append(("touchstone", record))
    if judgement.verdict.is_red:
        report.outcome = "failed"
        harness_fault = error is not None and not isinstance(error, Deviates)
        report.longrepr = explain(record) + (f"\n\n{report.longreprtext}" if harness_fault else "")
    elif judgement.verdict is Verdict.KNOWN:
        report.outcome, report.wasxfail = "skipped", judgement.note
    elif judgement.verdict in (Verdict.UNSUPPORTED, Verdict.NOT_RUN):
        where = (str(item.path), item.location[1] or 0, f"{judgement.verdict}: {judgement.note}")
        report.outcome, report.longrepr = "skipped", where
    if run.recorder:
        _record_or_exit(run.recorder.finish, record)
    return report


def _record(run: Run, identifier: str, made: Assay, judgement: Judgement, seen: Observation) -> dict[str, Any]:
    target, requirement = made.target, made.requirement
    spec = target.spec.partition("@")[0]
    real = run.real.options.get(made.case.arrays.get("weight", ""), ())
    marks = ("-m", " or ".join(made.case.marks)) if made.case.marks else ()
    rerun = ["pytest", identifier, "--adapter", f"{spec}@{target.device}", *real, *marks]
    return {
        "id": identifier,
        "target": target.id,
        "spec": spec,
        "versions": target.versions,
        "device": target.facts,
        "requirement": requirement.id,
        "cases": run.unmarked[requirement.id],
        "marked": bool(made.case.marks),
        "sentence": requirement.sentence,
        "params": dict(made.params),
        "verdict": str(judgement.verdict),
        "note": judgement.note,
        "missing": judgement.missing,
        "sometimes": judgement.sometimes,
        **asdict(seen),
        "rerun": shlex.join(rerun),
    }


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if tally := _tally():
        for name, record in report.user_properties:
            if name == "touchstone":
                tally.add(record)


_CONFIG: list[pytest.Config] = []


def _tally() -> Tally | None:
    return _CONFIG[0].stash.get(TALLY, None) if _CONFIG else None


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    _CONFIG[:] = [session.config]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run of cases without one framework case that was answered is never green, nor one with a stale deviation."""
    tally = _tally()
    run = session.config.stash.get(RUN, None)
    if tally is None or run is None or session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    frameworks = {t.id for t in run.targets if t.cls.is_framework}
    tally.empty = bool(tally.total) and not tally.answered(frameworks)
    tally.find_stale()
    if (tally.empty or tally.stale) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if tally := _tally():
        run = terminalreporter.config.stash[RUN]
        tally.write(terminalreporter, run.targets, terminalreporter.config.option)
