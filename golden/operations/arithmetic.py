"""Arrays of numbers to 50 digits, each with how far rounding may have moved it: a formula written once gives both.

Running error analysis (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, section 3.3): every step adds to
the errors of its operands what its own rounding may be. So the formula of a page, as it is written, is at once what is
right and the bound on who computes it so. mpmath is imported when numbers are made: never in a run of the suites.

A number remembers what it was made of, and what each of that gets of a cotangent, where one is differentiated by it:
`touchstone.golden.operations.reverse` follows that back.

A step's rounding is u of its result and the smallest subnormal. A function call's is 4u of its result, two to four
units in the last place (libraries of vector functions promise 4 at most: glibc's libmvec), and u of what a step in its
argument changes (mixed forward-backward). A sum of K terms has `golden.bounds.gamma` of their sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.golden.bounds import SMALLEST_SUBNORMAL, gamma, overflow, unit_roundoff

DIGITS = 50
CALL = 4
"""u of its result that a function call may be off."""
INFINITE = 400
"""A power of ten beyond which every formula here has settled: what stands for infinity where limits are asked."""
WIDEST_CONSTANT = 8
"""Bits of a significand that every dtype holds: a constant of fewer is not rounded."""


@dataclass(frozen=True)
class Precision:
    """How finely the steps of a computation round: u, the smallest subnormal, and from where on a number is infinite.

    Sums are in float32 always.
    """

    step: float
    least: float
    overflow: float


def precision(inside: str) -> Precision:
    """Of a computation whose steps are in the dtype `inside`."""
    return Precision(unit_roundoff(inside), SMALLEST_SUBNORMAL[inside], overflow(inside))


def mpmath() -> Any:
    """The library. Raises GoldenError with what installs it."""
    try:
        import mpmath as found
    except ImportError as error:
        from touchstone.golden.store import GoldenError

        raise GoldenError("generating values of functions needs mpmath: pip install mpmath") from error
    return found


def _each(function: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """A function of mpmath numbers at every element; NaN where an operand is NaN."""
    mp = mpmath()

    def guarded(*values: Any) -> Any:
        return mp.nan if any(mp.isnan(v) for v in values) else function(*values)

    return np.asarray(np.frompyfunc(guarded, len(arrays), 1)(*arrays), dtype=object)


def _size(array: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(array), dtype=object)


@dataclass(frozen=True)
class Condition:
    """Where a comparison holds, and where an operand was NaN."""

    holds: np.ndarray
    unknown: np.ndarray
    precision: Precision

    def number(self, value: Any) -> Number:
        """A number or a constant, in the precision of what was compared."""
        return value if isinstance(value, Number) else _constant(value, self.precision)


def _constant(value: Any, precision: Precision) -> Number:
    """Rounded, unless every dtype holds it."""
    mp = mpmath()
    exact = mp.mpf(value)
    if mp.isinf(exact):
        return Number(np.full((), exact, object), np.full((), mp.mpf(0), object), precision)
    short = mp.frexp(exact)[0] * 2**WIDEST_CONSTANT
    error = mp.mpf(0) if short == mp.floor(short) else precision.step * abs(exact)
    return Number(np.full((), exact, object), np.full((), error, object), precision)


class Number:
    """An array of exact values beside the largest error of a computation that follows the same steps.

    traced: whether it is differentiated by, or made of one that is. of: those, and what each gets of a cotangent.
    """

    def __init__(self, value: np.ndarray, error: np.ndarray, precision: Precision) -> None:
        self.value, self.error, self.precision = value, error, precision
        self.traced = False
        self.of: tuple[tuple[Number, Pullback], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def made_of(self, *operands: tuple[Number, Pullback]) -> Number:
        """Itself, remembering those operands that are traced."""
        self.of = tuple((one, pull) for one, pull in operands if one.traced)
        self.traced = bool(self.of)
        return self

    def _made(self, value: np.ndarray, error: np.ndarray, *, sums: bool = False) -> Number:
        """A result, rounded: by u of it, and where it is no sum or difference by the smallest subnormal."""
        own = self.precision.step * _size(value) + (0 if sums else self.precision.least)
        return Number(value, error + own, self.precision)

    def _moved(self, how: Callable[[np.ndarray], np.ndarray], back: Callable[[np.ndarray], np.ndarray]) -> Number:
        """Its elements in other places; back: from there."""
        made = Number(how(self.value), how(self.error), self.precision)
        return made.made_of((self, lambda g: g._moved(back, how)))

    def _other(self, other: Any) -> Number:
        return other if isinstance(other, Number) else _constant(other, self.precision)

    def __add__(self, other: Any) -> Number:
        one = self._other(other)
        made = self._made(self.value + one.value, self.error + one.error, sums=True)
        return made.made_of((self, lambda g: g), (one, lambda g: g))

    def __radd__(self, other: Any) -> Number:
        return self + other

    def __neg__(self) -> Number:
        return Number(-self.value, self.error, self.precision).made_of((self, lambda g: -g))

    def __sub__(self, other: Any) -> Number:
        return self + (-self._other(other))

    def __rsub__(self, other: Any) -> Number:
        return self._other(other) - self

    def __mul__(self, other: Any) -> Number:
        one = self._other(other)
        moved = _size(self.value) * one.error + _size(one.value) * self.error + self.error * one.error
        made = self._made(self.value * one.value, moved)
        return made.made_of((self, lambda g: g * one), (one, lambda g: g * self))

    def __rmul__(self, other: Any) -> Number:
        return self * other

    def __truediv__(self, other: Any) -> Number:
        one = self._other(other)
        value = _each(_quotient, self.value, one.value)
        made = self._made(value, _each(_quotient_error, value, self.error, one.value, one.error))
        return made.made_of((self, lambda g: g / one), (one, lambda g: -(g * self / one / one)))

    def __rtruediv__(self, other: Any) -> Number:
        return self._other(other) / self

    def __abs__(self) -> Number:
        made = Number(_size(self.value), self.error, self.precision)
        return made.made_of((self, lambda g: g * sign(self)))

    def __matmul__(self, other: Number) -> Number:
        """Matrix product over the last axis and the last but one; each element is a sum in float32."""
        size, other_size = _size(self.value), _size(other.value)
        moved = size @ other.error + self.error @ (other_size + other.error)
        made = self._made(self.value @ other.value, moved + gamma(self.shape[-1]) * (size @ other_size), sums=True)
        return made.made_of((self, lambda g: g @ other.swapped()), (other, lambda g: self.swapped() @ g))

    def __getitem__(self, index: Any) -> Number:
        made = Number(self.value[index], self.error[index], self.precision)
        return made.made_of((self, lambda g: _scattered(g, index, self.shape)))

    def reshape(self, *shape: int) -> Number:
        """The same elements in their order, in another shape."""
        return self._moved(lambda a: a.reshape(shape), lambda a: a.reshape(self.shape))

    def transpose(self, *axes: int) -> Number:
        """Its axes in another order."""
        return self._moved(lambda a: a.transpose(axes), lambda a: a.transpose(np.argsort(axes)))

    def swapped(self) -> Number:
        """With its last two axes exchanged."""
        return self._moved(lambda a: a.swapaxes(-1, -2), lambda a: a.swapaxes(-1, -2))

    def padded(self, widths: Sequence[tuple[int, int]], fill: float = 0.0) -> Number:
        """Elements before and behind along each axis, of one exact value."""
        inner = tuple(slice(before, before + n) for (before, _), n in zip(widths, self.shape, strict=True))
        value = np.pad(self.value, widths, constant_values=mpmath().mpf(fill))
        made = Number(value, np.pad(self.error, widths, constant_values=mpmath().mpf(0)), self.precision)
        return made.made_of((self, lambda g: g[inner]))

    def _compared(self, other: Any, how: Callable[[Any, Any], bool]) -> Condition:
        one = self._other(other)
        mp = mpmath()
        holds = np.frompyfunc(how, 2, 1)(self.value, one.value).astype(bool)
        unknown = np.frompyfunc(lambda a, b: mp.isnan(a) or mp.isnan(b), 2, 1)(self.value, one.value).astype(bool)
        return Condition(holds, unknown, self.precision)

    def __gt__(self, other: Any) -> Condition:
        return self._compared(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Condition:
        return self._compared(other, lambda a, b: a >= b)

    def __lt__(self, other: Any) -> Condition:
        return self._compared(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Condition:
        return self._compared(other, lambda a, b: a <= b)

    def called(
        self,
        function: Callable[[Any], Any],
        slope: Callable[[Any, Any], Any],
        derivative: Callable[[Number, Number], Number] | None = None,
    ) -> Number:
        """A function call; slope: its derivative, of the argument and the value; derivative: the same, with errors.

        Raises NotImplementedError without a derivative, of a number that is differentiated by.
        """
        value = _each(function, self.value)
        steep = _each(lambda x, y: abs(slope(x, y)), self.value, value)
        backward = steep * (self.error + self.precision.step * _size(self.value))
        made = self._made(value, backward + (CALL - 1) * self.precision.step * _size(value))
        if derivative is None and self.traced:
            raise NotImplementedError("a function call without a derivative, of a number that is differentiated by")
        return made.made_of((self, lambda g: g * derivative(self, made))) if derivative else made

    def sum(self, axis: int | None = -1) -> Number:
        """The sum along an axis, kept as an axis of one element; of all elements with None."""
        count = self.value.size if axis is None else self.shape[axis]
        how: dict[str, Any] = {"axis": axis, "keepdims": axis is not None}
        value = np.asarray(self.value.sum(**how), object)
        moved = np.asarray(self.error.sum(**how) + gamma(count) * _size(self.value).sum(**how))
        return self._made(value, moved, sums=True).made_of((self, lambda g: g.spread(self.shape)))

    def spread(self, shape: tuple[int, ...]) -> Number:
        """Repeated along axes of one element, to a shape."""
        made = Number(np.broadcast_to(self.value, shape), np.broadcast_to(self.error, shape), self.precision)
        return made.made_of((self, lambda g: g))

    def mean(self, axis: int | None = -1) -> Number:
        """The sum over the number of elements."""
        return self.sum(axis) / (self.value.size if axis is None else self.shape[axis])

    def most(self, axis: int = -1) -> Number:
        """The largest element along an axis, kept as an axis of one element."""
        at = np.argmax(
            np.frompyfunc(lambda v: float("inf") if v != v else v, 1, 1)(self.value), axis=axis, keepdims=True
        )
        made = Number(
            np.take_along_axis(self.value, at, axis), np.take_along_axis(self.error, at, axis), self.precision
        )
        places = np.moveaxis(np.arange(self.shape[axis]).reshape(-1, *[1] * (len(self.shape) - 1)), 0, axis)
        return made.made_of((self, lambda g: where(Condition(places == at, places < 0, self.precision), g, 0)))


Pullback = Callable[[Number], Number]
"""What an operand gets of a cotangent of the result, before sums over what it was repeated along."""


def _scattered(g: Number, index: Any, shape: tuple[int, ...]) -> Number:
    """Zeros of a shape with elements added at an index, where some may meet: those are a sum."""
    mp = mpmath()
    value, size, error = (np.full(shape, mp.mpf(0), object) for _ in range(3))
    counts = np.zeros(shape, np.int64)
    for held, added in ((value, g.value), (size, _size(g.value)), (error, g.error), (counts, 1)):
        np.add.at(held, index, added)
    return Number(value, error + gamma(int(counts.max(initial=0))) * size * (counts > 1), g.precision)


def _quotient(a: Any, b: Any) -> Any:
    if b == 0:
        return mpmath().nan if a == 0 else mpmath().inf * mpmath().sign(a)
    return a / b


def _quotient_error(value: Any, a: Any, b: Any, error: Any) -> Any:
    return mpmath().inf if b == 0 else (a + abs(value) * error) / abs(b)


def numbers(array: np.ndarray, precision: Precision, *, limits: bool = False) -> Number:
    """Inputs, exact. limits: infinities become numbers so large that every formula has settled."""
    mp = mpmath()
    far = mp.mpf(10) ** INFINITE

    def exact(v: float) -> Any:
        return mp.sign(v) * far if limits and np.isinf(v) else mp.mpf(v)

    value = np.array([exact(v) for v in array.astype(np.float64).reshape(-1).tolist()], object).reshape(array.shape)
    return Number(value, np.full(array.shape, mp.mpf(0), object), precision)


def where(condition: Condition, yes: Any, no: Any) -> Number:
    """One of two, where a comparison holds or does not; NaN where it compared one."""
    a, b = condition.number(yes), condition.number(no)
    value, error = (np.where(condition.holds, getattr(a, of), getattr(b, of)) for of in ("value", "error"))
    made = Number(np.where(condition.unknown, mpmath().nan, value), error, condition.precision)
    return made.made_of((a, lambda g: where(condition, g, 0)), (b, lambda g: where(condition, 0, g)))


def either(a: Number, b: Number) -> Number:
    """Computed in one of two ways that are one formula: the larger of their errors."""
    made = Number(a.value, np.maximum(a.error, b.error), a.precision)
    return made.made_of((a, lambda g: g))


def most(a: Number, b: Any) -> Number:
    """The larger; NaN where either is."""
    return where(a >= b, a, b)


def least(a: Number, b: Any) -> Number:
    """The smaller; NaN where either is."""
    return where(a <= b, a, b)


def exp(x: Number) -> Number:
    """e to the power of x."""
    return x.called(mpmath().exp, lambda x, y: y, lambda x, y: y)


def log(x: Number) -> Number:
    """The natural logarithm: minus infinity of zero, NaN below."""
    mp = mpmath()
    return x.called(
        lambda v: mp.log(v) if v > 0 else (-mp.inf if v == 0 else mp.nan),
        lambda x, y: 1 / x if x else mp.inf,
        lambda x, y: 1 / x,
    )


def log1p(x: Number) -> Number:
    """log(1 + x)."""
    return x.called(mpmath().log1p, lambda x, y: 1 / (1 + x) if x != -1 else mpmath().inf, lambda x, y: 1 / (1 + x))


def tanh(x: Number) -> Number:
    """The hyperbolic tangent."""
    return x.called(mpmath().tanh, lambda x, y: mpmath().sech(x) ** 2, lambda x, y: 1 - y * y)


def sin(x: Number) -> Number:
    """The sine of an angle."""
    mp = mpmath()
    return x.called(mp.sin, lambda x, y: mp.cos(x), lambda x, y: cos(x))


def cos(x: Number) -> Number:
    """The cosine of an angle."""
    mp = mpmath()
    return x.called(mp.cos, lambda x, y: mp.sin(x), lambda x, y: -sin(x))


def erf(x: Number) -> Number:
    """Off by 8u of one, not of itself: PyTorch and MLX both compute it by a formula with an absolute error."""
    mp = mpmath()
    far = mp.mpf(10) ** 4  # beyond every digit, and beyond what the library takes
    found = x.called(
        lambda v: mp.erf(v) if abs(v) < far else mp.sign(v), lambda x, y: 2 / mp.sqrt(mp.pi) * mp.exp(-(x**2))
    )
    return Number(found.value, found.error + 2 * CALL * x.precision.step, x.precision)


def sqrt(x: Number) -> Number:
    """Rounded once, as IEEE 754 has it."""
    mp = mpmath()
    value = _each(lambda v: mp.sqrt(v) if v >= 0 else mp.nan, x.value)
    moved = _each(lambda v, e: e / (2 * mp.sqrt(v)) if v > 0 else mp.sqrt(e), x.value, x.error)
    made = x._made(value, moved)
    return made.made_of((x, lambda g: g / (2 * made)))


def sigmoid(x: Number) -> Number:
    """1 / (1 + exp(-x))."""
    made = 1 / (1 + exp(-x))
    return made.made_of((x, lambda g: g * (made * (1 - made))))


def joined(parts: Sequence[Number], axis: int = -1) -> Number:
    """Numbers one after the other along an axis."""
    value, error = (np.concatenate([getattr(one, of) for one in parts], axis) for of in ("value", "error"))
    made = Number(value, error, parts[0].precision)
    ends = np.cumsum([0, *(one.shape[axis] for one in parts)])

    def part(start: int, end: int) -> Pullback:
        return lambda g: g[(*[slice(None)] * (axis % len(made.shape)), slice(start, end))]

    return made.made_of(*((one, part(a, b)) for one, a, b in zip(parts, ends, ends[1:], strict=False)))


def softplus(x: Number) -> Number:
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-abs(x))), without which it overflows."""
    return most(x, 0) + log1p(exp(-abs(x)))


def gaussian(x: Number) -> Number:
    """exp(-x**2 / 2) / sqrt(2 pi): the density of the normal distribution."""
    mp = mpmath()
    return exp(-(x * x) / 2) * (1 / mp.sqrt(2 * mp.pi))


def chosen(x: Number, classes: np.ndarray) -> Number:
    """Of each row ``[rows, classes]`` the element of its class."""
    return x[np.arange(len(classes)), classes]


def one_hot(x: Number, classes: np.ndarray) -> Number:
    """One at the class of each row, and zero elsewhere."""
    return numbers((np.arange(x.shape[-1]) == classes[:, None]).astype(np.float64), x.precision)


def log_of_sum(x: Number) -> Number:
    """log(sum(exp(x))) of each row, from which its largest element is taken before."""
    most_of_row = x.most()
    return (log(exp(x - most_of_row).sum()) + most_of_row)[..., 0]


def sign(x: Number) -> Number:
    """-1, 0 or 1."""
    return where(x > 0, 1, where(x < 0, -1, 0))


def limited(x: Number, low: Any, high: Any) -> Number:
    """x, or the end of the interval that it lies beyond."""
    return most(least(x, high), low)
