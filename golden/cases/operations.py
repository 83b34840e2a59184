"""Cases that every record of the catalogue has: values, gradients and options, a region at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from touchstone.golden.catalogue import Case, add, spell_shape
from touchstone.golden.operations.record import NO_OPTIONS, Operation, spelled
from touchstone.golden.operations.samples import Argument, Sample
from touchstone.golden.recipes import Derived

HALVES = ("float16", "bfloat16")
DTYPES = ("float32", *HALVES)
RIGHT = ("value", "error", "error in float32")
"""Roles of what is right: a value, and how far who computes it may be off."""
LONG = 4096
"""Elements of a result from which on it has a file of its own."""


def _stream(chapter: str, sample: Sample, dtype: str) -> str:
    return "/".join(filter(None, (chapter, sample.owner, sample.name, dtype)))


def operands(chapter: str, sample: Sample, dtype: str) -> dict[str, str]:
    """Argument -> golden key of what the sample gives for it."""
    stream = _stream(chapter, sample, dtype)
    return {name: add(f"{stream}/{name}", of.recipe(dtype, stream)) for name, of in sample.arguments.items()}


def cotangent(chapter: str, sample: Sample, dtype: str, shape: tuple[int, ...] | None = None) -> str:
    """Golden key of the cotangent of a result; shape: of another result than the sample's."""
    stream, shape = _stream(chapter, sample, dtype), sample.result if shape is None else shape
    chosen = Argument("blocks", shape, {"styles": (("cotangent", prod(shape)),)})
    of = "" if shape == sample.result else f" {spell_shape(shape)}"
    return add(f"{stream}/cotangent{of}", chosen.recipe(dtype, stream))


def arrays(
    chapter: str,
    operation: Operation,
    sample: Sample,
    dtype: str,
    options: Mapping[str, Any],
    argument: str = "",
    *,
    of_both_classes: bool = False,
) -> dict[str, str]:
    """Role -> golden key: operands, the cotangent of a gradient, and what is right with its errors.

    of_both_classes: the error of a computation inside float32 is among them.
    """
    given = operands(chapter, sample, dtype)
    name, of = spelled(operation.name, options), ""
    if argument:
        given = {"cotangent": cotangent(chapter, sample, dtype), **given}
        of = f"gradient of {argument} of "
    family = f"{chapter} {'gradients' if argument else 'long' if prod(sample.result) >= LONG else 'values'}"
    found = {}
    for what in RIGHT[: 3 if of_both_classes else 2]:
        key = f"{family}/{name}/{sample.name}/{dtype}/{argument or 'result'}/{what}"
        found[what] = add(key, Derived(f"{what} of {of}{name}", tuple(given.values())))
    return {**given, **found}


def told(options: Mapping[str, Any]) -> dict[str, Any]:
    """As a case's parameters say them: several numbers as "1x2", pairs of them as "1x2,0x3", nothing as "none"."""
    return {name: _told(value) for name, value in options.items()}


def _told(value: Any) -> Any:
    if not isinstance(value, tuple):
        return "none" if value is None else value
    pairs = [spell_shape(one) for one in value if isinstance(one, tuple)]
    return ",".join(pairs) or spell_shape(value)


def case(
    chapter: str,
    operation: Operation,
    sample: Sample,
    dtype: str,
    region: str,
    options: Mapping[str, Any] = NO_OPTIONS,
    argument: str = "",
    *,
    of_both_classes: bool = False,
) -> Case:
    """One region of a result, or of what an argument gets of its cotangent; of_both_classes: as of `arrays`."""
    of = {} if sample is operation.sample else {"of": sample.name}
    by = {"by": argument} if argument not in ("", first(operation)) else {}
    params = {"operation": operation.name, "dtype": dtype, "region": region, **of, **by, **told(options)}
    needs = [f"operation:{operation.name}", f"dtype:{dtype}", *(f"option:{operation.name} {name}" for name in options)]
    held = arrays(chapter, operation, sample, dtype, options, argument, of_both_classes=of_both_classes)
    return Case(params, held, (*needs, *(["gradients"] if argument else [])))


def choices(found: Mapping[str, Case]) -> dict[str, str]:
    """Role -> golden key, where cases of the same operands say what is right by one choice each: "value of mean"."""
    cases = list(found.values())
    operands = {role: key for role, key in cases[0].arrays.items() if role not in RIGHT}
    rights = {f"{what} of {name}": one.arrays[what] for name, one in found.items() for what in RIGHT[:2]}
    return operands | rights


def values(chapter: str, operations: Iterable[Operation], options: Mapping[str, Any] = NO_OPTIONS) -> Iterator[Case]:
    """Every sample in every dtype."""
    for operation, dtype in product(operations, DTYPES):
        for sample in operation.samples:
            for region in sample.regions:
                yield case(chapter, operation, sample, dtype, region, options)


def gradients(chapter: str, operations: Iterable[Operation], options: Mapping[str, Any] = NO_OPTIONS) -> Iterator[Case]:
    """Of the first sample in every dtype, where operands are finite."""
    for operation, dtype in product(operations, DTYPES):
        for argument, region in product(operation.slopes, operation.sample.regions):
            if region in operation.sample.without_slope or (region in NOT_BY_OTHERS and argument != first(operation)):
                continue
            yield case(chapter, operation, operation.sample, dtype, region, options, argument)


NOT_BY_OTHERS = ("no variance",)
"""Regions where the gradient by another operand than the first is that of a clamp, of which no page says what it is."""


def first(operation: Operation) -> str:
    """The name of its first operand."""
    return next(iter(operation.sample.arguments))
