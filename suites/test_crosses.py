"""Where dimensions of a call come together (shape, dtype, layout, size, option, state): is the answer still exact?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.golden.cases import crosses
from touchstone.golden.streams import DTYPES
from touchstone.suites import crossed_calls, crossing
from touchstone.suites.assay import Assay
from touchstone.suites.crossed_calls import Due
from touchstone.suites.crossing import Answer
from touchstone.suites.requirements import requirement
from touchstone.verdict.observation import Deviates

AT_A_TIME = 16


@requirement("CROSS-1", crosses.CASES)
def test_crosses(assay: Assay) -> None:
    _assay_rows(assay)


@requirement("SPELLING-1", crosses.QUANTIZED_FUNCTION_CASES)
def test_functions_of_quantized_layers(assay: Assay) -> None:
    _assay_rows(assay)


def _assay_rows(assay: Assay) -> None:
    """The first row that is wrong is told."""
    rows = crosses.rows(assay.case)
    from_the_end = not crossed_calls.multiplies(assay) and _counts_from_the_end(assay)
    every = [crossed_calls.due(assay, row, from_the_end=from_the_end) for row in rows]
    calls = [due.call for due in every]
    # Some at a time: a framework that compiles each may take longer than one question has.
    parts = [calls[first : first + AT_A_TIME] for first in range(0, len(calls), AT_A_TIME)]
    answers = [answer for part in parts for answer in assay.value(assay.ask(crossing.ask, calls=part))]
    for row, due, answer in zip(rows, every, answers, strict=True):
        try:
            _assay_answer(assay, due, answer)
        except Deviates as deviates:
            seen = deviates.observation
            raise Deviates(replace(seen, message=f"{_told(row)}: {seen.message}")) from None


def _told(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {level}" for name, level in row.items())


def _counts_from_the_end(assay: Assay) -> bool:
    """Whether one negative id gives a row counted from the end: what else it may give, SPELLING-ID-1 says."""
    due = crossed_calls.negative_id(assay)
    (answer,) = assay.value(assay.ask(crossing.ask, calls=[due.call]))
    return answer.value is not None and np.array_equal(answer.value.astype(np.float64), due.value)


def _assay_answer(assay: Assay, due: Due, answer: Answer) -> None:
    """The answer, and the gradient of every parameter and of x, each in the dtype of what it belongs to."""
    if answer.value is None:
        behaviour, _, message = answer.error.partition(": ")
        assay.behaves(behaviour, conforms=False, message=message)
    # After a cast results may keep the dtype that the layer was made with: CAST-MODULE-2 says which.
    dtype = DTYPES[due.dtype]
    if due.call.how == "cast" and answer.value is not None:
        dtype = answer.value.dtype
    assay.same_bits(answer.value, due.value.astype(np.float32).astype(dtype), signed_zero=False)
    if due.call.cotangent is None:
        return
    for role in sorted(crossing.owed(due.call)):
        want = due.gradients[role].astype(np.float32).astype(DTYPES[due.call.dtype])
        assay.same_bits(answer.gradients.get(role), want, signed_zero=False)
