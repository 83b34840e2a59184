"""Operations that round nothing, or once: what NumPy gives is right, and is computed when a case is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from touchstone.golden.operations.record import NO_OPTIONS
from touchstone.golden.operations.samples import Sample
from touchstone.golden.rounding import to_dtype

FLOATS = ("float32", "float16", "bfloat16")
Value = Callable[..., Any]


@dataclass(frozen=True)
class Plain:
    """A function of arrays that NumPy has, or a line of NumPy.

    name: MLX's. page: where a framework documents it. value: of the operands in their order, and the options by
    keyword, in MLX's names; floats are given in float64, from which one rounding leads to each narrower dtype (53 bits
    are at least twice 24 and 2 more: Figueroa, SIGNUM Newsletter 30(3), 1995). Of options, "dtype" is the one that an
    array is made in, of no operand, and the case's; "to" is another than the operands'. samples: what it is asked of,
    in all their dtypes. variants: other options, of the first sample. calls: samples with options of their own. off: u
    of the result that it may be away. slopes: argument -> what it gets of a cotangent, of the cotangent and the
    operands. slopes_off: u of a gradient that it may be away. native: whether it is given floats as they are.
    needs_options: whether it is nothing without them. moves: whether each element of the result is one of the first
    operand, or a constant; moves_too: other operands of which it may be one. its_own_integers: whether documentation
    leaves open in which dtype it counts. signed_zeros: whether the sign of a zero is documented. in_order: what is
    compared, of the result, the operands and the options, where documentation leaves an order open.
    """

    name: str
    page: str
    value: Value
    samples: tuple[Sample, ...]
    variants: tuple[Mapping[str, Any], ...] = ()
    calls: tuple[tuple[Sample, Mapping[str, Any]], ...] = ()
    off: float = 0.0
    slopes_off: float = 0.0
    native: bool = False
    needs_options: bool = False
    moves: bool = False
    moves_too: tuple[str, ...] = ()
    slopes: Mapping[str, Value] = field(default_factory=dict)
    its_own_integers: bool = False
    signed_zeros: bool = True
    in_order: Value | None = None

    @property
    def asked(self) -> tuple[tuple[Sample, Mapping[str, Any]], ...]:
        """Every sample with the options that it is asked with, once."""
        return (
            *((sample, NO_OPTIONS) for sample in self.samples if not self.needs_options),
            *((self.samples[0], options) for options in self.variants),
            *self.calls,
        )

    def expected(self, operands: Sequence[np.ndarray], options: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
        """What is right, in the dtype of the operands where NumPy gives floats; several arrays of a split."""
        floats = [one.dtype.name for one in operands if one.dtype.name in FLOATS]
        given = [one.astype(np.float64) if one.dtype.name in FLOATS and not self.native else one for one in operands]
        with np.errstate(all="ignore"):
            found = self.value(*given, **options)
        several = found if isinstance(found, list | tuple) else (found,)
        return tuple(_narrowed(np.asarray(one), floats[0] if floats else "float32") for one in several)


def _narrowed(found: np.ndarray, dtype: str) -> np.ndarray:
    return to_dtype(found, dtype) if found.dtype == np.float64 else found
