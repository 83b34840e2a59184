"""How does a defect get into a process? When its module is imported, by an edit of its source or by code run after it.

Imports the standard library only: it runs at the start of every process of a run with a defect.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

VARIABLE = "TOUCHSTONE_DEFECT"
"""Names a JSON file: what `defects.Defect.planted` gives, and "log", a file that every planting appends to."""


class PlantingError(Exception):
    """A defect does not fit the module that it is for."""


def install() -> None:
    """Plant the defect that the environment names, once its module is imported; nothing where it names none."""
    if path := os.environ.get(VARIABLE):
        sys.meta_path.insert(0, Planter(json.loads(Path(path).read_text())))


def edited(source: str, edits: Sequence[Mapping[str, Any]]) -> str:
    """The source with each ``old`` replaced by ``new``: where it occurs once, or at its occurrence number ``which``.

    Raises PlantingError where it occurs otherwise.
    """
    for edit in edits:
        parts = source.split(edit["old"])
        which = edit.get("which", 0)
        if len(parts) < which + 2 or ("which" not in edit and len(parts) != 2):
            raise PlantingError(f"{edit['old']!r} occurs {len(parts) - 1} times")
        source = edit["old"].join(parts[: which + 1]) + edit["new"] + edit["old"].join(parts[which + 1 :])
    return source


class Planter(importlib.abc.MetaPathFinder):
    """Hands out the defect's module with the defect in it."""

    def __init__(self, defect: Mapping[str, Any]) -> None:
        self._defect = defect

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._defect["module"]:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec and spec.loader:
                spec.loader = _Loader(spec.loader, self._defect)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, real: Any, defect: Mapping[str, Any]) -> None:
        self._real, self._defect = real, defect

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if edits := self._defect.get("edits"):
            exec(self._changed(module, edits), vars(module))  # the source's own bytecode is neither read nor written
        else:
            self._real.exec_module(module)
        if code := self._defect.get("code"):
            exec(compile(code, f"<defect {self._defect['id']}>", "exec"), vars(module))
        with open(self._defect["log"], "a") as log:
            log.write(f"{os.getpid()}\n")

    def _changed(self, module: ModuleType, edits: Sequence[Mapping[str, Any]]) -> CodeType:
        path = self._real.get_filename(module.__name__)
        return compile(edited(Path(path).read_text(), edits), path, "exec", dont_inherit=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
