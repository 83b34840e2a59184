"""Is every tensor of a converted checkpoint what its source says? (``--source A --target B``)"""

from __future__ import annotations

from dataclasses import asdict

from touchstone.migration.check import Check
from touchstone.suites.assay import Assay
from touchstone.suites.migration.checkpoint import TENSORS
from touchstone.suites.requirements import requirement

from touchstone.verdict.observation import Deviates, Observation


def conclude(assay: Assay) -> None:
    """Take over the verdict on the tensor that the case names."""
    check: Check = assay.bench.kept[Check]
    question = check.question(assay.requirement.id, assay.params["tensor"])
    seen = Observation(**asdict(check.finding(question)), golden=check.where(question))
    assay.observed = seen
    if not seen.conforms:
        raise Deviates(seen)


@requirement("MIG-PAIR-1", TENSORS)
def test_every_tensor_has_a_partner(assay: Assay) -> None:
    conclude(assay)


@requirement("MIG-VALUES-1", TENSORS)
def test_values(assay: Assay) -> None:
    conclude(assay)


@requirement("MIG-QUANT-1", TENSORS)
def test_quantized_values(assay: Assay) -> None:
    conclude(assay)


@requirement("MIG-HEAD-1", TENSORS)
def test_tied_head(assay: Assay) -> None:
    conclude(assay)


@requirement("MIG-CONFIG-1", TENSORS)
def test_configuration(assay: Assay) -> None:
    conclude(assay)
