"""The requirements, read from requirements.toml, and the decorator that ties a test to one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from touchstone import documents
from touchstone.errors import InputError
from touchstone.golden.catalogue import Case
from touchstone.verdict.requirement import Requirement

PATH = Path(__file__).with_name("requirements.toml")


class RequirementError(InputError):
    """requirements.toml is malformed; the message names the entry and the field."""


@cache
def load(path: Path = PATH) -> dict[str, Requirement]:
    """Every requirement by id, in file order. Raises RequirementError."""
    found = documents.lists(path, RequirementError, requirement=Requirement)["requirement"]
    out: dict[str, Requirement] = {}
    for origin, one in found:
        if one.id in out:
            raise RequirementError(f"{origin}: duplicate id")
        out[one.id] = one
    if not out:
        raise RequirementError(f"{path}: holds no requirement")
    return out


def requirement(identifier: str, cases: str | Sequence[Case]) -> Callable[[Any], Any]:
    """Tie a test to its requirement and its cases; the plugin makes one item per target and case.

    A string names a kind of the user's own cases instead (`touchstone.suites.real`).
    """
    import pytest

    return pytest.mark.requirement(identifier, cases)
