"""What the records of layers share: arrays of their own numbers, and gradients by every operand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from touchstone.golden.operations.arithmetic import Number
from touchstone.golden.operations.record import NO_OPTIONS, Operation
from touchstone.golden.operations.reverse import Gradient
from touchstone.golden.operations.samples import Argument, Sample

PAGE = "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary/mlx.nn.{}.html"
ALL = "all"
"""The one region of a result that is judged as a whole."""
INTEGERS = ("int32", "uint32", "bool")


def bell(shape: tuple[int, ...], name: str, scale: float = 1.0) -> Argument:
    """Bell-shaped numbers in (-2, 2), times a power of two, that no other operand has."""
    return Argument("bell", shape, {"scale": scale}, apart=f"/{name}")


def styled(shape: tuple[int, ...], name: str, styles: Sequence[tuple[str, int]]) -> Argument:
    """Numbers of one style after the other, each for so many elements."""
    return Argument("blocks", shape, {"styles": tuple(styles)}, apart=f"/{name}")


def arrays(
    shapes: Mapping[str, tuple[int, ...]], scales: Mapping[str, float] = NO_OPTIONS, **given: Argument
) -> dict[str, Argument]:
    """Operands of bell-shaped numbers by name; given: those that are made otherwise."""
    return {name: given.get(name) or bell(shape, name, scales.get(name, 1.0)) for name, shape in shapes.items()}


def whole(name: str, arguments: Mapping[str, Argument], result: tuple[int, ...], **options: Any) -> Sample:
    """One region: with options, in float32 alone."""
    dtypes = ("float32",) if options else ()
    return Sample(name, arguments, {ALL: slice(0, prod(result))}, result, options=options, dtypes=dtypes)


def narrow(sample: Sample) -> Sample:
    """In float32 alone: of what another record asks in every dtype."""
    return replace(sample, dtypes=("float32",))


def without_gradients(sample: Sample, region: str) -> Sample:
    """In float32, judged as one region of another name than that of which gradients are asked."""
    return replace(narrow(sample), regions={region: slice(0, prod(sample.result))})


def by_entry(name: str, arguments: Mapping[str, Argument], result: tuple[int, ...], *regions: str) -> Sample:
    """One region for each entry of the batch, of which no gradient is asked."""
    size = prod(result[1:])
    places = {region: slice(size * n, size * (n + 1)) for n, region in enumerate(regions)}
    return Sample(name, arguments, places, result, without_slope=regions)


def layer(
    name: str,
    formula: str,
    value: Callable[..., Number],
    *samples: Sample,
    page: str = "",
    constant: Sequence[str] = (),
) -> Operation:
    """A record with gradients by every floating operand; constant: those of them that are never differentiated by."""
    slopes = {
        argument: Gradient(value, place)
        for place, (argument, of) in enumerate(samples[0].arguments.items())
        if of.dtype not in INTEGERS and argument not in constant
    }
    options: list[Mapping[str, Any]] = []
    for sample in samples:
        if sample.options and sample.options not in options:
            options.append(sample.options)
    owned = tuple(replace(sample, owner=name) for sample in samples)
    return Operation(name, formula, page or PAGE.format(name), value, owned, slopes, variants=tuple(options))
