"""Does a run go on when a release kills the process in a case that nobody marked as hazardous?

A pytest plugin (``-p versions.surviving``). Cases run in a child that is forked before any framework is imported; where
it dies, or stays with one case for too long, the next child goes on with the next case. The case in flight is then
left without an end line, and ``deaths.jsonl`` beside the records says what it died of.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

DEATHS = "deaths.jsonl"
PATIENCE = 240.0
"""Seconds for one case: more than a worker may take to start and to answer (`adapters.isolation`)."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if session.config.option.collectonly or session.testsfailed:
        return None
    _close_workers(session.config)
    at = 0
    while at < len(session.items):
        at = _run_from(session, at)
    return True


def _close_workers(config: pytest.Config) -> None:
    """Workers that this process started are no children of the next: each child starts its own."""
    run: Any = importlib.import_module("conftest").RUN
    config.stash[run].bench.close()


def _run_from(session: pytest.Session, first: int) -> int:
    """Run cases in a child until the last one or its death; the index of the case to go on with."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_child(session, first, writer)
    os.close(writer)
    at, hung = _follow(reader, child, first)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if not hung and os.waitstatus_to_exitcode(status) == 0:
        return len(session.items)
    cause = "timed out" if hung else _cause(os.waitstatus_to_exitcode(status))
    _tell(session.config, session.items[at].nodeid, cause)
    return at + 1


def _be_child(session: pytest.Session, first: int, writer: int) -> None:
    code = 1
    try:
        for index in range(first, len(session.items)):
            os.write(writer, index.to_bytes(4, "big"))
            after = session.items[index + 1] if index + 1 < len(session.items) else None
            session.config.hook.pytest_runtest_protocol(item=session.items[index], nextitem=after)
        _close_workers(session.config)
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)  # what is registered to run at exit is the parent's


def _follow(reader: int, child: int, at: int) -> tuple[int, bool]:
    """(the last case that the child began, whether it was killed for staying with it)."""
    while True:
        ready, _, _ = select.select([reader], [], [], PATIENCE)
        if not ready:
            os.kill(child, signal.SIGKILL)
            return at, True
        told = os.read(reader, 4)
        if not told:
            return at, False
        at = int.from_bytes(told, "big")


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _tell(config: pytest.Config, identifier: str, cause: str) -> None:
    folder: Any = config.getoption("report")
    if folder:
        with (Path(folder) / DEATHS).open("a") as file:
            file.write(json.dumps({"id": identifier, "cause": cause}) + "\n")
