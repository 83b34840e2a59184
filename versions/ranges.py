"""From which release on does each known deviation hold? What the timeline says about adapters/known.

An entry holds in a release where each of its cases that was asked shows what is registered; where `some_conform` is
set, a case may conform too. Its range begins with the first release from which on it holds without a gap.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adapters import known, registry
from adapters.known import Deviation, Entry, Pin
from reports import kept
from suites import requirements
from versions import observed
from versions.observed import NOTHING, Observed, Outcome
from versions.releases import VersionsError
from versions.timeline import UNDEFINED

_ENTRY = "[["
_SINCE = re.compile(r">=[^,]+")
_VERSIONS = re.compile(r'^versions = ".*"$', re.MULTILINE)


def first(entry: Entry, one: Observed) -> str | None:
    """The first release from which on the entry holds up to the last; None where it does not hold in the last."""
    rows = [
        row
        for requirement, params, row in one.cases.values()
        if requirement == entry.requirement and any(known.matches(pattern, params) for pattern in entry.cases)
    ]
    found = None
    for place in reversed(range(len(one.ran))):
        asked = [row[place] for row in rows if row[place] != NOTHING]
        if not asked or not all(_holds(entry, outcome) for outcome in asked):
            break
        found = one.ran[place].version
    return found


def _holds(entry: Entry, outcome: Outcome) -> bool:
    if isinstance(entry, Pin):
        return outcome.behaviour in entry.classes
    assert isinstance(entry, Deviation)
    if entry.some_conform and outcome.conforms:
        return True
    headroom = None if outcome.headroom is None else float(outcome.headroom)
    alike = outcome.behaviour in UNDEFINED and bool(entry.observed & UNDEFINED)
    return entry.explains(outcome.behaviour, headroom) or (alike and not outcome.conforms)


def _paths(found: list[Observed]) -> Iterator[tuple[Observed, Path]]:
    for one in found:
        name = one.head.adapter
        yield one, known.path_for(registry.adapter_class(name), name)


def _wanted(one: Observed, path: Path) -> list[str]:
    """The range of every entry of the file, in file order: what was observed, or what stands there where nothing was.

    Only a range that has no end is written: an entry that an old release alone showed stays as it is.
    """
    loaded = known.load([path], requirements.load().keys())
    entries = {
        entry.origin.partition(": ")[2].partition(" (")[0]: entry for entry in (*loaded.deviations, *loaded.pins)
    }
    out, seen = [], {"deviation": 0, "pin": 0}
    for part in _entries(path):
        kind = "deviation" if part.startswith("[[deviation]]") else "pin"
        seen[kind] += 1
        entry = entries[f"{kind} {seen[kind]}"]
        since = first(entry, one) if entry.target == one.head.target else None
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
                known.load([tried], requirements.load().keys())
            except known.KnownError as error:
                raise VersionsError(f"{path}: the ranges do not fit together: {error}") from error
        kept.write(path, content)
    return told
