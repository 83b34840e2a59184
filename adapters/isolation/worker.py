"""The child side of `touchstone.adapters.isolation.process`: answers probes over a pipe until it closes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import psutil

from touchstone.adapters.discovery.registry import adapter_class
from touchstone.adapters.interface import Operand, Packed
from touchstone.adapters.isolation import remote
from touchstone.adapters.isolation.outcome import Outcome, attempt


def _protect(given: Any) -> None:
    """Arrays arrive as copies; like the golden arrays that they are of, they must not be written to."""
    if isinstance(given, np.ndarray):
        given.flags.writeable = False
    elif isinstance(given, Operand):
        _protect(given.base)
    elif isinstance(given, Packed):
        _protect([given.weight, given.scales, given.biases])
    elif isinstance(given, Mapping):
        _protect(list(given.values()))
    elif isinstance(given, list | tuple):
        for value in given:
            _protect(value)


def main(descriptor: int, spec: str, device: str) -> None:
    """Answer over the pipe of this file descriptor until it closes, with each answer the resident memory in bytes."""
    pipe, own = Connection(descriptor), psutil.Process()
    kept = remote.Kept(adapter_class(spec)(device))
    gc.freeze()  # what a framework imports is never garbage, and is not looked at again
    pipe.send_bytes(remote.answer((Outcome("value", "ready"), 0), kept))
    while True:
        try:
            function, arguments, released = remote.read_request(pipe.recv_bytes(), kept)  # from our own parent
        except EOFError:
            return
        kept.release(released)
        _protect(arguments)
        outcome = attempt(function, kept.adapter, arguments)
        del arguments
        try:
            message = remote.answer((outcome, own.memory_info().rss), kept)
        except Exception as error:  # a probe's fault: what it returned cannot travel
            outcome = Outcome("raised", None, (type(error).__name__,), f"the answer cannot travel: {error}")
            message = remote.answer((outcome, 0), kept)
        pipe.send_bytes(message)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
