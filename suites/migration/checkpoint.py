"""The user's two checkpoints (``--source A --target B``) as cases: what `migration` asks of every tensor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters import files, registry
from adapters.registry import Target
from golden.catalogue import Case
from migration.behaviour import framework_of, samples
from migration.check import Check, cores, headline
from migration.checkpoint import CheckpointError
from migration.ledger import forget
from migration.shards import Shard

TENSORS, BEHAVIOUR = "tensors of a checkpoint", "layers of a checkpoint"
"""Kinds of cases: answered from the files, and asked of frameworks."""
MODULES = ("test_checkpoint.py", "test_checkpoint_behaviour.py")


@dataclass
class CheckpointInput:
    """Without a check everything is empty. source_target: whose layers the source's weights go through."""

    check: Check | None = None
    targets: Sequence[Target] = ()
    source_target: Target | None = None
    options: Sequence[str] = ()
    """What to add to a command that runs one case again."""
    _behaviour: dict[str, list[Case]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.check is not None

    @classmethod
    def open(
        cls,
        source: str | None,
        target: str | None,
        keymap: str | None,
        shard: str | None,
        adapters: Sequence[str],
        source_adapter: str | None,
    ) -> CheckpointInput:
        """Pair the two checkpoints. Raises CheckpointError, and TargetError for an adapter that is not there."""
        if not (source and target):
            given = [f"--{n}" for n, v in (("source", source), ("target", target), ("map", keymap)) if v]
            given += ["--shard"] * bool(shard) + ["--source-adapter"] * bool(source_adapter)
            if given:
                raise CheckpointError(f"{given[0]}: a check of checkpoints needs both --source and --target")
            return cls()
        share = Shard.parse(shard) if shard else None
        check = Check(Path(source), Path(target), Path(keymap) if keymap else None, share)
        facts = headline(check)
        own = files.target({"source": facts[0], "target": facts[1], "pairing": "; ".join(facts[2:])})
        asked = registry.resolve(adapters) if adapters else [registry.default(framework_of(check.target))]
        before = (
            registry.resolve([source_adapter]) if source_adapter else [registry.default(framework_of(check.source))]
        )
        options = ["--source", source, "--target", target, *(["--map", keymap] if keymap else [])]
        made = cls(check, [own, *asked], before[0], options)
        made._behaviour = samples(check, before[0].id)
        return made

    def asks(self, target: Target, kind: str) -> bool:
        """Whether cases of this kind are for this target."""
        return (target.cls is files.CheckpointFiles) == (kind == TENSORS)

    def cases(self, requirement: str, kind: str) -> list[Case]:
        if not self.check:
            return []
        if kind == BEHAVIOUR:
            return self._behaviour.get(requirement, [])
        return [Case(q.params) for q in self.check.questions if q.requirement == requirement]

    def start(self, asked: Collection[tuple[str, str]], folder: Path | None, process: str, *, alone: bool) -> None:
        """Begin to look for the answers to (requirement, tensor). alone: no other process shares the work."""
        if self.check:
            self.check.start(asked, cores() if alone else 0, folder, process)

    def close(self, folder: Path | None, *, finished: bool) -> None:
        """finished: the whole check came to its end, so that there is nothing to resume."""
        if self.check:
            self.check.close()
            if folder and finished:
                forget(folder)
