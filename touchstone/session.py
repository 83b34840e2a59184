"""One run of the suites in one pytest process: what is asked of which target, and what becomes of each answer.

What conforms is decided in the suites, not here.
"""

from __future__ import annotations

import gc
import importlib
import os
import secrets
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from touchstone import distribution, lines, rerun
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.isolation.outcome import Unanswered
from touchstone.errors import InputError
from touchstone.golden.cases import generated
from touchstone.golden.catalogue import Case
from touchstone.golden.store import GoldenError, open_golden, open_recorded
from touchstone.migration import inputs
from touchstone.migration.check import Check
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.inputs import CheckpointInput
from touchstone.places import IN_CHECKOUT, SUITES
from touchstone.plugin import MARKERS
from touchstone.reports import records, render
from touchstone.reports.failure import explain
from touchstone.reports.progress import Progress
from touchstone.reports.recorder import Recorder, RecorderError
from touchstone.reports.summary import Tally
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Assay, Bench, Fuzz
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.real import RealInput
from touchstone.verdict.observation import Deviates, NotAsked
from touchstone.verdict.requirement import Requirement
from touchstone.verdict.rule import Verdict

FEW = 200
"""Cases up to which pytest's own dots are shown."""


SLOW = ("inductor", "wide")
"""Markers of cases that run where `-m` chooses them alone."""


class Session:
    """Targets, golden stores, expectations and the recorder of a run, and pytest's hooks that use them."""

    def __init__(self, config: pytest.Config) -> None:
        """Raises InputError where an option, a target or a file of the project cannot be used."""
        required = [n for n in os.environ.get("TOUCHSTONE_REQUIRE", "").split(",") if n]
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        """Whether another process hands the cases to this one."""
        self.hands_out = bool(getattr(config.option, "numprocesses", None)) and not self.is_worker
        given: Mapping[str, str] = getattr(config, "workerinput", {})
        self.checkpoints = CheckpointInput.open(
            *(config.getoption(name) for name in ("source", "target", "map", "shard", "source_adapter", "adapter")),
            tensors_only=config.getoption("tensors_only"),
            key=config.getoption("key"),
            lora=config.getoption("lora"),
        )
        self.targets = self.checkpoints.targets or registry.resolve(config.getoption("adapter"), required)
        self.unmarked: Counter[str] = Counter()
        """Cases without a marker per requirement and target, as collected."""
        self.planned: Counter[str] = Counter()
        self.deselected: Counter[str] = Counter()
        """Cases without a marker per target that -k, -m or a case id left out."""
        self.started = time.time()
        self.id = given.get("touchstone_run") or uuid.uuid4().hex
        self.command = ["pytest", *map(str, config.invocation_params.args)]
        self.bootstrap = set(config.getoption("bootstrap"))
        if unknown := self.bootstrap - {t.id for t in self.targets}:
            raise registry.TargetError(f"--bootstrap {unknown.pop()}: not among this run's targets")
        self.requirements = requirements.load()
        self.known = known.of_targets(self.targets, self.requirements.keys())
        self.real = RealInput.open(config.getoption("table"), config.getoption("linear"))
        if self.real and self.checkpoints:
            raise CheckpointError("--source: a check of checkpoints goes without --table and --linear")
        self.bench = Bench(
            self.real.extend(open_golden()),
            open_recorded(),
            kept={Check: self.checkpoints.check, CheckpointInput: self.checkpoints},
            known=self.known,
            fuzz=_fuzz(config, given.get("touchstone_seed")),
            targets=self.targets,
            large=config.getoption("large"),
            isolated=not (config.getoption("in_process") or config.getoption("usepdb") or config.getoption("trace")),
            shows_output=config.getoption("capture") == "no",
            time_limit=_time_limit(config),
        )
        self.schemes = {s for t in self.targets for s in t.cls.capabilities.schemes}
        self.recorded = {t.id: lines.target(t, bootstrap=t.id in self.bootstrap) for t in self.targets}
        directory = config.getoption("report")
        process = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self.recorder = Recorder(Path(directory), process) if directory and not config.option.collectonly else None
        self.tally = Tally()
        self.progress: Progress | None = None
        self.ended = False
        self._assay: Assay | None = None
        """Of the test that runs."""
        self._asked_at = 0.0

    @classmethod
    def of(cls, config: pytest.Config) -> Session:
        """The session of a run; `pytest.UsageError` where its input cannot be used."""
        try:
            made = cls(config)
        except InputError as error:
            raise pytest.UsageError(str(error)) from error
        for marker in MARKERS:
            config.addinivalue_line("markers", marker)
        if made.hands_out:
            # This process collects nothing, and an error in one that does would not reach the user as a line.
            made._refuse_clashes(made._stored_cases())
        if getattr(config.option, "maxworkerrestart", "") is None:
            # A worker that dies ends the run: pytest-xdist 3.8.0 may wait for ever for the one that takes its place
            # (https://github.com/pytest-dev/pytest-xdist/issues/1323).
            config.option.maxworkerrestart = "0"
        return made

    # What is collected

    @pytest.hookimpl
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        if SUITES not in collection_path.parents or not collection_path.name.startswith("test_"):
            return None
        return not self._collects(collection_path) or None

    def _collects(self, path: Path) -> bool:
        """Whether the tests in a file of suites/ belong to this run: those on the user's input need it."""
        if self.checkpoints:
            return path.name in inputs.MODULES
        return (path.name == "test_real_input.py") == bool(self.real) and path.name not in inputs.MODULES

    def pytest_pycollect_makemodule(self, module_path: Path) -> None:
        """In a checkout pytest names a file ``suites.test_x``: it is to find there what the package has loaded."""
        if not IN_CHECKOUT or SUITES not in module_path.parents:
            return
        parts = module_path.relative_to(SUITES.parent).with_suffix("").parts
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            sys.modules.setdefault(name, importlib.import_module(f"touchstone.{name}"))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        marker = metafunc.definition.get_closest_marker("requirement")
        if marker is None:
            return
        identifier, cases = marker.args
        if identifier not in self.requirements:
            raise pytest.UsageError(f"{metafunc.definition.nodeid} names {identifier!r}, which requirements.toml lacks")
        requirement = self.requirements[identifier]
        targets, chosen = self._asked(identifier, cases)
        self.unmarked[identifier] += sum(not c.marks for c in chosen)
        assays = [
            pytest.param((t, c, requirement), id=f"{t.id}-{c.id}", marks=[getattr(pytest.mark, m) for m in c.marks])
            for t in targets
            for c in chosen
        ]
        metafunc.parametrize("assay", assays, indirect=True)

    def _asked(self, identifier: str, cases: str | Sequence[Case]) -> tuple[Sequence[Target], list[Case]]:
        """Targets, and the cases that each is asked: a test's own, or those of the user's input that it names."""
        if isinstance(cases, str) and cases in inputs.KINDS:
            targets = [t for t in self.targets if self.checkpoints.asks(t, cases)]
            return targets, self.checkpoints.cases(identifier, cases)
        return self.targets, [case for case in self.real.cases(cases) if self._concerns(case)]

    def _concerns(self, case: Case) -> bool:
        """Whether any target of the run has the case's quantization scheme: others' schemes are no gap in coverage."""
        return all(kind != "scheme" or name in self.schemes for kind, _, name in (n.partition(":") for n in case.needs))

    def _stored_cases(self) -> Iterator[tuple[Target, Case, Requirement]]:
        """Every target with each case that the suites have stored."""
        for question in direct.questions():
            yield from ((t, c, question.requirement) for c in question.cases for t in self.targets)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Drop pytest's placeholders, leave out what takes minutes unless ``-m`` chooses, and refuse clashing entries.

        pytest leaves a placeholder for a test without cases in this run.
        """
        items[:] = [item for item in items if isinstance(_parameters(item), tuple | None)]
        own = [item for item in items if _parameters(item)]
        for item in own:
            item.add_marker(pytest.mark.filterwarnings("default"))
        slow = [] if config.option.markexpr else [item for item in own if any(map(item.get_closest_marker, SLOW))]
        if slow:
            config.hook.pytest_deselected(items=slow)
            left_out = set(slow)
            items[:] = [item for item in items if item not in left_out]
        self._refuse_clashes(map(_parameters, own))

    def _refuse_clashes(self, collected: Iterable[tuple[Target, Case, Requirement]]) -> None:
        """Raises UsageError where two entries are equally narrow for one of the cases."""
        places = {t.id: t.place for t in self.targets}
        for target, case, requirement in collected:
            try:
                for find in (self.known[target.id].deviation, self.known[target.id].pin):
                    find(requirement.id, places[target.id], target.version, case.params)
            except InputError as error:
                raise pytest.UsageError(str(error)) from error

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for parameters in map(_parameters, items):
            if isinstance(parameters, tuple) and not parameters[1].marks:
                self.deselected[parameters[0].id] += 1

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take thousands of collected items out of the garbage collector's sight: frameworks make it run often."""
        gc.collect()
        gc.freeze()
        self.planned.update(c[0].id for c in map(_parameters, session.items) if c)
        self._start_check(session.items)
        self._show_progress(self.planned)
        if self.recorder:
            _record_or_exit(self.recorder.write, lines.run(self))

    def _start_check(self, items: Sequence[pytest.Item]) -> None:
        """Read the checkpoints while tests wait for their answers; parallel workers read what they are asked."""
        if self.config.option.collectonly or self.hands_out:
            return
        tensors = {(c[2].id, str(c[1].params.get("tensor"))) for c in map(_parameters, items) if c}
        folder, process = (self.recorder.folder, self.recorder.process) if self.recorder else (None, "main")
        try:
            self.checkpoints.start(tensors, folder, process, alone=not self.is_worker)
        except CheckpointError as error:
            pytest.exit(f"error: {error}", returncode=pytest.ExitCode.INTERRUPTED)

    # How the cases are spread over processes

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if self.checkpoints or config.option.dist not in ("load", "loadgroup"):
            return None
        return distribution.scheduler(config, log, [t.id for t in self.targets])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """What the parallel workers of one run share."""
        node.workerinput["touchstone_run"] = self.id
        node.workerinput["touchstone_seed"] = str(self.bench.fuzz.seed)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        targets = [t.id for t in self.targets]
        cases = [i for i in ids if SUITES.name in i.partition("::")[0].split("/")]
        found = Counter(distribution.target_of(distribution.scope_of(i, targets)) for i in cases)
        self._show_progress({target: count for target, count in found.items() if target})

    # What a waiting user sees

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        """Which targets run, on which devices, and what is missing."""
        here = [
            f"target {t.id}: {t.facts.get('name', t.device)}; {_versions(t)}" for t in self.targets if not t.unavailable
        ]
        missing = [f"target {t.cls.name}: not run, {t.unavailable}" for t in self.targets if t.unavailable]
        return [*here, *missing, *filter(None, [distribution.remark(config)])]

    def _show_progress(self, planned: Mapping[str, int]) -> None:
        """A line per target instead of dots, unless ``-v`` or ``-q`` asks for what pytest shows."""
        option, terminal = self.config.option, self.config.pluginmanager.getplugin("terminalreporter")
        if terminal is None or option.verbose or option.collectonly or self.is_worker:
            return
        if self.progress is None and sum(planned.values()) > FEW:
            terminal.showfspath = False
            self.progress = Progress(planned, sys.stdout, terminal=sys.stdout.isatty())

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Nothing is written for a case that the progress counts."""
        if self.progress is None or report.when != "call" or report.failed:
            return None
        if not any(name == "touchstone" for name, _ in report.user_properties):
            return None
        return ("xfailed" if hasattr(report, "wasxfail") else report.outcome), "", ""

    # One case

    def rerun(self, identifier: str, target: Target, case: Case) -> str:
        """The command that asks this case alone again, from any folder."""
        if self.checkpoints.check:
            return rerun.of_checkpoint(identifier, self.checkpoints, target)
        options = [*self.real.options.get(case.arrays.get("weight", ""), ())]
        options += ["-m", " or ".join(case.marks)] if case.marks else []
        if generated.MARK in case.marks:
            fuzz = self.bench.fuzz
            options += ["--fuzz-seed", str(fuzz.seed), "--fuzz-examples", str(fuzz.examples)]
        return rerun.command(identifier, options, target)

    @pytest.fixture
    def assay(self, request: pytest.FixtureRequest) -> Assay:
        target, case, requirement = request.param
        self._assay = Assay(target, case, requirement, self.bench)
        return self._assay

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._assay, parameters = None, _parameters(item)
        if self.recorder and parameters:
            _record_or_exit(self.recorder.write, lines.start(self, _identifier(item), *parameters))
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self) -> Generator[None, Any, Any]:
        """Ask nothing of a target that is not there, or that declares that it cannot answer."""
        self._asked_at = time.perf_counter()
        if self._assay is None or self._assay.asked():
            return (yield)
        raise NotAsked

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        if call.excinfo and isinstance(call.excinfo.value, Deviates | NotAsked | Unanswered):
            # What was observed says it all; to spell out a traceback takes longer than most cases.
            call.excinfo.traceback = call.excinfo.traceback.filter(lambda entry: False)
        report = yield
        made = self._assay
        if made is None or (report.when != "call" and report.passed):
            return report
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, GoldenError):
            pytest.exit(f"error: {error}", returncode=pytest.ExitCode.INTERRUPTED)
        judgement, seen = verdict_of(
            made, error, self.known[made.target.id], bootstrap=made.target.id in self.bootstrap
        )
        duration = round(time.perf_counter() - (self._asked_at or call.start), 6)
        record = lines.end(self, _identifier(item), made, judgement, seen, duration)
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
        if self.recorder:
            _record_or_exit(self.recorder.write, record)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or self.is_worker:
            return
        for name, text in report.user_properties:
            if name == "touchstone":
                record = msgspec.json.decode(str(text), type=records.EndLine)
                self.tally.add(record)
                if self.progress:
                    self.progress.add(record.target)

    # Beginning and end

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        if self.recorder and self.hands_out:
            _record_or_exit(self.recorder.write, lines.run(self))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """A run in which no framework answered a case is never green, nor one with a stale deviation."""
        if self.progress:
            self.progress.close()
        if self.config.option.collectonly:
            return
        if not self.is_worker:
            tally, frameworks = self.tally, {t.id for t in self.targets if t.cls.is_framework}
            tally.empty = bool(tally.total) and not tally.answered(frameworks)
            tally.find_stale()
            tally.bootstrap = bool(self.bootstrap)
            if (
                tally.empty or tally.stale or tally.unconfirmed or tally.bootstrap
            ) and exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.recorder:
            _record_or_exit(self.recorder.write, lines.finish(self, int(session.exitstatus)))
            self.ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        found = (r for of_target in self.tally.by_target.values() for r in of_target)
        if any(r.marked and r.params.get("operands") == "generated" for r in found):
            fuzz = self.bench.fuzz
            drawn = f"{fuzz.examples} examples each, of quantized layers a quarter, of --fuzz-seed {fuzz.seed}"
            terminalreporter.write_line(f"generated cases: {drawn}", bold=True)
        self.tally.write(terminalreporter, self.targets, self.config.option)

    def pytest_unconfigure(self) -> None:
        self.bench.close()
        is_main = self.recorder is not None and self.recorder.process == "main"
        self.checkpoints.close(self.recorder.folder if self.recorder and is_main else None, finished=self.ended)
        try:
            if self.recorder:
                self.recorder.close()
                if self.ended and is_main:
                    render.render(self.recorder.folder)
        except InputError as error:
            raise pytest.UsageError(str(error)) from error


def _fuzz(config: pytest.Config, drawn: str | None) -> Fuzz:
    """What the options say of generated cases; parallel workers take the seed that their run has drawn. UsageError."""
    given, examples = drawn or config.getoption("fuzz_seed"), config.getoption("fuzz_examples")
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


def _versions(target: Target) -> str:
    return ", ".join(f"{name} {version}" for name, version in target.versions.items())


def _identifier(item: pytest.Item) -> str:
    """A case's id from the suites' folder on, wherever pytest counts from: records of two runs are compared by it."""
    return f"{item.path.relative_to(SUITES.parent).as_posix()}::{item.nodeid.partition('::')[2]}"


def _parameters(item: pytest.Item) -> Any:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("assay") if callspec else None


def _record_or_exit(write: Callable[..., None], content: Any) -> None:
    """A report that can no longer be written ends the run: nobody would see what is missing from it."""
    try:
        write(content)
    except RecorderError as error:
        pytest.exit(f"error: {error}", returncode=pytest.ExitCode.INTERRUPTED)
