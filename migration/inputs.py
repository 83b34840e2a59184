"""The user's two checkpoints as cases: what is asked of every tensor, and of the layers that a sample goes into."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from touchstone.adapters import files
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.machine import threads
from touchstone.adapters.discovery.registry import Target
from touchstone.golden.catalogue import Case
from touchstone.migration.behaviour import framework_of, samples
from touchstone.migration.check import Check, Listener, headline
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.ledger import forget
from touchstone.migration.shards import Shard

TENSORS, BEHAVIOUR = "tensors of a checkpoint", "layers of a checkpoint"
"""Kinds of cases: answered from the files, and asked of frameworks."""
KINDS = (TENSORS, BEHAVIOUR)
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
        keymap: str | None = None,
        shard: str | None = None,
        source_adapter: str | None = None,
        adapters: Sequence[str] = (),
        *,
        tensors_only: bool = False,
        key: str = "",
        lora: str | None = None,
    ) -> CheckpointInput:
        """Pair the two checkpoints; without either nothing is asked.

        keymap: a file of pairs of names; key: where a PyTorch file keeps the weights; lora: an adapter that the source
        was fused with; shard: "I/N"; source_adapter, adapters: whose layers each side goes through, by default those
        that it is for. Raises CheckpointError, and TargetError for an adapter that is not there.
        """
        if not (source and target):
            given = {
                "source": source,
                "target": target,
                "map": keymap,
                "shard": shard,
                "source-adapter": source_adapter,
                "key": key,
                "lora": lora,
            }
            alone = [f"--{name}" for name, value in {**given, "tensors-only": tensors_only}.items() if value]
            if alone:
                raise CheckpointError(f"{alone[0]}: a check of checkpoints needs both --source and --target")
            return cls()
        if tensors_only and (adapters or source_adapter):
            raise CheckpointError("--tensors-only puts nothing through layers: name no adapter with it")
        share = Shard.parse(shard) if shard else None
        check = Check(
            Path(source), Path(target), Path(keymap) if keymap else None, share, key, Path(lora) if lora else None
        )
        named = {"--source": source, "--target": target, "--map": keymap, "--lora": lora}
        options = [f"{name}={Path(path).resolve()}" for name, path in named.items() if path]
        options += [f"--source-adapter={source_adapter}"] if source_adapter else []
        options += [f"--key={key}"] if key else []
        facts = headline(check)
        own = files.target({"source": facts[0], "target": facts[1], "pairing": "; ".join(facts[2:])})
        made = cls(check, [own], options=options)
        if not tensors_only:
            made._ask_frameworks(check, source_adapter, adapters)
        return made

    def _ask_frameworks(self, check: Check, source_adapter: str | None, adapters: Sequence[str]) -> None:
        """Put a sample of the tensors through layers: of the frameworks named, or of those the checkpoints are for."""
        asked = registry.resolve(adapters) if adapters else [registry.default(framework_of(check.target))]
        before = (
            registry.chosen(source_adapter, "--source-adapter")
            if source_adapter
            else registry.default(framework_of(check.source))
        )
        self.source_target = before
        self._behaviour = samples(check, before.id)
        if any(self._behaviour.values()):
            self.targets = [*self.targets, *asked]

    @property
    def share(self) -> tuple[int, int] | None:
        """(which, of how many) where only a share of the tensors is checked."""
        shard = self.check.shard if self.check else Shard()
        return (shard.index, shard.count) if shard.count > 1 else None

    def asks(self, target: Target, kind: str) -> bool:
        """Whether cases of this kind are for this target."""
        return (target.cls is files.CheckpointFiles) == (kind == TENSORS)

    def cases(self, requirement: str, kind: str) -> list[Case]:
        if not self.check:
            return []
        if kind == BEHAVIOUR:
            return self._behaviour.get(requirement, [])
        return [Case(q.params) for q in self.check.questions if q.requirement == requirement]

    def start(
        self,
        asked: Collection[tuple[str, str]],
        folder: Path | None,
        process: str,
        *,
        alone: bool,
        listener: Listener | None = None,
    ) -> None:
        """Begin to look for the answers to (requirement, tensor). alone: no other process shares the work."""
        if self.check:
            self.check.start(asked, threads() if alone else 0, folder, process, listener)

    def close(self, folder: Path | None, *, finished: bool) -> None:
        """finished: the whole check came to its end, so that there is nothing to resume."""
        if self.check:
            self.check.close()
            if folder and finished:
                forget(folder)
