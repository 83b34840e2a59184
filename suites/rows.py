"""What came back for one bad id among good ones: an error, a NaN row, a row of the table, or foreign memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapters.isolation import Outcome


def classify(
    outcome: Outcome, table: np.ndarray, ids: Sequence[int], bad: int, shape: tuple[int, ...] | None = None
) -> str:
    """The class of behaviour for the id at position `bad`.

    table: the rows that good ids give, ``[num_embeddings, dims]``; shape: of the ids, default ``(len(ids),)``.
    """
    if outcome.kind != "value":
        return outcome.behaviour
    got = outcome.value["rows"] if isinstance(outcome.value, dict) else outcome.value
    shape = (len(ids),) if shape is None else shape
    if got.shape != (*shape, table.shape[1]):
        return "wrong shape"
    rows = got.reshape(-1, table.shape[1])
    for position, identifier in enumerate(ids):
        if position != bad and rows[position].tobytes() != table[identifier].tobytes():
            return "good rows changed"
    row = rows[bad]
    if np.isnan(row.astype(np.float32)).all():
        return "NaN row"
    if not row.any():
        return "zeros"
    same = [k for k, candidate in enumerate(table) if candidate.tobytes() == row.tobytes()]
    return f"row {same[0]}" if same else "foreign memory"
