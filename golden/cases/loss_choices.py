"""Cases of what documentation leaves open of a loss: its reduction, empty batches, shapes, and classes outside."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.cases.losses import CHAPTER, NONE
from touchstone.golden.catalogue import Case
from touchstone.golden.operations.losses import (
    CLASSES,
    DIRECTIONS,
    LOG_CLASSES,
    LOGITS,
    LOSSES,
    PAIRS,
    REDUCTIONS,
    SIGNS,
    WITHOUT_OPTIONS,
)
from touchstone.golden.operations.record import Operation

OF_PAIRS = tuple(one for one in LOSSES.values() if one.sample in (PAIRS, SIGNS, LOGITS))
"""Losses of two arrays of one shape."""
OF_CLASSES = tuple(one for one in LOSSES.values() if one.sample in (CLASSES, LOG_CLASSES))
IGNORED = -100
"""The class that PyTorch's losses leave out by default."""
OUTSIDE = (24, 31, 10**8)
"""Classes beyond the rows of the samples; the last lies far outside of their memory."""


def _by_default(loss: Operation) -> Case:
    many = loss.samples[-1]
    region = next(iter(many.regions))
    found = {one: operations.case(CHAPTER, loss, many, "float32", region, {"reduction": one}) for one in REDUCTIONS}
    return replace(found["mean"], params={"operation": loss.name}, arrays=operations.choices(found))


CLASS_CASES = [
    operations.case(CHAPTER, loss, loss.sample, dtype, "ordinary", NONE, of_both_classes=True)
    for loss, dtype in product(LOSSES.values(), operations.HALVES)
]
DEFAULT_CASES = [_by_default(loss) for loss in LOSSES.values()]
EPSILON_CASES = [
    replace(
        operations.case(CHAPTER, LOSSES["cosine_similarity_loss"], DIRECTIONS, "float32", "zero", NONE),
        params={"operation": name},
        needs=(f"operation:{name}", "dtype:float32"),
    )
    for name in WITHOUT_OPTIONS
]
BROADCAST_CASES = [
    replace(operations.case(CHAPTER, one, one.sample, "float32", "ordinary", NONE), params={"operation": one.name})
    for one in OF_PAIRS
]
EMPTY_CASES = [
    replace(
        operations.case(CHAPTER, one, one.samples[-1], "float32", "ordinary", {"reduction": "mean"}),
        params={"operation": one.name, "reduction": "mean"},
    )
    for one in (*OF_PAIRS, *OF_CLASSES)
]
TARGET_CASES = [
    replace(
        operations.case(CHAPTER, one, one.sample, "float32", "ordinary", NONE),
        params={"operation": one.name, "target": target},
        hazard="reads",
    )
    for one, target in product(OF_CLASSES, OUTSIDE)
]
IGNORED_CASES = [
    replace(case, params={"operation": case.params["operation"], "target": IGNORED, "reduction": reduction})
    for case in TARGET_CASES
    if case.params["target"] == OUTSIDE[0]
    for reduction in ("none", "mean")
]
ZERO_CASES = [
    replace(case, params={"operation": "cosine_similarity_loss"}, needs=(*case.needs, "gradients"))
    for one in [LOSSES["cosine_similarity_loss"]]
    for case in [operations.case(CHAPTER, one, one.sample, "float32", "ordinary", NONE)]
]
FLOOR_CASES = [
    replace(case, params={"operation": "gaussian_nll_loss"}, needs=(*case.needs, "gradients"))
    for one in [LOSSES["gaussian_nll_loss"]]
    for case in [operations.case(CHAPTER, one, one.sample, "float32", "no variance", NONE)]
]
RANGE_CASES = [
    operations.case(CHAPTER, one, one.sample, "float32", "ordinary", options)
    for one in LOSSES.values()
    for options in one.beyond
]
