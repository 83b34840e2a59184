"""From an observation to a verdict, by the requirement's level and what is registered for the target."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from adapters.interface import Adapter
from adapters.isolation import Unanswered
from adapters.known import Entry, Known
from golden.cases import generated
from suites.assay import Assay
from suites.observation import Deviates, NotAsked, Observation
from suites.requirements import Requirement


class Verdict(StrEnum):
    CONFORMS = "conforms"
    DEVIATES = "deviates"
    KNOWN = "known deviation"
    STALE = "stale deviation"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    UNSUPPORTED = "unsupported"
    NOT_RUN = "not run"
    UNREVIEWED = "unreviewed"

    @property
    def is_red(self) -> bool:
        return self in _RED


_RED = {Verdict.DEVIATES, Verdict.STALE, Verdict.CRASHED, Verdict.TIMED_OUT, Verdict.UNREVIEWED}


@dataclass(frozen=True)
class Judgement:
    """`missing` names the kind of entry, "deviation" or "pin", that would settle a red verdict, or says that an entry
    "changed". `sometimes` is the deviation that covers the case, where some of its cases may conform. `entry` is the
    deviation or pin that the verdict rests on."""

    verdict: Verdict
    note: str = ""
    missing: str = ""
    sometimes: str = ""
    entry: Entry | None = None


def verdict_of(
    assay: Assay, error: BaseException | None, known: Known, *, bootstrap: bool
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
        seen = Observation(f"raises {type(error).__name__}", False, message=str(error)[:2000])
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
    case = (target.id, target.version, assay.params)
    judgement = judge(assay.requirement, seen, known, *case, bootstrap=bootstrap)
    if judgement.verdict is Verdict.STALE and generated.MARK in assay.case.marks:
        return Judgement(Verdict.CONFORMS, "what is registered for this case was not drawn"), seen
    return judgement, seen


def _raised_in_adapter(error: BaseException, cls: type[Adapter]) -> bool:
    """Whether an exception passed through the adapter's code, so that it is the framework's answer."""
    folders = {Path(inspect.getfile(cls)).parent, Path(inspect.getfile(Adapter)).parent}
    return any(Path(frame.f_code.co_filename).parent in folders for frame, _ in traceback.walk_tb(error.__traceback__))


def judge(
    requirement: Requirement,
    observation: Observation,
    known: Known,
    target: str,
    version: str,
    params: Mapping[str, Any],
    *,
    bootstrap: bool = False,
) -> Judgement:
    """The verdict on one observation. With `bootstrap` whatever has no entry yet is *unreviewed*."""
    case = (requirement.id, target, version, params)
    deviation = known.deviation(*case)
    pin = None
    if requirement.level == "required":
        conforms = observation.conforms
    else:
        pin = known.pin(*case)
        permitted = requirement.permits(observation.behaviour)
        conforms = bool(permitted and pin and not pin.is_candidate and observation.behaviour in pin.classes)
        if permitted and not conforms and not deviation:
            return _unpinned(observation, known, case, bootstrap)
    sometimes = deviation.origin if deviation and deviation.some_conform else ""
    if conforms:
        if deviation and not sometimes:
            return Judgement(Verdict.STALE, f"{deviation.origin} no longer holds: remove it or narrow its cases")
        return Judgement(Verdict.CONFORMS, pin.note if pin else "", sometimes=sometimes, entry=pin)
    if deviation and deviation.explains(observation.behaviour, observation.headroom):
        if deviation.is_candidate:
            note = f"{deviation.origin} is a candidate: write its cause, reproduction and advice"
            return Judgement(Verdict.UNREVIEWED if bootstrap else Verdict.DEVIATES, note)
        return Judgement(Verdict.KNOWN, deviation.cause, sometimes=sometimes, entry=deviation)
    if deviation:
        expected = ", ".join(sorted(deviation.observed))
        limit = f" up to headroom {deviation.headroom_at_most}" if deviation.headroom_at_most else ""
        note = f"changed since {deviation.versions}: {deviation.origin} registers {expected}{limit}"
    else:
        note = "no deviation is registered for this case"
    red = {
        "crashed": Verdict.CRASHED,
        "ended without an answer": Verdict.CRASHED,
        "timed out": Verdict.TIMED_OUT,
    }
    verdict = red.get(observation.behaviour, Verdict.DEVIATES)
    if deviation:
        return Judgement(verdict, note, "changed")
    return Judgement(Verdict.UNREVIEWED if bootstrap else verdict, note, "deviation")


def _unpinned(observation: Observation, known: Known, case: tuple[Any, ...], bootstrap: bool) -> Judgement:
    pin = known.pin(*case)
    if pin and pin.is_candidate:
        note = f"{pin.origin} is a candidate: cite the page that permits {observation.behaviour!r}"
    elif pin:
        note = f"changed since {pin.versions}: {pin.origin} pins {', '.join(sorted(pin.classes))}"
        return Judgement(Verdict.DEVIATES, note, "changed")
    else:
        note = f"no pin says which of the permitted choices this target makes; observed {observation.behaviour!r}"
    return Judgement(Verdict.UNREVIEWED if bootstrap else Verdict.DEVIATES, note, "" if pin else "pin")
