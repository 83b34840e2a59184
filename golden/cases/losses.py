"""Cases of losses: of each element or row, their mean and sum, gradients and options."""

from __future__ import annotations

from touchstone.golden.cases import operations
from touchstone.golden.operations.losses import LOSSES, REDUCTIONS

CHAPTER = "losses"
NONE = {"reduction": "none"}
VALUE_CASES = [
    operations.case(CHAPTER, loss, sample, dtype, region, NONE)
    for loss in LOSSES.values()
    for dtype in operations.DTYPES
    for sample in loss.samples
    if not sample.name.startswith("many")
    for region in sample.regions
]
REDUCTION_CASES = [
    operations.case(CHAPTER, loss, loss.samples[-1], dtype, next(iter(loss.samples[-1].regions)), {"reduction": one})
    for loss in LOSSES.values()
    for dtype in operations.DTYPES
    for one in REDUCTIONS
]
GRADIENT_CASES = list(operations.gradients(CHAPTER, LOSSES.values(), NONE))
OPTION_CASES = [
    operations.case(CHAPTER, loss, loss.sample, "float32", "ordinary", options)
    for loss in LOSSES.values()
    for options in loss.variants
    if len(options) > 1
]
