"""What is the score? Outcomes of recorded runs, counted by class, target and origin.

A defect counts as caught where a requirement that was named for it turned red. Those are asked first and alone; where
one is red the others are not asked, so that an outcome says nothing of what else would be red. An equivalent defect,
proven so, counts neither way.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from tools.mutants.defects import CLASSES, Defect
from tools.mutants.running import BROKEN, CAUGHT, Outcome
from touchstone.errors import InputError

MEASURED = Path(__file__).parent / "measured"
FILES = {"stored": "suites.jsonl", "generated": "generated.jsonl", "own": "own.jsonl"}
"""Which cases were asked -> their outcomes."""
AGAIN = {
    "stored": "python -m tools.mutants run {} --record",
    "generated": "python -m tools.mutants run {} --cases generated --record",
    "own": "python -m tools.mutants own {} --record",
}
FIRST = "first.jsonl"
"""The first run of all, before any case was written with the list of defects at hand; never recorded again."""
FACTS = "facts.json"
"""The runs that outcomes are of: {key: `Facts`}."""


class ScoreError(InputError):
    """The recorded outcomes do not fit the defects."""


@dataclass(frozen=True)
class Facts:
    """Where, when and with which versions and suites a run was recorded."""

    recorded: str
    machine: str
    versions: str
    suite_hash: str
    golden_hash: str

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


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


def _of_set(name: str) -> Callable[[Defect], bool]:
    return lambda defect: defect.held_out == name


@dataclass(frozen=True)
class Score:
    """`suites` (the stored cases), `own`, `generated` and `first` map defect ids to outcomes; `facts` keys to runs."""

    defects: list[Defect]
    suites: Mapping[str, Outcome]
    own: Mapping[str, Outcome]
    generated: Mapping[str, Outcome]
    first: Mapping[str, Outcome]
    facts: Mapping[str, Facts]

    def count(self, chosen: Callable[[Defect], bool] = lambda defect: True) -> Count:
        asked = [d for d in self.defects if chosen(d) and not d.equivalent]
        own = [self.own[d.id] for d in asked if d.id in self.own and self.own[d.id].verdict != BROKEN]
        caught = sum(self.suites[d.id].verdict == CAUGHT for d in asked)
        return Count(caught, len(asked), sum(o.verdict == CAUGHT for o in own), len(own))

    @property
    def held_out(self) -> Count:
        return self.count(lambda defect: bool(defect.held_out))

    def by_set(self) -> dict[str, tuple[tuple[int, int], Count]]:
        """Set of those held out -> (how many its first run caught, of how many), and the count of now."""
        sets = sorted({d.held_out for d in self.defects if d.held_out})
        return {name: (self.caught_first(_of_set(name)), self.count(_of_set(name))) for name in sets}

    def by_class(self) -> dict[str, Count]:
        return {kind: self.count(lambda d, kind=kind: d.kind == kind) for kind in CLASSES}  # type: ignore[misc]

    def caught_first(self, chosen: Callable[[Defect], bool] = lambda defect: True) -> tuple[int, int]:
        """How many the first run of all caught, of how many."""
        asked = [self.first[d.id] for d in self.defects if chosen(d) and d.id in self.first and not d.equivalent]
        return sum(o.verdict == CAUGHT for o in asked), len(asked)

    @property
    def blind(self) -> tuple[int, int]:
        """Of those held out, how many the first run caught: no case had been written that could know them."""
        return self.caught_first(lambda defect: bool(defect.held_out))

    @property
    def blind_missed(self) -> list[Defect]:
        return [d for d in self.defects if d.held_out and d.id in self.first and self.first[d.id].verdict != CAUGHT]

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

    @property
    def runs(self) -> list[tuple[Facts, int]]:
        """The runs, and how many outcomes are of each; the one with most of them first."""
        counts = Counter(o.run for outcomes in (self.suites, self.generated, self.own) for o in outcomes.values())
        return [(self.facts[key], count) for key, count in counts.most_common()]

    def minutes(self, processes: int) -> int:
        """How long the suites take on so many processes, and the own tests after them: rounded up to fives.

        An outcome that was recorded without its seconds counts as the mean of its target's.
        """
        seconds = sum(o.seconds for o in self.suites.values()) / processes
        for target in {d.target for d in self.defects}:
            own = [self.own[d.id].seconds for d in self.defects if d.target == target and d.id in self.own]
            seconds += len(own) * fmean([s for s in own if s] or [0])
        return -int(-seconds // 300) * 5


def read(path: Path) -> dict[str, Outcome]:
    """Outcomes by defect. Raises ScoreError, which names the file."""
    try:
        lines = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise ScoreError(f"{path}: no outcomes of `python -m tools.mutants run --record` ({error})") from error
    return {line.id: line for line in lines}


def read_facts(folder: Path) -> dict[str, Facts]:
    """Raises ScoreError, which names the file."""
    path = folder / FACTS
    try:
        return {key: Facts(**fields) for key, fields in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ScoreError(f"{path}: does not say which runs were recorded; git checkout it ({error})") from error


def recorded(defects: Iterable[Defect], folder: Path) -> Score:
    """The score of what is recorded.

    Raises ScoreError where a defect was never run, one that ran is gone, or an outcome is of something else than the
    defect that now has its name.
    """
    known = {d.id: d for d in defects}
    facts = read_facts(folder)
    found = {cases: read(folder / name) for cases, name in FILES.items()}
    for cases, outcomes in found.items():
        for outcome in outcomes.values():
            if outcome.id not in known:
                raise ScoreError(f"{folder / FILES[cases]}: {outcome.id} is no defect any more; remove its line")
            if problem := _problem(outcome, known[outcome.id], facts):
                again = AGAIN[cases].format(outcome.id)
                raise ScoreError(f"{folder / FILES[cases]}: {outcome.id} {problem}; run {again}")
    if missing := [name for name in known if name not in found["stored"]]:
        again = AGAIN["stored"].format(missing[0])
        raise ScoreError(f"{folder / FILES['stored']}: {missing[0]} was never run; run {again}")
    first = read(folder / FIRST)
    return Score(list(known.values()), found["stored"], found["own"], found["generated"], first, facts)


def _problem(outcome: Outcome, defect: Defect, facts: Mapping[str, Facts]) -> str:
    """Why an outcome does not count for the defect of its name; "" where it does."""
    if outcome.digest != defect.digest:
        return "is not what was planted and expected when it ran"
    if outcome.run not in facts:
        return f"is of a run that {FACTS} lacks"
    if outcome.verdict == CAUGHT and outcome.requirement and not defect.expects(outcome.requirement):
        return f"counts as caught by {outcome.requirement}, which it does not expect"
    return ""
