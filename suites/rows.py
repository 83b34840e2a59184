"""What came back for one bad id among good ones: an error, a NaN row, a row of the table, or foreign memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from touchstone.adapters.isolation.outcome import Outcome
from touchstone.suites.assay import Assay
from touchstone.verdict.behaviour import Behaviour, Kind


def classify(
    outcome: Outcome,
    table: np.ndarray,
    ids: Sequence[int],
    bad: int,
    shape: tuple[int, ...] | None = None,
    sentinel: float | None = None,
) -> Behaviour:
    """The class of behaviour for the id at position `bad`.

    table: the rows that good ids give, ``[num_embeddings, dims]``; shape: of the ids, default ``(len(ids),)``;
    sentinel: the value that surrounds the table, where it lies in a guarded buffer.
    """
    if outcome.kind != "value":
        return outcome.behaviour
    got = outcome.value["rows"] if isinstance(outcome.value, dict) else outcome.value
    shape = (len(ids),) if shape is None else shape
    if got.shape != (*shape, table.shape[1]):
        return Behaviour("wrong shape")
    rows = got.reshape(-1, table.shape[1])
    for position, identifier in enumerate(ids):
        if position != bad and rows[position].tobytes() != table[identifier].tobytes():
            return Behaviour("good rows changed")
    row = rows[bad]
    if np.isnan(row.astype(np.float32)).all():
        return Behaviour("NaN row")
    if not row.any():
        return Behaviour("zeros")
    if sentinel is not None and (row == sentinel).all():
        return Behaviour("memory outside the table")
    same = [k for k, candidate in enumerate(table) if candidate.tobytes() == row.tobytes()]
    return Behaviour.of(Kind.ROW, same[0]) if same else Behaviour("foreign memory")


def conclude(assay: Assay, seen: Behaviour, message: str, size: int, good: Callable[[], Outcome]) -> None:
    """Name clamping, and judge: a NaN row conforms, and so does an error where the same call with a good id works."""
    raised, behaviour = seen.kind is Kind.RAISES, str(seen)
    if seen.kind is Kind.ROW:
        clamps = {size - 1: "clamps to last row", 0: "clamps to first row"}
        behaviour = clamps.get(int(seen.detail), "another row")
    if raised and (control := good()).kind != "value":
        assay.behaves("refuses good ids too", conforms=False, message=f"good ids: {control.message}")
    assay.behaves(behaviour, conforms=raised or behaviour == "NaN row", message=message)
