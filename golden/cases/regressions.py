"""Cases that were generated once and found something: ``regressions.toml``, where a finding is pasted.

Their arrays are recipes, whose streams are named in the file, so that an entry of a few lines is the whole case.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import msgspec

from touchstone import documents
from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import KINDS, Recipe
from touchstone.golden.store import GoldenError
from touchstone.golden.streams import DTYPES

FILE = Path(__file__).with_name("regressions.toml")
_STRING = Annotated[str, msgspec.Meta(min_length=1)]


class RegressionError(GoldenError):
    """regressions.toml is malformed; the message names the file, the entry and the field."""


class _Array(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    options: dict[str, Any]
    stream: str


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: _STRING
    property: _STRING
    found: date
    target: str
    why: _STRING
    needs: list[str]
    params: dict[str, str | bool | int | float]
    arrays: dict[str, _Array]


def load(path: Path = FILE) -> dict[str, list[Case]]:
    """Property -> its stored cases, in file order; their arrays enter the catalogue. Raises RegressionError."""
    out: dict[str, list[Case]] = {}
    recipes: dict[str, Recipe] = {}
    names: set[str] = set()
    for origin, entry in documents.lists(path, RegressionError, regression=_Entry)["regression"]:
        if not entry.why.strip():
            raise RegressionError(f"{origin}: why must not be blank: write why it is kept")
        if entry.name in names:
            raise RegressionError(f"{origin}: the name occurs twice")
        names.add(entry.name)
        arrays = {role: f"regressions/{entry.name}/{role}" for role in entry.arrays}
        recipes |= {arrays[role]: _recipe(how, f"{origin}: array {role!r}") for role, how in entry.arrays.items()}
        params = {"regression": entry.name, **entry.params}
        out.setdefault(entry.property, []).append(Case(params, arrays, tuple(entry.needs)))
    for key, recipe in recipes.items():
        add(key, recipe)
    return out


def _recipe(how: _Array, origin: str) -> Recipe:
    """The recipe of one array, tried once: a generated array is small."""
    if how.kind not in KINDS or how.dtype not in DTYPES:
        raise RegressionError(f"{origin}: no recipe makes {how.kind!r} in {how.dtype!r}")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in how.options.items()}
    recipe = Recipe(how.kind, how.dtype, tuple(how.shape), options, how.stream)
    try:
        recipe.make("")
    except Exception as error:  # whatever a recipe makes of options that are not its own
        raise RegressionError(f"{origin}: its 'options' and 'shape' make no array ({error})") from error
    return recipe


STORED = load()


def of(name: str) -> list[Case]:
    """The stored cases of a property."""
    return STORED.get(name, [])
