"""The summary at the end of a run: verdicts per target, and what was not run and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

VERDICTS = (
    "conforms",
    "known deviation",
    "unsupported",
    "not run",
    "deviates",
    "crashed",
    "timed out",
    "stale deviation",
    "unreviewed",
)
ANSWERED = frozenset(VERDICTS) - {"unsupported", "not run"}


class Tally:
    """Counts records as they arrive."""

    def __init__(self) -> None:
        self.by_target: dict[str, Counter[str]] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.behaviours: Counter[tuple[str, str, str, str]] = Counter()
        self.real: list[dict[str, Any]] = []
        self.empty = False
        self.stale: dict[str, int] = {}
        """Deviations some of whose cases may conform, of which every case does -> how many those are."""
        self._ended: Counter[tuple[str, str]] = Counter()
        self._sometimes: dict[str, list[dict[str, Any]]] = {}

    def add(self, record: dict[str, Any]) -> None:
        target = record["target"]
        self.by_target.setdefault(target, Counter())[record["verdict"]] += 1
        self.versions[target] = record["versions"]
        if record["verdict"] == "known deviation":
            self.behaviours[record["requirement"], target, record["behaviour"], record["note"]] += 1
        self._ended[target, record["requirement"]] += not record["marked"]
        if record["sometimes"]:
            self._sometimes.setdefault(record["sometimes"], []).append(record)
        if "key" in record["params"]:
            self.real.append(record)

    def find_stale(self) -> None:
        """Count the deviations that no case shows any more, where the whole requirement ran on the target."""
        for origin, records in self._sometimes.items():
            target, requirement = records[0]["target"], records[0]["requirement"]
            whole = self._ended[target, requirement] >= records[0]["cases"]
            if whole and all(r["verdict"] == "conforms" for r in records):
                self.stale[origin] = len(records)
                self.by_target[target]["stale deviation"] += 1

    @property
    def total(self) -> int:
        return sum(c.total() for c in self.by_target.values())

    def answered(self, targets: Iterable[str]) -> int:
        """Cases that these targets answered, well or badly."""
        return sum(self.by_target.get(t, Counter())[v] for t in targets for v in ANSWERED)

    def write(self, terminal: Any, targets: Sequence[Any], option: Any) -> None:
        """Write the section; its last line counts every verdict."""
        if not self.total:
            chosen = " ".join(
                f"{flag} {value!r}" for flag, value in (("-k", option.keyword), ("-m", option.markexpr)) if value
            )
            if not option.collectonly:
                terminal.write_line(f"error: no case matches {chosen or 'this selection'}", red=True)
            return
        terminal.section("touchstone")
        for (requirement, target, behaviour, note), count in sorted(self.behaviours.items()):
            terminal.write_line(f"known deviation  {requirement:<16} {target:<14} {count:>4} x {behaviour}")
            if option.verbose > 0:
                terminal.write_line(f"                 {note}")
        for origin, count in self.stale.items():
            terminal.write_line(f"stale deviation: all {count} cases of {origin} conform: remove it", red=True)
        self._write_real(terminal)
        for target in targets:
            counts = self.by_target.get(target.id, Counter())
            versions = ", ".join(f"{n} {v}" for n, v in target.versions.items()) or "not installed"
            terminal.write_line(f"{target.id:<16} {_count(counts)}  ({target.unavailable or versions})")
        total = sum(self.by_target.values(), Counter())
        if self.empty:
            terminal.write_line("error: no framework answered a single case, so nothing was assayed", red=True)
        terminal.write_line(f"{'all targets':<16} " + ", ".join(f"{total[v]} {v}" for v in VERDICTS))

    def _write_real(self, terminal: Any) -> None:
        """On the user's own arrays: the error nearest to its bound, per target, scheme and requirement."""
        worst: dict[tuple[str, str, str], dict[str, Any]] = {}
        for record in self.real:
            params = record["params"]
            scheme = (
                f"{params['mode']} {params['bits']} bits, group {params['group_size']}" if "bits" in params else "dense"
            )
            key = (record["requirement"], scheme, record["target"])
            if key not in worst or (record["headroom"] or 0) >= (worst[key]["headroom"] or 0):
                worst[key] = record
        for (requirement, scheme, target), record in sorted(worst.items()):
            numbers = record["message"] if "mode" in record["params"] else ""
            if record["error"] is not None:
                numbers = (
                    f"error {record['error']:.3e}, bound {record['bound']:.3e}, error/bound {record['headroom']:.2f}"
                )
            if numbers:
                name = f"{requirement:<13} {scheme:<25} {target:<14}"
                terminal.write_line(f"{name} {numbers}  {record['verdict']}: {record['params']['key']}")


def _count(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]) or "no case"
