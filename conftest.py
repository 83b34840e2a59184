"""Options, the target x case matrix, and the recorder. What conforms is decided in suites/, not here."""

from __future__ import annotations

import gc
import os
import secrets
import shlex
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

import touchstone_options
from adapters import known, machine, registry
from adapters.isolation import Unanswered
from adapters.registry import Target
from golden.cases import generated
from golden.catalogue import Case
from golden.store import GoldenError, open_golden, open_recorded
from migration.check import Check
from migration.checkpoint import CheckpointError
from reports import records, render
from reports.failure import explain
from reports.progress import Progress
from reports.reading import ReportError
from reports.recorder import Recorder, RecorderError
from reports.summary import Tally
from suites import direct, distribution, identity, requirements
from suites.assay import Assay, Bench, Fuzz
from suites.migration import checkpoint
from suites.migration.checkpoint import CheckpointInput
from suites.observation import Deviates, NotAsked, Observation
from suites.real import RealInput, RealInputError
from suites.requirements import Requirement
from suites.verdict import Judgement, Verdict, verdict_of

BAD_INPUT = (
    CheckpointError,
    GoldenError,
    known.KnownError,
    RealInputError,
    RecorderError,
    registry.TargetError,
    requirements.RequirementError,
)
SUITES = Path(__file__).parent / "suites"
FEW = 200
"""Cases up to which pytest's own dots are shown."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The options, where the package that registers them is not installed."""
    if not pluginmanager.hasplugin(touchstone_options.NAME):
        touchstone_options.pytest_addoption(parser)


class Run:
    """The state of one pytest process: targets, golden stores, known deviations, recorder."""

    def __init__(self, config: pytest.Config) -> None:
        required = [n for n in os.environ.get("TOUCHSTONE_REQUIRE", "").split(",") if n]
        self.config = config
        self.checkpoints = CheckpointInput.open(
            *(config.getoption(name) for name in ("source", "target", "map", "shard", "source_adapter", "adapter")),
            tensors_only=config.getoption("tensors_only"),
        )
        self.targets = self.checkpoints.targets or registry.resolve(config.getoption("adapter"), required)
        self.unmarked: Counter[str] = Counter()
        """Cases without a marker per requirement and target, as collected."""
        self.planned: Counter[str] = Counter()
        self.deselected: Counter[str] = Counter()
        """Cases without a marker per target that -k, -m or a case id left out."""
        self.started = time.time()
        self.id = getattr(config, "workerinput", {}).get("touchstone_run") or uuid.uuid4().hex
        self.bootstrap = set(config.getoption("bootstrap"))
        if unknown := self.bootstrap - {t.id for t in self.targets}:
            raise registry.TargetError(f"--bootstrap {unknown.pop()}: not among this run's targets")
        self.requirements = requirements.load()
        self.known = {
            t.id: known.load(known.path_for(t.cls, t.spec), t.cls, self.requirements.keys(), [t.device])
            for t in self.targets
        }
        self.places = {t.id: t.place for t in self.targets}
        self.real = RealInput.open(config.getoption("table"), config.getoption("linear"))
        if self.real and self.checkpoints:
            raise CheckpointError("--source: a check of checkpoints goes without --table and --linear")
        kept = {Check: self.checkpoints.check, CheckpointInput: self.checkpoints}
        self.bench = Bench(
            self.real.extend(open_golden()),
            open_recorded(),
            kept=kept,
            known=self.known,
            fuzz=_fuzz(config),
            targets=self.targets,
            large=config.getoption("large"),
            isolated=not (config.getoption("in_process") or config.getoption("usepdb") or config.getoption("trace")),
            shows_output=config.getoption("capture") == "no",
            time_limit=_time_limit(config),
        )
        self.schemes = {s for t in self.targets for s in t.cls.capabilities.schemes}
        directory = config.getoption("report")
        process = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self.recorded = {
            t.id: msgspec.convert({**t.describe(), "bootstrap": t.id in self.bootstrap}, records.Target)
            for t in self.targets
        }
        self.recorder = Recorder(Path(directory), process) if directory and not config.option.collectonly else None
        self.ended = False

    def asked(self, identifier: str, cases: str | Sequence[Case]) -> tuple[list[Target], list[Case]]:
        """Targets, and the cases that each is asked: a test's own, or those of the user's input that it names."""
        if isinstance(cases, str) and cases in checkpoint.KINDS:
            targets = [t for t in self.targets if self.checkpoints.asks(t, cases)]
            return targets, self.checkpoints.cases(identifier, cases)
        return self.targets, [case for case in self.real.cases(cases) if self.concerns(case)]

    def golden_cases(self) -> Iterator[tuple[Target, Case, Requirement]]:
        """Every target with each case that the suites have stored."""
        for question in direct.questions():
            yield from ((t, c, question.requirement) for c in question.cases for t in self.targets)

    def collects(self, path: Path) -> bool:
        """Whether the tests in a file of suites/ belong to this run: those on the user's input need it."""
        if self.checkpoints:
            return path.name in checkpoint.MODULES
        return (path.name == "test_real_input.py") == bool(self.real) and path.name not in checkpoint.MODULES

    def concerns(self, case: Case) -> bool:
        """Whether any target of the run has the case's quantization scheme: others' schemes are no gap in coverage."""
        return all(kind != "scheme" or name in self.schemes for kind, _, name in (n.partition(":") for n in case.needs))


def _fuzz(config: pytest.Config) -> Fuzz:
    """What the options say of generated cases; parallel workers take the seed that their run drew. UsageError."""
    given, examples = config.getoption("fuzz_seed"), config.getoption("fuzz_examples")
    given = getattr(config, "workerinput", {}).get("touchstone_seed", given)
    if given != "fresh" and not str(given).isdecimal():
        raise pytest.UsageError(f"--fuzz-seed {given}: give a number, or fresh")
    if examples < 1:
        raise pytest.UsageError(f"--fuzz-examples {examples}: give at least 1")
    seed = secrets.randbits(32) if given == "fresh" else int(given)
    return Fuzz(examples, seed, config.getoption("fuzz_shrink"))


def _time_limit(config: pytest.Config) -> float:
    limit: float = config.getoption("time_limit")
    if not limit > 0:
        raise pytest.UsageError(f"--time-limit {limit:g}: give seconds, more than 0")
    return limit


RUN = pytest.StashKey[Run]()
TALLY = pytest.StashKey[Tally]()
ASSAY = pytest.StashKey[Assay]()
STARTED = pytest.StashKey[float]()
PROGRESS = pytest.StashKey[Progress]()
REMARK = pytest.StashKey[str]()
"""What the header says of how the run is spread."""


def _wants_suites(config: pytest.Config) -> bool:
    """Whether any argument lies in, or above, suites/; the tests of the harness need no targets."""
    paths = [Path(config.invocation_params.dir, a.partition("::")[0]).resolve() for a in config.args]
    return any(p == SUITES or SUITES in p.parents or p in SUITES.parents for p in paths)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(id, cases): the requirement a test asks about, and its cases")
    if not _wants_suites(config):
        return
    try:
        config.stash[RUN] = Run(config)
    except BAD_INPUT as error:
        raise pytest.UsageError(str(error)) from error
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        # This process collects nothing, and an error in one that does would not reach the user as a line.
        _refuse_clashes(config.stash[RUN], config.stash[RUN].golden_cases())
    config.stash[TALLY] = Tally()
    if getattr(config.option, "maxworkerrestart", "") is None:
        # A worker that dies ends the run: pytest-xdist 3.8.0 may wait for ever for the one that takes its place
        # (https://github.com/pytest-dev/pytest-xdist/issues/1323).
        config.option.maxworkerrestart = "0"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Before pytest-xdist reads its options."""
    config.stash[REMARK] = distribution.spread(config, SUITES)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    run = config.stash.get(RUN, None)
    if run is None or run.checkpoints or config.option.dist not in ("load", "loadgroup"):
        return None
    return distribution.scheduler(config, log, [t.id for t in run.targets])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which targets run, on which devices, and what is missing."""
    run = config.stash.get(RUN, None)
    if run is None:
        return []
    here = [f"target {t.id}: {t.facts.get('name', t.device)}; {_versions(t)}" for t in run.targets if not t.unavailable]
    missing = [f"target {t.cls.name}: not run, {t.unavailable}" for t in run.targets if t.unavailable]
    return [*here, *missing, *filter(None, [config.stash.get(REMARK, "")])]


def _versions(target: Target) -> str:
    return ", ".join(f"{name} {version}" for name, version in target.versions.items())


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(RUN, None):
        run.bench.close()
        is_main = run.recorder is not None and run.recorder.process == "main"
        run.checkpoints.close(run.recorder.folder if run.recorder and is_main else None, finished=run.ended)
        try:
            if run.recorder:
                run.recorder.close()
                if run.ended and run.recorder.process == "main":
                    render.render(run.recorder.folder)
        except (RecorderError, ReportError) as error:
            raise pytest.UsageError(str(error)) from error


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    run = config.stash.get(RUN, None)
    if run is None or SUITES not in collection_path.parents or not collection_path.name.startswith("test_"):
        return None
    return not run.collects(collection_path) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("requirement")
    if marker is None:
        return
    identifier, cases = marker.args
    run = metafunc.config.stash[RUN]
    if identifier not in run.requirements:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} names {identifier!r}, which requirements.toml lacks")
    requirement = run.requirements[identifier]
    targets, chosen = run.asked(identifier, cases)
    run.unmarked[identifier] += sum(not c.marks for c in chosen)
    assays = [
        pytest.param((t, c, requirement), id=f"{t.id}-{c.id}", marks=[getattr(pytest.mark, m) for m in c.marks])
        for t in targets
        for c in chosen
    ]
    metafunc.parametrize("assay", assays, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the placeholder that pytest leaves for a test without cases in this run; refuse entries that clash."""
    if run := config.stash.get(RUN, None):
        items[:] = [item for item in items if isinstance(_parameters(item), tuple | None)]
        _refuse_clashes(run, filter(None, map(_parameters, items)))


def _refuse_clashes(run: Run, collected: Iterable[tuple[Target, Case, Requirement]]) -> None:
    """Raises UsageError where two entries are equally narrow for one of the cases."""
    for target, case, requirement in collected:
        try:
            for find in (run.known[target.id].deviation, run.known[target.id].pin):
                find(requirement.id, run.places[target.id], target.version, case.params)
        except known.KnownError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        run, parameters = item.config.stash.get(RUN, None), _parameters(item)
        if run and isinstance(parameters, tuple) and not parameters[1].marks:
            run.deselected[parameters[0].id] += 1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take thousands of collected items out of the garbage collector's sight: frameworks make it run often."""
    gc.collect()
    gc.freeze()
    if run := session.config.stash.get(RUN, None):
        run.planned.update(c[0].id for c in map(_parameters, session.items) if c)
        _start_check(session, run)
        _show_progress(session.config, run.planned)
        if run.recorder:
            _record_or_exit(run.recorder.write, _run_line(run))


def _start_check(session: pytest.Session, run: Run) -> None:
    """Read the checkpoints while tests wait for their answers; parallel workers read what they are asked."""
    config = session.config
    hands_out = config.pluginmanager.hasplugin("dsession") and not hasattr(config, "workerinput")
    if config.option.collectonly or hands_out:
        return
    tensors = {(c[2].id, str(c[1].params.get("tensor"))) for c in map(_parameters, session.items) if c}
    folder, process = (run.recorder.folder, run.recorder.process) if run.recorder else (None, "main")
    try:
        run.checkpoints.start(tensors, folder, process, alone=not hasattr(config, "workerinput"))
    except CheckpointError as error:
        pytest.exit(f"error: {error}", returncode=1)


def _show_progress(config: pytest.Config, planned: Mapping[str, int]) -> None:
    """A line per target instead of dots, unless ``-v`` or ``-q`` asks for what pytest shows."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None or config.option.verbose or config.option.collectonly or hasattr(config, "workerinput"):
        return
    if PROGRESS not in config.stash and sum(planned.values()) > FEW:
        terminal.showfspath = False
        config.stash[PROGRESS] = Progress(planned, sys.stdout, terminal=sys.stdout.isatty())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    if run := node.config.stash.get(RUN, None):
        targets = [t.id for t in run.targets]
        cases = [i for i in ids if SUITES.name in i.partition("::")[0].split("/")]
        found = Counter(distribution.target_of(distribution.scope_of(i, targets)) for i in cases)
        _show_progress(node.config, {target: count for target, count in found.items() if target})


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """Nothing is written for a case that the progress counts."""
    if PROGRESS not in config.stash or report.when != "call" or report.failed:
        return None
    if not any(name == "touchstone" for name, _ in report.user_properties):
        return None
    return ("xfailed" if hasattr(report, "wasxfail") else report.outcome), "", ""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """What the parallel workers of one run share."""
    if run := node.config.stash.get(RUN, None):
        node.workerinput["touchstone_run"] = run.id
        node.workerinput["touchstone_seed"] = str(run.bench.fuzz.seed)


def _run_line(run: Run) -> records.RunLine:
    """Who runs what, where and with which versions; the first line of every process."""
    return records.RunLine(
        schema=records.SCHEMA,
        run=run.id,
        process=run.recorder.process if run.recorder else "main",
        started=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        command=["pytest", *map(str, run.config.invocation_params.args)],
        suite_hash=identity.suite_hash(),
        golden_hash=identity.golden_hash(),
        machine=msgspec.convert(machine.describe(), records.Machine),
        packages={d.name: d.version for d in reversed([*metadata.distributions()])},  # the first on the path counts
        targets=run.recorded,
        requirements={
            r.id: records.Requirement(
                group=r.group,
                level=r.level,
                sentence=r.sentence,
                source=r.source,
                difference=r.difference,
                advice=r.advice,
                cases=run.unmarked[r.id],
            )
            for r in run.requirements.values()
            if run.unmarked[r.id] or not run.checkpoints
        },
        share=run.checkpoints.share,
        planned=dict(run.planned),
        deselected=dict(run.deselected),
    )


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
        target, case, requirement = parameters
        line = records.StartLine(
            schema=records.SCHEMA,
            run=run.id,
            id=item.nodeid,
            target=target.id,
            requirement=requirement.id,
            params=dict(case.params),
            rerun=_rerun(run, item.nodeid, target, case),
        )
        _record_or_exit(run.recorder.write, line)
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
    if made is None or made.asked():
        return (yield)
    raise NotAsked


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    if call.excinfo and isinstance(call.excinfo.value, Deviates | NotAsked | Unanswered):
        # What was observed says it all; to spell out a traceback takes longer than most cases.
        call.excinfo.traceback = call.excinfo.traceback.filter(lambda entry: False)
    report = yield
    made = item.stash.get(ASSAY, None)
    if made is None or (report.when != "call" and report.passed):
        return report
    run = item.config.stash[RUN]
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, GoldenError):
        pytest.exit(f"error: {error}", returncode=1)
    judgement, seen = verdict_of(made, error, run.known[made.target.id], bootstrap=made.target.id in run.bootstrap)
    duration = round(time.perf_counter() - item.stash.get(STARTED, call.start), 6)
    record = _record(run, item.nodeid, made, judgement, seen, duration)
    report.user_properties.append(("touchstone", msgspec.json.encode(record).decode()))
    if judgement.verdict.is_red:
        report.outcome = "failed"
        harness_fault = error is not None and not isinstance(error, Deviates | Unanswered)
        report.longrepr = explain(record, made.requirement.sentence) + (
            f"\n\n{report.longreprtext}" if harness_fault else ""
        )
    elif judgement.verdict is Verdict.KNOWN:
        report.outcome, report.wasxfail = "skipped", judgement.note
    elif judgement.verdict in (Verdict.UNSUPPORTED, Verdict.NOT_RUN):
        where = (str(item.path), item.location[1] or 0, f"{judgement.verdict}: {judgement.note}")
        report.outcome, report.longrepr = "skipped", where
    if run.recorder:
        _record_or_exit(run.recorder.write, record)
    return report


def _rerun(run: Run, identifier: str, target: Target, case: Case) -> str:
    """The command that runs this case alone."""
    if run.checkpoints.check:
        framework = () if run.checkpoints.asks(target, checkpoint.TENSORS) else ("--adapter", target.selector)
        return shlex.join(["pytest", identifier, *run.checkpoints.options, *framework])
    real = run.real.options.get(case.arrays.get("weight", ""), ())
    marks = ("-m", " or ".join(case.marks)) if case.marks else ()
    if generated.MARK in case.marks:
        fuzz = run.bench.fuzz
        marks = (*marks, "--fuzz-seed", str(fuzz.seed), "--fuzz-examples", str(fuzz.examples))
    return shlex.join(["pytest", identifier, "--adapter", target.selector, *real, *marks])


def _record(
    run: Run, identifier: str, made: Assay, judgement: Judgement, seen: Observation, duration: float
) -> records.EndLine:
    target, requirement, entry = made.target, made.requirement, judgement.entry
    recorded = run.recorded[target.id]
    facts = asdict(seen)
    for name in ("headroom", "error", "bound"):
        facts[name] = records.number(facts[name])
    return records.EndLine(
        schema=records.SCHEMA,
        run=run.id,
        id=identifier,
        target=target.id,
        spec=recorded.spec,
        versions=recorded.versions,
        device=recorded.device,
        machine=machine.describe()["id"],
        suite_hash=identity.suite_hash(),
        golden_hash=identity.golden_hash(),
        requirement=requirement.id,
        params=dict(made.params),
        verdict=str(judgement.verdict),  # type: ignore[arg-type]
        rerun=_rerun(run, identifier, target, made.case),
        duration=duration,
        cases=run.unmarked[requirement.id],
        marked=bool(made.case.marks),
        note=judgement.note,
        missing=judgement.missing,
        sometimes=judgement.sometimes,
        assumed=judgement.assumed,
        unseen=judgement.unseen,
        upstream=getattr(entry, "upstream", "") or (made.case.upstream if judgement.verdict.is_red else ""),
        **{name: getattr(entry, name, "") for name in ("advice", "reproduction", "page")},
        **facts,
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    tally = _tally()
    if tally is None or report.when != "call" or hasattr(_CONFIG[0], "workerinput"):
        return
    for name, text in report.user_properties:
        if name == "touchstone":
            record = msgspec.json.decode(text, type=records.EndLine)
            tally.add(record)
            if progress := _CONFIG[0].stash.get(PROGRESS, None):
                progress.add(record.target)


_CONFIG: list[pytest.Config] = []


def _tally() -> Tally | None:
    return _CONFIG[0].stash.get(TALLY, None) if _CONFIG else None


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    _CONFIG[:] = [session.config]
    run = session.config.stash.get(RUN, None)
    if run and run.recorder and session.config.pluginmanager.hasplugin("dsession"):
        _record_or_exit(run.recorder.write, _run_line(run))  # this process hands the cases to others


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run of cases without one framework case that was answered is never green, nor one with a stale deviation."""
    if progress := session.config.stash.get(PROGRESS, None):
        progress.close()
    tally = _tally()
    run = session.config.stash.get(RUN, None)
    if tally is None or run is None or session.config.option.collectonly:
        return
    if not hasattr(session.config, "workerinput"):
        frameworks = {t.id for t in run.targets if t.cls.is_framework}
        tally.empty = bool(tally.total) and not tally.answered(frameworks)
        tally.find_stale()
        tally.bootstrap = bool(run.bootstrap)
        if (tally.empty or tally.stale or tally.unconfirmed or tally.bootstrap) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if run.recorder:
        line = records.FinishLine(
            schema=records.SCHEMA,
            run=run.id,
            process=run.recorder.process,
            exit_status=int(session.exitstatus),
            duration=round(time.time() - run.started, 3),
        )
        _record_or_exit(run.recorder.write, line)
        run.ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    tally = _tally()
    if tally and exitstatus != pytest.ExitCode.USAGE_ERROR:
        run = terminalreporter.config.stash[RUN]
        if any(
            r.marked and r.params.get("operands") == "generated" for found in tally.by_target.values() for r in found
        ):
            fuzz = run.bench.fuzz
            drawn = f"{fuzz.examples} examples each, of quantized layers a quarter, of --fuzz-seed {fuzz.seed}"
            terminalreporter.write_line(f"generated cases: {drawn}", bold=True)
        tally.write(terminalreporter, run.targets, terminalreporter.config.option)
