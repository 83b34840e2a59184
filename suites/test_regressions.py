"""Stored findings: are cases that were generated once, and found something, right now?"""

from __future__ import annotations

from collections.abc import Callable

from touchstone.golden.cases import regressions
from touchstone.suites.assay import Assay
from touchstone.suites.generated.drawn import Property
from touchstone.suites.generated.properties import PROPERTIES
from touchstone.suites.requirements import requirement


def _asked(stored: Property) -> Callable[[Assay], None]:
    @requirement(stored.requirement, regressions.of(stored.name))
    def test(assay: Assay) -> None:
        stored.ask(assay)

    test.__name__ = test.__qualname__ = f"test_{stored.name.replace(' ', '_')}"
    return test


if unknown := regressions.STORED.keys() - PROPERTIES.keys():
    raise regressions.RegressionError(f"{regressions.FILE}: there is no property {sorted(unknown)[0]!r}")
for _property in PROPERTIES.values():
    if regressions.of(_property.name):
        _test = _asked(_property)
        globals()[_test.__name__] = _test
        del _test
