"""Whose values does a tensor have, where its name says nothing? A corner of each is held against all of the same shape.

Codes and numbers alike: the corners' correlation tells which two are worth a closer look, which decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.mapping import search
from touchstone.migration.mapping.expressions import Permute, Shape
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.mapping.templates import Family, likeness
from touchstone.migration.parameters import Parameter

_SIDE = 8
"""Rows and columns of a corner."""
_LEAST = 0.75
"""Correlation of two corners of one tensor, of which one may be in 2-bit codes; of 64 numbers that have nothing to do
with each other it is above that once in 10**9 times."""
_Corners = dict[str, np.ndarray]


def by_values(wanted: Mapping[str, Family], free: Mapping[str, Family]) -> dict[str, Rule]:
    """Target -> its rule, of single tensors whose names are like no source's, and whose values are one source's."""
    targets = {t: p for t, p in _single(wanted) if all(likeness(s, t) < search.ALIKE for s in free)}
    sources = dict(_single(free))
    out = {}
    after = _by_shape(targets, turned=False)
    for turned in (False, True):
        before = _by_shape(sources, turned=turned)
        for shape in before.keys() & after.keys():
            for target, source in _best(after[shape], before[shape]):
                steps = (Permute((1, 0)),) if turned else ()
                rule = Rule(target, (source,), steps=steps, basis="values")
                if target not in out and search.support(rule, wanted[target], free) == 1:
                    out[target] = rule
    return out


def _single(these: Mapping[str, Family]) -> Iterator[tuple[str, Parameter]]:
    return ((name, next(iter(family.values()))) for name, family in these.items() if len(family) == 1)


def _by_shape(these: Mapping[str, Parameter], *, turned: bool) -> dict[Shape, _Corners]:
    """Corners of parameters by their shape, without mean and of length 1; of matrices turned, if that is asked."""
    out: dict[Shape, _Corners] = {}
    for name, stored in these.items():
        for parameter in [stored.as_form(f) for f in stored.possible if stored.form in (None, f)] or [stored]:
            shape = parameter.shape
            if turned and len(shape) != 2:
                continue
            corner = _corner(parameter, turned=turned)
            if corner is not None:
                out.setdefault(shape[::-1] if turned else shape, {})[name] = corner
    return out


def _corner(parameter: Parameter, *, turned: bool) -> np.ndarray | None:
    """None of what cannot be read, and of numbers that are all alike."""
    side = _SIDE if len(parameter.shape) > 1 else _SIDE**2
    try:
        rows = parameter.rows(0, min(side, parameter.length)).astype(np.float64)
    except CheckpointError:  # its own question will say so
        return None
    corner = rows.reshape(len(rows), -1)[:, :side]
    flat = (corner.T if turned else corner).reshape(-1)
    flat = flat - flat.mean() if flat.size else flat
    size = float(np.linalg.norm(flat))
    return flat / size if np.isfinite(size) and size else None


def _best(targets: _Corners, sources: _Corners) -> Iterator[tuple[str, str]]:
    """Each target with the source that is most like it, where no other is and it is like no other target more."""
    theirs, ours = list(sources), list(targets)
    alike = np.stack(list(targets.values())) @ np.stack(list(sources.values())).T
    for row, target in enumerate(ours):
        column = int(np.argmax(alike[row]))
        if alike[row, column] >= _LEAST and int(np.argmax(alike[:, column])) == row:
            yield target, theirs[column]
