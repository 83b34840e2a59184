"""The first screen: is anything red or new, on which target, since when, and what was not run?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from touchstone.reports.cases import size
from touchstone.reports.changes import Changes, Streak, match
from touchstone.reports.history import Night, night_of
from touchstone.reports.model import Column, Report, State
from touchstone.reports.page.since import NOT_COMPARABLE, is_unknown
from touchstone.reports.records import EndLine
from touchstone.verdict.rule import RED, UNANSWERED, Verdict

NIGHTS = 14
"""Nights of the past that a target's row shows."""
_WORDS = {
    "deviates": ("deviates", "deviate"),
    "crashed": ("crashed", "crashed"),
    "timed out": ("timed out", "timed out"),
    "unreviewed": ("is unreviewed", "are unreviewed"),
}


@dataclass(frozen=True)
class Headline:
    """The state of the whole run: in a line, and what changed in another."""

    state: State
    title: str
    since: str


@dataclass(frozen=True)
class TargetRow:
    """One target's verdicts. `counts`: of every verdict, in the order of Verdict.

    share: (verdict or "no record", part of what was planned). nights: (start, state, chip) of earlier nights, oldest
    first; state is "" where the target did not run, chip where it was today's.
    """

    column: Column
    state: str
    counts: Sequence[tuple[str, int]]
    share: Sequence[tuple[str, float]]
    nights: Sequence[tuple[str, str, str]]

    @property
    def denominator(self) -> int:
        """Cases that were planned, or that ended where no plan was written."""
        return max(self.column.planned, len(self.column.cases))


@dataclass(frozen=True)
class Attention:
    """Red cases of one target that are alike. `since`: in words, "" without a history."""

    column: int
    label: str
    requirement: str
    verdict: str
    behaviour: str
    count: int
    since: str
    is_new: bool
    first: EndLine


def when(moment: str) -> str:
    """A time such as "2026-11-21T09:59:01.5+00:00" as "2026-11-21 09:59 UTC"."""
    day, _, time = moment.partition("T")
    return f"{day} {time[:5]} UTC" if time else moment


def headline(report: Report, changes: Changes | None) -> Headline:
    """The state of a report and what changed; changes: None where there is no earlier run to compare with."""
    return Headline(report.state, _title(report), _since(changes))


def _title(report: Report) -> str:
    columns = [c for c in report.columns if c.facts.unavailable is None]
    if report.state == "empty":
        return "No framework answered a single case"
    if report.state == "incomplete":
        short = [c for c in columns if c.missing or c.in_flight]
        if not short:
            return "The run is not whole"
        missing, planned = sum(c.missing for c in short), sum(c.planned for c in short)
        return f"{missing:,} of {planned:,} cases on {_named(short)} have no record"
    if report.state == "conforms":
        counts = sum((c.counts for c in columns if c.facts.framework), Counter[str]())
        known = counts["known deviation"]
        departing = f"{known:,} depart{'s' * (known == 1)} as registered, none otherwise" if known else "none departs"
        return f"{counts['conforms']:,} cases conform, {departing}"
    red = RED - {"unreviewed"} if report.state == "deviates" else {"unreviewed"}
    bad = [c for c in columns if any(c.counts[v] for v in red)]
    counts = sum((c.counts for c in bad), Counter[str]())
    parts = [_counted(counts[v], v) for v in Verdict if v in red and counts[v]]
    if parts:
        first, *rest = parts
        parts = [", ".join((first, *(p.replace(" cases ", " ").replace(" case ", " ") for p in rest)))]
        parts[0] += f" on {_named(bad)}"
    stale = [c for c in columns if c.stale]
    if stale and report.state == "deviates":
        number = sum(len(c.stale) for c in stale)
        parts.append(f"{number:,} registered deviation{'s' * (number != 1)} no longer hold{'s' * (number == 1)}")
    if not parts:
        first_run = [c for c in columns if c.facts.bootstrap]
        parts.append(f"First run on {_named(first_run)}: nobody has looked at its verdicts" if first_run else "")
    return ", ".join(filter(None, parts)) or f"The run {report.state}"


def _counted(number: int, verdict: str) -> str:
    """In words, as "1 case deviates", "7 cases timed out"."""
    one, many = _WORDS.get(verdict, (f"is a {verdict}", f"are {verdict}s"))
    return f"1 case {one}" if number == 1 else f"{number:,} cases {many}"


def _named(columns: Sequence[Column]) -> str:
    labels = [c.label for c in columns]
    if len(labels) > 3:
        return f"{len(labels)} targets"
    return " and ".join(filter(None, (", ".join(labels[:-1]), labels[-1])))


def _since(changes: Changes | None) -> str:
    if changes is None:
        return "No earlier run to compare with."
    counts = Counter(c.kind for c in changes.changes)
    named = [f"{counts[kind]:,} {kind}" for kind in ("new", "changed", "fixed", "lost", "gained") if counts[kind]]
    if unknown := sum(c.kind == "new" and is_unknown(c) for c in changes.changes):
        named[0] += f" ({unknown:,} {NOT_COMPARABLE})"
    before = f"the run of {when(changes.previous)}"
    if "every column" in changes.not_compared:
        return f"Not compared with {before}: {changes.not_compared['every column']}."
    if not changes.compared:
        return f"Not compared with {before}: no target ran in both."
    found = ", ".join(named) if named else "nothing new"
    gaps = len(changes.not_compared)
    return f"Since {before}: {found}" + (f"; in {gaps:,} part{'s' * (gaps != 1)} not compared." if gaps else ".")


def targets(report: Report, nights: Sequence[Night]) -> list[TargetRow]:
    """A row per column. `nights`: oldest first."""
    earlier = nights[-NIGHTS:]
    tonight = night_of(report, {}) if earlier else None
    pairs = [match(night, tonight) for night in earlier] if tonight else []
    return [_target(column, _nights(column, earlier, pairs)) for column in report.columns]


def _nights(
    column: Column, nights: Sequence[Night], pairs: Sequence[Mapping[str, str]]
) -> Iterator[tuple[str, str, str]]:
    """The column's (start, state, chip) in each night; `pairs`: its key -> that of its predecessor, night by night."""
    for night, pair in zip(nights, pairs, strict=True):
        found = night.columns.get(pair.get(column.key, column.key))
        chip = found.machine.chip if found else ""
        yield night.started, found.state if found else "", chip if chip != column.machine.chip else ""


def _target(column: Column, nights: Iterable[tuple[str, str, str]]) -> TargetRow:
    counts = column.counts.copy()
    counts["stale deviation"] += len(column.stale)
    whole = max(column.planned, len(column.cases), 1)
    order = ("conforms", "known deviation", *(v for v in Verdict if v in RED), *Verdict)
    share = [(v, column.counts[v] / whole) for v in dict.fromkeys(order) if column.counts[v]]
    if column.missing:
        share.append(("no record", column.missing / whole))
    state = "not run" if column.facts.unavailable is not None else column.state
    return TargetRow(column, state, [(v, counts[v]) for v in Verdict], share, list(nights))


def attention(report: Report, streaks: Mapping[tuple[str, str], Streak]) -> list[Attention]:
    """What is red, alike cases as one; new ones first."""
    found: dict[tuple[int, str, str, str], list[EndLine]] = {}
    for number, column in enumerate(report.columns):
        for r in column.cases.values():
            if r.verdict in RED:
                found.setdefault((number, r.requirement, r.verdict, r.behaviour), []).append(r)
    out = []
    for (number, requirement, verdict, behaviour), records in found.items():
        column = report.columns[number]
        lasting = [s for r in records if (s := streaks.get((column.key, r.id)))]
        is_new = bool(lasting) and all(s.nights == 1 and not s.at_least for s in lasting)
        text = since(lasting)
        first = max(records, key=lambda r: size(r.headroom))
        out.append(Attention(number, column.label, requirement, verdict, behaviour, len(records), text, is_new, first))
    return sorted(out, key=lambda a: not a.is_new)


def since(streaks: Sequence[Streak]) -> str:
    """How long the longest of these has lasted."""
    if not streaks:
        return ""
    longest = max(streaks, key=lambda s: s.nights)
    if longest.nights == 1:
        return "first night of this history" if longest.at_least else "new tonight"
    prefix = "at least " if longest.at_least else ""
    return f"for {prefix}{longest.nights:,} nights, since {longest.since[:10]}"


def unanswered(column: Column) -> list[tuple[str, str, int]]:
    """(verdict, why, number of cases) of everything that the target was not asked."""
    counts = Counter((r.verdict, r.note) for r in column.cases.values() if r.verdict in UNANSWERED)
    return [(verdict, why, number) for (verdict, why), number in counts.most_common()]


def not_asked(report: Report) -> list[str]:
    """Requirements without a case in this run."""
    asked: Iterable[str] = set(report.asked)
    return [name for name in report.requirements if name not in asked]
