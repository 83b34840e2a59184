"""Crash isolation: hazardous probes run in a worker process, whose death is an answer and not the end.

One worker per target, started fresh (never forked: a fork after JAX or MLX was imported hangs). It answers one
probe at a time over a pipe, within a time limit; a dead or hung worker is replaced for the next probe.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Literal

from adapters.interface import Unsupported

TIME_LIMIT = 60.0
"""Seconds for one probe in a worker that is already up; a first compilation takes up to 20."""
START_LIMIT = 180.0
"""Seconds for a worker to import its framework from a cold disk."""


@dataclass
class Outcome:
    """What came of one probe: a value, an exception (its type and message), a crash, or a timeout."""

    kind: Literal["value", "raised", "crashed", "timed out"]
    value: Any = None
    error_types: tuple[str, ...] = ()
    """Names of the exception's classes, most derived first."""
    message: str = ""

    @property
    def behaviour(self) -> str:
        """The class of behaviour in words: "value", "raises IndexError", "crashed", "timed out"."""
        return f"raises {self.error_types[0]}" if self.kind == "raised" else self.kind


def attempt(function: Callable[..., Any], adapter: Any, arguments: Mapping[str, Any]) -> Outcome:
    """Call a probe in this process and turn an exception into an outcome.

    `Unsupported` passes through as raised too: whether it was declared is for the suite to judge.
    """
    try:
        return Outcome("value", function(adapter, **arguments))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what a framework raises is an observation, whatever its base class
        names = tuple(c.__name__ for c in type(error).__mro__ if c not in (object, BaseException))
        if isinstance(error, Unsupported):
            names = ("Unsupported",)
        return Outcome("raised", None, names, str(error).strip()[:2000])


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    errors: IO[bytes]
    ready: bool = False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.errors.close()


@dataclass
class Isolation:
    """The workers of one target. `spec` is the adapter's name or ``package.module:Class``."""

    spec: str
    device: str
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Variables set, or removed where None, on top of this process's."""
    time_limit: float = TIME_LIMIT
    _worker: _Worker | None = None
    _spare: _Worker | None = None

    def prefetch(self) -> None:
        """Start a worker in the background, so that its import overlaps with other work."""
        if self._worker is None:
            self._worker = self._start()

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with its worker
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        for name, value in self.environment.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        process = subprocess.Popen(
            [sys.executable, "-m", "adapters.worker", str(theirs.fileno()), self.spec, self.device],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd=Path(__file__).parent.parent,
            env=environment,
        )
        theirs.close()
        return _Worker(process, ours, errors)

    def run(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        discard: bool = False,
        discard_after_error: bool = False,
        limit: float | None = None,
    ) -> Outcome:
        """Send one probe and wait, `limit` seconds where the usual time is too short. With `discard` the worker is not
        trusted afterwards and is replaced."""
        worker = self._worker or self._start()
        self._worker = worker
        if not worker.ready:
            started = self._receive(worker, START_LIMIT)
            if started.kind != "value":
                raise RuntimeError(f"the worker for {self.spec}@{self.device} did not start: {started.message}")
            worker.ready = True
        try:
            worker.pipe.send_bytes(pickle.dumps((function, dict(arguments))))
        except (BrokenPipeError, ConnectionError):
            return self._bury(worker)
        outcome = self._receive(worker, limit or self.time_limit)
        discard = discard or (discard_after_error and outcome.kind == "raised")
        if discard and self._worker is worker:
            self._replace(worker)
        return outcome

    def _receive(self, worker: _Worker, limit: float) -> Outcome:
        try:
            if not worker.pipe.poll(limit):
                self._replace(worker)
                return Outcome("timed out", message=f"no answer within {limit:g} s")
            return pickle.loads(worker.pipe.recv_bytes())  # our own child's answer
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            return self._bury(worker)

    def _bury(self, worker: _Worker) -> Outcome:
        code = worker.process.wait()
        worker.errors.seek(0)
        tail = worker.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        self._replace(worker)
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Outcome("crashed", message=": ".join([name, *(line[-2000:] for line in tail)]))

    def _replace(self, worker: _Worker) -> None:
        """Go on with the spare; where one worker died others will, so a new spare starts in the background."""
        worker.stop()
        self._worker = self._spare or self._start()
        self._spare = self._start()

    def close(self) -> None:
        for worker in (self._worker, self._spare):
            if worker is not None:
                worker.stop()
        self._worker = self._spare = None
