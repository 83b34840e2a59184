"""Which deviations that may hold for some cases hold for none, and which of other machines did not show here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from touchstone.reports.records import EndLine


def stale_deviations(records: Iterable[EndLine]) -> dict[str, int]:
    """Deviation -> number of its cases, where all of them conform and the whole requirement ran on their target.

    Marked cases, such as generated ones, may show a deviation, but not alone that it holds no longer.
    records: of one target.
    """
    return _unshown(records, assumed=False)


def unconfirmed(records: Iterable[EndLine]) -> dict[str, int]:
    """As `stale_deviations`, of those that are assumed on the target's device, where nobody has seen them."""
    return _unshown(records, assumed=True)


def _unshown(records: Iterable[EndLine], *, assumed: bool) -> dict[str, int]:
    ended: Counter[str] = Counter()
    covered: dict[str, list[EndLine]] = {}
    for record in records:
        ended[record.requirement] += not record.marked
        if record.sometimes:
            covered.setdefault(record.sometimes, []).append(record)
    return {
        origin: len(found)
        for origin, found in covered.items()
        if ended[found[0].requirement] >= found[0].cases
        and all(r.verdict == "conforms" and r.assumed == assumed for r in found)
        and not all(r.marked for r in found)
    }


def not_seen_here(records: Iterable[EndLine]) -> dict[str, int]:
    """Remark on an entry that holds on other machines -> number of its cases that ran here and do not show it."""
    return dict(Counter(record.unseen for record in records if record.unseen))
