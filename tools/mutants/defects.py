"""Which defects are planted? Data in ``definitions/*.toml``, each file for one target.

Keys of a defect: id; layer; class; what (a sentence); upstream (the thread that reports it) or operator (one of
`OPERATORS`); expect (patterns of requirement ids, one of which has to turn red); module, with edits (of its source) or
code (run in its namespace after it); equivalent (a proof that nothing can see the defect, where that was found); since
(what catches it now, where it was held out and the first run missed it).

A file that begins with ``held_out = "SET"`` holds defects that a reader of the frameworks' documentation alone wrote,
who saw neither cases nor other defects; requirements were named by their sentences alone. documented: the page that is
broken; survives: why no case shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from touchstone import documents
from touchstone.errors import InputError

FOLDER = Path(__file__).parent / "definitions"
CLASSES = (
    *("indexing", "id dtype", "shape", "strides", "dtype of results", "accumulation precision", "rounding", "packing"),
    *("scale/bias", "transposition", "bias handling", "tying", "gradients", "initialisation", "freezing"),
    *("error policy", "values"),
)
OPERATORS = {
    "clamp": "a value is forced into a range",
    "drop": "a term, a part, a gradient or a step is left out",
    "duplicate": "something is done or added twice",
    "freeze/unfreeze": "what is not trained becomes trainable, or the other way round",
    "ignore argument": "an argument, or the answer to a question, has no effect",
    "narrow dtype": "values pass through a dtype that holds less",
    "off by one": "an index, a border or a code is one too high or too low",
    "other arithmetic": "a formula that is equal for real numbers",
    "other branch": "a condition decides otherwise",
    "other distribution": "random numbers of the same moments, but of another shape",
    "raise instead": "what was accepted is refused",
    "read as contiguous": "the strides or the offset of a view are ignored",
    "reorder": "elements are read or written in another order",
    "replace constant": "one constant stands where another stood",
    "reshape": "an axis is added, dropped or merged with another",
    "round elsewhere": "one rounding more, or one less, on the way to the same result",
    "scale by constant": "values are multiplied by a constant, be it one",
    "sign flip": "a sign is exchanged or lost",
    "skip last": "the last elements, rows or parameters are left out",
    "spread": "what belongs to one element reaches others",
    "stale cache": "a value of an earlier call, or state, is kept",
    "swallow error": "what was refused is accepted",
    "swap operands": "one operand, size or function stands where another stood",
    "transpose": "two axes are exchanged",
    "truncate instead of round": "the nearest number becomes the next one towards zero",
    "widen dtype": "a result is left in a wider dtype",
    "wrap": "a value is taken modulo a size",
    "zero": "values become zero",
}
"""Name -> what is done to the code: a name means the same wherever it stands, so that alike ones can be counted."""
MOST_EXPECTED = 4
"""Requirements that may be named for one defect: of one layer's result four ask in different ways (the bound, exact
operands, rounding, the tied head). Who names more would have almost any red case count as a catch."""
MOST_ALIKE = 5
"""Defects by one operator on one layer of one target: more would count one finding many times."""


class DefectError(InputError):
    """The data is not as it should be."""


@dataclass(frozen=True)
class Defect:
    """One defect; see the module's docstring for the fields."""

    id: str
    target: str
    layer: str
    kind: str
    what: str
    expect: tuple[str, ...]
    module: str
    origin: str
    """The upstream thread, or "operator: …"."""
    edits: tuple[dict[str, Any], ...] = ()
    code: str = ""
    equivalent: str = ""
    since: str = ""
    documented: str = ""
    survives: str = ""
    held_out: str = ""
    """The set that it was written in, for a score of what nobody prepared the suites for; its first run is kept."""

    @property
    def from_upstream(self) -> bool:
        return not self.origin.startswith("operator: ")

    @property
    def in_framework(self) -> bool:
        """Whether the defect is in the framework, whose own tests could see it, or in an adapter."""
        return not self.module.startswith("touchstone.adapters.")

    @property
    def operator(self) -> str:
        """What is done to the code; "" where a fault of upstream is reproduced."""
        return "" if self.from_upstream else self.origin.removeprefix("operator: ")

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of what is planted and expected: an outcome is of this, whatever it is called."""
        planted = [self.target, self.module, list(self.edits), self.code, list(self.expect)]
        return hashlib.sha256(json.dumps(planted, sort_keys=True).encode()).hexdigest()[:12]

    def expects(self, requirement: str) -> bool:
        """Whether a red case of this requirement names the defect rightly."""
        return any(fnmatchcase(requirement, pattern) for pattern in self.expect)

    def planted(self, log: Path) -> dict[str, Any]:
        """What `tools.mutants.planting` needs."""
        return {
            "id": self.id,
            "module": self.module,
            "edits": list(self.edits),
            "code": self.code,
            "log": str(log),
        }


def load(folder: Path = FOLDER) -> list[Defect]:
    """Every defect, by file and place in it. Raises DefectError, which names the file and the defect."""
    found: list[Defect] = []
    for path in sorted(folder.glob("*.toml")):
        found += _defects(path)
    if repeated := [name for name, count in Counter(d.id for d in found).items() if count > 1]:
        raise DefectError(f"{folder}: {', '.join(repeated)} occur more than once")
    return found


class _Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A defect as its file has it."""

    id: str
    layer: str
    class_: str = msgspec.field(name="class")
    what: str
    expect: list[str]
    module: str
    upstream: str = ""
    operator: str = ""
    edits: list[dict[str, Any]] = []
    code: str = ""
    equivalent: str = ""
    since: str = ""
    documented: str = ""
    survives: str = ""


def _defects(path: Path) -> Iterator[Defect]:
    content = documents.load(path, DefectError)
    if missing := {"target", "defect"} - content.keys():
        raise DefectError(f"{path}: lacks the key {sorted(missing)[0]!r}")
    for origin, entry in documents.tables(path, DefectError, _Entry, "defect", content):
        if bool(entry.upstream) == bool(entry.operator) or bool(entry.edits) == bool(entry.code):
            raise DefectError(f"{origin}: give upstream or operator, and edits or code")
        yield Defect(
            id=entry.id,
            target=content["target"],
            layer=entry.layer,
            kind=entry.class_,
            what=entry.what,
            expect=tuple(entry.expect),
            module=entry.module,
            origin=entry.upstream or f"operator: {entry.operator}",
            edits=tuple(entry.edits),
            code=entry.code,
            equivalent=entry.equivalent,
            since=entry.since,
            documented=entry.documented,
            survives=entry.survives,
            held_out=content.get("held_out", ""),
        )


def chosen(defects: Sequence[Defect], patterns: Sequence[str]) -> list[Defect]:
    """Those whose id one of the patterns matches. Raises DefectError where a pattern matches none."""
    if idle := [p for p in patterns if not any(fnmatchcase(d.id, p) for d in defects)]:
        raise DefectError(f"no defect is called {' or '.join(idle)}; see python -m tools.mutants list")
    return [d for d in defects if any(fnmatchcase(d.id, p) for p in patterns)]


def check(defects: Iterable[Defect], requirements: Collection[str]) -> list[str]:
    """What breaks the rules that the module and its constants state."""
    problems = []
    alike: Counter[tuple[str, str, str]] = Counter()
    for defect in defects:
        if defect.kind not in CLASSES:
            problems.append(f"{defect.id}: {defect.kind!r} is no class")
        problems += _expecting(defect, requirements)
        if not defect.from_upstream:
            alike[defect.target, defect.layer, defect.operator] += 1
            if defect.operator not in OPERATORS:
                problems.append(
                    f"{defect.id}: {defect.operator!r} is no operator; see OPERATORS in tools/mutants/defects.py"
                )
    problems += [f"{key} has {count} defects" for key, count in alike.items() if count > MOST_ALIKE]
    return problems


def _expecting(defect: Defect, requirements: Collection[str]) -> list[str]:
    """What is wrong with the requirements that are named for a defect."""
    problems = [
        f"{defect.id}: expects {pattern!r}, which no requirement matches"
        for pattern in defect.expect
        if not any(fnmatchcase(name, pattern) for name in requirements)
    ]
    if (count := sum(map(defect.expects, requirements))) > MOST_EXPECTED:
        problems.append(f"{defect.id}: expects any of {count} requirements; name {MOST_EXPECTED} at most")
    return problems
