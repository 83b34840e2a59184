"""The command that asks one case again: it works in a shell, from any folder."""

from __future__ import annotations

import inspect
import shlex
import sysconfig
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Adapter
from touchstone.migration.inputs import TENSORS, CheckpointInput
from touchstone.places import SUITES

DISTRIBUTION = "touchstone-conformance"


def command(identifier: str, options: Sequence[str], target: Target | None = None) -> str:
    """``touchstone run IDENTIFIER OPTIONS``; of `target` where it is an adapter that is asked.

    A checkout that is not installed, and a third party's adapter that is not, are found by a variable.
    """
    words = ["touchstone", "run", identifier]
    path = []
    if not _is_installed():
        words[:1] = ["python", "-m", "touchstone"]
        path.append(SUITES.parent)
    if target:
        words += ["--adapter", target.selector]
        path += _beside(target.cls)
    before = f"PYTHONPATH={shlex.quote(':'.join(map(str, path)))} " if path else ""
    return before + shlex.join([*words, *options])


def of_checkpoint(identifier: str, given: CheckpointInput, target: Target) -> str:
    """As `command`, of a case of two checkpoints: of no adapter where the files are asked."""
    return command(identifier, given.options, None if given.asks(target, TENSORS) else target)


@cache
def _is_installed() -> bool:
    try:
        metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache
def _beside(cls: type[Adapter]) -> tuple[Path, ...]:
    """The folder that an adapter's top package lies in, where Python would not look there of itself."""
    file = Path(inspect.getfile(cls)).resolve()
    depth = cls.__module__.count(".") + (file.name == "__init__.py")
    folder = file.parents[depth]
    usual = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    return () if folder in usual or cls.__module__.startswith("touchstone.") else (folder,)
