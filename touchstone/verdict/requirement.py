"""What is required of every target: one normative sentence, and the choices that documentation leaves open."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

Level = Literal["required", "characterised"]
Layer = Literal[
    "embedding",
    "raw lookup",
    "quantized embedding",
    "linear",
    "quantized linear",
    "quantized weights",
    "llama",
    "function",
    "loss",
    "layer",
    "module",
    "initializer",
    "array",
    "checkpoint",
]
"""What a case may exercise; "quantized weights" are those outside of any layer, a tied head is its embedding's."""
LAYERS: tuple[str, ...] = get_args(Layer)
Difference = Literal["", "silent", "dtype", "rounding", "convention"]
"""What it means to move between two frameworks that choose differently, from the worst on."""


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One normative sentence.

    permitted: a characterised requirement's choices, as fnmatch patterns; difference: what it means to move between two
    that choose differently; advice: what to do then. layer: one of LAYERS, what its cases exercise where they do not
    say.
    """

    id: str
    group: str
    level: Level
    sentence: str
    source: str
    layer: Layer
    permitted: tuple[str, ...] = ()
    difference: Difference = ""
    advice: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a field of the other level."""
        is_open = self.level == "characterised"
        for name in ("permitted", "difference", "advice"):
            if is_open != bool(getattr(self, name)):
                raise ValueError(f"{name} belongs to characterised requirements, to each of them and only to them")

    def permits(self, behaviour: str) -> bool:
        return any(fnmatchcase(behaviour, pattern) for pattern in self.permitted)
