"""Cases of losses: of each element or row, their mean and sum, gradients and options."""

from __future__ import annotations

from dataclasses import replace

from touchstone.golden.cases import operations
from touchstone.golden.operations.losses import LOSSES, MANY, REDUCTIONS

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
GRADIENT_CASES = [
    *operations.gradients(CHAPTER, LOSSES.values(), NONE),
    *(
        operations.case(CHAPTER, loss, loss.sample, "float32", "ordinary", options, operations.first(loss))
        for loss in LOSSES.values()
        for options in loss.variants
        if len(options) > 1 and operations.first(loss) in loss.slopes
    ),
]
MATRIX_CASES = [
    replace(case, params={**case.params, "shape": "64x64"})
    for case in REDUCTION_CASES
    if case.params["dtype"] == "float32"
    and all(of.shape == (MANY,) for of in LOSSES[case.params["operation"]].samples[-1].arguments.values())
]
"""Losses of each element are asked of a matrix too."""
OF_ROWS = tuple(one for one in LOSSES.values() if len(next(iter(one.sample.arguments.values())).shape) == 2)
PLACES = ("first of two", "middle of three")
"""Where the axis of the rows is put."""
AXIS_CASES = [
    replace(case, params={**case.params, "axis": place}, needs=(*case.needs, f"option:{loss.name} axis"))
    for loss in OF_ROWS
    if loss.name != "triplet_margin_loss"
    for place in PLACES
    for case in [operations.case(CHAPTER, loss, loss.sample, "float32", "ordinary", NONE)]
]
OPTION_CASES = [
    operations.case(CHAPTER, loss, loss.sample, "float32", "ordinary", options)
    for loss in LOSSES.values()
    for options in loss.variants
    if len(options) > 1
]
