"""How MLX spells the initializers of `touchstone.golden.operations`: a function of an array that has the shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_OF_THE_CALL = ("gain", "mode")
"""Options that the made function takes; its maker takes the others."""
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "normal": ("mean", "std"),
    "uniform": ("low", "high"),
    "identity": (),
    "glorot_normal": ("gain",),
    "glorot_uniform": ("gain",),
    "he_normal": ("gain", "mode"),
    "he_uniform": ("gain", "mode"),
}
"""Functions of `mlx.nn.init`, and their options, which have the same names here."""
DECLARED = frozenset([*OPTIONS, *(f"{name} {option}" for name, found in OPTIONS.items() for option in found)])
"""`Capabilities.initializers`."""


def stored(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in which MLX stores a weight (out, in, *kernel): (out, *kernel, in)."""
    return (shape[0], *shape[2:], shape[1]) if len(shape) > 1 else tuple(shape)


def drawing(adapter: Any, name: str, dtype: str | None, options: Mapping[str, Any]) -> Callable[[Sequence[int]], Any]:
    """What gives weights (out, in, *kernel) of MLX's default dtype where none is given."""
    made_with = {option: value for option, value in options.items() if option not in _OF_THE_CALL}
    made_with |= {} if dtype is None else {"dtype": adapter.dtypes[dtype]}
    called_with = {option: value for option, value in options.items() if option in _OF_THE_CALL}
    made = getattr(adapter.nn.init, name)(**made_with)

    def draw(shape: Sequence[int]) -> Any:
        weight = made(adapter.mx.zeros(stored(shape)), **called_with)
        return adapter.mx.moveaxis(weight, -1, 1) if len(shape) > 2 else weight

    return draw
