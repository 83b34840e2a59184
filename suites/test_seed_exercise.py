"""Seed exercise: does an embedding written from scratch, in NNX or Linen, behave as the framework's own?"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.golden.cases import exercise
from touchstone.golden.cases.lookup import V
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.suites.rows import classify, conclude
from touchstone.verdict.comparing import same_bits
from touchstone.verdict.observation import Deviates


def _ask(assay: Assay, ids: np.ndarray, sizes: tuple[int, int] = (V, exercise.DIMS)) -> Any:
    seed = assay.params.get("seed", 0)
    return assay.ask(probes.exercise, style=assay.params["style"], seed=seed, sizes=sizes, ids=ids)


@requirement("SEED-ROWS-1", exercise.ROW_CASES)
def test_rows(assay: Assay) -> None:
    ids = assay.golden("ids")
    found = assay.value(_ask(assay, ids))
    assay.same_bits(found["rows"], found["table"][ids.astype(int)])
    assay.same_bits(found["rows"], found["own"])


@requirement("SEED-ONEHOT-1", exercise.ROW_CASES)
def test_one_hot_product(assay: Assay) -> None:
    """One product is x * 1 and all others are zero, so the bound is zero: the rows must be exact."""
    found = assay.value(_ask(assay, assay.golden("ids")))
    assay.same_bits(found["one_hot"], found["rows"], signed_zero=False)


@requirement("SEED-ORIENT-1", exercise.ROW_CASES)
def test_wrong_orientation(assay: Assay) -> None:
    """A square table stored transposed keeps every shape; only the rows' values can show it."""
    ids = np.minimum(assay.golden("ids"), exercise.DIMS - 1)
    outcome = assay.ask(
        probes.transposed_exercise, style=assay.params["style"], seed=assay.params["seed"], size=exercise.DIMS, ids=ids
    )
    found = assay.value(outcome)
    assay.same_bits(found["rows"], found["table"].T[ids.astype(int)])
    try:
        same_bits(found["rows"], found["table"][ids.astype(int)])
    except Deviates as error:
        assay.behaves("detected", message=str(error))
    else:
        assay.behaves("not detected", conforms=False)


@requirement("SEED-OOR-1", exercise.OUTSIDE_CASES)
def test_out_of_range(assay: Assay) -> None:
    bad = exercise.IDS[assay.params["ids"]]
    outcome = _ask(assay, np.array([0, bad, 1], np.float32))
    behaviour = classify(outcome, _table(outcome), [0, bad, 1], bad=1)
    message = f"id {bad} of {V} rows; {outcome.message}"
    conclude(assay, behaviour, message, V, lambda: _ask(assay, np.ones(3, np.float32)))


@requirement("SEED-NEG-1", exercise.NEGATIVE_CASES)
def test_negative_ids(assay: Assay) -> None:
    bad = exercise.IDS[assay.params["ids"]]
    outcome = _ask(assay, np.array([0, bad, 1], np.float32))
    behaviour = classify(outcome, _table(outcome), [0, bad, 1], bad=1)
    assay.behaves("counts from the end" if behaviour == f"row {V + bad}" else behaviour)


def _table(outcome: Any) -> np.ndarray:
    return outcome.value["table"] if outcome.kind == "value" else np.empty((0, 0))
