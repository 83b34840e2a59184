"""The summary at the end of a run: verdicts per target, and what was not run and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from touchstone.reports.apart import told_apart
from touchstone.reports.records import EndLine
from touchstone.reports.stale import not_seen_here, stale_deviations, unconfirmed
from touchstone.verdict.rule import UNANSWERED, Verdict


class Tally:
    """Counts records as they arrive."""

    def __init__(self) -> None:
        self.by_target: dict[str, list[EndLine]] = {}
        self.empty = False
        self.bootstrap = False
        self.stale: dict[str, int] = {}
        """Deviations some of whose cases may conform, of which every case does -> how many those are."""
        self.unconfirmed: dict[str, int] = {}
        """As `stale`, of those that are assumed on a device where nobody has seen them."""

    def add(self, record: EndLine) -> None:
        self.by_target.setdefault(record.target, []).append(record)

    def find_stale(self) -> None:
        """Count the deviations that no case shows any more, where the whole requirement ran on the target."""
        for records in self.by_target.values():
            self.stale |= stale_deviations(records)
            self.unconfirmed |= unconfirmed(records)

    def counts(self, target: str) -> Counter[str]:
        records = self.by_target.get(target, [])
        counts: Counter[str] = Counter(r.verdict for r in records)
        covering = {r.sometimes for r in records}
        counts["stale deviation"] += len(self.stale.keys() & covering)
        counts["unreviewed"] += len(self.unconfirmed.keys() & covering)
        return counts

    @property
    def total(self) -> int:
        return sum(map(len, self.by_target.values()))

    def answered(self, targets: Iterable[str]) -> int:
        """Cases that these targets answered, well or badly."""
        return sum(r.verdict not in UNANSWERED for t in targets for r in self.by_target.get(t, ()))

    def write(self, terminal: Any, targets: Sequence[Any], option: Any) -> None:
        """Write the section; its last line counts every verdict."""
        if not self.total:
            _write_empty(terminal, option)
            return
        terminal.section("touchstone")
        records = [r for found in self.by_target.values() for r in found]
        _write_known(terminal, records, verbose=option.verbose > 0)
        not_run = Counter((r.target, r.note) for r in records if r.verdict == "not run" and r.note)
        for (target_id, note), count in sorted(not_run.items()):
            terminal.write_line(f"not run          {'':<16} {target_id:<14} {count:>4} x {note}")
        for target_id, found in self.by_target.items():
            for remark, count in not_seen_here(found).items():
                terminal.write_line(f"not seen here: {target_id}, {_cases(count)}: {remark}")
        self._write_faults(terminal)
        _write_real(terminal, [r for r in records if "key" in r.params])
        for target in targets:
            counts = self.counts(target.id)
            versions = ", ".join(f"{n} {v}" for n, v in target.versions.items()) or "not installed"
            terminal.write_line(f"{target.id:<16} {_count(counts)}  ({target.unavailable or versions})")
        total = sum((self.counts(t) for t in self.by_target), Counter())
        if self.bootstrap:
            terminal.write_line("error: a first run under --bootstrap is never green: review what it saw", red=True)
        if self.empty:
            terminal.write_line("error: no framework answered a single case, so nothing was assayed", red=True)
        terminal.write_line(f"{'all targets':<16} " + ", ".join(f"{total[v]} {v}" for v in Verdict))

    def _write_faults(self, terminal: Any) -> None:
        """Entries that no case shows."""
        for origin, count in self.stale.items():
            terminal.write_line(f"stale deviation: all {count} cases of {origin} conform: remove it", red=True)
        for origin, count in self.unconfirmed.items():
            text = (
                f"unreviewed: {origin} was assumed here, and none of its {count} cases shows it: narrow where it holds"
            )
            terminal.write_line(text, red=True)


def _write_empty(terminal: Any, option: Any) -> None:
    flags = (("-k", option.keyword), ("-m", option.markexpr))
    chosen = " ".join(f"{flag} {value!r}" for flag, value in flags if value)
    if not option.collectonly:
        terminal.write_line(f"error: no case matches {chosen or 'this selection'}", red=True)


def _write_known(terminal: Any, records: Iterable[EndLine], *, verbose: bool) -> None:
    """A row per requirement, target, behaviour and text of the entry; where only the texts differ, what else does."""
    rows: dict[tuple[str, str, str], dict[str, list[EndLine]]] = {}
    for record in records:
        if record.verdict == "known deviation":
            alike = rows.setdefault((record.requirement, record.target, record.behaviour), {})
            alike.setdefault(f"{record.note} {record.advice}", []).append(record)
    for (requirement, target, behaviour), alike in sorted(rows.items()):
        texts = sorted(alike)
        for text, apart in zip(texts, told_apart([[r.params for r in alike[t]] for t in texts]), strict=True):
            row = f"known deviation  {requirement:<16} {target:<14} {len(alike[text]):>4} x {behaviour}"
            terminal.write_line(f"{row}  ({apart})" if apart else row)
            if verbose:
                terminal.write_line(f"                 {text}")


def _write_real(terminal: Any, records: Iterable[EndLine]) -> None:
    """On the user's own arrays: the error nearest to its bound, per target, scheme and requirement."""
    worst: dict[tuple[str, str, str], EndLine] = {}
    for record in records:
        params = record.params
        scheme = (
            f"{params['mode']} {params['bits']} bits, group {params['group_size']}" if "bits" in params else "dense"
        )
        key = (record.requirement, scheme, record.target)
        if key not in worst or float(record.headroom or 0) >= float(worst[key].headroom or 0):
            worst[key] = record
    for (requirement, scheme, target), record in sorted(worst.items()):
        numbers = record.message if "mode" in record.params else ""
        if record.error is not None:
            error, bound, headroom = (float(x or 0) for x in (record.error, record.bound, record.headroom))
            numbers = f"error {error:.3e}, bound {bound:.3e}, error/bound {headroom:.2f}"
        if numbers:
            name = f"{requirement:<13} {scheme:<25} {target:<14}"
            terminal.write_line(f"{name} {numbers}  {record.verdict}: {record.params['key']}")


def _cases(number: int) -> str:
    return f"{number} case{'s' * (number != 1)}"


def _count(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[v]} {v}" for v in Verdict if counts[v]) or "no case"
