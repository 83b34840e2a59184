"""One share of a check: work is dealt out by size, so that several machines take about as long as each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from touchstone.migration.checkpoint import CheckpointError


@dataclass(frozen=True)
class Shard:
    """Share `index` of `count`, counted from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``i/n``. Raises CheckpointError for anything else."""
        first, slash, second = text.partition("/")
        if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise CheckpointError(f"--shard {text}: write i/n, with i from 1 to n")
        return cls(int(first), int(second))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def own(self, sizes: Sequence[int]) -> set[int]:
        """Places of the items of this share; the same sizes are dealt out alike everywhere.

        Raises CheckpointError where there are fewer items than shares, or none.
        """
        if not sizes:
            raise CheckpointError("there is nothing to check: the map ignores every tensor")
        if len(sizes) < self.count:
            raise CheckpointError(f"--shard {self}: there are only {len(sizes)} tensors to share")
        loads = [0] * self.count
        own = set()
        for place in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
            lightest = min(range(self.count), key=lambda i: (loads[i], i))
            loads[lightest] += max(1, sizes[place])
            if lightest == self.index - 1:
                own.add(place)
        return own
