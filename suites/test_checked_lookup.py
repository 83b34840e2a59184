"""Checked lookup: is an id outside the table refused on the host, before the framework is called?"""

from __future__ import annotations

import numpy as np

from touchstone.golden.cases import lookup
from touchstone.golden.cases.exercise import IDS
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("EMB-CHECKED-1", lookup.CHECKED_CASES)
def test_checked_lookup(assay: Assay) -> None:
    table, bad = assay.golden("table"), IDS[assay.params["ids"]]
    good = np.array([0, len(table) - 1])
    ids = np.array([0, bad, 1], np.int64) if assay.params["form"] == "mixed" else np.array(bad, np.int64)
    position = (1,) if ids.ndim else ()
    refused = assay.value(assay.ask(probes.checked, weight=table, ids=ids))
    accepted = assay.value(assay.ask(probes.checked, weight=table, ids=good.astype(np.int32)))
    wanted = f"id {bad} at position {position} is outside a table of {len(table)} rows"
    if refused.get("error") != wanted or refused["calls"] != 0:
        assay.behaves("not refused", conforms=False, message=f"want IndexError {wanted!r}, got {refused}")
    assay.same_bits(accepted.get("rows"), table[good])
