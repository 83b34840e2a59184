"""From how a test ended to what the target did, and to the verdict on that."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path

from touchstone.adapters.interface import Adapter
from touchstone.adapters.isolation import Unanswered
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
        if target.unavailable:
            return Judgement(Verdict.NOT_RUN, target.unavailable), Observation("not run", False)
        if reason := assay.unmet_need():
            return Judgement(Verdict.UNSUPPORTED, reason), Observation("unsupported", False)
        return Judgement(Verdict.NOT_RUN, assay.withheld() or str(error)), Observation("not run", False)
    if isinstance(error, Deviates):
        seen = error.observation
    elif isinstance(error, Unanswered):
        seen = Observation(error.outcome.behaviour, False, message=error.outcome.message)
    elif error is not None and _raised_in_adapter(error, target.cls):
        seen = Observation(Behaviour.of(Kind.RAISES, type(error).__name__), False, message=str(error)[:2000])
    elif error is not None:
        message = f"the test itself failed: {type(error).__name__}: {error}"
        return Judgement(Verdict.DEVIATES, message), Observation("harness error", False, message=message)
    elif assay.observed is None:
        return Judgement(Verdict.DEVIATES, "the test compared nothing"), Observation("nothing compared", False)
    else:
        seen = assay.observed
    if seen.behaviour == "raises Unsupported":
        note = "the adapter raised Unsupported for something its capabilities do not exclude"
        return Judgement(Verdict.DEVIATES, f"{note}: {seen.message}"), seen
    case = (target.place, target.version, assay.params)
    judgement = judge(assay.requirement, seen, known, *case, bootstrap=bootstrap)
    if judgement.verdict is Verdict.STALE and generated.MARK in assay.case.marks:
        return Judgement(Verdict.CONFORMS, "what is registered for this case was not drawn"), seen
    return judgement, seen


def _raised_in_adapter(error: BaseException, cls: type[Adapter]) -> bool:
    """Whether an exception passed through the adapter's code, so that it is the framework's answer."""
    folders = {Path(inspect.getfile(cls)).parent, Path(inspect.getfile(Adapter)).parent}
    return any(Path(frame.f_code.co_filename).parent in folders for frame, _ in traceback.walk_tb(error.__traceback__))
