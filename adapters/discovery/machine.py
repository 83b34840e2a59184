"""Which computer this is: its chip, operating system and whether it is virtual, and an id for comparing timings."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

X86 = ("sse4", "avx", "avx2", "avx512", "amx")
ARM = ("neon", "sve")
"""Levels of instructions of the two kinds of processor, lowest first."""
PARAVIRTUAL = "paravirtual"
"""Part of the name that macOS gives a GPU inside a virtual machine ("Apple Paravirtual device")."""

_LEVELS = {
    **{"amx.tile": "amx", "avx512f": "avx512", "avx2": "avx2", "avx": "avx", "avx1.0": "avx", "sse4.2": "sse4"},
    **{"sve": "sve", "neon": "neon", "asimd": "neon"},
}
"""Feature -> the level that it stands for, highest first."""


@cache
def describe() -> dict[str, Any]:
    """Fields: id, chip, model, architecture, cores, memory (bytes), os, os_build, virtual, python, facts (`facts`).

    The id hashes what makes timings comparable (chip, model, architecture, cores, memory, virtual), so that a hosted
    runner of the same kind has it again the next night; ``TOUCHSTONE_MACHINE`` replaces it.
    """
    mac = platform.system() == "Darwin"
    chip = _sysctl("machdep.cpu.brand_string") if mac else _proc("/proc/cpuinfo", "model name")
    hardware = {
        "chip": chip or platform.processor() or platform.machine(),
        "model": (_sysctl("hw.model") if mac else _file("/sys/devices/virtual/dmi/id/product_name")) or "unknown",
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "virtual": _sysctl("kern.hv_vmm_present") == "1" if mac else "hypervisor" in _proc("/proc/cpuinfo", "flags"),
    }
    digest = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()
    return {
        "id": os.environ.get("TOUCHSTONE_MACHINE") or digest[:12],
        **hardware,
        "os": f"macOS {platform.mac_ver()[0]}" if mac else _distribution(),
        "os_build": _output("sw_vers", "-buildVersion") if mac else platform.release(),
        "python": platform.python_version(),
        "facts": facts(),
    }


@cache
def facts() -> dict[str, str]:
    """What entries of known deviations may name of a machine: system, machine, instruction_set, and threads.

    >>> facts()["machine"] in ("x86_64", "arm64")
    True
    """
    return {
        "system": platform.system(),
        "machine": {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine()),
        "instruction_set": instruction_set(),
        "threads": str(threads()),
    }


@cache
def instruction_set() -> str:
    """The highest level that the processor has: one of `X86` or of `ARM`, "unknown" on any other."""
    if platform.system() == "Darwin":
        names = "machdep.cpu.features", "machdep.cpu.leaf7_features"
        flags = " ".join(map(_sysctl, names)).lower().split()
    else:
        flags = (_proc("/proc/cpuinfo", "flags") or _proc("/proc/cpuinfo", "Features")).split()
    return level(flags) or ("neon" if platform.machine().lower() in ("arm64", "aarch64") else "unknown")


def level(features: Iterable[str]) -> str:
    """The level that features amount to, as Linux, macOS and LLVM name them; "" for none that has a level.

    >>> level(["sse4.2", "avx", "avx2"])
    'avx2'
    """
    names = {name.replace("_", ".").lower() for name in features}
    return next((found for name, found in _LEVELS.items() if name in names), "")


def threads() -> int:
    """Processors that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device(name: str, precision: dict[str, str], uses: Mapping[str, str]) -> dict[str, Any]:
    """A target's device on this machine: `name` as its framework gives it; `uses`: `adapters.instructions.used`."""
    here = describe()
    return {
        "name": name,
        "chip": here["chip"],
        "os": here["os"],
        "os_build": here["os_build"],
        "paravirtual": PARAVIRTUAL in name.lower() or (here["virtual"] and name.startswith("Apple")),
        "precision": precision,
        "facts": {**here["facts"], **uses},
    }


def _distribution() -> str:
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return f"{found.get('NAME', platform.system())} {found.get('VERSION_ID', '')}".strip()


def _sysctl(name: str) -> str:
    return _output("sysctl", "-n", name)


def _output(*command: str) -> str:
    """What a command prints, "" where there is no such command or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _file(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _proc(path: str, field: str) -> str:
    lines = (line.partition(":") for line in _file(path).splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == field), "")
