"""Prints the ratios that the aims were checked on."""

from __future__ import annotations

import os
from typing import Any

import pytest

# PyTorch's OpenMP threads spin at the end of every operation; where another process has the core they wait for, each
# operation takes that process's time slice (70 ms a lookup instead of 0.3). Read when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "aim: checks an aim of speed or memory instead of measuring one call")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    from benchmarks.test_layers import REPORTED

    if REPORTED:
        terminalreporter.section("aims")
        for line in REPORTED:
            terminalreporter.write_line(line)
