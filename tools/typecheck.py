"""``python -m tools.typecheck``: mypy over everything, with the checkout's folders as the package that they become.

mypy sees neither what the build places under ``touchstone`` nor its ``__path__``: it is shown a folder of links.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("adapters", "golden", "migration", "reports", "suites")


def main(arguments: Sequence[str]) -> int:
    """mypy's exit status."""
    with tempfile.TemporaryDirectory() as name:
        package = Path(name, "touchstone")
        package.mkdir()
        for path in [*(ROOT / "touchstone").iterdir(), *(ROOT / folder for folder in FOLDERS)]:
            (package / path.name).symlink_to(path)
        return subprocess.run(
            [sys.executable, "-m", "mypy", *arguments], cwd=ROOT, env={**os.environ, "MYPYPATH": name}
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
