"""What makes two runs comparable: hashes of the suites' own files and of the golden data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from touchstone.golden import store

SUITES = Path(__file__).parent


def hash_of(paths: Iterable[Path], folder: Path) -> str:
    """Twelve hexadecimal digits of SHA-256 over the names below `folder`, and the contents, of files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:12]


@cache
def suite_hash() -> str:
    """Of every test, comparison and requirement."""
    return hash_of((p for p in SUITES.rglob("*") if p.suffix in (".py", ".toml")), SUITES)


@cache
def golden_hash() -> str:
    """Of the manifests, which hold the hash of every golden and recorded array."""
    return hash_of(store.HERE.rglob(store.MANIFEST), store.HERE)
