"""Targets, records and the closing tables of ``pytest tools/benchmarks/``; options are the root conftest's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tools.benchmarks import workloads
from tools.benchmarks.measuring import Measuring
from touchstone.errors import InputError

# PyTorch's OpenMP threads spin at the end of every operation; where another process has the core they wait for, each
# operation takes that process's time slice (70 ms a lookup instead of 0.3). Read when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

MEASURING = pytest.StashKey[Measuring]()
AIMS = pytest.StashKey[list[str]]()
MARKERS = (
    "aim(frameworks): checks an aim of speed or memory, of these frameworks' targets, instead of measuring one call",
    "quick: one dtype and scheme of every operation, in a few seconds a target",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and resolve the targets. Raises UsageError where a target or ``--report`` cannot be used."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.option.benchmark_quiet = True  # its table has a line of 200 characters per call; ours is below
    config.stash[AIMS] = []
    report = None if config.option.collectonly else config.getoption("report")
    try:
        arguments = [str(a) for a in config.invocation_params.args]
        config.stash[MEASURING] = Measuring(config.getoption("adapter"), report, arguments)
    except InputError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Targets of the run that are here: with each workload of their device, or of the frameworks that an aim names."""
    here = [t for t in metafunc.config.stash[MEASURING].targets if not t.unavailable]
    if "workload" in metafunc.fixturenames:
        metafunc.parametrize(
            ("target", "workload"),
            [
                pytest.param(t, w, id=f"{t.id}-{w.id}", marks=[pytest.mark.quick] if w.quick else [])
                for t in here
                for w in workloads.on(t.device)
            ],
        )
    elif "target" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("aim")
        names = marker.args if marker else ()
        chosen = [t for t in here if not names or t.cls.name in names]
        metafunc.parametrize("target", chosen, ids=[t.id for t in chosen])


@pytest.fixture(scope="session")
def measuring(pytestconfig: pytest.Config) -> Measuring:
    """The targets, limits and records that all benchmarks of the run share."""
    return pytestconfig.stash[MEASURING]


@pytest.fixture(scope="session")
def aims(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the closing table of aims."""
    return pytestconfig.stash[AIMS]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Write the last line of the records after all other plugins, which may still change the exit status."""
    yield
    session.config.stash[MEASURING].finish(int(session.exitstatus))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Render the records. Raises UsageError where they cannot be written or read."""
    if MEASURING in config.stash:
        try:
            config.stash[MEASURING].close()
        except InputError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show throughput and aims, each in a section of its own where it has lines."""
    stash = terminalreporter.config.stash
    for title, lines in (("throughput", stash[MEASURING].table()), ("aims", stash[AIMS])):
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
