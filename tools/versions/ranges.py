"""From which release on does each known deviation hold? What the timeline says about the files of known deviations.

An entry holds in a release where each of its cases that was asked shows what is registered; where `some_conform` is
set, a case may conform too. A pin leaves a case to the deviation that explains it, as a verdict does. The range begins
with the first release from which on the entry holds without a gap. An entry may be newer than the observations, which
then say nothing of its range.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.versions import observed
from tools.versions.observed import NOTHING, Observed, Outcome
from tools.versions.releases import VersionsError
from tools.versions.timeline import UNDEFINED, Params
from touchstone import files
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Adapter
from touchstone.reports import kept
from touchstone.suites import requirements
from touchstone.verdict import expectation
from touchstone.verdict.expectation import Deviation, Expectation, Expectations, Pin, Place

NOTHING_KNOWN = Expectations()
_ENTRY = "[["
_SINCE = re.compile(r">=[^,]+")
_VERSIONS = re.compile(r'^versions = ".*"$', re.MULTILINE)


def first(entry: Expectation, one: Observed, registered: Expectations = NOTHING_KNOWN) -> str | None:
    """The first release from which on the entry holds up to the last; None where it does not hold in the last.

    registered: what else is known of the target; its deviations explain cases of a pin.
    """
    found = None
    for at in reversed(range(len(one.ran))):
        asked = _asked(entry, one, at)
        if not asked or not all(_holds(entry, place_of(one), *case, registered) for case in asked):
            break
        found = one.ran[at].version
    return found


def place_of(one: Observed) -> Place:
    """Where these observations were made; an entry of certain machines holds there only if they recorded its facts."""
    framework, _, device = one.head.target.partition("@")
    return Place(framework, device, {**kept.facts_of(one.head.system), **one.head.facts})


def _asked(entry: Expectation, one: Observed, at: int) -> list[tuple[str, Params, Outcome]]:
    """(version, params, outcome) of the entry's cases in the release at this place."""
    return [
        (one.ran[at].version, params, row[at])
        for requirement, params, row in one.cases.values()
        if requirement == entry.requirement
        and row[at] != NOTHING
        and any(expectation.matches(pattern, params) for pattern in entry.cases)
    ]


def _holds(
    entry: Expectation, place: Place, version: str, params: Params, outcome: Outcome, registered: Expectations
) -> bool:
    if isinstance(entry, Pin):
        deviation = registered.deviation(entry.requirement, place, version, params)
        return outcome.behaviour in entry.classes or bool(deviation and _explains(deviation, outcome))
    assert isinstance(entry, Deviation)
    return _explains(entry, outcome)


def _explains(entry: Deviation, outcome: Outcome) -> bool:
    if entry.some_conform and outcome.conforms:
        return True
    headroom = None if outcome.headroom is None else float(outcome.headroom)
    alike = outcome.behaviour in UNDEFINED and bool(entry.observed & UNDEFINED)
    return entry.shows(outcome.behaviour, headroom) or (alike and not outcome.conforms)


def _paths(found: list[Observed]) -> Iterator[tuple[Observed, Path]]:
    for one in found:
        yield one, known.path_for(_class(one))


def _class(one: Observed) -> type[Adapter]:
    return registry.adapter_class(one.head.adapter)


def _load(path: Path, one: Observed) -> Expectations:
    return known.load(path, _class(one), requirements.load().keys())


def _entries_of(registered: Expectations) -> tuple[Expectation, ...]:
    return (*registered.deviations, *registered.pins)


def _title(entry: Expectation) -> str:
    """``deviation 5``: where it stands in its file."""
    return entry.origin.partition(": ")[2].partition(" (")[0]


def _in_force() -> Iterator[tuple[Path, Observed, Expectations, Expectation]]:
    """Every entry that holds where a target was recorded and at the last release; its file, and what is beside it."""
    for one, path in _paths(observed.load()):
        registered = _load(path, one)
        for entry in _entries_of(registered):
            if entry.scope.holds(place_of(one)) and entry.versions.contains(one.ran[-1].version, prereleases=True):
                yield path, one, registered, entry


def without_observation() -> list[tuple[Path, Observed, Expectation]]:
    """Entries of which the last recorded release was asked no case: they are newer than the observations."""
    return [(path, one, entry) for path, one, _, entry in _in_force() if not _asked(entry, one, len(one.ran) - 1)]


def unobserved() -> list[str]:
    """A line for each entry without an observation."""
    return [
        f"{path.name}: {entry.requirement} ({_title(entry)}, {entry.versions}): no case of it was asked of "
        f"{one.ran[-1].spelled}, the last release recorded"
        for path, one, entry in without_observation()
    ]


def contradicted() -> list[str]:
    """A line for each entry that does not hold in the last recorded release, which was asked its cases."""
    return [
        f"{path.name}: {entry.requirement} ({_title(entry)}, {entry.versions}): does not hold in {one.ran[-1].spelled}"
        for path, one, registered, entry in _in_force()
        if _asked(entry, one, len(one.ran) - 1) and first(entry, one, registered) is None
    ]


def _wanted(one: Observed, path: Path) -> list[str]:
    """The range of every entry of the file, in file order: what was observed, or what stands there where nothing was.

    Only a range that has no end is written: an entry that an old release alone showed stays as it is.
    """
    registered = _load(path, one)
    entries = {_title(entry): entry for entry in _entries_of(registered)}
    out, seen = [], {"deviation": 0, "pin": 0}
    for part in _entries(path):
        kind = "deviation" if part.startswith("[[deviation]]") else "pin"
        seen[kind] += 1
        entry = entries[f"{kind} {seen[kind]}"]
        since = first(entry, one, registered) if entry.scope.holds(place_of(one)) else None
        old = str(entry.versions)
        out.append(f">={since}" if since and _SINCE.fullmatch(old) else old)
    return out


def _parts(path: Path) -> list[str]:
    """The file's text, cut before each entry."""
    return re.split(r"(?m)^(?=\[\[)", path.read_text())


def _entries(path: Path) -> list[str]:
    return [part for part in _parts(path) if part.startswith(_ENTRY)]


def tell() -> list[str]:
    """A line for each entry whose range is not what was observed."""
    out = []
    for one, path in _paths(observed.load()):
        for part, wanted in zip(_entries(path), _wanted(one, path), strict=True):
            found = _VERSIONS.search(part)
            if found and found.group() != f'versions = "{wanted}"':
                title = re.search(r'^requirement = "(.*)"$', part, re.MULTILINE)
                name = title.group(1) if title else "?"
                out.append(f"{path.name}: {name}: {found.group()} -> {wanted}")
    return out


def update() -> list[str]:
    """Write the ranges; a line for each that changed. Only the `versions` fields are touched."""
    told = tell()
    for one, path in _paths(observed.load()):
        wanted = iter(_wanted(one, path))
        made = [
            _VERSIONS.sub(f'versions = "{next(wanted)}"', part, count=1) if part.startswith(_ENTRY) else part
            for part in _parts(path)
        ]
        content = "".join(made).encode()
        with tempfile.TemporaryDirectory() as folder:
            tried = Path(folder) / path.name
            tried.write_bytes(content)
            try:
                _load(tried, one)
            except known.KnownError as error:
                raise VersionsError(f"{path}: the ranges do not fit together: {error}") from error
        files.write(path, content)
    return told
