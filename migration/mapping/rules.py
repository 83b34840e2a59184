"""One rule of the program: for every layer alike, the target's tensor as an expression over the source's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from touchstone.migration.mapping.expressions import (
    Apply,
    Normalize,
    Part,
    Range,
    Step,
    View,
    after,
    applied,
    before_fusion,
    concatenated,
    parameter_of,
    slack_of,
    stacked,
    view_of,
)
from touchstone.migration.mapping.templates import Family, Index, filled, spelled
from touchstone.migration.parameters import Fusion, Parameter

COMPUTED, NORMALIZED = "computed", "normalized"
"""Encodings of numbers that a function, or a division by a sum, gave: another library may round them otherwise."""
Basis = Literal["map", "documented", "names", "values"]
"""Why a rule is believed: the user's map, a convention's page, names that say it, or values (it is *inferred* then)."""


@dataclass(frozen=True)
class Rule:
    """How the tensors of one template are made.

    target: template of the tensors that are made. sources: templates of what they are made of, several of which
    are concatenated along `axis`. over: which number of the source runs, those tensors being stacked. part_of: which
    number of the target says which part, along the first axis, of its source it is. page: where it is documented.
    """

    target: str
    sources: tuple[str, ...]
    over: int | None = None
    part_of: int | None = None
    axis: int = 0
    steps: tuple[Step, ...] = ()
    basis: Basis = "values"
    page: str = ""

    @property
    def is_rename(self) -> bool:
        return not self.steps and self.over is None and self.part_of is None and len(self.sources) == 1

    @property
    def uses_all(self) -> bool:
        """Whether every element of the sources goes into one target."""
        return self.part_of is None and not any(isinstance(s, Part | Range) for s in self.steps)

    @property
    def how(self) -> str:
        """What is done to the sources, in words; empty where they are only called otherwise."""
        said = [f"concatenated along axis {self.axis}"] if len(self.sources) > 1 else []
        said += ["stacked in order"] if self.over is not None else []
        said += ["parts in order"] if self.part_of is not None else []
        return ", ".join([*said, *map(str, self.steps)])

    @property
    def why(self) -> str:
        """Why it is believed, in words."""
        reasons = {"map": "the map", "names": "by its name", "values": "inferred from the values"}
        return reasons.get(self.basis, self.page)

    def __str__(self) -> str:
        names = " + ".join(map(spelled, self.sources))
        how = f": {self.how}" if self.how else ""
        return f"{spelled(self.target)} = {names}{how}"

    def parameters(self, index: Index, sources: Mapping[str, Family]) -> Sequence[Parameter]:
        """What the target with these numbers is made of, in order; empty where something is missing."""
        own = index if self.part_of is None else _without(index, self.part_of)
        found: list[Parameter] = []
        for name in self.sources:
            family = sources.get(name, {})
            if self.over is None:
                found += [family[own]] if own in family else []
                continue
            running = sorted(i for i in family if _without(i, self.over) == own)
            found += [family[i] for i in running]
        return found if self.over is not None or len(found) == len(self.sources) else []

    def made(self, index: Index, sources: Mapping[str, Family], parts: int = 0) -> Parameter | None:
        """What the target with these numbers must hold, as a parameter whose rows are computed when they are read.

        parts: into how many the source is divided where `part_of` says which. None where it cannot be made.
        """
        found = self.parameters(index, sources)
        adapted = next((p for p in found if p.fusion), None)
        if not found or len({(p.dtype, "" if p.fusion else p.encoding) for p in found}) > 1:
            return None
        view = self._view(list(map(view_of, found)), index, parts)
        if view is None:
            return None
        kinds = {Apply: COMPUTED, Normalize: NORMALIZED}
        encoding = next((kinds[type(s)] for s in self.steps if type(s) in kinds), (adapted or found[0]).encoding)
        if not adapted:
            return parameter_of(self._name(index), view, found[0], encoding)
        base, slack = (self._view(list(map(read, found)), index, parts) for read in (before_fusion, slack_of))
        assert base is not None
        assert slack is not None
        return parameter_of(self._name(index), view, found[0], encoding, Fusion(base.rows, slack.rows))

    def _view(self, views: Sequence[View], index: Index, parts: int) -> View | None:
        view = self._joined(views)
        if view is None:
            return None
        steps = self.steps
        if self.part_of is not None:
            if not parts or not view.shape or view.shape[0] % parts:
                return None
            steps = (Part(0, index[self.part_of], parts), *steps)
        return None if after(view.shape, steps) is None else applied(view, steps)

    def _name(self, index: Index) -> str:
        own: tuple[object, ...] = index if self.part_of is None else _without(index, self.part_of)
        if self.over is not None:
            own = (*own[: self.over], "*", *own[self.over :])
        names = " + ".join(filled(s, own) for s in self.sources)
        return f"{names} ({', '.join(map(str, self.steps))})" if self.steps else names

    def _joined(self, views: Sequence[View]) -> View | None:
        if self.over is not None:
            return stacked(views) if len({v.shape for v in views}) == 1 else None
        if len(views) == 1:
            return views[0]
        rest = {(*v.shape[: self.axis], *v.shape[self.axis + 1 :]) for v in views}
        return concatenated(views, self.axis) if len(rest) == 1 and len(views[0].shape) > self.axis else None


def _without(index: Index, place: int) -> Index:
    return (*index[:place], *index[place + 1 :])
