"""What is the score? Outcomes of recorded runs, counted by class, target and origin.

A defect counts as caught where a case of a requirement that it should turn red was the first red one. An equivalent
defect, proven so, counts neither way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mutants.defects import CLASSES, Defect
from mutants.running import BROKEN, CAUGHT, Outcome

MEASURED = Path(__file__).parent / "measured"
SUITES, GENERATED, OWN = MEASURED / "suites.jsonl", MEASURED / "generated.jsonl", MEASURED / "own.jsonl"
FIRST = MEASURED / "first.jsonl"
"""The first run of all, before any case was written with the list of defects at hand; never recorded again."""
FACTS = MEASURED / "facts.json"
"""Where, when and with which versions the outcomes were recorded."""


class ScoreError(Exception):
    """The recorded outcomes do not fit the defects."""


@dataclass(frozen=True)
class Count:
    """How many of some defects were caught, and of how many frameworks' own tests could be asked."""

    caught: int
    asked: int
    own_caught: int
    own_asked: int

    @property
    def share(self) -> str:
        return f"{self.caught} of {self.asked}"

    @property
    def own_share(self) -> str:
        return f"{self.own_caught} of {self.own_asked}" if self.own_asked else "—"


@dataclass(frozen=True)
class Score:
    """`suites` (the stored cases), `own`, `generated` and `first` map defect ids to outcomes."""

    defects: list[Defect]
    suites: Mapping[str, Outcome]
    own: Mapping[str, Outcome]
    generated: Mapping[str, Outcome]
    first: Mapping[str, Outcome]

    def count(self, chosen: Callable[[Defect], bool] = lambda defect: True) -> Count:
        asked = [d for d in self.defects if chosen(d) and not d.equivalent]
        own = [self.own[d.id] for d in asked if d.id in self.own and self.own[d.id].verdict != BROKEN]
        caught = sum(self.suites[d.id].verdict == CAUGHT for d in asked)
        return Count(caught, len(asked), sum(o.verdict == CAUGHT for o in own), len(own))

    @property
    def held_out(self) -> Count:
        return self.count(lambda defect: defect.held_out)

    def by_class(self) -> dict[str, Count]:
        return {kind: self.count(lambda d, kind=kind: d.kind == kind) for kind in CLASSES}  # type: ignore[misc]

    def caught_first(self, chosen: Callable[[Defect], bool] = lambda defect: True) -> str:
        """How many the first run of all caught, of how many."""
        asked = [self.first[d.id] for d in self.defects if chosen(d) and d.id in self.first and not d.equivalent]
        return f"{sum(o.verdict == CAUGHT for o in asked)} of {len(asked)}"

    def caught_by_generated(self, chosen: Callable[[Defect], bool] = lambda defect: True) -> str:
        """How many the generated cases catch alone, of how many they were asked about."""
        asked = [self.generated[d.id] for d in self.defects if chosen(d) and d.id in self.generated]
        return f"{sum(o.verdict == CAUGHT for o in asked)} of {len(asked)}" if asked else "—"

    @property
    def caught_by_generated_only(self) -> list[Defect]:
        return [d for d in self.missed if d.id in self.generated and self.generated[d.id].verdict == CAUGHT]

    @property
    def missed(self) -> list[Defect]:
        """Neither caught nor proven to be equivalent."""
        return [d for d in self.defects if self.suites[d.id].verdict != CAUGHT and not d.equivalent]


def read(path: Path) -> dict[str, Outcome]:
    """Outcomes by defect. Raises ScoreError, which names the file."""
    try:
        lines = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise ScoreError(f"{path}: no outcomes of `python -m mutants run --output` ({error})") from error
    return {line.id: line for line in lines}


def recorded(defects: Iterable[Defect]) -> Score:
    """The score of what is recorded. Raises ScoreError where a defect was never run, or one that ran is gone."""
    known = list(defects)
    names = {d.id for d in known}
    score = Score(known, read(SUITES), read(OWN), read(GENERATED), read(FIRST))
    for path, outcomes in ((SUITES, score.suites), (OWN, score.own), (GENERATED, score.generated)):
        if unknown := sorted(outcomes.keys() - names):
            raise ScoreError(f"{path}: {unknown[0]} is no defect any more; run python -m mutants run again")
    if missing := sorted(names - score.suites.keys()):
        raise ScoreError(f"{SUITES}: {missing[0]} was never run; python -m mutants run --output {SUITES}")
    return score
