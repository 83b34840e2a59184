"""What is asked of two checkpoints, by `touchstone check` and by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from touchstone.migration import behaviour, findings
from touchstone.migration.check import Check
from touchstone.migration.inputs import CheckpointInput
from touchstone.suites.assay import Assay
from touchstone.verdict.observation import Deviates, Observation


def tensor(assay: Assay) -> None:
    """Is the tensor that the case names what its source says? Asks no framework."""
    check: Check = assay.bench.kept[Check]
    question = check.question(assay.requirement.id, assay.params["tensor"])
    seen = Observation(**asdict(check.finding(question)), golden=check.where(question))
    assay.observed = seen
    if not seen.conforms:
        raise Deviates(seen)


def layers(assay: Assay) -> None:
    """The target's layer on the target framework, against the source's on the source's, within both their bounds."""
    given: CheckpointInput = assay.bench.kept[CheckpointInput]
    check: Check = assay.bench.kept[Check]
    assert given.source_target is not None
    method = behaviour.METHODS[assay.requirement.id]
    sample = behaviour.load(check, assay.params["tensor"])
    want = behaviour.answer(assay.bench.adapter(given.source_target), sample, "source", method)
    got = behaviour.answer(assay.adapter, sample, "target", method)
    assay.within(got, want, behaviour.bound(sample, method), sample.target_dtype)


def ask(assay: Assay) -> None:
    """The question of the assay's requirement."""
    questions: dict[str, Callable[[Assay], None]] = {
        **dict.fromkeys(findings.REQUIREMENTS, tensor),
        **dict.fromkeys(behaviour.METHODS, layers),
    }
    questions[assay.requirement.id](assay)
