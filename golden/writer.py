"""Writing golden stores: every file to a temporary name first, the manifest last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from touchstone.golden import oracle
from touchstone.golden.catalogue import CATALOGUE
from touchstone.golden.operations.precise import DERIVED
from touchstone.golden.recipes import Derived
from touchstone.golden.store import FORMAT, MANIFEST, GoldenError, digest, dtype_name, seal
from touchstone.golden.streams import SEED

GENERATOR = "1"
LARGE = 8_000
"""Inputs above this many bytes stay recipes: the manifest holds their hash, no file holds their bytes."""
LIMIT = 40_000_000


def compose(arrays: Mapping[str, np.ndarray], made: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> content for a store: one safetensors file per family, and the manifest.

    An array whose ``made`` text starts with a recipe and that exceeds `LARGE` is listed without a file.
    """
    families: dict[str, dict[str, np.ndarray]] = {}
    entries = {}
    for key in sorted(arrays):
        array = arrays[key]
        file = (
            None if array.nbytes > LARGE and not made[key].startswith("oracle") else f"{key.split('/')[0]}.safetensors"
        )
        if file:
            families.setdefault(file, {})[key] = np.array(array, order="C")
        entries[key] = {
            "file": file,
            "dtype": dtype_name(array),
            "shape": list(array.shape),
            "sha256": digest(array),
            "made": made[key],
        }
    files = {name: save(family) for name, family in sorted(families.items())}
    listed = {n: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for n, c in files.items()}
    lines = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items()]
    told = {"format": FORMAT, **facts, "files": listed}
    head = json.dumps({"sha256": seal({**told, "arrays": entries}), **told}, indent=2)
    manifest = head.removesuffix("\n}") + ',\n  "arrays": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    return {**files, MANIFEST: manifest.encode()}


def generated() -> dict[str, bytes]:
    """The content of every generated file, from the catalogue alone."""
    arrays = _made()
    made = {key: how.describe() for key, how in CATALOGUE.items()}
    out = compose(arrays, made, {"generator": GENERATOR, "seed": SEED})
    if (total := sum(map(len, out.values()))) > LIMIT:
        raise GoldenError(f"the golden arrays take {total} bytes, more than {LIMIT}")
    return out


def recomputed(share: int) -> dict[str, str]:
    """Key -> hash of arrays made again: all, but of the operations' results, which take long, one in `share`.

    Which ones follows from the keys of their operands: always the same, and all results of the same operands.
    """
    return {key: digest(array) for key, array in _made(share).items()}


def _made(share: int = 1) -> dict[str, np.ndarray]:
    """Every array of the catalogue, but of the operations' results one in `share`, chosen by their operands."""
    import touchstone.golden.cases  # noqa: F401  fills the catalogue

    arrays: dict[str, np.ndarray] = {}
    for key, how in CATALOGUE.items():
        if not isinstance(how, Derived):
            arrays[key] = how.make(key)
        elif (
            how.function not in DERIVED
            or int(hashlib.sha256("".join(how.inputs).encode()).hexdigest(), 16) % share == 0
        ):
            function = DERIVED.get(how.function) or oracle.FUNCTIONS[how.function]
            arrays[key] = function(*(arrays[name] for name in how.inputs))
    return arrays


def write(files: Mapping[str, bytes], folder: Path, manifest: Path) -> None:
    """Replace a store: every file is written beside its place, then all are renamed, the manifest last.

    A disk that fills leaves the old store as it was. Strays are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: manifest if name == MANIFEST else folder / name for name in files}
    temporary = {name: path.with_name(f".{path.name}.partial") for name, path in places.items()}
    try:
        for name, content in files.items():
            temporary[name].write_bytes(content)
        for name, path in places.items():
            os.replace(temporary[name], path)
    finally:
        for left in temporary.values():
            left.unlink(missing_ok=True)
    for stray in folder.iterdir():
        if stray.name not in files:
            stray.unlink()
