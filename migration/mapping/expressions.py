"""Tensors made of other tensors: what a converter does to an array, as steps that read only the rows asked for.

>>> import numpy as np
>>> whole = Permute((1, 0)).shape((2, 3))
>>> whole
(3, 2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from touchstone.migration.checkpoint import Rows, Tensor
from touchstone.migration.parameters import Fusion, Parameter

Shape = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """An array by its rows: shape, and what reads rows [start, stop) of its first axis."""

    shape: Shape
    rows: Rows

    @property
    def length(self) -> int:
        return self.shape[0] if self.shape else 1

    def whole(self) -> np.ndarray:
        return self.rows(0, self.length).reshape(self.shape)


def view_of(parameter: Parameter) -> View:
    """A stored parameter as it is."""
    return View(parameter.shape, parameter.rows)


def parameter_of(name: str, view: View, like: Parameter, encoding: str, fusion: Fusion | None = None) -> Parameter:
    """A parameter whose rows are computed when they are read. like: of whose dtype and file it is."""
    first = like.parts[0]
    tensor = Tensor(name, like.dtype, view.shape, first.file, view.rows, encoding)
    return Parameter(name, (tensor,), fusion=fusion)


def before_fusion(parameter: Parameter) -> View:
    """What a parameter was before an adapter was added to it, if one was."""
    return View(parameter.shape, parameter.fusion.base if parameter.fusion else parameter.rows)


def slack_of(parameter: Parameter) -> View:
    """How far a library's sum with an adapter may be from the exact one; nothing where none was added."""
    if parameter.fusion:
        return View(parameter.shape, parameter.fusion.slack)
    return View(parameter.shape, lambda a, b: np.zeros((b - a, *parameter.shape[1:])))


def read_as(read: Callable[[Parameter], View], parameter: Parameter) -> Parameter:
    """A parameter with the rows of one of the above instead of its own."""
    return parameter_of(parameter.name, read(parameter), parameter, "")


class Step(Protocol):
    """One thing that a converter does to an array. Its text says it as NumPy or a converter's author would."""

    @property
    def words(self) -> tuple[object, ...]:
        """The step as a map writes it."""

    def shape(self, before: Shape) -> Shape | None:
        """The shape that comes out, None where the step cannot be taken."""

    def apply(self, view: View) -> View:
        """The array that comes out; `shape` has said that it can be taken."""


@dataclass(frozen=True)
class Permute:
    """Axes in another order: axis i of the result is axis ``axes[i]`` of what it is made of."""

    axes: tuple[int, ...]

    @property
    def words(self) -> tuple[object, ...]:
        return ("permute", *self.axes)

    def __str__(self) -> str:
        return "transposed" if self.axes == (1, 0) else f"axes to {_spell(self.axes)}"

    def shape(self, before: Shape) -> Shape | None:
        return tuple(before[a] for a in self.axes) if len(before) == len(self.axes) else None

    def apply(self, view: View) -> View:
        after = tuple(view.shape[a] for a in self.axes)
        if self.axes[0] == 0:
            return View(after, lambda a, b: np.ascontiguousarray(view.rows(a, b).transpose(self.axes)))
        return View(after, lambda a, b: np.ascontiguousarray(view.whole().transpose(self.axes)[a:b]))


@dataclass(frozen=True)
class Part:
    """The k-th of n equal parts along an axis: a stretch of it, or every n-th from k on."""

    axis: int
    k: int
    n: int
    is_interleaved: bool = False

    @property
    def words(self) -> tuple[object, ...]:
        return ("every" if self.is_interleaved else "part", self.axis, self.k, self.n)

    def __str__(self) -> str:
        if self.is_interleaved:
            return f"every {_nth(self.n)} along axis {self.axis} from {self.k}"
        return f"part {self.k + 1} of {self.n} along axis {self.axis}"

    def shape(self, before: Shape) -> Shape | None:
        if self.axis >= len(before) or before[self.axis] % self.n:
            return None
        return (*before[: self.axis], before[self.axis] // self.n, *before[self.axis + 1 :])

    def apply(self, view: View) -> View:
        size = view.shape[self.axis] // self.n
        if self.is_interleaved:
            return _sliced(view, self.axis, self.k, size, self.n)
        return _sliced(view, self.axis, self.k * size, size, 1)


@dataclass(frozen=True)
class Range:
    """Places [start, stop) of an axis."""

    axis: int
    start: int
    stop: int

    @property
    def words(self) -> tuple[object, ...]:
        return ("range", self.axis, self.start, self.stop)

    def __str__(self) -> str:
        return f"[{self.start}:{self.stop}] of axis {self.axis}"

    def shape(self, before: Shape) -> Shape | None:
        if self.axis >= len(before) or self.stop > before[self.axis]:
            return None
        return (*before[: self.axis], self.stop - self.start, *before[self.axis + 1 :])

    def apply(self, view: View) -> View:
        return _sliced(view, self.axis, self.start, self.stop - self.start, 1)


@dataclass(frozen=True)
class Reshape:
    """The same elements in another shape, in C order."""

    to: Shape

    @property
    def words(self) -> tuple[object, ...]:
        return ("reshape", *self.to)

    def __str__(self) -> str:
        return f"as {_spell(self.to)}"

    def shape(self, before: Shape) -> Shape | None:
        return self.to if math.prod(before) == math.prod(self.to) else None

    def apply(self, view: View) -> View:
        old, new = (math.prod(s[1:]) for s in (view.shape, self.to))

        def rows(start: int, stop: int) -> np.ndarray:
            first, last = start * new, stop * new
            low = first // max(1, old)
            flat = view.rows(low, -(-last // max(1, old))).reshape(-1)
            return flat[first - low * old : last - low * old].reshape(stop - start, *self.to[1:])

        return View(self.to, rows)


@dataclass(frozen=True)
class Add:
    """A constant added, in the dtype of the array."""

    value: float

    @property
    def words(self) -> tuple[object, ...]:
        return ("add", f"{self.value:g}")

    def __str__(self) -> str:
        return f"{self.value:+g}"

    def shape(self, before: Shape) -> Shape | None:
        return before

    def apply(self, view: View) -> View:
        return _each(view, lambda x: x + self.value)


@dataclass(frozen=True)
class Multiply:
    """Rows multiplied by constants. Each constant, their product and that with a row is rounded to the array's dtype.

    stretches: (how many rows, their constants), one after the other; of one alone, all rows whatever their number.
    """

    stretches: tuple[tuple[int, tuple[float, ...]], ...]

    @property
    def words(self) -> tuple[object, ...]:
        return (
            "multiply",
            *(text for rows, factors in self.stretches for text in (rows, "*".join(map(repr, factors)))),
        )

    def __str__(self) -> str:
        products = [f"{math.prod(factors):g}" for _, factors in self.stretches]
        return f"times {products[0]}" if len(products) == 1 else f"rows times {', '.join(products)}"

    def shape(self, before: Shape) -> Shape | None:
        counts = [rows for rows, _ in self.stretches]
        return before if len(counts) == 1 or before[:1] == (sum(counts),) else None

    def apply(self, view: View) -> View:
        ends = np.cumsum([rows for rows, _ in self.stretches])

        def rows(start: int, stop: int) -> np.ndarray:
            found = view.rows(start, stop)
            own = np.array([self._rounded(factors, found.dtype) for _, factors in self.stretches])
            place = np.searchsorted(ends, np.arange(start, stop), side="right") if len(ends) > 1 else np.zeros(1, int)
            return (found.astype(np.float64) * own[place].reshape(-1, *(1,) * (found.ndim - 1))).astype(found.dtype)

        return View(view.shape, rows)

    @staticmethod
    def _rounded(factors: tuple[float, ...], dtype: np.dtype) -> float:
        product = np.float64(1)
        for factor in np.array(factors).astype(dtype).astype(np.float64):
            product = (product * factor).astype(dtype).astype(np.float64)
        return float(product)


@dataclass(frozen=True)
class Normalize:
    """A matrix divided by the lengths of its rows (axis 1) or columns (axis 0), and 1e-7."""

    axis: int

    @property
    def words(self) -> tuple[object, ...]:
        return ("normalize", self.axis)

    def __str__(self) -> str:
        return f"{'rows' if self.axis else 'columns'} of length 1"

    def shape(self, before: Shape) -> Shape | None:
        return before if len(before) == 2 else None

    def apply(self, view: View) -> View:
        @cache
        def of_columns() -> np.ndarray:
            squares = np.zeros(view.shape[1])
            for start in range(0, view.length, _ROWS):
                squares += (view.rows(start, min(view.length, start + _ROWS)).astype(np.float64) ** 2).sum(0)
            return np.sqrt(squares)

        def rows(start: int, stop: int) -> np.ndarray:
            found = view.rows(start, stop)
            wide = found.astype(np.float64)
            lengths = np.linalg.norm(wide, axis=1, keepdims=True) if self.axis else of_columns()
            return (wide / (lengths + 1e-7)).astype(found.dtype)

        return View(view.shape, rows)


_ROWS = 1 << 10
"""Rows of which squares are summed at once."""


FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "-exp(x)": lambda x: -np.exp(x),
    "log(-x)": lambda x: np.log(-x),
}


@dataclass(frozen=True)
class Apply:
    """A function of each element, computed in float64 and rounded to the dtype of the array."""

    function: str

    @property
    def words(self) -> tuple[object, ...]:
        return ("apply", self.function)

    def __str__(self) -> str:
        return self.function

    def shape(self, before: Shape) -> Shape | None:
        return before

    def apply(self, view: View) -> View:
        return _each(view, FUNCTIONS[self.function])


@dataclass(frozen=True)
class Flip:
    """An axis from its end to its beginning."""

    axis: int

    @property
    def words(self) -> tuple[object, ...]:
        return ("reverse", self.axis)

    def __str__(self) -> str:
        return f"axis {self.axis} reversed"

    def shape(self, before: Shape) -> Shape | None:
        return before if self.axis < len(before) else None

    def apply(self, view: View) -> View:
        size = view.shape[self.axis]
        if self.axis:
            return View(view.shape, lambda a, b: np.flip(view.rows(a, b), self.axis))
        return View(view.shape, lambda a, b: view.rows(size - b, size - a)[::-1])


def stacked(views: Sequence[View]) -> View:
    """Arrays of one shape along a new first axis."""
    shape = (len(views), *views[0].shape)
    return View(shape, lambda a, b: np.stack([v.whole() for v in views[a:b]]) if b > a else np.empty((0, *shape[1:])))


def concatenated(views: Sequence[View], axis: int = 0) -> View:
    """Arrays along an axis that they have."""
    shape = list(views[0].shape)
    shape[axis] = sum(v.shape[axis] for v in views)
    if axis:
        return View(tuple(shape), lambda a, b: np.concatenate([v.rows(a, b) for v in views], axis))
    starts = np.cumsum([0, *(v.shape[0] for v in views)])

    def rows(start: int, stop: int) -> np.ndarray:
        parts = [
            v.rows(max(start - first, 0), min(stop - first, v.shape[0]))
            for v, first in zip(views, starts.tolist(), strict=False)
            if start < first + v.shape[0] and stop > first
        ]
        return np.concatenate(parts) if parts else views[0].rows(0, 0)

    return View(tuple(shape), rows)


def after(shape: Shape, steps: Sequence[Step]) -> Shape | None:
    """The shape that comes out of all steps, None where one cannot be taken."""
    found: Shape | None = shape
    for step in steps:
        if found is None:
            return None
        found = step.shape(found)
    return found


def applied(view: View, steps: Sequence[Step]) -> View:
    """What comes out of all steps."""
    for step in steps:
        view = step.apply(view)
    return view


def _each(view: View, function: Callable[[np.ndarray], np.ndarray]) -> View:
    """A function of every element, in float64 and rounded to the dtype of the array."""

    def rows(start: int, stop: int) -> np.ndarray:
        found = view.rows(start, stop)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return function(found.astype(np.float64)).astype(found.dtype)

    return View(view.shape, rows)


def _sliced(view: View, axis: int, start: int, size: int, stride: int) -> View:
    shape = (*view.shape[:axis], size, *view.shape[axis + 1 :])
    if axis == 0:
        return View(
            shape,
            lambda a, b: (
                view.rows(start + a * stride, start + (b - 1) * stride + 1)[::stride] if b > a else view.rows(0, 0)
            ),
        )
    place: tuple[slice, ...] = (slice(None),) * axis + (slice(start, start + size * stride, stride),)
    read: Callable[[int, int], np.ndarray] = lambda a, b: np.ascontiguousarray(view.rows(a, b)[place])  # noqa: E731
    return View(shape, read)


def _spell(numbers: Sequence[int]) -> str:
    return f"({', '.join(map(str, numbers))})"


def _nth(n: int) -> str:
    return {2: "second", 3: "third"}.get(n, f"{n}th")
