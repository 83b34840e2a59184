"""docs/versions.md: the timeline as a page, made from recorded observations alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools.versions import observed, upstream
from tools.versions.observed import Observed
from tools.versions.timeline import KINDS, Change, Kind, Step, by_release
from touchstone import files
from touchstone.reports.cases import spelled
from touchstone.reports.records import Scalar
from touchstone.suites import requirements

PATH = Path(__file__).parents[2] / "docs" / "versions.md"
WRITE = "python -m tools.versions page --write"
TITLES = {"mlx": "MLX", "jax": "Flax NNX and JAX", "torch": "PyTorch"}
_MEANINGS: Mapping[Kind, str] = {
    "regression": "cases of a requirement conformed in the release before, and no longer do (a refusal may conform)",
    "fixed": "cases of a requirement conform, and did not",
    "changed": "another class of behaviour: of a characterised requirement, or between two that do not conform",
    "arithmetic": "the same class with another error, as max(error / bound): other sums, or in another order",
}
_INTRO = """\
# What changed in which release

The suites, run on older releases of each framework, and what differs from one release to the next: in classes of
behaviour and in headroom, not in verdicts alone. `{write}` makes this page from
`tools/versions/observations`; `python -m tools.versions run && python -m tools.versions record` makes those anew, with
`jax` after both for one framework alone. `tox -e versions` runs every release and prints the timeline. Each release is
an overlay of its wheels over one environment: every other distribution is that of `constraints.txt`. Requirements are
those of [the specification](specification.md).
"""
_HEAP = """\
Reads and writes outside a table show whatever the heap holds: a change from one of their classes to
another is no change of a release.
"""


_NEWER = """\
## Not asked of any of these releases

The observations are older than some of the suites. These requirements were written since:
{requirements}.

Cases that other requirements were given since are not in them either; `python -m tools.versions ranges` lists the known
deviations and pins whose range rests on no observation for that reason.
"""


def render(found: Sequence[Observed]) -> str:
    """The page, Markdown."""
    known = upstream.load()
    lines = [_INTRO.format(write=WRITE)]
    lines += [f"- {kind}: {_MEANINGS[kind]}" for kind in KINDS]
    lines += ["", _HEAP]
    lines += _known([upstream.find(change, found) for change in known])
    lines += _newer(found)
    order = [*TITLES]
    for one in sorted(found, key=lambda o: order.index(o.head.adapter) if o.head.adapter in order else len(order)):
        lines += _framework(one)
    return "\n".join(lines).rstrip() + "\n"


def _known(findings: Sequence[upstream.Finding]) -> Iterable[str]:
    yield "## Known from upstream\n"
    yield "| release | what upstream says | what the suites show |"
    yield "|---|---|---|"
    for finding in findings:
        known = finding.known
        which = spelled({name: tuple(values) for name, values in known.cases.items()})
        until = f", until {known.until}" if known.until else ""
        shown = f"{_list(known.before)} → {_list(known.after)} after {finding.previous}: {finding.count} cases of "
        shown += f"{known.requirement} ({which})"
        said = f"[{known.says}]({known.thread})"
        yield f"| {TITLES[known.adapter]} {known.release}{until} | {said} | {finding.fault or shown} |"
    yield ""


def _newer(found: Sequence[Observed]) -> Iterable[str]:
    """Requirements of today that some adapter's releases were not asked, as the suites did not have them."""
    missing = {one.head.adapter: sorted(requirements.load().keys() - one.head.required.keys()) for one in found}
    if not any(missing.values()):
        return
    if len({tuple(names) for names in missing.values()}) == 1:
        yield _NEWER.format(requirements=", ".join(next(iter(missing.values()))))
    else:
        told = [f"{TITLES.get(adapter, adapter)}: {', '.join(names)}" for adapter, names in missing.items() if names]
        yield _NEWER.format(requirements="; ".join(told))


def _framework(one: Observed) -> Iterable[str]:
    head = one.head
    yield f"## {TITLES.get(head.adapter, head.adapter)}\n"
    yield f"{head.target}, {head.system}, suites {head.suite_hash}, golden data {head.golden_hash}.\n"
    if len(head.releases) == 1:
        yield f"One release: {head.releases[0].spelled}. Its older wheels for the CPU are not on PyPI.\n"
        return
    yield "| release | run on | cases answered | conform | " + " | ".join(KINDS) + " |"
    yield "|---|---|---:|---:|" + "---:|" * len(KINDS)
    made = []
    for release, answered, step in by_release(one):
        if release.error:
            yield f"| {release.spelled} | | {release.error} |" + " |" * (1 + len(KINDS))
            continue
        counts = step.counts() if step else {}
        made += [step] if step else []
        cells = " | ".join(str(counts.get(kind, "")) for kind in KINDS)
        conform = sum(outcome.conforms for outcome in answered)
        yield f"| {release.spelled} | {release.date} | {len(answered):,} | {conform:,} | {cells} |"
    yield ""
    for step in reversed(made):
        yield from _release(step)


def _release(step: Step) -> Iterable[str]:
    if not step.changes:
        return
    yield f"### {step.release.spelled}\n"
    yield f"Since {step.previous.version}:\n"
    yield "| kind | from | to | cases | where |"
    yield "|---|---|---|---|---|"
    for group in grouped(step.changes):
        first = group[0]
        cases = ", ".join(f"{change.requirement} ({change.count} of {change.of})" for change in group)
        befores, afters = _list(change.before for change in group), _list(change.after for change in group)
        yield f"| {first.kind} | {befores} | {afters} | {cases} | {spelled(common([c.where for c in group]))} |"
    yield ""


def grouped(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes that read alike, as one row.

    They are of one kind from one class to one other, at the same places or at none; every change of arithmetic is its
    own.
    """
    out: dict[tuple[object, ...], list[Change]] = {}
    for change in sorted(changes, key=lambda c: (KINDS.index(c.kind), c.before, c.after, c.requirement)):
        key: tuple[object, ...] = (change.kind, change.before, change.after)
        if change.kind == "arithmetic":
            key = (change.kind, change.requirement)
        out.setdefault(key, []).append(change)
    return list(out.values())


def common(places: Sequence[Mapping[str, tuple[Scalar, ...]]]) -> dict[str, tuple[Scalar, ...]]:
    """The parameters that all of them name, with every value."""
    names = [name for name in places[0] if all(name in where for where in places)]
    return {name: tuple(dict.fromkeys(value for where in places for value in where[name])) for name in names}


def _list(words: Iterable[str]) -> str:
    return ", ".join(word.replace("|", "\\|") for word in dict.fromkeys(words))


def write(path: Path = PATH) -> bool:
    """Write the page; whether it changed."""
    content = render(observed.load())
    if path.is_file() and path.read_text() == content:
        return False
    files.write(path, content)
    return True


def check(path: Path = PATH) -> str:
    """A sentence where the page is not what the observations say, else nothing."""
    if not path.is_file():
        return f"{path}: is missing; run {WRITE}"
    if path.read_text() != render(observed.load()):
        return f"{path}: is not what the recorded observations say; run {WRITE}"
    return ""
