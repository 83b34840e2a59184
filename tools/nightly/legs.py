"""``legs.toml``: which targets each leg runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from tools.nightly import NightlyError
from touchstone import documents

FILE = Path(__file__).parent / "legs.toml"


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Targets are ``NAME@DEVICE``; see legs.toml for what the fields mean."""

    required: tuple[str, ...]
    required_once_found: tuple[str, ...] = ()
    benchmarks: Literal["all", "quick", "none"]
    select: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        return self.required + self.required_once_found


def load(path: Path = FILE) -> dict[str, Leg]:
    """Every leg by name. Raises NightlyError."""
    raw = documents.load(path, NightlyError)
    legs = {name: documents.converted(one, Leg, f"{path}: {name}", NightlyError) for name, one in raw.items()}
    for name, leg in legs.items():
        if not leg.required:
            raise NightlyError(f"{path}: {name} requires no target, so that it could not fail")
        if len(set(leg.targets)) < len(leg.targets) or any(t.count("@") != 1 for t in leg.targets):
            raise NightlyError(f"{path}: targets of {name} are NAME@DEVICE, each once")
    return legs


def named(name: str) -> Leg:
    """Raises NightlyError."""
    legs = load()
    if name not in legs:
        raise NightlyError(f"no leg {name!r} in {FILE.name}; there are {', '.join(legs)}")
    return legs[name]
