"""What is required of every target: one normative sentence, and the choices that documentation leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

LAYERS = (
    *("embedding", "raw lookup", "quantized embedding", "linear", "quantized linear", "quantized weights"),
    *("llama", "checkpoint"),
)
"""What a case may exercise; "quantized weights" are those outside of any layer, a tied head is its embedding's."""


@dataclass(frozen=True)
class Requirement:
    """One normative sentence. `permitted` lists a characterised requirement's choices, as fnmatch patterns,
    `difference` what it means to move between two that choose differently, and `advice` what to do then. `layer`, one
    of LAYERS, is what its cases exercise where they do not say."""

    id: str
    group: str
    level: Literal["required", "characterised"]
    sentence: str
    source: str
    permitted: tuple[str, ...] = ()
    difference: str = ""
    advice: str = ""
    layer: str = "embedding"

    def permits(self, behaviour: str) -> bool:
        return any(fnmatchcase(behaviour, pattern) for pattern in self.permitted)
