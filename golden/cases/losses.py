"""Cases of losses: of each element or row, their mean and sum, gradients and options."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from touchstone.golden.cases import operations
from touchstone.golden.cases.function_operands import COMPILERS, LAYOUTS
from touchstone.golden.catalogue import LAYOUT_NEEDS
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
        if len(options) > 1 and options["reduction"] == "none" and operations.first(loss) in loss.slopes
    ),
]
REDUCED_OPTION_CASES = [
    operations.case(CHAPTER, loss, loss.samples[-1], "float32", next(iter(loss.samples[-1].regions)), options)
    for loss in LOSSES.values()
    for options in loss.variants
    if len(options) > 1 and options["reduction"] in REDUCTIONS
]
"""What is added to each element is added before the reduction, or as often as there are elements."""
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
LAYOUT_CASES = [
    replace(
        case, params={**case.params, "layout": layout, "result": result}, needs=(*case.needs, *LAYOUT_NEEDS[layout])
    )
    for loss, layout, dtype in product(LOSSES.values(), LAYOUTS, operations.DTYPES)
    for argument, result in {"": "values", operations.first(loss): "gradient"}.items()
    if not argument or (argument in loss.slopes and dtype == "float32")
    for case in [operations.case(CHAPTER, loss, loss.sample, dtype, "ordinary", NONE, argument)]
]
QUICKLY_COMPILED = ("mse_loss", "cross_entropy")
"""Compiled in every run, as `touchstone.golden.cases.function_operands` has it of functions."""
COMPILED_CASES = [
    replace(
        case,
        params={**case.params, "compiler": compiler},
        needs=(*case.needs, f"compiler:{compiler}"),
        marks=() if loss.name in QUICKLY_COMPILED else ("wide",),
    )
    for loss, compiler in product(LOSSES.values(), COMPILERS)
    for case in [operations.case(CHAPTER, loss, loss.sample, "float32", "ordinary", NONE)]
]
OPTION_CASES = [
    operations.case(CHAPTER, loss, loss.sample, "float32", "ordinary", options)
    for loss in LOSSES.values()
    for options in loss.variants
    if len(options) > 1 and options["reduction"] == "none"
]
