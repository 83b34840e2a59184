"""From how a test ended to what the target did, and to the verdict on that."""

from __future__ import annotations

from touchstone.adapters.isolation import blame
from touchstone.adapters.isolation.outcome import Unanswered
from touchstone.golden.cases import generated
from touchstone.suites.assay import Assay
from touchstone.verdict.behaviour import Behaviour, Kind
from touchstone.verdict.expectation import Expectations
from touchstone.verdict.observation import Deviates, NotAsked, Observation
from touchstone.verdict.rule import Judgement, Verdict, judge


def verdict_of(
    assay: Assay, error: BaseException | None, known: Expectations, *, bootstrap: bool
) -> tuple[Judgement, Observation]:
    """The verdict on a test that ended with `error`, or with None, and the observation it rests on."""
    target = assay.target
    if isinstance(error, NotAsked):
        return _not_asked(assay, error)
    seen = _seen(assay, error)
    if seen is None and error is not None:
        message = f"the test itself failed: {type(error).__name__}: {error}"
        return Judgement(Verdict.DEVIATES, message), Observation("harness error", False, message=message)
    if seen is None:
        return Judgement(Verdict.DEVIATES, "the test compared nothing"), Observation("nothing compared", False)
    if seen.behaviour == "raises Unsupported":
        note = "the adapter raised Unsupported for something its capabilities do not exclude"
        return Judgement(Verdict.DEVIATES, f"{note}: {seen.message}"), seen
    case = (target.place, target.version, assay.params)
    judgement = judge(assay.requirement, seen, known, *case, bootstrap=bootstrap)
    if judgement.verdict is Verdict.STALE and generated.MARK in assay.case.marks:
        return Judgement(Verdict.CONFORMS, "what is registered for this case was not drawn"), seen
    return judgement, seen


def _not_asked(assay: Assay, error: NotAsked) -> tuple[Judgement, Observation]:
    if assay.target.unavailable:
        return Judgement(Verdict.NOT_RUN, assay.target.unavailable), Observation("not run", False)
    if reason := assay.unmet_need():
        return Judgement(Verdict.UNSUPPORTED, reason), Observation("unsupported", False)
    return Judgement(Verdict.NOT_RUN, assay.withheld() or str(error)), Observation("not run", False)


def _seen(assay: Assay, error: BaseException | None) -> Observation | None:
    """What the target did; None where the test compared nothing, or `error` is of the harness."""
    if error is None:
        return assay.observed
    if isinstance(error, Deviates):
        return error.observation
    if isinstance(error, Unanswered):
        return Observation(error.outcome.behaviour, False, message=error.outcome.message)
    if not assay.bench.isolated and blame.answered(error, assay.target.cls):
        return Observation(Behaviour.of(Kind.RAISES, type(error).__name__), False, message=str(error)[:2000])
    return None
