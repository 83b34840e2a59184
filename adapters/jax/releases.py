"""What older releases of Flax NNX spell differently (0.10 to 0.12)."""

from __future__ import annotations

import inspect
from typing import Any

from flax import nnx

data = getattr(nnx, "data", lambda value: value)
"""Marks an attribute as data; before 0.11 every attribute is looked at, and none is marked."""
List = getattr(nnx, "List", list)
"""Holds modules; before 0.12 a plain list does."""
_TAKES_MODEL = "model" in inspect.signature(nnx.Optimizer.update).parameters


def update(optimizer: Any, model: Any, gradients: Any) -> None:
    """One step of the optimizer on the model; before 0.11 the optimizer holds the model."""
    if _TAKES_MODEL:
        optimizer.update(model, gradients)
    else:
        optimizer.update(gradients)


def assign(variable: Any, value: Any) -> None:
    """Give a variable of a module its value."""
    if hasattr(variable, "set_value"):
        variable.set_value(value)
    else:
        variable.value = value


def split_and_merged(module: Any) -> Any:
    """The module in its two parts, put together again; since Flax 0.12 merging shares variables unless told to copy."""
    copies = {"copy": True} if "copy" in inspect.signature(nnx.merge).parameters else {}
    return nnx.merge(*nnx.split(module), **copies)
