"""Which defects are planted? Data in ``defects/*.toml``, each file for one target.

Keys of a defect: id; layer; class; what (a sentence); upstream (the thread that reports it) or operator (what is done
to the code, named alike wherever it is done); expect (patterns of requirement ids, one of which has to turn red);
module, with edits (of its source) or code (run in its namespace after it); equivalent (a proof that nothing can see the
defect, where that was found).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "defects"
CLASSES = (
    *("indexing", "id dtype", "shape", "strides", "dtype of results", "accumulation precision", "rounding", "packing"),
    *("scale/bias", "transposition", "bias handling", "tying", "gradients", "initialisation", "freezing"),
    "error policy",
)
MOST_ALIKE = 5
"""Defects by one operator on one layer of one target: more would count one finding many times."""
HELD_OUT = 30
"""Defects that no case may be written from: their score is what the suites catch of what nobody prepared them for."""


class DefectError(Exception):
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
    held_out: bool = field(default=False, compare=False)

    @property
    def from_upstream(self) -> bool:
        return not self.origin.startswith("operator: ")

    @property
    def in_framework(self) -> bool:
        """Whether the defect is in the framework, whose own tests could see it, or in an adapter."""
        return not self.module.startswith("adapters.")

    def expects(self, requirement: str) -> bool:
        """Whether a red case of this requirement names the defect rightly."""
        return any(fnmatchcase(requirement, pattern) for pattern in self.expect)

    def planted(self, log: Path) -> dict[str, Any]:
        """What `mutants.planting` needs."""
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
        document = tomllib.loads(path.read_text())
        found += [_defect(path, document["target"], entry) for entry in document["defect"]]
    if repeated := [name for name, count in Counter(d.id for d in found).items() if count > 1]:
        raise DefectError(f"{folder}: {', '.join(repeated)} occur more than once")
    kept = held_out(d.id for d in found)
    return [replace(d, held_out=d.id in kept) for d in found]


def held_out(names: Iterable[str]) -> set[str]:
    """Those with the smallest SHA-256 of their names, so that nobody chose them."""
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:HELD_OUT])


def check(defects: Iterable[Defect], requirements: Collection[str]) -> list[str]:
    """What breaks the rules that the module and its constants state."""
    problems = []
    alike: Counter[tuple[str, str, str]] = Counter()
    for defect in defects:
        if defect.kind not in CLASSES:
            problems.append(f"{defect.id}: {defect.kind!r} is no class")
        problems += [
            f"{defect.id}: expects {pattern!r}, which no requirement matches"
            for pattern in defect.expect
            if not any(fnmatchcase(name, pattern) for name in requirements)
        ]
        if not defect.from_upstream:
            alike[defect.target, defect.layer, defect.origin] += 1
    problems += [f"{key} has {count} defects" for key, count in alike.items() if count > MOST_ALIKE]
    return problems


def _defect(path: Path, target: str, entry: dict[str, Any]) -> Defect:
    name = entry.get("id", "a defect without an id")
    fields = dict(entry)
    try:
        if ("upstream" in fields) == ("operator" in fields) or ("edits" in fields) == ("code" in fields):
            raise DefectError(f"{path.name}: {name}: give upstream or operator, and edits or code")
        origin = fields.pop("upstream", None) or f"operator: {fields.pop('operator')}"
        return Defect(
            target=target,
            kind=fields.pop("class"),
            origin=origin,
            expect=tuple(fields.pop("expect")),
            edits=tuple(fields.pop("edits", ())),
            **fields,
        )
    except (KeyError, TypeError) as error:
        raise DefectError(f"{path.name}: {name}: {error}") from error
