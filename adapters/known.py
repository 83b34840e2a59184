"""Known deviations and pins: what each framework was seen to do, as data in ``known/NAME.toml`` beside its adapter.

A *deviation* says that a framework departs from a requirement in certain cases; a *pin* says which of the documented
choices it makes for a characterised requirement. Both select cases by their parameters and say where they hold
(`touchstone.adapters.conditions`); of several that hold in one place the narrowest applies.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from touchstone.adapters import conditions
from touchstone.adapters.conditions import ConditionError
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Adapter
from touchstone.errors import InputError
from touchstone.verdict.expectation import WRITTEN_BY_HAND, Deviation, Expectation, Expectations, Pin

_COMMON = {"requirement", "framework", "versions", "cases", "seen_on"}
_FIELDS = {
    "deviation": _COMMON | {"observed", "seen", *WRITTEN_BY_HAND},
    "pin": _COMMON | {"class", "page"},
}
_TEXT = {"requirement", "framework", "versions", "upstream", "page", "note", *WRITTEN_BY_HAND}
_PLACE = {"device", "where"}
_OPTIONAL = {"deviation": _PLACE | {"upstream", "headroom_at_most", "some_conform"}, "pin": _PLACE | {"note"}}


class KnownError(InputError):
    """A file of known deviations is malformed; the message names the file, the entry and the field."""


def path_for(cls: type[Adapter], folder: Path | None = None) -> Path:
    """``NAME.toml`` in `folder`, by default in the folder ``known`` beside the adapter's module."""
    return (folder or Path(inspect.getfile(cls)).parent / "known") / f"{cls.name}.toml"


def shipped() -> list[Path]:
    """The files of the adapters that the project ships, of those that have one."""
    paths = [path_for(registry.adapter_class(name)) for name in registry.SHIPPED]
    return [path for path in paths if path.exists()]


def of_targets(targets: Iterable[Target], requirements: Collection[str]) -> dict[str, Expectations]:
    """Target's id -> what is registered of its adapter, on its device too. Raises as `load`."""
    return {t.id: load(path_for(t.cls), t.cls, requirements, [t.device]) for t in targets}


def load(path: Path, cls: type[Adapter], requirements: Collection[str], devices: Collection[str] = ()) -> Expectations:
    """Read the adapter's file; nothing is known where there is none.

    devices: those that the adapter has beyond the ones that it declares. Raises KnownError for unknown ids or fields,
    bad ranges, duplicates, and for what can hold nowhere.
    """
    if not path.exists():
        return Expectations()
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        raise KnownError(f"{path}: {error}") from error
    if unknown := content.keys() - {"deviation", "pin"}:
        raise KnownError(f"{path}: unknown table {sorted(unknown)[0]!r}; use [[deviation]] and [[pin]]")
    found: dict[str, list[tuple[Mapping[str, Any], dict[str, Any], str]]] = {"deviation": [], "pin": []}
    for kind, tables in found.items():
        if not isinstance(content.get(kind, []), list):
            raise KnownError(f"{path}: {kind} must be a list of tables: write [[{kind}]]")
        for number, raw in enumerate(content.get(kind, []), 1):
            origin = f"{path}: {kind} {number} ({raw.get('requirement', 'no requirement')})"
            fields = _check(kind, raw, origin, requirements)
            try:
                fields["scope"] = conditions.scope(raw, cls, devices)
            except ConditionError as error:
                raise KnownError(f"{origin}: {error}") from error
            tables.append((raw, fields, origin))
    deviations, pins = [_deviation(*d) for d in found["deviation"]], [_pin(*p) for p in found["pin"]]
    for entries in (deviations, pins):
        _refuse_duplicates(entries)
    return Expectations(tuple(deviations), tuple(pins))


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
    return {"requirement": raw["requirement"], "versions": versions, "cases": cases, "origin": origin}


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


def _refuse_duplicates(entries: Iterable[Expectation]) -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for entry in entries:
        for pattern in entry.cases:
            key = (entry.requirement, str(entry.scope), str(entry.versions), tuple(sorted(pattern.items())))
            if key in seen:
                raise KnownError(f"{entry.origin}: duplicate of {seen[key]}")
            seen[key] = entry.origin
