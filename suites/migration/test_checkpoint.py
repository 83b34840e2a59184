"""Is every tensor of a converted checkpoint, ``--source A --target B``, what its source says?"""

from __future__ import annotations

from touchstone.migration.inputs import TENSORS
from touchstone.suites.assay import Assay
from touchstone.suites.migration import asking
from touchstone.suites.requirements import requirement


@requirement("MIG-PAIR-1", TENSORS)
def test_every_tensor_has_a_partner(assay: Assay) -> None:
    asking.ask(assay)


@requirement("MIG-VALUES-1", TENSORS)
def test_values(assay: Assay) -> None:
    asking.ask(assay)


@requirement("MIG-QUANT-1", TENSORS)
def test_quantized_values(assay: Assay) -> None:
    asking.ask(assay)


@requirement("MIG-HEAD-1", TENSORS)
def test_tied_head(assay: Assay) -> None:
    asking.ask(assay)


@requirement("MIG-CONFIG-1", TENSORS)
def test_configuration(assay: Assay) -> None:
    asking.ask(assay)
