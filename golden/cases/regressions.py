"""Cases that were generated once and found something: ``regressions.toml``, where a finding is pasted.

Their arrays are recipes, whose streams are named in the file, so that an entry of a few lines is the whole case.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import KINDS, Recipe
from touchstone.golden.store import GoldenError
from touchstone.golden.streams import DTYPES

FILE = Path(__file__).with_name("regressions.toml")
_FIELDS: dict[str, type] = {
    "name": str,
    "property": str,
    "found": date,
    "target": str,
    "why": str,
    "needs": list,
    "params": dict,
    "arrays": dict,
}
_RECIPE: dict[str, type] = {"kind": str, "dtype": str, "shape": list, "options": dict, "stream": str}
_CALLED = {str: "a string", date: "a day, as 2026-11-21", list: "a list", dict: "a table"}


class RegressionError(GoldenError):
    """regressions.toml is malformed; the message names the file, the entry and the field."""


def load(path: Path = FILE) -> dict[str, list[Case]]:
    """Property -> its stored cases, in file order; their arrays enter the catalogue. Raises RegressionError."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        raise RegressionError(f"{path}: {error}") from error
    entries = content.pop("regression", [])
    if content:
        raise RegressionError(f"{path}: unknown key {sorted(content)[0]!r}; write [[regression]] tables")
    if not isinstance(entries, list) or not all(isinstance(raw, dict) for raw in entries):
        raise RegressionError(f"{path}: 'regression' must be a list of tables: write [[regression]]")
    out: dict[str, list[Case]] = {}
    recipes: dict[str, Recipe] = {}
    names: set[str] = set()
    for number, raw in enumerate(entries, 1):
        origin = f"{path}: regression {number} ({raw.get('name', 'no name')})"
        _check(raw, _FIELDS, origin)
        _check_values(raw, origin)
        if raw["name"] in names:
            raise RegressionError(f"{origin}: the name occurs twice")
        names.add(raw["name"])
        arrays = {role: f"regressions/{raw['name']}/{role}" for role in raw["arrays"]}
        recipes |= {arrays[role]: _recipe(how, f"{origin}: array {role!r}") for role, how in raw["arrays"].items()}
        params = {"regression": raw["name"], **raw["params"]}
        out.setdefault(raw["property"], []).append(Case(params, arrays, tuple(raw["needs"])))
    for key, recipe in recipes.items():
        add(key, recipe)
    return out


def _check(raw: Any, fields: Mapping[str, type], origin: str) -> None:
    """Raises RegressionError where a table has not these fields, or one is of another type."""
    if not isinstance(raw, dict):
        raise RegressionError(f"{origin}: must be a table, not {raw!r}")
    if raw.keys() != fields.keys():
        wrong = sorted(raw.keys() ^ fields.keys())[0]
        raise RegressionError(f"{origin}: {'lacks' if wrong in fields else 'has an unknown field'} {wrong!r}")
    for name, kind in fields.items():
        if not isinstance(raw[name], kind):
            raise RegressionError(f"{origin}: {name!r} must be {_CALLED[kind]}, not {raw[name]!r}")


def _check_values(raw: Mapping[str, Any], origin: str) -> None:
    for name in ("name", "property", "why"):
        if not raw[name].strip():
            raise RegressionError(f"{origin}: {name!r} is empty" + (": write why it is kept" if name == "why" else ""))
    if not all(isinstance(need, str) for need in raw["needs"]):
        raise RegressionError(f"{origin}: 'needs' must be a list of strings, not {raw['needs']!r}")
    for name, value in raw["params"].items():
        if not isinstance(value, str | int | float):
            raise RegressionError(f"{origin}: parameter {name!r} must be a string or a number, not {value!r}")


def _recipe(how: Any, origin: str) -> Recipe:
    """The recipe of one array, tried once: a generated array is small."""
    _check(how, _RECIPE, origin)
    if how["kind"] not in KINDS or how["dtype"] not in DTYPES:
        raise RegressionError(f"{origin}: no recipe makes {how['kind']!r} in {how['dtype']!r}")
    if not all(isinstance(size, int) and size >= 0 for size in how["shape"]):
        raise RegressionError(f"{origin}: 'shape' must be a list of sizes, not {how['shape']!r}")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in how["options"].items()}
    recipe = Recipe(how["kind"], how["dtype"], tuple(how["shape"]), options, how["stream"])
    try:
        recipe.make("")
    except Exception as error:  # whatever a recipe makes of options that are not its own
        raise RegressionError(f"{origin}: its 'options' and 'shape' make no array ({error})") from error
    return recipe


STORED = load()


def of(name: str) -> list[Case]:
    """The stored cases of a property."""
    return STORED.get(name, [])
