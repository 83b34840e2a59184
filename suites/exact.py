"""Cases of small integers: their exact answers and gradients by the oracle, and how a target is held to them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from touchstone.golden import oracle
from touchstone.golden.streams import DTYPES
from touchstone.suites.assay import Assay


def looks_up(assay: Assay) -> bool:
    """Whether the case is about a lookup, and not about a product."""
    return "ids" in assay.case.arrays


def answer(assay: Assay, dtype: str) -> np.ndarray:
    """The rows of the case's ids, or x Wᵀ (+ b), rounded once to the dtype."""
    weight = assay.golden("weight")
    if looks_up(assay):
        return oracle.lookup(weight, assay.golden("ids")).astype(np.float32).astype(DTYPES[dtype])
    return rounded_once(oracle.linear(assay.golden("x"), weight), assay.bias, dtype)


def gradients(assay: Assay) -> dict[str, np.ndarray]:
    """Role -> gradient of the case's operands, float64."""
    weight, cotangent = assay.golden("weight"), assay.golden("cotangent")
    if looks_up(assay):
        return {"weight": oracle.table_gradient(weight, assay.golden("ids"), cotangent)}
    found = oracle.product_gradients(assay.golden("x"), weight, cotangent)
    return found if assay.bias is not None else {role: found[role] for role in ("weight", "x")}


def assay_gradients(assay: Assay, found: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], dtype: str) -> None:
    """Each gradient that is wanted, bit for bit in the dtype of what it belongs to."""
    for role, value in want.items():
        assay.same_bits(found.get(role), value.astype(np.float32).astype(DTYPES[dtype]), signed_zero=False)


def rounded_once(product: np.ndarray, bias: np.ndarray | None, dtype: str) -> np.ndarray:
    """The exact integer result rounded to the dtype; integers below 2**24 are exact in float32."""
    total = product if bias is None else product + bias.astype(np.float64)
    return total.astype(np.float32).astype(DTYPES[dtype])
