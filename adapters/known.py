"""Known deviations and pins: what each target was seen to do, as data in ``adapters/known/NAME.toml``.

A *deviation* says that a target departs from a requirement in certain cases; a *pin* says which of the documented
choices a target makes for a characterised requirement. Both select cases by their parameters.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from adapters.interface import Adapter

FOLDER = Path(__file__).parent / "known"
WRITTEN_BY_HAND = ("cause", "reproduction", "advice")
"""Fields of a deviation that only a person can fill in; while one is empty the entry is a candidate."""
_COMMON = {"requirement", "target", "versions", "cases"}
_FIELDS = {
    "deviation": _COMMON | {"observed", "seen", *WRITTEN_BY_HAND},
    "pin": _COMMON | {"class", "page"},
}
_TEXT = {"requirement", "target", "versions", "upstream", "page", "note", *WRITTEN_BY_HAND}
_OPTIONAL = {"deviation": {"upstream", "headroom_at_most", "some_conform"}, "pin": {"note"}}

Pattern = Mapping[str, tuple[Any, ...]]


class KnownError(Exception):
    """A file of known deviations is malformed; the message names the file, the entry and the field."""


@dataclass(frozen=True)
class Entry:
    """What deviations and pins share: which target, versions and cases they speak of."""

    requirement: str
    target: str
    versions: SpecifierSet
    cases: tuple[Pattern, ...]
    origin: str

    def covers(self, requirement: str, target: str, version: str, params: Mapping[str, Any]) -> bool:
        return (
            self.requirement == requirement
            and self.target == target
            and self.versions.contains(version, prereleases=True)
            and any(matches(pattern, params) for pattern in self.cases)
        )


def matches(pattern: Pattern, params: Mapping[str, Any]) -> bool:
    """Every parameter the pattern names has one of the listed values; an empty pattern matches every case."""
    return all(name in params and params[name] in values for name, values in pattern.items())


@dataclass(frozen=True)
class Deviation(Entry):
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

    def explains(self, behaviour: str, headroom: float | None) -> bool:
        """Whether this behaviour, at this headroom, is what was registered."""
        limit = self.headroom_at_most
        return behaviour in self.observed and (limit is None or headroom is None or headroom <= limit)


@dataclass(frozen=True)
class Pin(Entry):
    classes: frozenset[str]
    page: str
    note: str = ""

    @property
    def is_candidate(self) -> bool:
        return not self.page.strip()


@dataclass(frozen=True)
class Known:
    deviations: tuple[Deviation, ...] = ()
    pins: tuple[Pin, ...] = ()

    def deviation(self, *case: Any) -> Deviation | None:
        return next((d for d in self.deviations if d.covers(*case)), None)

    def pin(self, *case: Any) -> Pin | None:
        return next((p for p in self.pins if p.covers(*case)), None)


def path_for(cls: type[Adapter], spec: str) -> Path:
    """``adapters/known/NAME.toml``, or ``NAME.toml`` in a ``known`` folder beside a third party's module."""
    if ":" not in spec:
        return FOLDER / f"{spec}.toml"
    import inspect

    return Path(inspect.getfile(cls)).parent / "known" / f"{cls.name}.toml"


def load(paths: Iterable[Path], requirements: Collection[str]) -> Known:
    """Read the files that exist. Raises KnownError for unknown ids or fields, bad ranges and duplicates."""
    deviations: list[Deviation] = []
    pins: list[Pin] = []
    for path in paths:
        if not path.exists():
            continue
        try:
            content = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:  # not TOML, or not UTF-8
            raise KnownError(f"{path}: {error}") from error
        if unknown := content.keys() - {"deviation", "pin"}:
            raise KnownError(f"{path}: unknown table {sorted(unknown)[0]!r}; use [[deviation]] and [[pin]]")
        for kind in ("deviation", "pin"):
            if not isinstance(content.get(kind, []), list):
                raise KnownError(f"{path}: {kind} must be a list of tables: write [[{kind}]]")
            for number, raw in enumerate(content.get(kind, []), 1):
                origin = f"{path}: {kind} {number} ({raw.get('requirement', 'no requirement')})"
                fields = _check(kind, raw, origin, requirements)
                if kind == "deviation":
                    deviations.append(_deviation(raw, fields, origin))
                else:
                    pins.append(_pin(raw, fields, origin))
    for entries in (deviations, pins):
        _refuse_duplicates(entries)
    return Known(tuple(deviations), tuple(pins))


def _check(kind: str, raw: Mapping[str, Any], origin: str, requirements: Collection[str]) -> dict[str, Any]:
    if missing := _FIELDS[kind] - raw.keys():
        raise KnownError(f"{origin}: lacks {', '.join(sorted(missing))}")
    if unknown := raw.keys() - _FIELDS[kind] - _OPTIONAL[kind]:
        raise KnownError(f"{origin}: unknown field {sorted(unknown)[0]!r}")
    if raw["requirement"] not in requirements:
        raise KnownError(f"{origin}: there is no such requirement")
    for name in (_FIELDS[kind] | _OPTIONAL[kind]) & raw.keys() & _TEXT:
        if not isinstance(raw[name], str):
            raise KnownError(f"{origin}: {name} must be a string, not {raw[name]!r}")
    if raw["target"].count("@") != 1:
        raise KnownError(f"{origin}: target must be NAME@DEVICE, not {raw['target']!r}")
    try:
        versions = SpecifierSet(raw["versions"])
    except InvalidSpecifier as error:
        raise KnownError(f"{origin}: bad version range {raw['versions']!r} ({error})") from error
    if not isinstance(raw["cases"], list) or not raw["cases"] or not all(isinstance(p, dict) for p in raw["cases"]):
        raise KnownError(f"{origin}: cases must be a list of tables, one empty table for every case")
    for pattern in raw["cases"]:
        if wrong := [name for name, values in pattern.items() if not isinstance(values, list)]:
            raise KnownError(f"{origin}: case parameter {wrong[0]!r} must be a list of values")
    cases = tuple({name: tuple(values) for name, values in pattern.items()} for pattern in raw["cases"])
    return {
        "requirement": raw["requirement"],
        "target": raw["target"],
        "versions": versions,
        "cases": cases,
        "origin": origin,
    }


def _deviation(raw: Mapping[str, Any], fields: dict[str, Any], origin: str) -> Deviation:
    if not isinstance(raw["seen"], date):
        raise KnownError(f"{origin}: seen must be a date such as 2026-11-21")
    if not isinstance(raw["observed"], list) or not raw["observed"]:
        raise KnownError(f"{origin}: observed must list at least one class of behaviour")
    if not isinstance(raw.get("headroom_at_most", 1.0), int | float):
        raise KnownError(f"{origin}: headroom_at_most must be a number, not {raw['headroom_at_most']!r}")
    if not isinstance(raw.get("some_conform", False), bool):
        raise KnownError(f"{origin}: some_conform must be true or false, not {raw['some_conform']!r}")
    return Deviation(
        **fields,
        observed=frozenset(raw["observed"]),
        headroom_at_most=raw.get("headroom_at_most"),
        seen=raw["seen"],
        upstream=raw.get("upstream", ""),
        some_conform=raw.get("some_conform", False),
        **{name: raw[name] for name in WRITTEN_BY_HAND},
    )


def _pin(raw: Mapping[str, Any], fields: dict[str, Any], origin: str) -> Pin:
    classes = [raw["class"]] if isinstance(raw["class"], str) else raw["class"]
    if not classes:
        raise KnownError(f"{origin}: class must name at least one behaviour")
    return Pin(**fields, classes=frozenset(classes), page=raw["page"], note=raw.get("note", ""))


def _refuse_duplicates(entries: Iterable[Entry]) -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for entry in entries:
        for pattern in entry.cases:
            key = (entry.requirement, entry.target, str(entry.versions), tuple(sorted(pattern.items())))
            if key in seen:
                raise KnownError(f"{entry.origin}: duplicate of {seen[key]}")
            seen[key] = entry.origin
