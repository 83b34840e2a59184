"""Where the suites lie: in the package, or beside it in a checkout."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


SUITES = _folder("touchstone.suites")
IN_CHECKOUT = not (SUITES.parent / "__init__.py").exists()
