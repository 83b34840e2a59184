"""What tells groups of cases apart: the shortest parameters of which no two groups share a value."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

MOST_NAMES = 2
"""Parameters that are tried together."""
MOST_VALUES = 4
"""Values that are spelled out."""

Params = Mapping[str, Any]


def told_apart(groups: Sequence[Sequence[Params]]) -> list[str]:
    """For each group the parameters that tell it from the others, "" where there is one group or nothing differs.

    >>> told_apart([[{"bits": 4, "weights": "one inf"}], [{"bits": 4, "weights": "NaN"}]])
    ['weights=one inf', 'weights=NaN']
    """
    if len(groups) < 2:
        return [""] * len(groups)
    names = list(dict.fromkeys(name for group in groups for params in group for name in params))
    everywhere = [name for name in names if all(name in params for group in groups for params in group)]
    for chosen in (everywhere, names):
        ways = chain.from_iterable(combinations(chosen, count) for count in range(1, MOST_NAMES + 1))
        spelled = [[_spell(group, way) for group in groups] for way in ways if _differ(groups, way)]
        if spelled:
            return min(spelled, key=lambda texts: max(map(len, texts)))
    return [""] * len(groups)


def _values(group: Sequence[Params], names: Sequence[str]) -> set[tuple[Hashable, ...]]:
    return {tuple(params.get(name) for name in names) for params in group}


def _differ(groups: Sequence[Sequence[Params]], names: Sequence[str]) -> bool:
    """Whether no two groups share a combination of values."""
    return all(not _values(a, names) & _values(b, names) for a, b in combinations(groups, 2))


def _spell(group: Sequence[Params], names: Sequence[str]) -> str:
    return " ".join(_list(name, [p[name] for p in group if name in p]) for name in names)


def _list(name: str, values: Sequence[Any]) -> str:
    """Spelled as "mode=mxfp4, mxfp8", or "no mode" where no case has it."""
    different = list(dict.fromkeys(map(str, values)))
    more = f", … {len(different)} values" if len(different) > MOST_VALUES else ""
    return f"{name}={', '.join(different[:MOST_VALUES])}{more}" if different else f"no {name}"
