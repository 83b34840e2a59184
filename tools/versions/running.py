"""Runs the suites on a release, in its overlay, and keeps its records."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.versions import overlay
from tools.versions.releases import Release, VersionsError

TIME_LIMIT = 3600.0
"""Seconds for the suites on one release; 70 to 200 were measured on one core."""
ERROR = "error.txt"
"""In a release's folder of records, in place of records: why it could not run."""


def run(release: Release, folder: Path, *, again: bool = False) -> str:
    """Run the suites on the release, unless the records of these pins are there; what came of it, in words.

    A release that cannot be installed or imported, or does not come to its end, leaves `ERROR`, and is tried again the
    next time.
    """
    records = folder / "records" / release.name
    if overlay.is_of(records, release) and not (records / ERROR).is_file() and not again:
        return "its records are there"
    started = time.monotonic()
    temporary = records.with_name(f".{release.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        overlay.install(release, folder / "overlays")
        overlay.check(release, folder)
        _suites(release, folder, temporary)
        overlay.sign(temporary, release)
        said = f"ran in {time.monotonic() - started:.0f} s"
    except VersionsError as error:
        (temporary / ERROR).write_text(f"{error}\n")
        said = str(error)
    shutil.rmtree(records, ignore_errors=True)
    temporary.rename(records)
    return said


def _suites(release: Release, folder: Path, records: Path) -> None:
    command = [sys.executable, "-m", "pytest", str(overlay.ROOT / "suites"), "-q"]
    command += [
        "-p",
        "no:cacheprovider",
        "--tb=native",
        "-r",
        "N",
        "--adapter",
        release.adapter,
        "--report",
        str(records),
    ]
    log = records / "log.txt"
    with log.open("w") as output:
        try:
            done = subprocess.run(
                command,
                env=overlay.environment(release, folder),
                cwd=overlay.ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=TIME_LIMIT,
            )
        except subprocess.TimeoutExpired as error:
            raise VersionsError(f"{release.name}: the suites did not end within {TIME_LIMIT:g} s") from error
    if done.returncode not in (os.EX_OK, 1):
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise VersionsError(f"{release.name}: the suites ended with exit status {done.returncode}: {last}")
