"""Do the frameworks' own layers answer alike over the source's and the target's weights?"""

from __future__ import annotations

from touchstone.migration import behaviour
from touchstone.migration.check import Check
from touchstone.suites.assay import Assay
from touchstone.suites.migration.checkpoint import BEHAVIOUR, CheckpointInput
from touchstone.suites.requirements import requirement


def compare(assay: Assay, method: str) -> None:
    """The target's layer on the target framework, against the source's on the source's, within both their bounds."""
    given: CheckpointInput = assay.bench.kept[CheckpointInput]
    check: Check = assay.bench.kept[Check]
    assert given.source_target is not None
    sample = behaviour.load(check, assay.params["tensor"])
    want = behaviour.answer(assay.bench.adapter(given.source_target), sample, "source", method)
    got = behaviour.answer(assay.adapter, sample, "target", method)
    assay.within(got, want, behaviour.bound(sample, method), sample.target_dtype)


@requirement("MIG-LOOKUP-1", BEHAVIOUR)
def test_lookup(assay: Assay) -> None:
    compare(assay, "lookup")


@requirement("MIG-LINEAR-1", BEHAVIOUR)
def test_linear(assay: Assay) -> None:
    compare(assay, "linear")


@requirement("MIG-LOGITS-1", BEHAVIOUR)
def test_logits_of_the_tied_head(assay: Assay) -> None:
    compare(assay, "logits")
