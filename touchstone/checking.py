"""A converted checkpoint against the one it was made from: every question answered, judged and recorded."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from touchstone import lines, rerun
from touchstone.adapters import known
from touchstone.adapters.discovery.registry import Target
from touchstone.golden.catalogue import Case
from touchstone.golden.store import open_golden
from touchstone.migration import behaviour, findings
from touchstone.migration.check import Check, Listener
from touchstone.migration.inputs import BEHAVIOUR, TENSORS, CheckpointInput
from touchstone.reports import records, render
from touchstone.reports.recorder import Recorder
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.direct import Question
from touchstone.suites.migration import asking
from touchstone.verdict.requirement import Requirement

_TESTS = {
    findings.PAIRED: "test_checkpoint.py::test_every_tensor_has_a_partner",
    findings.VALUES: "test_checkpoint.py::test_values",
    findings.QUANTIZED: "test_checkpoint.py::test_quantized_values",
    findings.HEAD: "test_checkpoint.py::test_tied_head",
    findings.CONFIGURED: "test_checkpoint.py::test_configuration",
    behaviour.LOOKUP: "test_checkpoint_behaviour.py::test_lookup",
    behaviour.LINEAR: "test_checkpoint_behaviour.py::test_linear",
    behaviour.LOGITS: "test_checkpoint_behaviour.py::test_logits_of_the_tied_head",
}
"""Requirement -> the test that asks it in ``pytest suites/migration``: a case has one id, whoever asks it."""

Asked = tuple[Target, Case, Requirement]


@dataclass
class CheckRun:
    """One run of a check: what its lines share (`lines.Run`), and its cases in the order in which they are asked."""

    checkpoints: CheckpointInput
    command: Sequence[str]
    recorder: Recorder | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.time)
    requirements: dict[str, Requirement] = field(default_factory=requirements.load)
    unmarked: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    deselected: Counter[str] = field(default_factory=Counter)
    cases: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.targets = self.checkpoints.targets
        self.recorded = {t.id: lines.target(t, bootstrap=False) for t in self.targets}
        self.known = known.of_targets(self.targets, self.requirements.keys())
        for kind, names in ((TENSORS, findings.REQUIREMENTS), (BEHAVIOUR, behaviour.METHODS)):
            for name in names:
                found = self.checkpoints.cases(name, kind)
                self.unmarked[name] += len(found)
                asked = [t for t in self.targets if self.checkpoints.asks(t, kind)]
                self.cases += [(t, case, self.requirements[name]) for t in asked for case in found]
        self.planned.update(t.id for t, _, _ in self.cases)

    def rerun(self, identifier: str, target: Target, case: Case) -> str:
        """The command that asks this case alone again, from any folder."""
        return rerun.of_checkpoint(identifier, self.checkpoints, target)


def check(
    checkpoints: CheckpointInput, command: Sequence[str], report: Path | None = None, listener: Listener | None = None
) -> Iterator[records.EndLine]:
    """The record of every case, as its answer is found.

    command: what the records say was run. report: a folder for records and the page made of them; a check of the same
    files that was interrupted there goes on. listener: who is told how many bytes are done. Raises InputError.

    >>> given = CheckpointInput.open("model.safetensors", "mlx_model", tensors_only=True)  # doctest: +SKIP
    >>> [r.params["tensor"] for r in check(given, ["check"]) if r.verdict.is_red]  # doctest: +SKIP
    ['layers.0.mlp.up_proj.weight']
    """
    assert checkpoints.check
    run = CheckRun(checkpoints, command)
    bench = Bench(
        open_golden(),
        [],
        kept={Check: checkpoints.check, CheckpointInput: checkpoints},
        known=run.known,
        targets=run.targets,
        isolated=True,
    )
    run.recorder = Recorder(report) if report else None
    finished = False
    try:
        if run.recorder:
            run.recorder.write(lines.run(run))
        asked = {(requirement.id, str(case.params["tensor"])) for _, case, requirement in run.cases}
        checkpoints.start(asked, report, "main", alone=True, listener=listener)
        red = False
        for case in run.cases:
            record = _answer(run, bench, *case)
            red |= record.verdict.is_red
            yield record
        if run.recorder:
            run.recorder.write(lines.finish(run, int(red)))
        finished = True
    finally:
        bench.close()
        checkpoints.close(report, finished=finished)
        if run.recorder:
            run.recorder.close()
    if report:
        render.render(report)


def _answer(run: CheckRun, bench: Bench, target: Target, case: Case, requirement: Requirement) -> records.EndLine:
    identifier = f"suites/migration/{_TESTS[requirement.id]}[{_escaped(f'{target.id}-{case.id}')}]"
    if run.recorder:
        run.recorder.write(lines.start(run, identifier, target, case, requirement))
    begun = time.perf_counter()
    assay, error = direct.run(Question(asking.ask, requirement, (case,)), target, case, bench)
    judgement, seen = verdict_of(assay, error, run.known[target.id], bootstrap=False)
    record = lines.end(run, identifier, assay, judgement, seen, round(time.perf_counter() - begun, 6))
    if run.recorder:
        run.recorder.write(record)
    return record


def _escaped(name: str) -> str:
    """As pytest writes the id of a case."""
    return name.encode("unicode_escape").decode("ascii")
