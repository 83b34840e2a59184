"""The requirements, read from requirements.toml, and the decorator that ties a test to one of them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from touchstone.errors import InputError
from touchstone.golden.catalogue import Case
from touchstone.verdict.requirement import LAYERS, Requirement

PATH = Path(__file__).with_name("requirements.toml")
DIFFERENCES = ("silent", "dtype", "rounding", "convention")
_NEEDED = {"id", "group", "level", "sentence", "source", "layer"}
_MOVING = ("difference", "advice")


class RequirementError(InputError):
    """requirements.toml is malformed; the message names the entry and the field."""


@cache
def load(path: Path = PATH) -> dict[str, Requirement]:
    """Every requirement by id, in file order. Raises RequirementError."""
    try:
        entries = tomllib.loads(path.read_text()).get("requirement", [])
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        raise RequirementError(f"{path}: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(raw, dict) for raw in entries):
        raise RequirementError(f"{path}: write each requirement as a [[requirement]] table")
    out: dict[str, Requirement] = {}
    for number, raw in enumerate(entries, 1):
        origin = f"{path}: requirement {number} ({raw.get('id', 'no id')})"
        _check(raw, origin)
        if raw["id"] in out:
            raise RequirementError(f"{origin}: duplicate id")
        out[raw["id"]] = Requirement(**{**raw, "permitted": tuple(raw.get("permitted", ()))})
    if not out:
        raise RequirementError(f"{path}: holds no requirement")
    return out


def _check(raw: Mapping[str, Any], origin: str) -> None:
    if missing := _NEEDED - raw.keys():
        raise RequirementError(f"{origin}: lacks {', '.join(sorted(missing))}")
    if unknown := raw.keys() - {*_NEEDED, "permitted", *_MOVING}:
        raise RequirementError(f"{origin}: unknown field {sorted(unknown)[0]!r}")
    if raw["level"] not in ("required", "characterised"):
        raise RequirementError(f"{origin}: level must be required or characterised, not {raw['level']!r}")
    if raw["layer"] not in LAYERS:
        raise RequirementError(f"{origin}: layer must be one of {', '.join(LAYERS)}, not {raw['layer']!r}")
    is_open = raw["level"] == "characterised"
    if is_open != bool(raw.get("permitted")):
        raise RequirementError(f"{origin}: `permitted` belongs to characterised requirements, and only to them")
    if wrong := [name for name in _MOVING if is_open != bool(raw.get(name))]:
        raise RequirementError(f"{origin}: `{wrong[0]}` belongs to characterised requirements, and to each of them")
    if raw.get("difference", "silent") not in DIFFERENCES:
        raise RequirementError(f"{origin}: difference must be one of {', '.join(DIFFERENCES)}")


def requirement(identifier: str, cases: str | Sequence[Case]) -> Callable[[Any], Any]:
    """Tie a test to its requirement and its cases; the plugin makes one item per target and case.

    A string names a kind of the user's own cases instead (`touchstone.suites.real`).
    """
    import pytest

    return pytest.mark.requirement(identifier, cases)
