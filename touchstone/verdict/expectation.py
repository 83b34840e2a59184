"""What a framework is known to do: deviations from a requirement, pins of a documented choice, and where each holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from packaging.specifiers import SpecifierSet

from touchstone.errors import InputError

WRITTEN_BY_HAND = ("cause", "reproduction", "advice")
"""Fields of a deviation that only a person can fill in; while one is empty the entry is a candidate."""

Pattern = Mapping[str, tuple[Any, ...]]


class ClashError(InputError):
    """Two entries are equally narrow for one case; the message names both."""


@dataclass(frozen=True)
class Place:
    """Where a run asks a target: the adapter's name, its device, and the facts that the run records of it."""

    framework: str
    device: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """Where an entry holds. No `devices`: on every one; no `where`: on every machine.

    seen_on: the device of each place where somebody has seen it and, of an entry with `where`, those facts.
    """

    framework: str
    devices: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seen_on: tuple[Mapping[str, str], ...] = ()

    @property
    def narrowness(self) -> tuple[bool, bool]:
        """Greater is narrower: a machine before a device, a device before a framework."""
        return bool(self.where), bool(self.devices)

    def reaches(self, place: Place) -> bool:
        """Whether it speaks of this framework and device, on some machine."""
        return self.framework == place.framework and (not self.devices or place.device in self.devices)

    def holds(self, place: Place) -> bool:
        return self.reaches(place) and all(place.facts.get(name) in values for name, values in self.where.items())

    def was_seen(self, place: Place) -> bool:
        """Whether somebody has seen it on this device, of an entry with `where` on a machine like this one."""
        here = {**place.facts, "device": place.device}
        return any(all(here.get(name) == value for name, value in seen.items()) for seen in self.seen_on)

    def here(self, place: Place) -> str:
        """What the facts that it names are in this place: "xla avx2"."""
        return ", ".join(f"{name} {place.facts.get(name, 'unknown')}" for name in self.where)

    def __str__(self) -> str:
        """In words, as "torch", "mlx on cpu", "jax on cpu where xla is avx512"."""
        devices = f" on {' or '.join(self.devices)}" if self.devices else ""
        facts = " and ".join(f"{name} is {' or '.join(values)}" for name, values in self.where.items())
        return f"{self.framework}{devices}{' where ' * bool(facts)}{facts}"


@dataclass(frozen=True)
class Expectation:
    """What deviations and pins share: which place, versions and cases they speak of."""

    requirement: str
    scope: Scope
    versions: SpecifierSet
    cases: tuple[Pattern, ...]
    origin: str

    def speaks_of(self, requirement: str, version: str, params: Mapping[str, Any]) -> bool:
        """Whether it is about this case at this version, wherever it holds."""
        return (
            self.requirement == requirement
            and any(matches(pattern, params) for pattern in self.cases)
            and _contains(self.versions, version)
        )

    def covers(self, requirement: str, place: Place, version: str, params: Mapping[str, Any]) -> bool:
        return self.scope.holds(place) and self.speaks_of(requirement, version, params)

    def shows(self, behaviour: str, headroom: float | None) -> bool:
        """Whether this is the behaviour that it registers."""
        raise NotImplementedError


@lru_cache(maxsize=4096)
def _contains(versions: SpecifierSet, version: str) -> bool:
    return versions.contains(version, prereleases=True)


def matches(pattern: Pattern, params: Mapping[str, Any]) -> bool:
    """Every parameter the pattern names has one of the listed values; an empty pattern matches every case."""
    return all(name in params and params[name] in values for name, values in pattern.items())


@dataclass(frozen=True)
class Deviation(Expectation):
    """A departure from a requirement: the behaviours observed, up to which error / bound, its cause, what to do."""

    observed: frozenset[str]
    headroom_at_most: float | None
    seen: date
    cause: str
    reproduction: str
    advice: str
    upstream: str = ""
    some_conform: bool = False
    """Whether a case may conform by its values, as where a sum in half precision happens to stay within bound: the
    entry is stale only when every one of its cases does."""

    @property
    def is_candidate(self) -> bool:
        return not all(getattr(self, name).strip() for name in WRITTEN_BY_HAND)

    def shows(self, behaviour: str, headroom: float | None) -> bool:
        limit = self.headroom_at_most
        return behaviour in self.observed and (limit is None or headroom is None or headroom <= limit)


@dataclass(frozen=True)
class Pin(Expectation):
    """Which of the choices that documentation leaves open a target makes, and the page that leaves it open."""

    classes: frozenset[str]
    page: str
    note: str = ""

    @property
    def is_candidate(self) -> bool:
        return not self.page.strip()

    def shows(self, behaviour: str, headroom: float | None) -> bool:
        return behaviour in self.classes


E = TypeVar("E", bound=Expectation)


@dataclass(frozen=True)
class Expectations:
    """All that is registered of one adapter."""

    deviations: tuple[Deviation, ...] = ()
    pins: tuple[Pin, ...] = ()

    def deviation(self, *case: Any) -> Deviation | None:
        """The narrowest deviation that covers the case. Raises ClashError where two are equally narrow."""
        return _narrowest(self._deviations_of.get(case[0], ()), case)

    def pin(self, *case: Any) -> Pin | None:
        """As `deviation`."""
        return _narrowest(self._pins_of.get(case[0], ()), case)

    def elsewhere(self, *case: Any) -> list[Expectation]:
        """Entries about the case that hold on this device, though not on this machine."""
        requirement, place, version, params = case
        entries = (*self._deviations_of.get(requirement, ()), *self._pins_of.get(requirement, ()))
        return [
            entry
            for entry in entries
            if entry.scope.where
            and entry.scope.reaches(place)
            and not entry.scope.holds(place)
            and entry.speaks_of(requirement, version, params)
        ]

    @cached_property
    def _deviations_of(self) -> dict[str, list[Deviation]]:
        return _by_requirement(self.deviations)

    @cached_property
    def _pins_of(self) -> dict[str, list[Pin]]:
        return _by_requirement(self.pins)


def _by_requirement(entries: Iterable[E]) -> dict[str, list[E]]:
    found: dict[str, list[E]] = {}
    for entry in entries:
        found.setdefault(entry.requirement, []).append(entry)
    return found


def _narrowest(entries: Iterable[E], case: tuple[Any, ...]) -> E | None:
    covering = [entry for entry in entries if entry.covers(*case)]
    if len(covering) < 2:
        return covering[0] if covering else None
    narrowest = max(entry.scope.narrowness for entry in covering)
    first, *others = (entry for entry in covering if entry.scope.narrowness == narrowest)
    if others:
        raise ClashError(clash(first, others[0], case[3]))
    return first


def clash(first: Expectation, second: Expectation, params: Mapping[str, Any]) -> str:
    """The sentence on two entries equally narrow for one case."""
    spelled = ", ".join(f"{name} {value}" for name, value in params.items()) or "the case without parameters"
    return f"{second.origin}: covers {spelled}, as does {first.origin}, and neither is narrower"
