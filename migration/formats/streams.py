"""Compressed bytes as a source that is read front to back: what can only be decoded from its beginning."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from touchstone.migration.formats.reading import DamagedError

PIECE = 2**18
"""Bytes that are decoded at once where they are only passed over."""
_STREAMS = 4


class Stream(Protocol):
    """Decodes from the beginning on; `at` is how far it came. Used by one thread at a time."""

    at: int

    def read_into(self, buffer: memoryview) -> None:
        """Fill `buffer` with the next bytes. Raises DamagedError or OSError."""


class Forward:
    """`size` decoded bytes. Reading on from where some read ended costs nothing extra; reading back starts anew.

    A few places are kept, so that several threads can each read on.
    """

    def __init__(self, size: int, begin: Callable[[], Stream]) -> None:
        self._size, self._begin = size, begin
        self._lock, self._streams = threading.Lock(), list[Stream]()

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset + len(buffer) > self._size:
            raise DamagedError(f"bytes {offset:,} to {offset + len(buffer):,} are asked for, {self._size:,} are there")
        with self._lock:
            usable = [s for s in self._streams if s.at <= offset]
            stream = max(usable, key=lambda s: s.at) if usable else self._begin()
            if usable:
                self._streams.remove(stream)
        _skip(stream, offset - stream.at)
        stream.read_into(buffer)
        with self._lock:
            if stream.at < self._size:
                self._streams = [*self._streams[-_STREAMS + 1 :], stream]


def _skip(stream: Stream, count: int) -> None:
    passed = memoryview(bytearray(min(count, PIECE)))
    while count:
        size = min(count, PIECE)
        stream.read_into(passed[:size])
        count -= size
