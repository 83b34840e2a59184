"""Id dtypes: which kinds of ids are accepted, and what does each mean?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.adapters.isolation.outcome import Outcome
from touchstone.golden.cases import lookup
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.suites.rows import classify, conclude
from touchstone.verdict.behaviour import Behaviour, Kind


def _describe(assay: Assay, ids: Any, picks: Any, shape: tuple[int, ...]) -> None:
    """Record "rows", "boolean mask", "one element" (a tuple indexes both axes), the error, or what else came back."""
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=assay.golden("table"), inputs=ids)
    if outcome.kind != "value":
        assay.behaves(outcome.behaviour, message=outcome.message)
        return
    table, got = assay.golden("table"), outcome.value
    want = table[np.asarray(picks)].reshape(*shape, table.shape[1])
    mask = table[np.resize(np.asarray(picks, dtype=bool), len(table))]
    if got.shape == want.shape and got.tobytes() == want.tobytes():
        assay.behaves("rows")
    elif isinstance(ids, tuple) and got.shape == () and got == table[ids]:
        assay.behaves("one element")
    elif isinstance(ids, np.ndarray) and ids.dtype == bool and got.tobytes() == mask.tobytes():
        assay.behaves("boolean mask")
    else:
        assay.behaves("other values", message=f"shape {got.shape}, first values {got.reshape(-1)[:4]}")


@requirement("EMB-ID-1", lookup.ID_DTYPE_CASES)
def test_integer_dtypes(assay: Assay) -> None:
    ids = assay.golden("ids")
    _describe(assay, ids, ids, ids.shape)


@requirement("EMB-ID-2", lookup.OTHER_ID_CASES)
def test_other_ids(assay: Assay) -> None:
    table = assay.golden("table")
    mask = np.zeros(len(table), dtype=bool)
    mask[:2] = True
    ids, picks, shape = {
        "bool array": (mask, mask.astype(int), mask.shape),
        "float16 array": (np.array([0, 1], np.float16), [0, 1], (2,)),
        "float32 array": (np.array([0, 1], np.float32), [0, 1], (2,)),
        "list": ([0, 1], [0, 1], (2,)),
        "int": (1, [1], ()),
        "tuple": ((0, 1), [0, 1], (2,)),
    }[assay.params["ids"]]
    _describe(assay, ids, picks, shape)


@requirement("EMB-ID-3", lookup.NEGATIVE_ID_CASES)
def test_negative_ids(assay: Assay) -> None:
    chosen, dtype = lookup.negative_id(assay.case), assay.params["id_dtype"]
    table = assay.golden("table")
    outcome = assay.ask(probes.call, layer=assay.params["layer"], weight=table, inputs=np.array([0, chosen, 1], dtype))
    seen = classify(outcome, table, [0, chosen, 1], bad=1)
    from_the_end = seen == Behaviour.of(Kind.ROW, len(table) + chosen)
    assay.behaves("counts from the end" if from_the_end else seen, message=f"id {chosen}; {outcome.message}")


@requirement("EMB-ID-4", lookup.WIDE_ID_CASES)
def test_ids_beyond_int32(assay: Assay) -> None:
    chosen = eval(assay.params["ids"], {"__builtins__": {}})  # an arithmetic expression from golden.cases.lookup
    table = assay.golden("table")

    def ask(identifier: int) -> Outcome:
        ids = np.array([0, identifier, 1], assay.params["id_dtype"])
        return assay.ask(probes.call, layer=assay.params["layer"], weight=table, inputs=ids)

    outcome = ask(chosen)
    behaviour = classify(outcome, table, [0, chosen, 1], bad=1)
    conclude(assay, behaviour, f"id {chosen}; {outcome.message}", len(table), lambda: ask(5))
