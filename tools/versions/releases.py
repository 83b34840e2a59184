"""Which releases are run, and what the overlay of each installs: `releases.toml`, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from touchstone import documents
from touchstone.adapters.discovery import registry
from touchstone.errors import InputError

PATH = Path(__file__).with_name("releases.toml")


class VersionsError(InputError):
    """Releases, records or observations that cannot be used; the message names the file and what to do."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    adapter: str
    version: str
    install: list[str] = []


@dataclass(frozen=True)
class Release:
    """One release of one adapter's framework. version: of the adapter's first distribution.

    install: distribution -> version, what the overlay holds; empty for the release that the environment has.
    """

    adapter: str
    version: str
    install: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """``mlx-0.32.4``: what commands and folders call it."""
        return f"{self.adapter}-{self.version}"

    @property
    def order(self) -> Version:
        return Version(self.version)

    @property
    def pins(self) -> list[str]:
        return [f"{name}=={version}" for name, version in self.install]

    @property
    def spelled(self) -> str:
        """``flax 0.12.7, jax 0.10.1``: the adapter's own distributions, main one first."""
        held = dict(self.install)
        own = [name for name in registry.adapter_class(self.adapter).distributions if name in held]
        return ", ".join(f"{name} {held[name]}" for name in own) or self.version


def load(path: Path = PATH) -> list[Release]:
    """Every release, by adapter in file order, oldest first. Raises VersionsError."""
    entries = documents.lists(path, VersionsError, release=_Entry)["release"]
    if not entries:
        raise VersionsError(f"{path}: holds no release; write [[release]] tables")
    found = [_release(entry, origin) for origin, entry in entries]
    names = [release.name for release in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise VersionsError(f"{path}: {sorted(twice)[0]} is there twice")
    adapters = list(dict.fromkeys(release.adapter for release in found))
    return sorted(found, key=lambda r: (adapters.index(r.adapter), r.order))


def select(releases: Sequence[Release], names: Iterable[str]) -> list[Release]:
    """The releases called by name, or by adapter for all of its; every one for no name. Raises VersionsError."""
    wanted = list(names)
    for name in wanted:
        if not any(name in (r.name, r.adapter) for r in releases):
            known = ", ".join(r.name for r in releases)
            raise VersionsError(f"no release {name!r}; there are {known}")
    return [r for r in releases if not wanted or r.name in wanted or r.adapter in wanted]


def of_adapters(releases: Sequence[Release], names: Iterable[str]) -> list[Release]:
    """Every release of the adapters, or of all for no name. Raises VersionsError for a name that is no adapter's."""
    adapters = list(dict.fromkeys(release.adapter for release in releases))
    for name in (wanted := list(names)):
        if name not in adapters:
            raise VersionsError(f"no releases of an adapter {name!r}; there are {', '.join(adapters)}")
    return select(releases, wanted)


def _release(entry: _Entry, origin: str) -> Release:
    try:
        cls = registry.adapter_class(entry.adapter)
        Version(entry.version)
        pins = [Requirement(text) for text in entry.install]
    except (registry.TargetError, InvalidVersion, InvalidRequirement) as error:
        raise VersionsError(f"{origin}: {error}") from error
    install: list[tuple[str, str]] = []
    for pin in pins:
        exact = [s.version for s in pin.specifier if s.operator == "=="]
        if len(exact) != 1 or "*" in exact[0]:
            raise VersionsError(f"{origin}: {pin} names no one version; write {pin.name}==VERSION")
        install.append((str(canonicalize_name(pin.name)), exact[0]))
    main = cls.distributions[0]
    if install and dict(install).get(main) != entry.version:
        raise VersionsError(f"{origin}: its overlay must install {main}=={entry.version}")
    return Release(entry.adapter, entry.version, tuple(install))
