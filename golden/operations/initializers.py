"""The initializers of `mlx.nn.init`: which distribution each draws from, by the shape of the weight and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import erf, inf, prod, sqrt
from typing import Any, Literal

import numpy as np

Form = Literal["normal", "truncated normal", "uniform"]
EDGE = 2.0
"""Where a truncated normal distribution ends, in standard deviations of the normal one."""
TRUNCATED_SCALE = 0.87962566103423978
"""Standard deviation of N(0, 1) truncated at two deviations (jax.nn.initializers.variance_scaling)."""


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.vectorize(erf, otypes=[np.float64])(z / sqrt(2)))


@dataclass(frozen=True)
class Law:
    """A symmetric distribution of one number, by its form, mean and standard deviation."""

    form: Form
    mean: float
    std: float

    @property
    def half_width(self) -> float:
        """From the mean to the end of the distribution; infinite for a normal one."""
        return {"normal": inf, "truncated normal": EDGE / TRUNCATED_SCALE, "uniform": sqrt(3)}[self.form] * self.std

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """The probability of a value up to each `x`."""
        z = (np.asarray(x, np.float64) - self.mean) / self.std
        if self.form == "uniform":
            return np.clip(0.5 + z / sqrt(12), 0, 1)
        if self.form == "normal":
            return _normal_cdf(z)
        low, high = _normal_cdf(np.array([-EDGE, EDGE]))
        return np.clip((_normal_cdf(z * TRUNCATED_SCALE) - low) / (high - low), 0, 1)

    def __str__(self) -> str:
        return f"{self.form} of mean {self.mean:.4g} and standard deviation {self.std:.4g}"


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs an output is a sum of, and how many outputs an input goes to: of a weight (out, in, *kernel).

    >>> fans((8, 4, 3, 3))
    (36, 72)
    """
    outputs, inputs, *kernel = shape
    return inputs * prod(kernel), outputs * prod(kernel)


Spread = Callable[[Sequence[int], Mapping[str, Any]], tuple[float, float]]
"""Mean and standard deviation, by the shape and the options."""


@dataclass(frozen=True)
class Initializer:
    """What is right of one initializer, whoever draws.

    name: MLX's. formula: of its page, as a distribution. page: where a framework documents it. forms: the distributions
    that the formula leaves open; none where it draws nothing. spread: the mean and the standard deviation.
    """

    name: str
    formula: str
    page: str
    forms: tuple[Form, ...] = ()
    spread: Spread | None = None

    def laws(self, shape: Sequence[int], options: Mapping[str, Any]) -> list[Law]:
        """The distributions that a weight (out, in, *kernel) may have; options: as `Adapter.initialize` takes them."""
        if self.spread is None:
            raise ValueError(f"{self.name} draws nothing")
        mean, std = self.spread(shape, options)
        return [Law(form, mean, std) for form in self.forms]


def _normal(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[float, float]:
    return options.get("mean", 0.0), options["std"]


def _uniform(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[float, float]:
    low, high = options.get("low", 0.0), options["high"]
    return (low + high) / 2, (high - low) / sqrt(12)


def _glorot(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[float, float]:
    return 0.0, options.get("gain", 1.0) * sqrt(2 / sum(fans(shape)))


def _he(shape: Sequence[int], options: Mapping[str, Any]) -> tuple[float, float]:
    fan_in, fan_out = fans(shape)
    return 0.0, options["gain"] / sqrt({"fan_in": fan_in, "fan_out": fan_out}[options.get("mode", "fan_in")])


_MLX = "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary/mlx.nn.init.{}.html"
_SOME_NORMAL: tuple[Form, ...] = ("normal", "truncated normal")


def _of(name: str, formula: str, forms: tuple[Form, ...] = (), spread: Spread | None = None) -> Initializer:
    return Initializer(name, formula, _MLX.format(name), forms, spread)


INITIALIZERS: Mapping[str, Initializer] = {
    one.name: one
    for one in (
        _of("constant", "value"),
        _of("normal", "N(mean, std**2)", ("normal",), _normal),
        _of("uniform", "U(low, high)", ("uniform",), _uniform),
        _of("identity", "1 on the diagonal, else 0"),
        _of("glorot_normal", "N(0, gain**2 * 2 / (fan_in + fan_out))", _SOME_NORMAL, _glorot),
        _of("glorot_uniform", "U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out))", ("uniform",), _glorot),
        _of("he_normal", "N(0, gain**2 / fan)", _SOME_NORMAL, _he),
        _of("he_uniform", "U(-a, a), a = gain * sqrt(3 / fan)", ("uniform",), _he),
    )
}
DRAWN = tuple(one.name for one in INITIALIZERS.values() if one.forms)
"""Those that draw random numbers."""
SCALED = tuple(name for name in DRAWN if name.startswith(("glorot", "he")))
"""Those whose scale follows from the shape, by fans."""
