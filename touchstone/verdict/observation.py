"""What one target did in one case."""

from __future__ import annotations

from dataclasses import dataclass

from touchstone.verdict.behaviour import Behaviour, Kind


@dataclass
class Observation:
    """behaviour: its class, as `Behaviour` spells it ("rows", "raises IndexError", "beyond bound").

    headroom: max(error / bound); error, bound and worst_index belong to the element where it is reached.
    """

    behaviour: str
    conforms: bool
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    headroom: float | None = None
    error: float | None = None
    bound: float | None = None
    worst_index: tuple[int, ...] | None = None
    message: str = ""
    golden: str = ""

    @property
    def kind(self) -> Kind:
        """How the call ended."""
        return Behaviour(self.behaviour).kind


class NotAsked(Exception):
    """Nothing was asked; the message says why.

    The target is not there, declares that it cannot answer, or has too little memory.
    """


class Deviates(Exception):
    """A comparison failed; carries the observation that says how."""

    def __init__(self, observation: Observation) -> None:
        super().__init__(f"{observation.behaviour}: {observation.message}")
        self.observation = observation
