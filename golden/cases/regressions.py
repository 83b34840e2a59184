"""Cases that were generated once and found something: ``regressions.toml``, where a finding is pasted.

Their arrays are recipes, whose streams are named in the file, so that an entry of a few lines is the whole case.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from golden.catalogue import Case, add
from golden.recipes import KINDS, Recipe
from golden.streams import DTYPES

FILE = Path(__file__).with_name("regressions.toml")
_FIELDS = {"name", "property", "found", "target", "why", "needs", "params", "arrays"}
_RECIPE = {"kind", "dtype", "shape", "options", "stream"}


class RegressionError(Exception):
    """regressions.toml is malformed; the message names the entry and the field."""


def load(path: Path = FILE) -> dict[str, list[Case]]:
    """Property -> its stored cases, in file order; their arrays enter the catalogue. Raises RegressionError."""
    try:
        entries = tomllib.loads(path.read_text()).get("regression", [])
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        raise RegressionError(f"{path}: {error}") from error
    out: dict[str, list[Case]] = {}
    names: set[str] = set()
    for number, raw in enumerate(entries, 1):
        origin = f"{path}: regression {number} ({raw.get('name', 'no name')})"
        if raw.keys() != _FIELDS:
            wrong = sorted(raw.keys() ^ _FIELDS)[0]
            raise RegressionError(f"{origin}: {'lacks' if wrong in _FIELDS else 'has an unknown field'} {wrong!r}")
        if raw["name"] in names:
            raise RegressionError(f"{origin}: the name occurs twice")
        if not isinstance(raw["found"], date) or not str(raw["why"]).strip():
            raise RegressionError(f"{origin}: write the day it was `found`, as 2026-11-21, and `why` it is kept")
        names.add(raw["name"])
        arrays = {role: _array(raw["name"], role, how, origin) for role, how in raw["arrays"].items()}
        params = {"regression": raw["name"], **raw["params"]}
        out.setdefault(raw["property"], []).append(Case(params, arrays, tuple(raw["needs"])))
    return out


def _array(name: str, role: str, how: Mapping[str, Any], origin: str) -> str:
    if how.keys() != _RECIPE:
        raise RegressionError(f"{origin}: array {role!r} needs {', '.join(sorted(_RECIPE))}, and nothing else")
    if how["kind"] not in KINDS or how["dtype"] not in DTYPES:
        raise RegressionError(f"{origin}: array {role!r}: no recipe makes {how['kind']!r} in {how['dtype']!r}")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in how["options"].items()}
    recipe = Recipe(how["kind"], how["dtype"], tuple(how["shape"]), options, how["stream"])
    return add(f"regressions/{name}/{role}", recipe)


STORED = load()


def of(name: str) -> list[Case]:
    """The stored cases of a property."""
    return STORED.get(name, [])
