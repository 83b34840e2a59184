"""Known deviations and pins: what each framework was seen to do, as data in ``known/NAME.toml`` beside its adapter.

A *deviation* says that a framework departs from a requirement in certain cases; a *pin* says which of the documented
choices it makes for a characterised requirement. Both select cases by their parameters and say where they hold
(`touchstone.adapters.conditions`); of several that hold in one place the narrowest applies.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from touchstone import documents
from touchstone.adapters import conditions
from touchstone.adapters.conditions import AT_LEAST_ONE, ConditionError, NotEmpty, Placed
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Adapter
from touchstone.errors import InputError
from touchstone.verdict.expectation import WRITTEN_BY_HAND, Deviation, Expectation, Expectations, Pin


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


class _Entry(Placed, kw_only=True, forbid_unknown_fields=True):
    """What deviations and pins share, as the file has it."""

    versions: str
    cases: Annotated[list[dict[str, list[Any]]], AT_LEAST_ONE]


class _DeviationEntry(_Entry, kw_only=True, forbid_unknown_fields=True):
    observed: NotEmpty
    seen: date
    cause: str
    reproduction: str
    advice: str
    headroom_at_most: float | None = None
    upstream: str = ""
    some_conform: bool = False


class _PinEntry(_Entry, kw_only=True, forbid_unknown_fields=True):
    class_: str | NotEmpty = msgspec.field(name="class")
    page: str
    note: str = ""


def load(path: Path, cls: type[Adapter], requirements: Collection[str], devices: Collection[str] = ()) -> Expectations:
    """Read the adapter's file; nothing is known where there is none.

    devices: those that the adapter has beyond the ones that it declares. Raises KnownError for unknown ids or fields,
    bad ranges, duplicates, and for what can hold nowhere.
    """
    if not path.exists():
        return Expectations()
    found = documents.lists(path, KnownError, deviation=_DeviationEntry, pin=_PinEntry)
    shared = partial(_shared, cls=cls, requirements=requirements, devices=devices)
    deviations = tuple(_deviation(entry, shared(entry, origin)) for origin, entry in found["deviation"])
    pins = tuple(_pin(entry, shared(entry, origin)) for origin, entry in found["pin"])
    for entries in (deviations, pins):
        _refuse_duplicates(entries)
    return Expectations(deviations, pins)


def _shared(
    entry: _Entry, origin: str, cls: type[Adapter], requirements: Collection[str], devices: Collection[str]
) -> dict[str, Any]:
    if entry.requirement not in requirements:
        raise KnownError(f"{origin}: there is no such requirement")
    try:
        versions = SpecifierSet(entry.versions)
        scope = conditions.scope(entry, cls, devices)
    except InvalidSpecifier as error:
        raise KnownError(f"{origin}: bad version range {entry.versions!r} ({error})") from error
    except ConditionError as error:
        raise KnownError(f"{origin}: {error}") from error
    cases = tuple({name: tuple(values) for name, values in pattern.items()} for pattern in entry.cases)
    return {
        "requirement": entry.requirement,
        "scope": scope,
        "versions": versions,
        "cases": cases,
        "origin": origin,
    }


def _deviation(entry: _DeviationEntry, shared: Mapping[str, Any]) -> Deviation:
    return Deviation(
        **shared,
        observed=frozenset(entry.observed),
        headroom_at_most=entry.headroom_at_most,
        seen=entry.seen,
        upstream=entry.upstream,
        some_conform=entry.some_conform,
        **{name: getattr(entry, name) for name in WRITTEN_BY_HAND},
    )


def _pin(entry: _PinEntry, shared: Mapping[str, Any]) -> Pin:
    classes = [entry.class_] if isinstance(entry.class_, str) else entry.class_
    return Pin(**shared, classes=frozenset(classes), page=entry.page, note=entry.note)


def _refuse_duplicates(entries: Iterable[Expectation]) -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for entry in entries:
        for pattern in entry.cases:
            key = (entry.requirement, str(entry.scope), str(entry.versions), tuple(sorted(pattern.items())))
            if key in seen:
                raise KnownError(f"{entry.origin}: duplicate of {seen[key]}")
            seen[key] = entry.origin
