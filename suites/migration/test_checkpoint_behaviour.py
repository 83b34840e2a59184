"""Do the frameworks' own layers answer alike over the source's and the target's weights?"""

from __future__ import annotations

from touchstone.migration.inputs import BEHAVIOUR
from touchstone.suites.assay import Assay
from touchstone.suites.migration import asking
from touchstone.suites.requirements import requirement


@requirement("MIG-LOOKUP-1", BEHAVIOUR)
def test_lookup(assay: Assay) -> None:
    asking.ask(assay)


@requirement("MIG-LINEAR-1", BEHAVIOUR)
def test_linear(assay: Assay) -> None:
    asking.ask(assay)


@requirement("MIG-LOGITS-1", BEHAVIOUR)
def test_logits_of_the_tied_head(assay: Assay) -> None:
    asking.ask(assay)
