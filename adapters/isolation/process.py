"""Every call to a framework runs in its target's own process, whose death is an answer and not the end of a run.

One process per target, started fresh (never forked: a fork after JAX or MLX was imported hangs). It answers one
probe at a time over a pipe, within a time limit. A dead or hung process is replaced for the next probe, and so is one
that has grown. Layers stay in the process that made them: see `touchstone.adapters.isolation.remote`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from touchstone.adapters.isolation import remote
from touchstone.adapters.isolation.outcome import Ending, Outcome, settled

_CHILD = "touchstone.adapters.isolation.worker"
TIME_LIMIT = 60.0
"""Seconds for one probe in a process that is already up; a first compilation takes up to 20."""
START_LIMIT = 180.0
"""Seconds for a process to import its framework from a cold disk."""
GROWN = 1.0e9
"""Resident bytes from which on a process is replaced before the next case: frameworks keep what they compiled."""
DEATHS = 3
"""Unexpected deaths in a row that end a target: what follows would end the same way, a start each."""


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    errors: IO[bytes]
    ready: bool = False
    resident: int = 0
    """Bytes that the process held when it last answered."""
    objects: remote.Held = field(default_factory=remote.Held)
    """Layers and functions that live in it and are referred to here."""

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.errors.close()


@dataclass
class Isolation:
    """The processes of one target. `spec` is the adapter's name or ``package.module:Class``."""

    spec: str
    device: str
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Variables set, or removed where None, on top of this process's."""
    time_limit: float = TIME_LIMIT
    shows_output: bool = False
    """Whether what the framework prints is shown, as by ``pytest -s``, and not kept for the message of a crash."""
    ended: str = ""
    """Why the target is asked no more: its process died `DEATHS` times in a row."""
    _worker: _Worker | None = None
    _spare: _Worker | None = None
    _deaths: int = 0

    def adapter(self) -> Any:
        """The adapter in the target's process: what it makes stays there, calls and arrays travel."""
        return remote.Remote(self, None, remote.ADAPTER)

    def renew_if_grown(self) -> None:
        """Replace a process that has grown beyond `GROWN`; to be called between two cases."""
        if self._worker is not None and self._worker.resident > GROWN:
            self._worker.stop()
            self._worker = self._take_spare()

    def _take_spare(self) -> _Worker | None:
        spare, self._spare = self._spare, None
        return spare

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with its process
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        for name, value in self.environment.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        output = None if self.shows_output else errors
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                _CHILD,
                str(theirs.fileno()),
                self.spec,
                self.device,
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
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
        may_die: bool = False,
    ) -> Outcome:
        """Send one probe and wait, `limit` seconds where the usual time is too short.

        discard: the process is not trusted afterwards and is replaced. may_die: a death is what the probe is about,
        and does not count towards the end of the target. RuntimeError where no process can be started, SlipError where
        the project's own code failed.
        """
        worker = self._worker = self._worker or self._start()
        outcome = self._exchange(worker, function, arguments, limit or self.time_limit)
        discard = discard or (discard_after_error and outcome.kind == "raised")
        if discard and self._worker is worker:
            self._replace(worker)
        if not may_die:
            self._count(outcome.kind not in ("value", "raised"), outcome.message)
        return settled(outcome)

    def _exchange(
        self, worker: _Worker, function: Callable[..., Any], arguments: Mapping[str, Any], limit: float
    ) -> Outcome:
        if not worker.ready:
            started = self._receive(worker, START_LIMIT)
            if started.kind != "value":
                self._count(True, started.message)
                raise RuntimeError(f"the worker for {self.spec}@{self.device} did not start: {started.message}")
            worker.ready = True
        try:
            worker.pipe.send_bytes(remote.request((function, dict(arguments), worker.objects.take_released())))
        except (BrokenPipeError, ConnectionError):
            return self._bury(worker)
        return self._receive(worker, limit)

    def _count(self, died: bool, message: str) -> None:
        self._deaths = self._deaths + 1 if died else 0
        if self._deaths >= DEATHS:
            self.ended = f"its process ended in {DEATHS} cases in a row, at last with {message or 'no message'}"

    def _receive(self, worker: _Worker, limit: float) -> Outcome:
        try:
            if not worker.pipe.poll(limit):
                self._replace(worker)
                return Outcome("timed out", message=f"no answer within {limit:g} s")
            outcome, worker.resident = remote.read_answer(worker.pipe.recv_bytes(), self, worker.objects)
        except (EOFError, ConnectionError, remote.NotWhole):
            return self._bury(worker)
        else:
            return outcome

    def _bury(self, worker: _Worker) -> Outcome:
        code = worker.process.wait()
        worker.errors.seek(0)
        tail = worker.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        self._replace(worker)
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        kind: Ending = "crashed" if code else "ended without an answer"
        return Outcome(kind, message=": ".join([name, *(line[-2000:] for line in tail)]))

    def holds(self, objects: remote.Held) -> bool:
        """Whether the process that holds these objects is the one that answers."""
        return self._worker is not None and self._worker.objects is objects

    def _replace(self, worker: _Worker) -> None:
        """Go on with the spare; where one process died others will, so a new spare starts in the background."""
        worker.stop()
        self._worker = self._take_spare() or self._start()
        self._spare = self._start()

    def close(self) -> None:
        for worker in (self._worker, self._spare):
            if worker is not None:
                worker.stop()
        self._worker = self._spare = None
