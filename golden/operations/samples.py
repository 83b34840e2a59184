"""What operations are asked of: arrays in regions, each judged by itself, so that a registered fault hides no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from touchstone.golden.operations import regions
from touchstone.golden.recipes import Recipe


@dataclass(frozen=True)
class Argument:
    """One operand: a kind of recipe, its shape and its options; in the case's dtype unless one is named.

    apart: what its stream of numbers is told from those of the sample's other operands by.
    """

    kind: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = ""
    apart: str = ""

    def recipe(self, dtype: str, stream: str) -> Recipe:
        """How the array is made; operands of one sample share a stream, so that one may be close to the other."""
        return Recipe(self.kind, self.dtype or dtype, self.shape, self.options, stream + self.apart)


@dataclass(frozen=True)
class Sample:
    """Operands by the names of an operation's arguments, and where in the flattened result each region lies.

    result: its shape. without_slope: regions in which gradients are not asked. limits: whether limits are right at
    infinity (`Operation.no_value_at`), as of one number. options: that it is asked with. dtypes: that it is asked in.
    owner: the operation that it is asked of alone. exact: whether nothing is rounded, in any order.
    """

    name: str
    arguments: Mapping[str, Argument]
    regions: Mapping[str, slice]
    result: tuple[int, ...]
    limits: bool = False
    without_slope: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()
    owner: str = ""
    exact: bool = False


def in_turn(sizes: Mapping[str, int], step: int = 1) -> dict[str, slice]:
    """Region -> its place, one after the other, each so many times `step` elements."""
    ends = np.cumsum([0, *sizes.values()]) * step
    return {name: slice(int(a), int(b)) for name, a, b in zip(sizes, ends, ends[1:], strict=False)}


_SIZE = sum(regions.SIZES.values())
NUMBERS = Sample("numbers", {"x": Argument("regions", (_SIZE,))}, in_turn(regions.SIZES), (_SIZE,), limits=True)
"""One number each: every region of a dtype."""
EXACT_NUMBERS = replace(NUMBERS, limits=False)
"""The same, of a function that has a value at infinity, or none."""
_NEAR_ONE = {"near one": 128}
NEAR_ONE = Sample(
    "numbers near one",
    {"x": Argument("blocks", (128,), {"styles": (("near one", 128),)})},
    in_turn(_NEAR_ONE),
    (128,),
)
"""On both sides of 1 and -1, from an eighth to one unit in the last place away."""
PAIRS_OF_NUMBERS = Sample(
    "pairs of numbers",
    {
        name: Argument("paired regions", (sum(regions.SIZES_OF_PAIRS.values()),), {"place": place}, apart="/pair")
        for place, name in enumerate("ab")
    },
    in_turn(regions.SIZES_OF_PAIRS),
    (sum(regions.SIZES_OF_PAIRS.values()),),
    without_slope=("mixed", "tails", "tiny", "subnormal", "equal", "special"),
)
"""Two numbers each: every region of a dtype, and all pairs of what is special."""
PER_FEATURE = Sample(
    "numbers by feature",
    {"x": Argument("regions", (_SIZE // 6, 6)), "alpha": Argument("blocks", (6,), {"styles": (("bell", 6),)})},
    in_turn(regions.SIZES),
    (_SIZE // 6, 6),
)


def rows(
    name: str, size: int, kinds: Mapping[str, tuple[str, int]], half: bool = False, is_reduced: bool = False
) -> Sample:
    """Rows of a style each: region -> style and how many.

    half: the result is half as long as the row; is_reduced: it is one number.
    """
    count = sum(of for _, of in kinds.values())
    styles = tuple((style, size) for style, of in kinds.values() for _ in range(of))
    long = size // 2 if half else 1 if is_reduced else size
    places = in_turn({region: of for region, (_, of) in kinds.items()}, long)
    result = (count,) if is_reduced else (count, long)
    return Sample(name, {"x": Argument("blocks", (count, size), {"styles": styles})}, places, result)


_KINDS = {"ordinary": ("bell", 6), "wide": ("wide", 3), "equal": ("equal", 1), "far": ("far", 2)}
_INFINITE = {
    "minus infinity": ("minus infinity once", 1),
    "all minus infinity": ("minus infinity", 1),
    "infinity": ("infinity once", 1),
    "NaN": ("special once", 1),
}
ROWS = rows("rows", 48, {**_KINDS, **_INFINITE})
"""Rows of 48: ordinary, from -80 to 80, all equal, up to 8,192, and with infinities."""
LONG_ROWS = rows("rows of 4096", 4096, {"ordinary": ("bell", 1), "wide": ("wide", 1), "equal": ("equal", 1)})
HALVES = rows("halves", 96, {**_KINDS, "NaN": ("special once", 1)}, half=True)


def _blocks(shape: tuple[int, ...], styles: Sequence[str], sizes: Sequence[int]) -> Argument:
    return Argument("blocks", shape, {"styles": tuple(zip(styles, sizes, strict=True))})


def elements(
    name: str, sizes: Mapping[str, int], *, without_slope: tuple[str, ...] = ("special",), **styles: Sequence[str]
) -> Sample:
    """Operands of one element each: argument -> the style of each region."""
    total = sum(sizes.values())
    arguments = {argument: _blocks((total,), of, [*sizes.values()]) for argument, of in styles.items()}
    return Sample(name, arguments, in_turn(sizes), (total,), without_slope=without_slope)


def vectors(
    name: str, length: int, sizes: Mapping[str, int], *, without_slope: tuple[str, ...] = (), **styles: Sequence[str]
) -> Sample:
    """Operands of one row of `length` for each element of the result: argument -> the style of each region."""
    rows = sum(sizes.values())
    numbers = [length * count for count in sizes.values()]
    arguments = {argument: _blocks((rows, length), of, numbers) for argument, of in styles.items()}
    return Sample(name, arguments, in_turn(sizes), (rows,), without_slope=without_slope)


def with_classes(sample: Sample, name: str, argument: str = "targets") -> Sample:
    """Of vectors: a class for each row besides."""
    rows, classes = next(iter(sample.arguments.values())).shape
    ids = Argument("integers", (rows,), {"low": 0, "high": classes}, dtype="int32")
    return replace(sample, name=name, arguments={**sample.arguments, argument: ids})


def with_weights(sample: Sample, argument: str = "weights") -> Sample:
    """A positive weight for each element of the result besides."""
    count = sample.result[0]
    weights = _blocks((count,), ("positive",), [count])
    return replace(sample, arguments={**sample.arguments, argument: weights})


def with_class_weights(sample: Sample, name: str, argument: str = "weights") -> Sample:
    """Of rows of classes: a positive weight for each class besides."""
    classes = next(iter(sample.arguments.values())).shape[1]
    weights = _blocks((classes,), ("positive",), [classes])
    return replace(sample, name=name, arguments={**sample.arguments, argument: weights})
