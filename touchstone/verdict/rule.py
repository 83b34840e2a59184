"""From an observation to a verdict, by the requirement's level and what is expected in the place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from touchstone.verdict.behaviour import Kind
from touchstone.verdict.expectation import Deviation, Expectation, Expectations, Pin, Place
from touchstone.verdict.observation import Observation
from touchstone.verdict.requirement import Requirement


class Verdict(StrEnum):
    """What is said of one case of one target, in the order in which it is counted."""

    CONFORMS = "conforms"
    KNOWN = "known deviation"
    UNSUPPORTED = "unsupported"
    NOT_RUN = "not run"
    DEVIATES = "deviates"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    STALE = "stale deviation"
    UNREVIEWED = "unreviewed"

    @property
    def is_red(self) -> bool:
        """Whether a run with it is not green."""
        return self in RED


RED = frozenset({Verdict.DEVIATES, Verdict.CRASHED, Verdict.TIMED_OUT, Verdict.STALE, Verdict.UNREVIEWED})
UNANSWERED = frozenset({Verdict.UNSUPPORTED, Verdict.NOT_RUN})
_OF_AN_END = {Kind.CRASHED: Verdict.CRASHED, Kind.ENDED: Verdict.CRASHED, Kind.TIMED_OUT: Verdict.TIMED_OUT}


@dataclass(frozen=True)
class Judgement:
    """A verdict on one case, and what it rests on.

    missing: what would settle a red verdict, a new "deviation" or "pin", or what to do with an entry, which "changed",
    or is to "narrow" or to "widen" where it holds. sometimes: the deviation that covers the case, where some of its
    cases may conform. entry: the deviation or pin that the verdict rests on; assumed: nobody has seen it on this device
    before. unseen: a remark on an entry that holds on other machines and that this case does not show.
    """

    verdict: Verdict
    note: str = ""
    missing: str = ""
    sometimes: str = ""
    entry: Expectation | None = None
    assumed: bool = False
    unseen: str = ""


def judge(
    requirement: Requirement,
    observation: Observation,
    known: Expectations,
    place: Place,
    version: str,
    params: Mapping[str, Any],
    *,
    bootstrap: bool = False,
) -> Judgement:
    """The verdict on one observation. With `bootstrap` whatever has no entry yet is *unreviewed*."""
    case = (requirement.id, place, version, params)
    deviation, pin = known.deviation(*case), None
    seen = (observation.behaviour, observation.headroom)
    elsewhere = known.elsewhere(*case)
    conforms = observation.conforms
    if requirement.level != "required":
        pin = known.pin(*case)
        permitted = requirement.permits(observation.behaviour)
        conforms = bool(permitted and pin and not pin.is_candidate and pin.shows(*seen))
        if permitted and not conforms and not deviation:
            return _unpinned(observation, pin, elsewhere, place, bootstrap)
    if conforms:
        found = _conforming(deviation, pin, place)
    elif deviation:
        found = _departing(observation, deviation, place, bootstrap)
    else:
        found = _unregistered(observation, elsewhere, place, bootstrap)
    return replace(found, unseen="; ".join(_holds_elsewhere(e, place) for e in elsewhere if not e.shows(*seen)))


def _conforming(deviation: Deviation | None, pin: Pin | None, place: Place) -> Judgement:
    sometimes = deviation.origin if deviation and deviation.some_conform else ""
    if deviation and not sometimes:
        if _assumed(deviation, place):
            note = f"{deviation.origin} was assumed on {place.device}, where it does not show: narrow where it holds"
            return Judgement(Verdict.UNREVIEWED, note, "narrow", assumed=True)
        return Judgement(Verdict.STALE, f"{deviation.origin} no longer holds: remove it or narrow its cases")
    assumed = _assumed(deviation or pin, place)
    note = pin.note if pin else ""
    if pin and _assumed(pin, place):
        note = f"{note} {_confirmed(pin, place)}".strip()
    return Judgement(Verdict.CONFORMS, note, sometimes=sometimes, entry=pin, assumed=assumed)


def _departing(observation: Observation, deviation: Deviation, place: Place, bootstrap: bool) -> Judgement:
    """The verdict on what does not conform where a deviation covers the case."""
    sometimes, assumed = deviation.origin if deviation.some_conform else "", _assumed(deviation, place)
    if deviation.shows(observation.behaviour, observation.headroom):
        if deviation.is_candidate:
            note = f"{deviation.origin} is a candidate: write its cause, reproduction and advice"
            return Judgement(Verdict.UNREVIEWED if bootstrap else Verdict.DEVIATES, note)
        note = f"{deviation.cause} {_confirmed(deviation, place)}" if assumed else deviation.cause
        return Judgement(Verdict.KNOWN, note, sometimes=sometimes, entry=deviation, assumed=assumed)
    expected = ", ".join(sorted(deviation.observed))
    limit = f" up to headroom {deviation.headroom_at_most}" if deviation.headroom_at_most else ""
    if assumed:
        note = f"{deviation.origin} was assumed on {place.device} and registers {expected}{limit}"
        return Judgement(Verdict.UNREVIEWED, note, "deviation", assumed=True)
    note = f"changed since {deviation.versions}: {deviation.origin} registers {expected}{limit}"
    return Judgement(_OF_AN_END.get(observation.kind, Verdict.DEVIATES), note, "changed")


def _unregistered(
    observation: Observation, elsewhere: Sequence[Expectation], place: Place, bootstrap: bool
) -> Judgement:
    """The verdict on what does not conform where no deviation covers the case."""
    verdict = _OF_AN_END.get(observation.kind, Verdict.DEVIATES)
    note, missing = "no deviation is registered for this case", "deviation"
    for entry in elsewhere:
        if isinstance(entry, Deviation) and entry.shows(observation.behaviour, observation.headroom):
            note, missing = f"{note} here; {_holds_elsewhere(entry, place)}: widen it", "widen"
    return Judgement(Verdict.UNREVIEWED if bootstrap else verdict, note, missing)


def _unpinned(
    observation: Observation, pin: Pin | None, elsewhere: Sequence[Expectation], place: Place, bootstrap: bool
) -> Judgement:
    """The verdict on a permitted choice that is not the pinned one."""
    red = Verdict.UNREVIEWED if bootstrap else Verdict.DEVIATES
    if pin and pin.is_candidate:
        return Judgement(red, f"{pin.origin} is a candidate: cite the page that permits {observation.behaviour!r}")
    for entry in elsewhere:
        if isinstance(entry, Pin) and entry.shows(observation.behaviour, None):
            return Judgement(
                red, f"shows {observation.behaviour!r}; {_holds_elsewhere(entry, place)}: widen it", "widen"
            )
    if pin and _assumed(pin, place):
        note = f"{pin.origin} was assumed on {place.device} and pins {', '.join(sorted(pin.classes))}"
        return Judgement(Verdict.UNREVIEWED, note, "pin", assumed=True)
    if pin:
        note = f"changed since {pin.versions}: {pin.origin} pins {', '.join(sorted(pin.classes))}"
        return Judgement(Verdict.DEVIATES, note, "changed")
    note = f"no pin says which of the permitted choices this target makes; observed {observation.behaviour!r}"
    return Judgement(red, note, "pin")


def _assumed(entry: Expectation | None, place: Place) -> bool:
    """Whether an entry that holds here was never seen here."""
    return entry is not None and not entry.scope.was_seen(place)


def _confirmed(entry: Expectation, place: Place) -> str:
    seen = " or ".join(" ".join(one.values()) for one in entry.scope.seen_on)
    return f"(Assumed on {place.device}, where nobody had seen it, from {seen}; confirmed.)"


def _holds_elsewhere(entry: Expectation, place: Place) -> str:
    return f"{entry.origin} holds for {entry.scope}, not with {entry.scope.here(place)}"
