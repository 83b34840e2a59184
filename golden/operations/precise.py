"""Values, gradients and errors of operations as golden arrays: computed when arrays are generated, never in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np

from touchstone.golden.operations import arithmetic
from touchstone.golden.operations.arithmetic import Number
from touchstone.golden.operations.catalogue import OPERATIONS
from touchstone.golden.operations.record import Operation, spelled
from touchstone.golden.streams import DTYPES

INSIDE = {"value": "", "error": "", "error in float32": "float32"}
"""What is stored of a result -> the dtype of the steps inside it, where that is not the operands'."""
INTEGERS = "iub"
"""Kinds of dtypes that are ids, packed words or what holds, and no numbers to compute with."""


def _numbers_of(operation: Operation, arrays: tuple[np.ndarray, ...], inside: str) -> tuple[Any, ...]:
    """Operands as numbers to 50 digits, integers as they are."""
    dtype = next(a.dtype.name for a in arrays if a.dtype.kind not in INTEGERS)
    finely = arithmetic.precision(inside or operation.inside or operation.steps_in or dtype)
    limits = operation.sample.limits
    return tuple(a if a.dtype.kind in INTEGERS else arithmetic.numbers(a, finely, limits=limits) for a in arrays)


Held = tuple[tuple[bytes, str, tuple[int, ...]], ...]
"""Arrays as their bytes, dtype and shape."""


@lru_cache(maxsize=4)
def _operands(name: str, inside: str, held: Held) -> tuple[Any, ...]:
    arrays = tuple(np.frombuffer(raw, DTYPES[dtype]).reshape(shape) for raw, dtype, shape in held)
    with arithmetic.mpmath().workdps(arithmetic.DIGITS):
        return _numbers_of(OPERATIONS[name], arrays, inside)


@lru_cache(maxsize=4)
def _computed(key: tuple[str, str, int], inside: str, held: Held) -> Number:
    name, argument, number = key
    operation = OPERATIONS[name]
    options = operation.every_option[number]
    with arithmetic.mpmath().workdps(arithmetic.DIGITS):
        made = operation.slopes[argument] if argument else operation.value
        return made(*_operands(name, inside, held), **options)


def made(key: tuple[str, str, int], what: str, *arrays: np.ndarray) -> np.ndarray:
    """A value in float64, or in float32 and rounded up the error of a computation that follows the formula's steps.

    key: the operation, the argument that a gradient is for (empty for its value), and which options. arrays: the
    operands, after the cotangent where it is a gradient.
    """
    held = tuple((np.ascontiguousarray(a).tobytes(), a.dtype.name, a.shape) for a in arrays)
    found = _computed(key, INSIDE[what], held)
    if what == "value":
        return found.value.astype(np.float64)
    error = np.where(np.isfinite(found.value.astype(np.float64)), found.error, 0).astype(np.float64)
    at_limit = np.zeros(found.shape, bool)
    for array in arrays:
        if array.shape == found.shape:
            at_limit |= np.isinf(array.astype(np.float64))
    error = np.where(np.isnan(error) | (np.isinf(error) & at_limit), np.where(at_limit, 0, np.inf), error)
    with np.errstate(over="ignore"):
        return np.nextafter(error.astype(np.float32), np.float32(np.inf)).astype(np.float32)


def _named() -> Mapping[str, Callable[..., np.ndarray]]:
    found = {}
    for name, operation in OPERATIONS.items():
        for number, options in enumerate(operation.every_option):
            for argument in ("", *operation.slopes):
                for what in INSIDE:
                    of = f"gradient of {argument} of " if argument else ""
                    found[f"{what} of {of}{spelled(name, options)}"] = partial(made, (name, argument, number), what)
    return found


DERIVED = _named()
"""How a golden array is derived from its inputs -> what computes it."""
