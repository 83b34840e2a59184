"""Every property that generated cases ask, by name: what a stored finding is asked again by."""

from __future__ import annotations

from touchstone.suites.generated import linear, lookup, quantized
from touchstone.suites.generated.drawn import Property

PROPERTIES: dict[str, Property] = {
    found.name: found for module in (lookup, linear, quantized) for found in module.PROPERTIES
}
