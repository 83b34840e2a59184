"""What plain operations are asked of: integers and booleans of every dtype, grids whose elements tell their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.golden.catalogue import spell_shape
from touchstone.golden.operations.samples import NUMBERS, Argument, Sample, in_turn

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGER_DTYPES = (*SIGNED, *UNSIGNED)
BELOW_64 = ("float32", "float16", "bfloat16", "int8", "int16", "int32", "uint8", "uint32")
"""Dtypes that every framework has."""
EVERY_DTYPE = ("float32", "float16", "bfloat16", *INTEGER_DTYPES, "bool")
ALL = "all"
"""The one region of a result that is judged as a whole."""
_SIZES = {"ordinary": 48, "edges": 49}
"""From -7 to 7, or 0 to 14; and each of seven numbers at the ends of the dtype with each."""
_COUNT = sum(_SIZES.values())


def _integers(name: str, dtypes: Sequence[str], kinds: Mapping[str, str], **options: Any) -> Sample:
    """Operands by their kind of integers."""
    arguments = {
        argument: Argument("integer regions", (_COUNT,), {"kind": kind, **options}, apart=f"/{argument}")
        for argument, kind in kinds.items()
    }
    return Sample(name, arguments, in_turn(_SIZES), (_COUNT,), dtypes=tuple(dtypes))


INTEGERS = (_integers("integers", INTEGER_DTYPES, {"x": "first"}),)
PAIRS_OF_INTEGERS = (_integers("pairs of integers", INTEGER_DTYPES, {"a": "first", "b": "second"}),)
NONZERO = (_integers("integers and divisors", INTEGER_DTYPES, {"a": "first", "b": "divisors"}),)
SHIFTS = (_integers("integers and shifts", INTEGER_DTYPES, {"a": "first", "b": "shifts"}),)
SMALL_POWERS = (_integers("bases and powers", ("int32", "uint8", "int64"), {"a": "first", "b": "powers"}),)
LOGICAL = (_integers("booleans", ("bool",), {"x": "booleans"}),)
PAIRS_OF_LOGICAL = (_integers("pairs of booleans", ("bool",), {"a": "booleans", "b": "other booleans"}),)
WHOLE = _integers("whole numbers and divisors", ("float32", "float16", "bfloat16"), {"a": "first", "b": "divisors"})
_N = NUMBERS.result[0]
CHOSEN = Sample(
    "numbers by a condition",
    {
        "condition": Argument("integers", (_N,), {"low": 0, "high": 2}, dtype="bool", apart="/condition"),
        "x": Argument("regions", (_N,), apart="/x"),
        "y": Argument("regions", (_N,), apart="/y"),
    },
    NUMBERS.regions,
    (_N,),
)


def values(shape: tuple[int, ...], *given: float) -> Argument:
    """These numbers."""
    return Argument("values", shape, {"values": given})


_NAN = float("nan")
OTHERS = tuple(
    Sample(name, {"a": values((4,), *a), "b": values((4,), *b)}, {ALL: slice(None)}, (), dtypes=("float32",))
    for name, a, b in (
        ("alike", (1, 2, -0.0, 4), (1, 2, 0.0, 4)),
        ("nearly alike", (1, 2, 3, 4), (1, 2, 3.00001, 4)),
        ("not alike", (1, 2, 3, 4), (1, 2, 3.1, 4)),
        ("alike but for NaN", (1, _NAN, 3, 4), (1, _NAN, 3, 4)),
    )
)


def shuffled(name: str, shape: tuple[int, ...], dtypes: Sequence[str], alike: int = 1) -> Sample:
    """Whole numbers from 0 on in no order; alike: so many are one number."""
    x = Argument("numbered", shape, {"is_shuffled": True, "start": -alike, "alike": alike})
    return Sample(name, {"x": x}, {ALL: slice(None)}, shape, dtypes=tuple(dtypes))


def grid(name: str, *shapes: tuple[int, ...], dtypes: Sequence[str] = (), **options: Any) -> Sample:
    """Operands of these shapes, "x" and then "y", "z", whose elements differ: 0.5, 1, 1.5 and so on, or whole numbers.

    options: as of the kind "numbered"; result: of the first one.
    """
    ends = [0]
    for shape in shapes:
        size = 1
        for n in shape:
            size *= n
        ends.append(ends[-1] + size)
    arguments = {
        argument: Argument("numbered", shape, {"start": start, **options}, apart=f"/{argument}")
        for argument, shape, start in zip("xyz", shapes, ends, strict=False)
    }
    return Sample(name, arguments, {ALL: slice(None)}, shapes[0], dtypes=tuple(dtypes))


def numbered(shape: tuple[int, ...], start: int = 0, **options: Any) -> Argument:
    """Elements that differ, from start + 1 on; options: as of the kind "numbered"."""
    return Argument("numbered", shape, {"start": start, **options})


def integers(*given: Any) -> Argument:
    """These indices, or several rows of them, in int32: `integers(2, 0)`, `integers([1, 0], [0, 2])`."""
    numbers = np.array(given, dtype=np.int64)
    return Argument("values", numbers.shape, {"values": tuple(numbers.reshape(-1).tolist())}, dtype="int32")


def integer(given: int) -> Argument:
    """One index, of no dimension."""
    return Argument("values", (), {"values": (given,)}, dtype="int32")


def sample(name: str, dtypes: Sequence[str] = ("float32",), region: str = ALL, **arguments: Argument) -> Sample:
    """Operands by name, in their order; none at all for an operation that makes an array of its options alone."""
    told = {argument: replace(of, apart=f"/{argument}") for argument, of in arguments.items()}
    first = next((of.shape for of in told.values()), ())
    return Sample(name, told, {region: slice(None)}, first, dtypes=tuple(dtypes))


_BROADCAST: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), (3,)),
    ((3,), (1,)),
    ((3, 1), (1, 4)),
    ((2, 1, 3), (4, 1)),
    ((4,), (2, 3, 4)),
    ((1, 2, 1, 3, 1), (4, 1, 3, 1, 2)),
    ((0, 3), (1, 3)),
    ((2, 1), (1, 0)),
)
BROADCAST = tuple(
    sample(f"{spell_shape(a)} against {spell_shape(b)}", a=numbered(a), b=numbered(b, 2)) for a, b in _BROADCAST
)
"""Shapes that fit by repetition: of every rank up to five, and without an element."""


def repeated(sample: Sample) -> tuple[int, ...]:
    """The shape that the operands of a sample are repeated to."""
    return np.broadcast_shapes(*(of.shape for of in sample.arguments.values()))
