"""Functions of one number: are their values right over the whole range of each dtype, a region at a time?"""

from __future__ import annotations

import numpy as np

from touchstone.golden import bounds
from touchstone.golden.cases import functions
from touchstone.golden.operations import regions
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement


@requirement("FUN-VALUES-1", functions.VALUE_CASES)
def test_values(assay: Assay) -> None:
    name, dtype = assay.params["operation"], assay.params["dtype"]
    place, x = regions.place(assay.params["region"]), assay.golden("x")
    got = assay.value(assay.ask(probes.operation, name=name, x=x))
    want, scale = (assay.golden(what)[place] for what in ("value", "scale"))
    bound = bounds.elementwise(scale, want, FUNCTIONS[name].roundings, dtype)
    want = np.where(np.abs(want) >= bounds.overflow(dtype), np.copysign(np.inf, want), want)
    if isinstance(got, np.ndarray) and got.shape == x.shape:
        has_no_value = np.isin(x[place].astype(np.float64), FUNCTIONS[name].no_value_at)
        got, want = _without_right_limits(got[place], want, has_no_value)
    assay.within(got, want, bound, dtype, "value")


def _without_right_limits(got: np.ndarray, want: np.ndarray, has_no_value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both, with zeros where an answer that is not finite is right."""
    found = got.astype(np.float64)
    right = ~np.isfinite(found) & ((found == want) | (np.isnan(found) & (np.isnan(want) | has_no_value)))
    return np.where(right, 0, found).astype(got.dtype), np.where(right, 0, want)
