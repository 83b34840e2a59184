"""Cases of operations of `mlx.core`: values by region, gradients, options, in every dtype that each takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from touchstone.golden.cases import operations
from touchstone.golden.catalogue import Case
from touchstone.golden.operations.arrays import ARRAYS
from touchstone.golden.operations.plain import PLAIN
from touchstone.golden.operations.plain.record import FLOATS, Plain
from touchstone.golden.operations.plain.samples import ALL, BROADCAST, repeated
from touchstone.golden.operations.samples import Sample

CHAPTER = "arrays"
VALUE_CASES = list(operations.values(CHAPTER, ARRAYS.values()))
OPTION_CASES = [
    operations.case(CHAPTER, operation, operation.sample, "float32", region, options)
    for operation in ARRAYS.values()
    for options in operation.variants
    for region in operation.sample.regions
]
GRADIENT_CASES = list(operations.gradients(CHAPTER, ARRAYS.values()))


def dtypes_of(plain: Plain, sample: Sample, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What a sample is asked in: the dtype that the options name, or those of the sample, or those of floats.

    With options one dtype tells enough, but for the first ones of an operation that is nothing without them.
    """
    if "dtype" in options:
        return (options["dtype"],)
    every = sample.dtypes or FLOATS
    plainest = plain.needs_options and (sample, options) == plain.asked[0]
    return every[:1] if options and not plainest else every


def plain_case(plain: Plain, sample: Sample, dtype: str, region: str, options: Mapping[str, Any]) -> Case:
    """One region of a result of a plain operation."""
    of = {} if sample is plain.samples[0] else {"of": sample.name}
    params = {"operation": plain.name, "dtype": dtype, "region": region, **of, **operations.told(options)}
    needs = [f"operation:{plain.name}", *(f"option:{plain.name} {name}" for name in options)]
    needs += [f"{'dtype' if d in FLOATS else 'array_dtype'}:{d}" for d in _dtypes(sample, dtype, options)]
    return Case(params, operations.operands(CHAPTER, sample, dtype), tuple(needs))


def _dtypes(sample: Sample, dtype: str, options: Mapping[str, Any]) -> list[str]:
    """Every dtype among the operands, and the one that the options lead to."""
    given = {of.dtype or dtype for of in sample.arguments.values()} or {dtype}
    return sorted(given | ({options["to"]} if "to" in options else set()))


def _plain() -> Iterator[Case]:
    for plain in PLAIN.values():
        for sample, options in plain.asked:
            for dtype in dtypes_of(plain, sample, options):
                for region in sample.regions:
                    yield plain_case(plain, sample, dtype, region, options)


PLAIN_CASES = list(_plain())


def _with_cotangent(case: Case, sample: Sample, argument: str, shape: tuple[int, ...] | None = None) -> Case:
    """Of one that the gradient by an argument is asked of; shape: of its result, where that is not the sample's."""
    key = operations.cotangent(CHAPTER, sample, case.params["dtype"], shape)
    return Case({**case.params, "by": argument}, {**case.arrays, "cotangent": key}, (*case.needs, "gradients"))


PLAIN_GRADIENT_CASES = [
    _with_cotangent(plain_case(plain, plain.samples[0], dtype, region, {}), plain.samples[0], argument)
    for plain in PLAIN.values()
    for argument in plain.slopes
    for dtype in FLOATS
    for region in plain.samples[0].regions
    if region == "ordinary"
] + [
    _with_cotangent(plain_case(plain, sample, "float32", ALL, {}), sample, argument, repeated(sample))
    for plain in PLAIN.values()
    for argument in plain.slopes
    for sample in BROADCAST
    if sample in plain.samples
]
"""In one float dtype each operand gets the sum over what it was repeated along."""


def _moved(plain: Plain, sample: Sample, options: Mapping[str, Any], argument: str) -> Case:
    """What an operand, the first one unless it is named, gets of the cotangents of where its elements have gone."""
    operands = [of.recipe("float32", f"{CHAPTER}/{sample.name}").make("") for of in sample.arguments.values()]
    (result,) = plain.expected(operands, options)
    found = plain_case(plain, sample, "float32", next(iter(sample.regions)), options)
    key = operations.cotangent(CHAPTER, sample, "float32", result.shape)
    by = {} if argument == next(iter(sample.arguments)) else {"by": argument}
    return Case({**found.params, **by}, {**found.arrays, "cotangent": key}, (*found.needs, "gradients"))


MOVE_GRADIENT_CASES = [
    _moved(plain, sample, options, argument)
    for plain in PLAIN.values()
    if plain.moves
    for sample, options in plain.asked
    if "float32" in (sample.dtypes or FLOATS)
    for argument in sample.arguments
    if argument in (next(iter(sample.arguments)), *plain.moves_too)
]
