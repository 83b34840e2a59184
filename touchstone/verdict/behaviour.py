"""A class of behaviour: in words, as records and expectations spell it, with its kind and what it is of that kind."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """How a call ended, and of a looked-up row which one it is."""

    VALUE = "value"
    ROW = "row"
    RAISES = "raises"
    REFUSES = "refuses"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    ENDED = "ended without an answer"


_WITH_DETAIL = (Kind.RAISES, Kind.REFUSES, Kind.ROW)
_ENDS = (Kind.CRASHED, Kind.TIMED_OUT, Kind.ENDED)


class Behaviour(str):
    """What an observation shows, as text: "raises IndexError", "row 3", "crashed", "beyond bound".

    >>> seen = Behaviour.of(Kind.RAISES, "IndexError")
    >>> seen, seen.kind, seen.detail
    ('raises IndexError', <Kind.RAISES: 'raises'>, 'IndexError')
    """

    __slots__ = ()

    @classmethod
    def of(cls, kind: Kind, detail: object = "") -> Behaviour:
        return cls(f"{kind} {detail}" if kind in _WITH_DETAIL else kind)

    @property
    def kind(self) -> Kind:
        """`Kind.VALUE` where the text is no other kind's."""
        first, space, _ = self.partition(" ")
        found = next((k for k in _WITH_DETAIL if space and k.value == first), None)
        return found or next((k for k in _ENDS if k.value == str(self)), Kind.VALUE)

    @property
    def detail(self) -> str:
        """The exception, what is refused, or the number of the row; of a value its class; else empty."""
        if self.kind in _WITH_DETAIL:
            return self.partition(" ")[2]
        return "" if self.kind in _ENDS else str(self)

    @property
    def is_end(self) -> bool:
        """Whether the process ended, or had to be ended."""
        return self.kind in _ENDS
