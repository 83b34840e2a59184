"""How a framework spells an operation: the dotted name of a function, and what it is given beside the array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Call:
    """A function by its dotted name, with options by keyword.

    >>> Call("math.ldexp").function()(1.0, 3)
    8.0
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def function(self) -> Callable[..., Any]:
        """The function with its options. Raises ImportError or AttributeError where there is none of that name."""
        module, _, name = self.path.rpartition(".")
        found = getattr(import_module(module), name)
        return (lambda *arrays: found(*arrays, **self.options)) if self.options else found
