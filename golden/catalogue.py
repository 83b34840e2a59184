"""The one collection of golden arrays (key -> how it is made) and the `Case` record that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from touchstone.golden.recipes import Derived, Recipe

CATALOGUE: dict[str, Recipe | Derived] = {}
"""Every golden array; keys read ``family/name``, and a family is one file of the store."""


def add(key: str, how: Recipe | Derived) -> str:
    """Put an array in the catalogue once; the same key must always mean the same array."""
    if CATALOGUE.setdefault(key, how) != how:
        raise ValueError(f"golden key {key!r} is defined twice, differently")
    return key


@dataclass(frozen=True)
class Case:
    """One parametrization of a requirement. `id` spells out every parameter and never changes between runs.

    params: what deviations and pins select on. arrays: role -> golden key. needs: capabilities the target must
    have, else *unsupported*. hazard: "reads" or "writes" where the probe may touch foreign memory or end its process;
    the process is replaced after writes. process: "defaults" for one with the framework's own precision settings,
    "doubles" for one in which it computes in float64.
    marks: pytest markers, to select by. upstream: the thread that reports the fault a case looks for.
    memory: bytes that the target must have free, else *not run*; a CPU is asked such a case only with ``--large``.
    """

    params: Mapping[str, Any]
    arrays: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    hazard: Literal["reads", "writes"] | None = None
    marks: tuple[str, ...] = ()
    upstream: str = ""
    memory: int = 0
    process: Literal["", "defaults", "doubles"] = ""

    @property
    def id(self) -> str:
        return "-".join(_spell(name, value) for name, value in self.params.items())


LAYOUT_NEEDS: Mapping[str, tuple[str, ...]] = {
    "dense": (),
    "offset": ("layout:offset",),
    "inner offset": ("layout:offset",),
    "strided": ("layout:step",),
    "inner strided": ("layout:step",),
    "reversed": ("layout:reverse",),
    "inner reversed": ("layout:reverse",),
    "transposed": ("layout:permute",),
    "broadcast": ("layout:broadcast",),
}
"""Ways to lay out an operand in memory -> what the target must be able to express."""

_BARE = {"layer", "dtype", "ids", "layout"}


def spell_shape(shape: tuple[int, ...]) -> str:
    """A shape in a key or an id: "2x3", "scalar"."""
    return "x".join(map(str, shape)) or "scalar"


def _spell(name: str, value: Any) -> str:
    text = str(value).replace(" ", "")
    if value is True or value is False:
        return name if value else f"no_{name}"
    return text if name in _BARE else f"{name}={text}"
