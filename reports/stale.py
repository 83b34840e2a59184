"""Which deviations that may hold for some cases only hold for none any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reports.records import EndLine


def stale_deviations(records: Iterable[EndLine]) -> dict[str, int]:
    """Deviation -> number of its cases, where all of them conform and the whole requirement ran on their target.

    Marked cases, such as generated ones, may show a deviation, but not alone that it holds no longer.
    records: of one target.
    """
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
        and all(r.verdict == "conforms" for r in found)
        and not all(r.marked for r in found)
    }
