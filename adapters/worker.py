"""The child side of `adapters.isolation`: answers probes over a pipe until the pipe closes or it dies."""

from __future__ import annotations

import pickle
import sys
from multiprocessing.connection import Connection

from adapters.isolation import Outcome, attempt
from adapters.registry import adapter_class


def main(descriptor: int, spec: str, device: str) -> None:
    pipe = Connection(descriptor)
    adapter = adapter_class(spec)(device)
    pipe.send_bytes(pickle.dumps(Outcome("value", "ready")))
    while True:
        try:
            function, arguments = pickle.loads(pipe.recv_bytes())  # from our own parent
        except EOFError:
            return
        outcome = attempt(function, adapter, arguments)
        try:
            answer = pickle.dumps(outcome)
        except Exception as error:  # a probe's fault: what it returned cannot travel
            answer = pickle.dumps(
                Outcome("raised", None, (type(error).__name__,), f"the answer cannot travel: {error}")
            )
        pipe.send_bytes(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
