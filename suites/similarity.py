"""What quantization does to a table's use: the direction of its rows, and the largest of its tied logits."""

from __future__ import annotations

import numpy as np

from touchstone.adapters.interface import Packed
from touchstone.golden import bounds, quantized_bounds
from touchstone.suites import codes
from touchstone.suites.assay import Assay

QUERIES = 16
"""Rows of the table that ask for their nearest logits."""
TOP = 10


def assay_direction(assay: Assay, rows: np.ndarray, weight: np.ndarray, packed: Packed) -> None:
    """Cosine similarity of rows ``[n, dims]`` with the original ones.

    An error of norm e < |w| turns a row w by an angle whose sine is at most e / |w|; e from the mode's own bound.
    """
    got, want = rows.astype(np.float64), weight.astype(np.float64)
    error = quantized_bounds.weights(weight, codes.form_of(packed)) + codes.dequantization_bound(packed)
    norms = np.linalg.norm(want, axis=-1)
    kept = norms > 0
    cosine = (got * want).sum(-1)[kept] / (np.linalg.norm(got, axis=-1) * norms)[kept]
    sine = np.minimum(np.linalg.norm(error, axis=-1)[kept] / norms[kept], 1)
    least = np.sqrt(1 - sine**2)
    message = (
        f"cosine similarity of {len(cosine)} rows: least {cosine.min():.6f}, median {np.median(cosine):.6f}; "
        f"the bound allows {least.min():.6f}"
    )
    # Where the bound is as long as the row, nothing is asked of its direction; 1e-12 is float64's own rounding here.
    below = ~(cosine >= np.where(sine < 1, least - 1e-12, -1))
    assay.behaves("below bound" if below.any() else "within bound", conforms=not below.any(), message=message)


def assay_largest(assay: Assay, logits: np.ndarray, x: np.ndarray, weight: np.ndarray, packed: Packed) -> None:
    """The ids of the `TOP` largest of ``x @ weight.T``, against those of the quantized ``logits [n, rows]``.

    An id is certain where fewer than `TOP` others can reach its logit within both their error bounds. It is held
    against the logits of the original weights, of which few are certain at low widths, and against those of the
    dequantized ones, which only the product's own rounding may change.
    """
    wide, original = x.astype(np.float64), weight.astype(np.float64)
    quantized, rounding = codes.dequantized(packed), codes.dequantization_bound(packed)
    error = quantized_bounds.weights(weight, codes.form_of(packed))
    count, total = min(TOP, len(weight)), min(TOP, len(weight)) * len(x)
    found = [set(np.argsort(-logit, kind="stable")[:count]) for logit in logits.astype(np.float64)]
    told, lost = [], 0
    for name, table, slack in (("original", original, error + rounding), ("dequantized", quantized, rounding)):
        exact, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
        bound = bounds.linear(exact, magnitude, weight.shape[1], weight.dtype.name) + np.abs(wide) @ slack.T
        agreed, certain, missing = _compare(found, exact, bound, count)
        told.append(f"{name} weights: {agreed / total:.1%} agree, {certain} of {total} are certain, {missing} lost")
        lost += missing
    finite = bool(np.isfinite(logits.astype(np.float64)).all())
    message = f"top-{count} of {len(x)} queries, " + "; ".join(told)
    behaviour = "not finite" if not finite else "loses a certain id" if lost else "keeps every certain id"
    assay.behaves(behaviour, conforms=finite and not lost, message=message)


def _compare(found: list[set[int]], exact: np.ndarray, bound: np.ndarray, count: int) -> tuple[int, int, int]:
    """How many of the `count` largest ids were found, are certain, and are certain but not found."""
    agreed = certain = lost = 0
    for ids, true, off in zip(found, exact, bound, strict=True):
        wanted = np.argsort(-true, kind="stable")[:count]
        agreed += len(ids & set(wanted))
        reach = true + off
        for i in wanted:
            if (reach >= true[i] - off[i]).sum() <= count:  # itself among them
                certain += 1
                lost += i not in ids
    return agreed, certain, lost
