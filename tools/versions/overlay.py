"""The overlay of a release: a folder, first on the path, that holds its distributions and nothing else.

``python -m tools.versions.overlay ADAPTER NAME==VERSION…`` runs in the overlay's environment, and says whether
the framework is really the overlay's: the metadata's versions, and where each module was loaded from.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from tools.versions.releases import Release, VersionsError
from touchstone.adapters.discovery import registry

ROOT = Path(__file__).parents[2]
_INSTALLING, _IMPORTING = 900, 300
"""Seconds for pip, and for a first import from a cold disk."""


PINS = "touchstone-pins.txt"
"""In an overlay, and in the records of a run on it: the distributions that it was made of."""


def is_of(path: Path, release: Release) -> bool:
    """Whether the folder was made of the release's pins, as they are now."""
    return (path / PINS).is_file() and (path / PINS).read_text().split() == release.pins


def sign(path: Path, release: Release) -> None:
    """Write the release's pins into the folder."""
    (path / PINS).write_text("".join(f"{pin}\n" for pin in release.pins))


def install(release: Release, folder: Path) -> Path:
    """The folder of the release's overlay below `folder`, installed where it is not there yet, or of other pins.

    Raises VersionsError where pip fails; what it left is removed.
    """
    path = folder / release.name
    if is_of(path, release):
        return path
    temporary = folder / f".{release.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if release.install:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
        done = _run([*pip, "--target", str(temporary), *release.pins], dict(os.environ), _INSTALLING)
        if done.returncode:
            shutil.rmtree(temporary, ignore_errors=True)
            raise VersionsError(f"{release.name}: cannot be installed: {_last(done)}")
    sign(temporary, release)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    return path


def environment(release: Release, folder: Path) -> dict[str, str]:
    """Variables for a process that sees the release: the overlay first on the path, and compiled kernels of its own.

    MLX names its kernels by what they compute, and would load another release's from a shared temporary folder.
    """
    temporary = folder / "tmp" / release.name
    temporary.mkdir(parents=True, exist_ok=True)
    path = [str(folder / "overlays" / release.name), str(ROOT)]
    own = {"PYTHONPATH": os.pathsep.join(path), "TMPDIR": str(temporary), "TOUCHSTONE_CACHE": str(folder / "cache")}
    return {**os.environ, **own}


def check(release: Release, folder: Path) -> None:
    """Raises VersionsError where the release cannot be imported, or is not the overlay's."""
    command = [sys.executable, "-m", "tools.versions.overlay", release.adapter, *release.pins]
    done = _run(command, environment(release, folder), _IMPORTING)
    if done.returncode:
        raise VersionsError(f"{release.name}: cannot be imported: {_last(done)}")


def _run(command: Sequence[str], variables: dict[str, str], limit: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end within {limit:g} s")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return lines[-1].strip() if lines else f"exit status {done.returncode}"


def _faults(adapter: str, pins: Sequence[str]) -> Iterator[str]:
    """What is not the overlay's, after the adapter has been made on a device."""
    overlay = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]).resolve()
    cls = registry.adapter_class(adapter)
    registry.prepare_environment(cls)
    cls(next(iter(cls.probe())))
    for pin in pins:
        name, _, version = pin.partition("==")
        held = metadata.distribution(name)
        if held.version != version:
            yield f"{name} is {held.version}, not {version}"
            continue
        for top in {file.parts[0] for file in held.files or () if file.suffix in (".py", ".so")}:
            loaded = {n: m for n, m in sys.modules.items() if n == top or n.startswith(f"{top}.")}
            for module, found in loaded.items():
                origin = getattr(found, "__file__", None)
                if origin and overlay not in Path(origin).resolve().parents:
                    yield f"{module} was loaded from {origin}"


if __name__ == "__main__":
    if found := next(_faults(sys.argv[1], sys.argv[2:]), None):
        sys.exit(found)
