"""Generated lookups: right rows, checked ids, casts and gradients for whatever is drawn?"""

from __future__ import annotations

from touchstone.golden.cases import generated
from touchstone.suites.assay import Assay
from touchstone.suites.generated import lookup
from touchstone.suites.generated.explore import explore
from touchstone.suites.requirements import requirement


@requirement("EMB-SHAPE-1", generated.LOOKUP_CASES)
def test_rows_of_numbers(assay: Assay) -> None:
    explore(assay, lookup.NUMBERS)


@requirement("EMB-BITS-1", generated.LOOKUP_CASES)
def test_rows_of_any_bits(assay: Assay) -> None:
    explore(assay, lookup.BITS)


@requirement("EMB-CHECKED-1", generated.CHECKED_CASES)
def test_checked_ids(assay: Assay) -> None:
    explore(assay, lookup.CHECKED)


@requirement("CAST-MODULE-1", generated.CAST_CASES)
def test_casts(assay: Assay) -> None:
    explore(assay, lookup.CAST)


@requirement("GRAD-TABLE-1", generated.TABLE_GRADIENT_CASES)
def test_table_gradients(assay: Assay) -> None:
    explore(assay, lookup.GRADIENT)
