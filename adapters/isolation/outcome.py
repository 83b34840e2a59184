"""What came of asking a target: a value, an exception or the end of its process, or a slip of our own code."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from touchstone.adapters.interface import Unsupported
from touchstone.adapters.isolation import blame
from touchstone.verdict.behaviour import Behaviour, Kind

Ending = Literal["value", "raised", "crashed", "timed out", "ended without an answer"]


@dataclass
class Outcome:
    """What came of one probe: a value, an exception (its type and message), or the end of the process."""

    kind: Ending
    value: Any = None
    error_types: tuple[str, ...] = ()
    """Names of the exception's classes, most derived first."""
    message: str = ""
    slip: str = ""
    """Where the project's own code failed, and how, so that this is no answer of the target's."""

    @property
    def behaviour(self) -> Behaviour:
        """The class of behaviour: "value", "raises IndexError", "crashed", "timed out"."""
        return Behaviour.of(Kind.RAISES, self.error_types[0]) if self.kind == "raised" else Behaviour(self.kind)


class SlipError(Exception):
    """The project's own code failed around a call to a framework; the message says where and how."""


def settled(outcome: Outcome) -> Outcome:
    """The outcome, where it is the target's. Raises SlipError where it is not."""
    if outcome.slip:
        raise SlipError(outcome.slip)
    return outcome


class Unanswered(Exception):
    """A layer in another process raised, or that process ended; carries the outcome that says how."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.behaviour}: {outcome.message}")
        self.outcome = outcome


def attempt(function: Callable[..., Any], adapter: Any, arguments: Mapping[str, Any]) -> Outcome:
    """Call a probe in this process and turn an exception into an outcome.

    `Unsupported` passes through as raised too: whether it was declared is for the suite to judge.
    """
    try:
        return Outcome("value", function(adapter, **arguments))
    except (KeyboardInterrupt, SystemExit):
        raise
    except Unanswered as error:  # a layer that lives in another process
        return error.outcome
    except BaseException as error:  # what a framework raises is an observation, whatever its base class
        names = tuple(c.__name__ for c in type(error).__mro__ if c not in (object, BaseException))
        if isinstance(error, Unsupported):
            names = ("Unsupported",)
        return Outcome("raised", None, names, str(error).strip()[:2000], _slip(error))


def ended(action: Callable[[], object]) -> str:
    """The class of error that something ended with, as "raises ValueError"; empty where it did not."""
    outcome = settled(attempt(lambda adapter: action(), None, {}))
    return "" if outcome.kind == "value" else str(outcome.behaviour)


def _slip(error: BaseException) -> str:
    if isinstance(error, Unsupported) or not blame.slipped(error):
        return ""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno}: {at.line})"
