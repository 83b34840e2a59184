"""Is damage of any kind, anywhere in the golden folder, noticed? 200 random damages, beside the chosen ones of
`tests.test_golden_store`."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from golden import store
from golden.store import GoldenError

HOME = store.HERE
FILES = sorted(
    [store.HERE / store.MANIFEST, *store.DATA.iterdir(), *(p for p in store.RECORDED.rglob("*") if p.is_file())]
)
MANIFESTS = [p for p in FILES if p.name == store.MANIFEST]
ARRAYS = [p for p in FILES if p.suffix == ".safetensors"]
SEEDS = 25
"""Of each of the eight kinds."""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A golden folder that `golden.store` takes for the real one; its files are links until they are damaged."""
    folder = tmp_path / "golden"
    for path in FILES:
        linked = folder / path.relative_to(store.HERE)
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.symlink_to(path)
    for name, path in {"HERE": folder, "DATA": folder / "data", "RECORDED": folder / "recorded"}.items():
        monkeypatch.setattr(store, name, path)
    return folder


def rewrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def chosen(chance: random.Random, paths: list[Path], folder: Path) -> Path:
    return folder / chance.choice(paths).relative_to(HOME)


def flip_a_bit(chance: random.Random, folder: Path) -> None:
    path = chosen(chance, FILES, folder)
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    rewrite(path, bytes(content))


def truncate(chance: random.Random, folder: Path) -> None:
    path = chosen(chance, FILES, folder)
    rewrite(path, path.read_bytes()[: chance.randrange(path.stat().st_size)])


def append(chance: random.Random, folder: Path) -> None:
    path = chosen(chance, ARRAYS, folder)
    rewrite(path, path.read_bytes() + chance.randbytes(chance.randint(1, 64)))


def swap_files(chance: random.Random, folder: Path) -> None:
    first, second = (folder / p.relative_to(HOME) for p in chance.sample(ARRAYS, 2))
    one, two = first.read_bytes(), second.read_bytes()
    rewrite(first, two)
    rewrite(second, one)


def lie_in_a_header(chance: random.Random, folder: Path) -> None:
    """Another dtype or shape of one array of the same size, in the file's own header."""
    path = chosen(chance, ARRAYS, folder)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    key = chance.choice([k for k in header if k != "__metadata__"])
    entry = header[key]
    entry["shape"] = [*entry["shape"], 1] if chance.random() < 0.5 else [1, *entry["shape"]]
    text = json.dumps(header).encode()
    rewrite(path, len(text).to_bytes(8, "little") + text + content[8 + size :])


def lie_in_a_manifest(chance: random.Random, folder: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        entry = manifest["arrays"][chance.choice(sorted(manifest["arrays"]))]
        field = chance.choice(["dtype", "shape", "sha256", "made", "file"])
        entry[field] = {
            "dtype": "float64" if entry["dtype"] != "float64" else "float32",
            "shape": [*entry["shape"], 1],
            "sha256": "0" * 64,
            "made": entry["made"] + " ",
            "file": chance.choice([n for n in manifest["files"] if n != entry["file"]]),
        }[field]

    edit(chosen(chance, MANIFESTS, folder), change)


def forget_an_array(chance: random.Random, folder: Path) -> None:
    edit(
        chosen(chance, MANIFESTS, folder),
        lambda manifest: manifest["arrays"].pop(chance.choice(sorted(manifest["arrays"]))),
    )


def change_an_array(chance: random.Random, folder: Path) -> None:
    """One element of one array, in a file that is whole, with every fact about the file made to agree."""
    path = chosen(chance, ARRAYS, folder)
    arrays = load_file(path)
    key = chance.choice([k for k in sorted(arrays) if arrays[k].size])
    changed = np.array(arrays[key])
    octets = changed.reshape(-1).view(np.uint8)
    octets[chance.randrange(octets.size)] ^= 1
    content = save({**arrays, key: changed})
    rewrite(path, content)
    manifest = folder / store.MANIFEST if path.parent.name == "data" else path.parent / store.MANIFEST
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(manifest, lambda found: found["files"].update({path.name: facts}))
    edit(manifest, lambda found: found.update(sha256=store.seal(found)))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads(path.read_text())
    change(manifest)
    rewrite(path, json.dumps(manifest).encode())


KINDS = (
    *(flip_a_bit, truncate, append, swap_files),
    *(lie_in_a_header, lie_in_a_manifest, forget_an_array, change_an_array),
)


def read_everything() -> None:
    store.open_golden().verify()
    for recorded in store.open_recorded():
        recorded.verify()


def test_the_linked_folder_is_sound(copy: Path) -> None:
    read_everything()


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed(kind: Callable[[random.Random, Path], None], seed: int, copy: Path) -> None:
    kind(random.Random(f"{kind.__name__} {seed}"), copy)
    with pytest.raises(GoldenError):
        read_everything()
