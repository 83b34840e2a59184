"""What quantization does to a table's use: the direction of its rows, and the largest of its tied logits."""

from __future__ import annotations

import numpy as np

from adapters.interface import Packed
from golden import bounds, quantized_bounds
from suites import codes
from suites.assay import Assay

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
    below = (sine < 1) & ~(cosine >= least - 1e-12)
    assay.behaves("below bound" if below.any() else "within bound", conforms=not below.any(), message=message)


def assay_largest(assay: Assay, logits: np.ndarray, x: np.ndarray, weight: np.ndarray, packed: Packed) -> None:
    """The ids of the `TOP` largest of ``x @ weight.T``, against those of the quantized ``logits [n, rows]``.

    An id is certain where fewer than `TOP` others can reach its logit within both their error bounds.
    """
    wide, table = x.astype(np.float64), weight.astype(np.float64)
    exact, magnitude = wide @ table.T, np.abs(wide) @ np.abs(table).T
    slack = quantized_bounds.weights(weight, codes.form_of(packed)) + codes.dequantization_bound(packed)
    bound = bounds.linear(exact, magnitude, weight.shape[1], weight.dtype.name) + np.abs(wide) @ slack.T
    count = min(TOP, len(weight))
    agreed = certain = lost = 0
    for logit, true, off in zip(logits.astype(np.float64), exact, bound, strict=True):
        found = set(np.argsort(-logit, kind="stable")[:count])
        wanted = np.argsort(-true, kind="stable")[:count]
        agreed += len(found & set(wanted))
        reach = true + off
        for i in wanted:
            if (reach >= true[i] - off[i]).sum() <= count:  # itself among them
                certain += 1
                lost += i not in found
    total = count * len(x)
    message = (
        f"top-{count} agreement {agreed / total:.1%} over {len(x)} queries; {certain} of {total} ids are certain "
        f"within the bound, {lost} of them lost"
    )
    assay.behaves("loses a certain id" if lost else "keeps every certain id", conforms=not lost, message=message)
