"""Changes known from upstream: does the timeline show each at its release, and at no other?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from packaging.version import Version

from tools.versions.observed import NOTHING, Observed
from tools.versions.releases import VersionsError
from touchstone import documents
from touchstone.verdict.expectation import matches

PATH = Path(__file__).with_name("upstream.toml")


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change; see upstream.toml for the fields."""

    adapter: str
    release: str
    requirement: str
    cases: dict[str, list[Any]]
    before: list[str]
    after: list[str]
    thread: str
    says: str
    until: str = ""


@dataclass(frozen=True)
class Finding:
    """What the timeline shows of one change: `previous`, the release that ran before, and `count` cases; or a fault."""

    known: Known
    previous: str = ""
    count: int = 0
    fault: str = ""


def load(path: Path = PATH) -> list[Known]:
    """Every change, in file order. Raises VersionsError."""
    return [known for _, known in documents.lists(path, VersionsError, change=Known)["change"]]


def find(known: Known, observed: Sequence[Observed]) -> Finding:
    """Whether all of the cases show `before` in the release before, and `after` from it on, up to `until`."""
    one = next((o for o in observed if o.head.adapter == known.adapter), None)
    versions = [release.version for release in one.ran] if one else []
    if one is None or known.release not in versions[1:]:
        return Finding(known, fault=f"{known.adapter} {known.release} did not run, or nothing before it")
    at = versions.index(known.release)
    later = [
        number for number, version in enumerate(versions) if known.until and Version(version) >= Version(known.until)
    ]
    end = min(later, default=len(versions))
    pattern = {name: tuple(values) for name, values in known.cases.items()}
    rows = [
        row
        for requirement, params, row in one.cases.values()
        if requirement == known.requirement and matches(pattern, params) and row[at] != NOTHING
    ]
    if not rows:
        return Finding(known, versions[at - 1], 0, f"{known.requirement} has no such case")
    early = [row[at - 1].behaviour for row in rows]
    late = [outcome.behaviour for row in rows for outcome in row[at:end]]
    for wanted, seen, when in (
        (known.before, early, f"in {versions[at - 1]}"),
        (known.after, late, f"from {known.release}"),
    ):
        if other := sorted(set(seen) - set(wanted)):
            return Finding(known, versions[at - 1], len(rows), f"{when} {seen.count(other[0])} show {other[0]!r}")
    return Finding(known, versions[at - 1], len(rows))
