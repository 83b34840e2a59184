"""What a waiting user sees: a line per target on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TextIO

from tqdm import tqdm

EVERY = 60.0
"""Seconds between two lines where the output is no terminal."""
_BAR = "{desc:<16} {percentage:3.0f}% |{bar:24}| {n_fmt:>5} of {total_fmt} cases, {rate_fmt}, {remaining} left"


class Progress:
    """Counts finished cases per target and shows them; `planned` says how many there are."""

    def __init__(self, planned: Mapping[str, int], file: TextIO, *, terminal: bool) -> None:
        self.planned, self.file, self.done = dict(planned), file, Counter[str]()
        self.started: dict[str, float] = {}
        self._shown = time.monotonic()
        self._bars: dict[str, Any] = {}
        if terminal:
            self._bars = {
                target: tqdm(
                    total=count,
                    desc=target,
                    position=number,
                    file=file,
                    unit=" cases",
                    bar_format=_BAR,
                    mininterval=0.2,
                    dynamic_ncols=True,
                )
                for number, (target, count) in enumerate(self.planned.items())
            }

    def add(self, target: str) -> None:
        """One more case of this target has ended."""
        now = time.monotonic()
        if target not in self.started:
            self.started[target] = now
            if target in self._bars:
                self._bars[target].unpause()
        self.done[target] += 1
        if target in self._bars:
            self._bars[target].update()
        elif not self._bars and now - self._shown >= EVERY:
            self._shown = now
            self.file.write(self.line(now) + "\n")
            self.file.flush()

    def line(self, now: float) -> str:
        """Every target's cases done, of how many, and of those at work the rate and the time left, in one line."""
        return "; ".join(self._part(target, total, now) for target, total in self.planned.items())

    def _part(self, target: str, total: int, now: float) -> str:
        done = self.done[target]
        part = f"{target} {done:,} of {total:,}"
        elapsed = now - self.started.get(target, now)
        if not elapsed or done == total:
            return part
        rate = done / elapsed
        return f"{part}, {rate:.0f}/s, {_spell((total - done) / rate)} left"

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()


def _spell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
