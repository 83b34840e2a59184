"""A finding as an entry of golden/cases/regressions.toml, ready to paste."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from touchstone.golden.catalogue import Case
from touchstone.golden.recipes import Recipe

HINT = "paste into golden/cases/regressions.toml, write `why`, and run `touchstone golden generate`:"


def name_of(requirement: str, case: Case, arrays: Mapping[str, Recipe]) -> str:
    """Stable and short: the requirement and six digits of a hash of parameters and recipes."""
    text = repr((sorted(case.params.items()), sorted((role, how.describe()) for role, how in arrays.items())))
    return f"{requirement.lower()}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def entry(
    property_name: str, requirement: str, target: str, case: Case, arrays: Mapping[str, Recipe], why: str = ""
) -> str:
    """The entry as TOML; `why` is left to who pastes it."""
    lines = [
        "[[regression]]",
        f"name = {_value(name_of(requirement, case, arrays))}",
        f"property = {_value(property_name)}",
        f"found = {date.today().isoformat()}",
        f"target = {_value(target)}",
        f"why = {_value(why)}",
        f"needs = {_value(list(case.needs))}",
        f"params = {_value(dict(case.params))}",
        "[regression.arrays]",
        *(f"{role} = {_value(_recipe(how))}" for role, how in arrays.items()),
    ]
    return "\n".join(lines) + "\n"


def _recipe(how: Recipe) -> dict[str, Any]:
    return {
        "kind": how.kind,
        "dtype": how.dtype,
        "shape": list(how.shape),
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in how.options.items()},
        "stream": how.stream or "",
    }


def _value(value: Any) -> str:
    """TOML of strings, numbers, booleans, lists and tables in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(name))} = {_value(v)}" for name, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
