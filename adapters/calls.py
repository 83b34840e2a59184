"""How a framework spells an operation: the dotted name of a function, and what it is given beside the arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Call:
    """A function by its dotted name, with options by keyword.

    takes: options that a case may vary, by MLX's name -> by the framework's.

    >>> Call("math.ldexp").function()(1.0, 3)
    8.0
    >>> Call("math.isclose", takes={"tolerance": "rel_tol"}).function(tolerance=0.5)(1.0, 1.4)
    True
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)

    def function(self, **options: Any) -> Callable[..., Any]:
        """The function with its options. Raises ImportError or AttributeError where there is none of that name."""
        module, _, name = self.path.rpartition(".")
        found = getattr(import_module(module), name)
        given = {**self.options, **{self.takes[name]: value for name, value in options.items()}}
        return (lambda *arrays: found(*arrays, **given)) if given else found


@dataclass(frozen=True)
class Composition:
    """A function of the framework's own arrays that its documentation spells out of several calls.

    takes: options that a case may vary, in MLX's names, which the function takes by keyword.
    """

    made: Callable[..., Any]
    takes: tuple[str, ...] = ()

    def function(self, **options: Any) -> Callable[..., Any]:
        return lambda *arrays: self.made(*arrays, **options)


Spelling = Call | Composition


ALIKE: Mapping[str, Mapping[str, str]] = {
    "leaky_relu": {"negative_slope": "negative_slope"},
    "elu": {"alpha": "alpha"},
    "celu": {"alpha": "alpha"},
    "softshrink": {"lambd": "lambd"},
    "hard_shrink": {"lambd": "lambd"},
}
"""Options that every framework calls as MLX does."""
IN_PLACE = ("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "elu", "celu", "selu", "silu", "mish")
"""Operations that may overwrite their operand: "relu in place"."""
WEIGHTED_BY_CLASS = (
    *("cross_entropy_by_class", "cross_entropy_of_probabilities_by_class", "nll_loss_by_class"),
    "binary_cross_entropy_by_outcome",
)
"""Losses of which PyTorch alone has weights of classes, or of an outcome."""


def functions(
    module: str,
    names: Iterable[str],
    takes: Mapping[str, Mapping[str, str]] = {},
    otherwise: Mapping[str, str] = {},
) -> dict[str, Spelling]:
    """Functions of one module; otherwise: how it calls those that MLX calls by another name.

    >>> functions("jax.nn", ["softsign"], otherwise={"softsign": "soft_sign"})["softsign"].path
    'jax.nn.soft_sign'
    """
    options = {**ALIKE, **takes}
    return {name: Call(f"{module}.{otherwise.get(name, name)}", takes=options.get(name, {})) for name in names}


def alike(module: str, names: Mapping[str, Iterable[str]], otherwise: Mapping[str, str] = {}) -> dict[str, Spelling]:
    """Functions of one module, with options that it calls as MLX does; otherwise: its names that are not MLX's.

    >>> alike("jax.numpy", {"isclose": ["rtol"]})["isclose"].takes
    {'rtol': 'rtol'}
    """
    return {
        name: Call(f"{module}.{otherwise.get(name, name)}", takes={option: option for option in options})
        for name, options in names.items()
    }


def fetched(fetch: Callable[[Any], Any], made: Any) -> Any:
    """What a function made, by an adapter's `fetch`; a list where it gives several arrays.

    >>> fetched(abs, (-1, 2))
    [1, 2]
    """
    return [fetch(one) for one in made] if isinstance(made, list | tuple) else fetch(made)


def options_of(operations: Mapping[str, Spelling]) -> frozenset[str]:
    """What `Capabilities.options` says of a table of operations: "elu alpha"."""
    return frozenset(f"{name} {option}" for name, spelling in operations.items() for option in spelling.takes)
