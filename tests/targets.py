"""Targets of tests, each found once: a device that is asked for is probed in a process of its own."""

from __future__ import annotations

from functools import cache
from typing import Any

from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.suites import requirements


@cache
def on_cpu(name: str) -> Any:
    """The target of a framework on the CPU."""
    return registry.resolve([f"{name}@cpu"])[0]


@cache
def entries_of(name: str) -> Any:
    """What is registered of it."""
    cls = on_cpu(name).cls
    return known.load(known.path_for(cls), cls, requirements.load().keys())
