"""Are the codes of a tensor off to one side? Rounding to the nearest has no direction, whatever the bound allows.

A bound alone is loose where weights lie on the lattice of their codes, as those of a model that was trained so: offsets
that are moved by a third of a step leave everything within half a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_LEAN = 0.05
"""Steps that a tensor's values may be from its weights on average. Where the density of weights changes by the share r
from one code to the next, rounding to the nearest gives r / 24."""
ORDINARY_STEPS = 15
"""With fewer steps from end to end, of 4 bits, density changes more from one to the next."""
FEWEST = 1024
"""Codes from which that is asked: a mean of so many errors within half a step is off by 0.009, five times less."""
ENOUGH = 4096
"""Elements of one call from which the lean is computed."""


def some_of(elements: int) -> slice:
    """Which groups of so many elements are looked at, evenly spread."""
    return slice(None, None, max(1, elements // ENOUGH))


@dataclass
class Lean:
    """Signed errors, in steps, of weights between the ends of their lattice: how many, and two sums.

    upwards: of value minus weight; along: the same along the lattice, which may run downwards, or away from zero.
    rounding: how far rounded scales and offsets may move those values together, where groups are alike. limit: of the
    mean's distance from zero beyond that.
    """

    count: int = 0
    upwards: float = 0.0
    along: float = 0.0
    rounding: float = 0.0
    limit: float = MOST_LEAN

    def add(self, other: Lean) -> None:
        if other.count:
            self.count += other.count
            self.upwards += other.upwards
            self.along += other.along
            self.rounding += other.rounding
            self.limit = other.limit

    @property
    def mean(self) -> float:
        """The larger mean of the two, in steps; 0 where nothing was counted."""
        larger = max(self.upwards, self.along, key=abs)
        return larger / self.count if self.count else 0.0

    @property
    def most(self) -> float:
        """The largest mean of a sound tensor, in steps."""
        return self.limit + (self.rounding / self.count if self.count else 0.0)

    @property
    def is_too_far(self) -> bool:
        return self.count >= FEWEST and abs(self.mean) > self.most


@dataclass(frozen=True)
class Errors:
    """Of some groups' elements, ``[groups, elements]``, by how many steps of the lattice a value is above its weight.

    codes: without a sign. is_inside: whether the weight lies between the lattice's ends. rounding: how many steps that
    of scale and offset may have moved the value. direction: 1 where the lattice runs upwards, else -1. steps: from end
    to end, of the widest.
    """

    codes: np.ndarray
    upwards: np.ndarray
    is_inside: np.ndarray
    rounding: np.ndarray | float
    direction: np.ndarray
    steps: float

    def lean(self, accepted: np.ndarray) -> Lean:
        """Of the groups that are accepted, and whose weights are spread over their lattice."""
        groups, size = self.codes.shape
        number = self.codes + 256 * np.arange(groups)[:, None]
        commonest = np.bincount(number.reshape(-1), minlength=256 * groups).reshape(groups, 256).max(-1)
        counts = self.is_inside & (accepted & (commonest <= size // 2))[:, None]
        upwards = np.where(counts, self.upwards, 0)
        return Lean(
            int(np.count_nonzero(counts)),
            float(upwards.sum()),
            float((upwards * self.direction).sum()),
            float(np.where(counts, self.rounding, 0).sum()),
            MOST_LEAN * max(1.0, ORDINARY_STEPS / self.steps),
        )
