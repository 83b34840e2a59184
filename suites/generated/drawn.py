"""One generated case, and how a strategy draws its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from touchstone.adapters.interface import Capabilities
from touchstone.golden.catalogue import LAYOUT_NEEDS, Case
from touchstone.golden.packing import BLOCK, FORMATS, Format
from touchstone.golden.recipes import Recipe
from touchstone.suites.assay import Assay

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Example:
    """What was drawn for a case: parameters beside the case's own, and a recipe for each array."""

    params: Mapping[str, Any]
    arrays: Mapping[str, Recipe]
    needs: tuple[str, ...] = ()

    def case(self, template: Case) -> Case:
        """The template with what was drawn; array keys are the roles."""
        return replace(
            template,
            params={**template.params, **self.params},
            arrays={role: role for role in self.arrays},
            needs=tuple(dict.fromkeys((*template.needs, *self.needs))),
            marks=(),
        )


@dataclass(frozen=True)
class Property:
    """What generated cases ask: `draw` an example for a case and a target's capabilities, and `ask` it.

    share: of the run's number of examples one in so many is drawn.
    """

    name: str
    requirement: str
    draw: Callable[[Draw, Case, Capabilities], Example]
    ask: Callable[[Assay], None]
    share: int = 1


class Made:
    """The arrays of one example, as a golden store gives them."""

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self.recipes, self._made = recipes, dict[str, np.ndarray]()

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._made:
            array = self.recipes[key].make(key)
            array.flags.writeable = False
            self._made[key] = array
        return self._made[key]

    def where(self, key: str) -> str:
        return f"generated: {key} = {self.recipes[key].describe()}"


def stream(draw: Draw) -> str:
    """The name of the words that an array is made of."""
    return f"generated/{draw(st.integers(0, 2**32 - 1))}"


def layout(draw: Draw, capabilities: Capabilities, names: tuple[str, ...]) -> str:
    """One of these layouts that the target can express; half of the time "dense"."""
    able = [n for n in names if not any(capabilities.missing(need) for need in LAYOUT_NEEDS[n])]
    return draw(st.sampled_from(("dense", *able))) if able and draw(st.booleans()) else "dense"


def form(draw: Draw, capabilities: Capabilities) -> Format:
    """A quantization format that the target has; block modes as often as affine ones of one width."""
    able = [f for f in FORMATS if not capabilities.missing(f"scheme:{f.name}")]
    block = [f for f in able if f in BLOCK]
    return draw(st.sampled_from(block if block and draw(st.integers(0, 3)) == 0 else able))
