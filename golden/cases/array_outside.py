"""Cases of indices that name no element, for the operations that take elements by their place or put them there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from touchstone.golden.cases.array_choices import dtype_need
from touchstone.golden.catalogue import Case

SIZE = 5
PLACES: Mapping[str, int] = {"just beyond": SIZE, "just before": -SIZE - 1, "far beyond": 10**8, "far before": -(10**8)}
DTYPES = ("float32", "int32", "uint8")
READS: Mapping[str, tuple[str, ...]] = {
    "take": ("axis",),
    "take_along_axis": ("axis",),
    "slice": ("axes", "slice_size"),
}
"""Operation -> the options it is asked with."""
WRITES: Mapping[str, tuple[str, ...]] = {"put_along_axis": ("axis",), "slice_update": ("axes",)}


def _cases(operations: Mapping[str, tuple[str, ...]], hazard: str) -> list[Case]:
    return [
        Case(
            {"operation": name, "index": place, "dtype": dtype},
            {},
            (f"operation:{name}", *(f"option:{name} {option}" for option in options), dtype_need(dtype)),
            hazard="writes" if hazard == "writes" else "reads",
        )
        for (name, options), place, dtype in product(operations.items(), PLACES, DTYPES)
    ]


READ_CASES = _cases(READS, "reads")
WRITE_CASES = _cases(WRITES, "writes")
