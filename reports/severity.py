"""What does it mean to move from a target that shows one thing to a target that shows another?

| source | target | severity |
|---|---|---|
| anything | ends the process, or hangs | crash |
| answers | not available there | unavailable |
| departs, or is not available | conforms | better |
| raises | gives the golden value | better |
| raises | gives another value | silent |
| gives a value, or crashes | raises | error |
| a value | a departing value | silent; dtype where only the dtype is another |
| a value | another permitted value | what the requirement says: silent, dtype, rounding, convention |
| raises | raises something else | convention |

Nothing where both show the same, both crash, or both meet a required sentence in ways that it does not tell apart.
"""

from __future__ import annotations

from typing import Literal, get_args

from touchstone.reports.records import EndLine, Requirement
from touchstone.verdict.behaviour import Behaviour, Kind
from touchstone.verdict.rule import UNANSWERED, Verdict

Severity = Literal["silent", "crash", "error", "dtype", "rounding", "convention", "unavailable", "better"]
ORDER: tuple[Severity, ...] = get_args(Severity)
"""Worst first."""

TITLES: dict[Severity, str] = {
    "silent": "Silently different",
    "crash": "Crashes",
    "error": "Raises an error",
    "dtype": "Another dtype",
    "rounding": "Other rounding",
    "convention": "Other convention",
    "unavailable": "Not available there",
    "better": "Better there",
}
MEANINGS: dict[Severity, str] = {
    "silent": "no error, another result",
    "crash": "the process ends or hangs",
    "error": "code that ran stops with an exception",
    "dtype": "the result has another dtype",
    "rounding": "results differ in the last bits, within what is permitted",
    "convention": "names, defaults or kinds of error differ",
    "unavailable": "the target declares that it cannot answer",
    "better": "what departed, was refused or was not available conforms there",
}
DEFAULT_ADVICE: dict[Severity, str] = {
    "silent": "Check the inputs before the call and compare results on your own data: no error will tell.",
    "crash": "Check the inputs before the call: the process cannot recover.",
    "error": "Expect the exception, or keep such inputs away from the call.",
    "dtype": "Cast the result, or the inputs, to the dtype that the rest of the model expects.",
    "rounding": "Compare within the bound, not bit for bit.",
    "convention": "Adapt the code that relies on it.",
    "unavailable": "Choose another way on that target.",
    "better": "Nothing to do; what worked around it can go.",
}

_FAULTS = (Verdict.KNOWN, Verdict.DEVIATES, Verdict.CRASHED, Verdict.TIMED_OUT)


def departs(record: EndLine) -> bool:
    """Whether the case departs from its requirement, known or not."""
    return record.verdict in _FAULTS or (record.verdict == Verdict.UNREVIEWED and not record.conforms)


def kind(record: EndLine) -> Literal["nothing", "crash", "error", "value"]:
    """What came back, in one word."""
    if record.verdict in UNANSWERED:
        return "nothing"
    behaviour = Behaviour(record.behaviour)
    if behaviour.is_end:
        return "crash"
    return "error" if behaviour.kind in (Kind.RAISES, Kind.REFUSES) else "value"


def between(source: EndLine, target: EndLine, requirement: Requirement) -> Severity | None:
    """What a user of `source` meets on `target` in this case; None where there is nothing to notice."""
    if source.behaviour == target.behaviour:
        return None
    before, after = kind(source), kind(target)
    if after == "nothing":
        return None if before == "nothing" else "unavailable"
    if before == "nothing":
        return None if departs(target) else "better"
    if after == "crash":
        return None if before == "crash" else "crash"
    if departs(source) and not departs(target):
        return "better"
    if before == after == "value":
        return _values(target, requirement)
    if after == "value":
        return "silent" if departs(target) or target.headroom is None else "better"
    if before == after == "error":
        return _errors(target, requirement)
    return "error"


def _values(target: EndLine, requirement: Requirement) -> Severity | None:
    if departs(target):
        return "dtype" if "dtype" in (target.behaviour.removeprefix("wrong "), requirement.difference) else "silent"
    return next((s for s in ORDER if s == requirement.difference), None)


def _errors(target: EndLine, requirement: Requirement) -> Severity | None:
    """A required sentence does not say which exception, until one of them is the fault."""
    if departs(target):
        return "error"
    return "convention" if requirement.level == "characterised" else None


def advice(source: EndLine, target: EndLine, requirement: Requirement, severity: Severity) -> str:
    """What to do: as registered for the target, else for the source, else for the requirement, else in general."""
    if severity == "unavailable":
        return target.note or DEFAULT_ADVICE[severity]
    if severity == "better":
        return DEFAULT_ADVICE[severity]
    return target.advice or source.advice or requirement.advice or DEFAULT_ADVICE[severity]
