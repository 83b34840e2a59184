"""The first night on a device: whether it is one, and the entries of known deviations that it suggests."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.nightly import NightlyError
from touchstone import documents
from touchstone.adapters import known, update
from touchstone.adapters.discovery import registry
from touchstone.errors import InputError

REVIEWED = Path(__file__).parent / "reviewed.toml"


def here() -> str:
    """This system, as reviewed.toml names it: "Linux x86_64", "Darwin arm64"."""
    return f"{platform.system()} {platform.machine()}"


def is_first_night(target: str, system: str = "") -> bool:
    """Whether nobody has reviewed yet what the target ``NAME@DEVICE`` shows on a system, by default this one.

    So where no entry of ``known/NAME.toml`` has been seen on the device, not even a candidate, and where
    reviewed.toml does not list the system. Raises NightlyError for a target that no shipped adapter has.
    """
    name, at, device = target.partition("@")
    if name not in registry.SHIPPED or not at or not device:
        raise NightlyError(f"{target!r} is no target NAME@DEVICE of {', '.join(registry.SHIPPED)}")
    path = known.path_for(registry.adapter_class(name))
    if not path.exists():
        return True
    return device not in seen_on(path) or (system or here()) not in reviewed().get(target, ())


def seen_on(path: Path) -> set[str]:
    """The devices on which somebody has seen any of the file's entries."""
    content = documents.load(path, NightlyError)
    entries = (entry for kind in ("deviation", "pin") for entry in content.get(kind, ()))
    places = (place for entry in entries for place in entry["seen_on"])
    return {place if isinstance(place, str) else place["device"] for place in places}


def reviewed() -> dict[str, list[str]]:
    """Target -> the systems on which a person has reviewed it."""
    raw = documents.load(REVIEWED, NightlyError)
    return documents.converted(raw, dict[str, list[str]], str(REVIEWED), NightlyError)


def write(reports: Sequence[Path], output: Path) -> str:
    """What ``touchstone expectations update`` makes of each report on copies of the files: those that change are kept.

    Returns what it says. The checkout stays as it is: what a device shows is adopted by a person.
    """
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        copies, own = Path(folder), known.shipped()
        for path in own:
            shutil.copy(path, copies)
        for report in reports:
            try:
                said = update.update(report, copies)
            except (InputError, OSError) as error:
                said = f"error: {error}"
            lines.append(f"$ touchstone expectations update {report}\n{said}")
        for path in sorted(copies.glob("*.toml")):
            if path.read_bytes() not in [one.read_bytes() for one in own if one.name == path.name]:
                output.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, output / path.name)
                lines.append(f"candidates: {output / path.name}")
    return "\n".join(lines)
