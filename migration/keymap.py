"""The user's own map from names of the source to names of the target, a TOML file.

[rename]                                     # source = target; {n} stands for any number
"h.{n}.attn.wq.weight" = "layers.{n}.attention.query_proj.weight"

[transpose]                                  # targets that hold the transpose of their source
targets = ["layers.{n}.attention.query_proj.weight"]

[ignore]                                     # names that need no partner
source = ["rope.freqs"]
target = []

[heads]                                      # for q and k, where no configuration says
query = 32
key = 8

[[rule]]                                     # a tensor that is made of others (`touchstone.migration.mapping.writing`)
target = "layers.{n}.experts.up_proj.weight"
sources = ["layers.{n}.experts.{e}.up_proj.weight"]
stack = "e"

``*`` in a name stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from touchstone import documents
from touchstone.errors import InputError
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.conventions import Heads
from touchstone.migration.mapping.rules import Rule
from touchstone.migration.mapping.templates import spelled, template
from touchstone.migration.mapping.writing import rule_of

_Number = Annotated[int, msgspec.Meta(ge=0)]


class _Transpose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    targets: list[str] = []


class _Ignore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: list[str] = []
    target: list[str] = []


class _Heads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: _Number = 0
    key: _Number = 0


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    target: str
    sources: list[str]
    stack: str = ""
    parts: str = ""
    axis: _Number = 0
    steps: list[str] = []


class _Map(msgspec.Struct, forbid_unknown_fields=True):
    """The file's content."""

    rename: dict[str, str] = {}
    transpose: _Transpose = _Transpose()
    ignore: _Ignore = _Ignore()
    heads: _Heads = _Heads()
    rule: list[_Rule] = []


@dataclass(frozen=True)
class KeyMap:
    """path: None where the user gave no map."""

    path: Path | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    transposed: Sequence[str] = ()
    ignored_source: Sequence[str] = ()
    ignored_target: Sequence[str] = ()
    heads: Heads = field(default_factory=Heads)
    rules: Sequence[Rule] = ()

    @classmethod
    def read(cls, path: Path) -> KeyMap:
        """Raises CheckpointError, naming the file and the key, for a file that is no such map."""
        origin = f"--map {path}"
        found = documents.converted(documents.load(path, CheckpointError, origin), _Map, origin, CheckpointError)
        return cls(
            path,
            found.rename,
            tuple(found.transpose.targets),
            tuple(found.ignore.source),
            tuple(found.ignore.target),
            Heads(found.heads.query, found.heads.key or found.heads.query),
            [_rule(origin, number, entry) for number, entry in enumerate(found.rule, 1)],
        )

    def of_rules(self, source: Collection[str], target: Collection[str]) -> tuple[set[str], set[str]]:
        """Names of either side of which a rule speaks. Raises CheckpointError for a rule that meets no tensor."""
        used: set[str] = set()
        made: set[str] = set()
        for number, rule in enumerate(self.rules, 1):
            for texts, names, side, out in (
                (rule.sources, source, "source", used),
                ((rule.target,), target, "target", made),
            ):
                for text in texts:
                    met = {name for name in names if template(name)[0] == text}
                    if not met:
                        raise CheckpointError(
                            f"--map {self.path}: rule {number}: {spelled(text)!r} is no tensor of the {side}"
                        )
                    out |= met
        return used, made

    def targets(self, source: Collection[str], target: Collection[str]) -> dict[str, str]:
        """Source -> target of every pair that the map makes.

        Raises CheckpointError for an entry that meets no tensor, and for two sources of one target.
        """
        out: dict[str, str] = {}
        for old, new in self.rename.items():
            for name, renamed in self._renamed(old, new, source, target):
                if out.get(name, renamed) != renamed:
                    raise CheckpointError(f"--map {self.path}: [rename] {name!r} to both {out[name]!r} and {renamed!r}")
                out[name] = renamed
        claimed: dict[str, str] = {}
        for name, renamed in out.items():
            if renamed in claimed:
                raise CheckpointError(f"--map {self.path}: {claimed[renamed]!r} and {name!r} both claim {renamed!r}")
            claimed[renamed] = name
        self._refuse_idle(source, target)
        return out

    def _renamed(
        self, old: str, new: str, source: Collection[str], target: Collection[str]
    ) -> Iterator[tuple[str, str]]:
        """(source, target) of each tensor that one entry renames."""
        matches = [(name, m) for name in source if (m := _pattern(old).fullmatch(name))]
        if not matches:
            raise CheckpointError(f"--map {self.path}: [rename] {old!r} is no tensor of the source")
        for name, match in matches:
            renamed = _fill(new, match.groups())
            if renamed not in target:
                raise CheckpointError(f"--map {self.path}: [rename] {old!r}: {renamed!r} is no tensor of the target")
            yield name, renamed

    def _refuse_idle(self, source: Collection[str], target: Collection[str]) -> None:
        """Raises CheckpointError for a text of the other tables that meets no tensor."""
        for kind, texts, side, among in (
            ("transpose.targets", self.transposed, "target", target),
            ("ignore.source", self.ignored_source, "source", source),
            ("ignore.target", self.ignored_target, "target", target),
        ):
            for text in texts:
                if not any(_pattern(text).fullmatch(name) for name in among):
                    raise CheckpointError(f"--map {self.path}: {kind} {text!r} is no tensor of the {side}")

    def transposes(self, target: str) -> bool:
        return _any(self.transposed, target)

    def ignores_source(self, name: str) -> bool:
        return _any(self.ignored_source, name)

    def ignores_target(self, name: str) -> bool:
        return _any(self.ignored_target, name)


def _rule(origin: str, number: int, entry: _Rule) -> Rule:
    try:
        return rule_of(entry.target, entry.sources, entry.stack, entry.parts, entry.axis, entry.steps)
    except InputError as error:
        raise CheckpointError(f"{origin}: rule {number}: {error}") from error


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(re.escape("{n}"), "([0-9]+)").replace(re.escape("*"), "(.*)"))


def _fill(text: str, found: Sequence[str]) -> str:
    """The text with what each ``{n}`` and ``*`` of the other side stood for, in order."""
    parts = re.split(r"(\{n\}|\*)", text)
    rest = iter(found)
    return "".join(next(rest, p) if p in ("{n}", "*") else p for p in parts)


def _any(texts: Sequence[str], name: str) -> bool:
    return any(_pattern(text).fullmatch(name) for text in texts)
