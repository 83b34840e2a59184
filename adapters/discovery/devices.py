"""Which devices work here: asked in a child process, because asking can abort (MLX without a Metal device)."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from touchstone import files
from touchstone.adapters.discovery import instructions, machine
from touchstone.adapters.interface import Adapter

TIMEOUT = 120.0
"""Seconds for one probe: a first import of a framework from a cold disk."""


@dataclass
class Found:
    """The devices of a framework, best first, or the reason why there is none.

    devices: name -> its description, precision settings and what its libraries use.
    """

    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None


def cache_folder() -> Path:
    """Where probes and compiled kernels are kept: ``TOUCHSTONE_CACHE`` or the user's cache folder."""
    return Path(os.environ.get("TOUCHSTONE_CACHE") or platformdirs.user_cache_dir("touchstone"))


def probe(name: str, cls: type[Adapter], versions: dict[str, str], *, fresh: bool = False) -> Found:
    """Devices of the adapter `name`, from the cache unless `fresh`.

    The cache holds for these versions, settings, processor and OS build.
    """
    path = cache_folder() / "devices.json"
    settings = {variable: os.environ.get(variable) for variable in (*cls.environment, *instructions.VARIABLES)}
    system = [platform.platform(), platform.version(), machine.facts()]
    key = json.dumps([name, versions, settings, sys.executable, system])
    known = _read(path)
    if not fresh and isinstance(known.get(key), dict) and known[key]:
        return Found(known[key])
    found = _ask(name)
    if not found.error:
        _write(path, {**_read(path), key: found.devices})
    return found


def _ask(name: str) -> Found:
    if sys.stderr.isatty():  # it takes seconds in which nothing else is said
        print(f"asking {name} which devices it finds", file=sys.stderr, flush=True)
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "touchstone.adapters.discovery.devices", name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
    except subprocess.TimeoutExpired:
        return Found(error=f"the device probe of {name} did not answer within {TIMEOUT:.0f} s")
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        return Found(error=f"the device probe of {name} failed: {last}")
    return Found(json.loads(child.stdout.splitlines()[-1]))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Best effort: a cache that cannot be written only costs the next run a probe."""
    with contextlib.suppress(OSError):
        files.write(path, json.dumps(content))


def _main(name: str) -> None:
    from touchstone.adapters.discovery.registry import adapter_class

    cls = adapter_class(name)
    found: dict[str, dict[str, Any]] = {
        device: {"name": label, "precision": cls(device).precision()} for device, label in cls.probe().items()
    }
    uses = instructions.used(cls.distributions)
    for facts in found.values():
        facts["uses"] = uses
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1])
