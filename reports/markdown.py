"""``summary.md``: a page of Markdown for a job's summary or a pull request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from touchstone.reports.changes import Changes, Kind
from touchstone.reports.model import Column, Report
from touchstone.reports.regressions import Change as SpeedChange
from touchstone.verdict.rule import RED, Verdict

ROWS = 50
"""Most rows of a list; a job summary of GitHub Actions may have 1 MiB."""
STATES = {
    "conforms": "🟢 conforms",
    "deviates": "🔴 deviates",
    "unreviewed": "🟡 unreviewed: nobody has looked at these verdicts yet",
    "incomplete": "🟠 incomplete: not every case has a record",
    "empty": "⚫ empty: no framework answered a single case",
}


KINDS: dict[Kind, str] = {
    "new": "🔴 New departures",
    "changed": "🔴 Departures that changed",
    "lost": "🟠 No longer answered",
    "fixed": "🟢 Fixed",
    "gained": "🟢 Newly answered",
    "varies": "Registered departures that vary",
}
_MARKUP = re.compile(r"[&<>\\`*_\[\]|~]")


def render(report: Report, since: Changes | None = None, speed: Sequence[SpeedChange] = ()) -> str:
    """The report as Markdown; `since`, `speed`: what changed since the previous run, where one is known."""
    asked, all_of_them = len(report.asked), len(report.requirements)
    lines = [
        f"# Touchstone: {STATES[report.state]}\n",
        f"Run of {report.started}, suite `{report.suite_hash}`, golden data `{report.golden_hash}`; "
        f"{asked} of {all_of_them} requirements asked.\n",
        *(f"- ⚠️ {plain(problem)}" for problem in report.problems[:ROWS]),
        "",
        "| target | state | answered of planned | " + " | ".join(Verdict) + " | versions |",
        "|---" * (len(Verdict) + 4) + "|",
        *map(_row, report.columns),
        "",
        *([changes(since, heading="##")] if since else []),
        *_speed(speed),
        *_red(report),
        *_known(report.columns),
        *_not_seen(report.columns),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _speed(found: Sequence[SpeedChange]) -> Iterable[str]:
    """Benchmarks that changed beyond noise."""
    for kind, title in (("regression", "🔴 Slower than noise explains"), ("improvement", "🟢 Faster")):
        if lines := [f"- {plain(str(c))}" for c in found if c.kind == kind]:
            yield f"## {title}\n\n" + "\n".join(lines[:ROWS]) + "\n"


def changes(found: Changes, heading: str = "#") -> str:
    """What changed, as Markdown."""
    lines = [f"{heading} Since the run of {found.previous}\n"]
    lines += [f"- not compared: {plain(what)}: {plain(why)}" for what, why in _first(found.not_compared.items())]
    moved = (("version", found.versions), ("environment", found.environment), ("package", found.packages))
    for kind, moves in moved:
        for m in moves[:ROWS]:
            column, name, before, after = map(plain, (m.column, m.name, m.before or "absent", m.after or "absent"))
            lines.append(f"- {kind}: {column}: {name} {before} → {after}")
    lines.append("")
    for kind, title in KINDS.items():
        if group := found.of(kind):
            lines += [f"{heading}# {title}: {len(group):,}\n", "| target | case | before | now |", "|---|---|---|---|"]
            for c in group[:ROWS]:
                before, after = (
                    plain(": ".join(x for x in (s.verdict, s.behaviour) if x)) for s in (c.before, c.after)
                )
                lines.append(f"| {plain(c.column)} | {_code(c.case)} | {before} | {after} |")
            if len(group) > ROWS:
                lines.append(f"\n… and {len(group) - ROWS:,} more")
            lines.append("")
    if not (found.changes or found.not_compared):
        lines.append("No case changed.\n")
    return "\n".join(lines).rstrip() + "\n"


def _first(items: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(items)[:ROWS]


def _row(column: Column) -> str:
    counts = column.counts.copy()
    counts["stale deviation"] += len(column.stale)
    versions = column.facts.unavailable or ", ".join(f"{n} {v}" for n, v in column.facts.versions.items())
    state = "not run" if column.facts.unavailable else column.state
    cells = [column.label, state, f"{column.answered:,} of {column.planned:,}", *(f"{counts[v]:,}" for v in Verdict)]
    return "| " + " | ".join(plain(c) for c in (*cells, versions)) + " |"


def _red(report: Report) -> Iterable[str]:
    red = [(c, r) for c in report.columns for r in c.cases.values() if r.verdict in RED]
    if not red and not any(c.stale or c.unconfirmed for c in report.columns):
        return
    yield "## To look at\n"
    for column in report.columns:
        for origin, count in column.stale.items():
            yield f"- {plain(column.label)}: all {count} cases of {plain(origin)} conform: remove it"
        for origin, count in column.unconfirmed.items():
            yield f"- {plain(column.label)}: {plain(origin)} was assumed here, and none of its {count} cases shows it"
    groups = Counter((c.label, r.requirement, r.verdict, r.behaviour) for c, r in red)
    first = {(c.label, r.requirement, r.verdict, r.behaviour): r for c, r in reversed(red)}
    yield "| target | requirement | verdict | behaviour | cases | rerun one |\n|---|---|---|---|---|---|"
    for key, count in list(groups.items())[:ROWS]:
        label, requirement, verdict, behaviour = map(plain, key)
        yield f"| {label} | {requirement} | {verdict} | {behaviour} | {count:,} | {_code(first[key].rerun)} |"
    if len(groups) > ROWS:
        yield f"\n… and {len(groups) - ROWS:,} more rows"
    yield ""


def _known(columns: Iterable[Column]) -> Iterable[str]:
    groups = Counter(
        (r.requirement, c.label, r.behaviour)
        for c in columns
        for r in c.cases.values()
        if r.verdict == "known deviation"
    )
    if groups:
        yield f"<details><summary>{groups.total():,} known deviations</summary>\n"
        yield "| requirement | target | behaviour | cases |\n|---|---|---|---|"
        for key, count in sorted(groups.items())[: 4 * ROWS]:
            yield "| " + " | ".join(map(plain, key)) + f" | {count:,} |"
        yield "\n</details>"


def _not_seen(columns: Iterable[Column]) -> Iterable[str]:
    """Remarks on entries that hold on other machines."""
    remarks = [(c.label, count, text) for c in columns for text, count in c.not_seen_here.items()]
    if remarks:
        yield "\n## Not seen here\n"
        yield from (f"- {plain(label)}, {count:,} cases: {plain(text)}" for label, count, text in remarks[:ROWS])


def plain(text: str) -> str:
    """`text` without anything that Markdown or HTML would read as markup."""
    return " ".join(_MARKUP.sub(lambda m: f"&#{ord(m[0])};", text).split())


def _code(text: str) -> str:
    """`text` as a code span inside a table."""
    shown = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}"
