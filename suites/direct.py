"""Running cases without pytest: for the speed floor, and for tests that plant defects in an adapter."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from touchstone.adapters.discovery.registry import Target
from touchstone.golden.catalogue import Case
from touchstone.suites import requirements
from touchstone.suites.assay import Assay, Bench
from touchstone.verdict.observation import NotAsked
from touchstone.verdict.requirement import Requirement

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Question:
    """One test function, its requirement and its golden cases."""

    function: Callable[[Assay], None]
    requirement: Requirement
    cases: tuple[Case, ...]


def questions() -> Iterator[Question]:
    """Every test of the suites that has golden cases, in file order."""
    catalogue = requirements.load()
    for path in sorted(HERE.rglob("test_*.py")):
        module = importlib.import_module(
            ".".join(("touchstone", "suites", *path.relative_to(HERE).with_suffix("").parts))
        )
        for name, function in list(vars(module).items()):  # a warning writes to the module it is raised in
            for mark in getattr(function, "pytestmark", []) if name.startswith("test_") else []:
                if mark.name == "requirement" and not isinstance(mark.args[1], str):
                    yield Question(function, catalogue[mark.args[0]], tuple(mark.args[1]))


def run(question: Question, target: Target, case: Case, bench: Bench) -> tuple[Assay, Exception | None]:
    """The assay after the question was asked, and what ended it: for `touchstone.suites.conclusion.verdict_of`."""
    assay = Assay(target, case, question.requirement, bench)
    try:
        if not assay.asked():
            raise NotAsked
        question.function(assay)
    except Exception as error:  # a verdict like any other
        return assay, error
    return assay, None
