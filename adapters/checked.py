"""*Checked* lookup: validates ids on the host before any framework sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from touchstone.adapters.interface import Layer, Operand


def checked_lookup(layer: Layer, ids: Any, num_embeddings: int) -> np.ndarray:
    """``layer(ids)`` after a check that every id lies in ``[0, num_embeddings)``.

    ids: an integer array of any rank (NumPy, `Operand`, or nested sequences of integers, which may be empty).
    The layer is given the `Operand`, or the ids as a NumPy array.
    Raises TypeError for ids that are not integers, and IndexError that names the first offending id, its
    position and the size of the table.
    """
    host = np.asarray(ids.value() if isinstance(ids, Operand) else ids)
    if not host.size and isinstance(ids, Sequence):  # NumPy makes float64 of an empty list
        host = host.astype(np.int64)
    if host.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, not {host.dtype}")
    outside = (host < 0) | (host >= num_embeddings)
    if outside.any():
        position = tuple(int(i) for i in np.argwhere(outside)[0])
        raise IndexError(f"id {int(host[position])} at position {position} is outside a table of {num_embeddings} rows")
    return layer(ids if isinstance(ids, Operand) else host)
