"""Is damage of any kind, anywhere in the golden folder, noticed?

204 random damages, beside the chosen ones of `tests.test_golden_store`.

A lie whose hashes and seal were made to agree passes every guard but one, and that one has to answer.
"""

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

from touchstone.golden import store
from touchstone.golden.store import GoldenError

HOME = store.HERE
FILES = sorted(
    [store.HERE / store.MANIFEST, *store.DATA.iterdir(), *(p for p in store.RECORDED.rglob("*") if p.is_file())]
)
MANIFESTS = [p for p in FILES if p.name == store.MANIFEST]
ARRAYS = [p for p in FILES if p.suffix == ".safetensors"]
SEEDS = 12
"""Of each kind."""
ALIKE = (("F64", "I64", "U64"), ("F32", "I32", "U32"), ("F16", "BF16", "I16", "U16"), ("I8", "U8", "BOOL"))
"""Dtypes of one size, as safetensors calls them."""


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


def edit_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a safetensors file; its data stay as they are."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    rewrite(path, len(text).to_bytes(8, "little") + text + content[8 + size :])


def an_array(chance: random.Random, header: dict[str, Any]) -> dict[str, Any]:
    """The header's entry of an array that is not empty."""
    entry: dict[str, Any] = header[chance.choice([k for k in sorted(header) if 0 not in header[k].get("shape", [0])])]
    return entry


def claim_a_dtype(chance: random.Random, header: dict[str, Any]) -> None:
    entry = an_array(chance, header)
    (alike,) = [names for names in ALIKE if entry["dtype"] in names]
    entry["dtype"] = chance.choice([name for name in alike if name != entry["dtype"]])


def claim_a_shape(chance: random.Random, header: dict[str, Any]) -> None:
    entry = an_array(chance, header)
    entry["shape"] = [*entry["shape"], 1] if chance.random() < 0.5 else [1, *entry["shape"]]


def claim_an_extra_array(chance: random.Random, header: dict[str, Any]) -> None:
    """One that takes no bytes."""
    end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    header[f"extra/{chance.random()}"] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}


def lie_in_a_header(chance: random.Random, folder: Path) -> None:
    """Another dtype or shape of the same size, or an array more, in the file's own header."""
    claim = chance.choice([claim_a_dtype, claim_a_shape, claim_an_extra_array])
    edit_header(chosen(chance, ARRAYS, folder), lambda header: claim(chance, header))


def reorder_a_header(chance: random.Random, folder: Path) -> None:
    """The same arrays at the same places, in a file of the same size."""
    path = chosen(chance, ARRAYS, folder)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    key = chance.choice(sorted(header))
    header[key] = dict(reversed(header[key].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    rewrite(path, content[:8] + text.ljust(size) + content[8 + size :])


def agreed(claim: Callable[[random.Random, dict[str, Any]], None]) -> Callable[[random.Random, Path], None]:
    """The damage of such a header, in a file whose every hash agrees with it."""

    def damage(chance: random.Random, folder: Path) -> None:
        path = chosen(chance, ARRAYS, folder)
        edit_header(path, lambda header: claim(chance, header))
        make_agree(path, folder)

    damage.__name__ = f"{claim.__name__}_with_hashes_that_agree"
    return damage


def lie_in_a_manifest(chance: random.Random, folder: Path) -> None:
    edit(chosen(chance, MANIFESTS, folder), lambda manifest: lie(chance, manifest))


def lie_in_a_sealed_manifest(chance: random.Random, folder: Path) -> None:
    """The golden one: `made` is compared with the catalogue, which knows nothing of recorded parts."""
    edit(folder / store.MANIFEST, lambda manifest: lie(chance, manifest))
    reseal(folder / store.MANIFEST)


def lie(chance: random.Random, manifest: dict[str, Any]) -> None:
    entry = manifest["arrays"][chance.choice(sorted(k for k, e in manifest["arrays"].items() if e["file"]))]
    field = chance.choice(["dtype", "shape", "sha256", "made", "file"])
    entry[field] = {
        "dtype": "float64" if entry["dtype"] != "float64" else "float32",
        "shape": [*entry["shape"], 1],
        "sha256": "0" * 64,
        "made": entry["made"] + " ",
        "file": chance.choice([n for n in manifest["files"] if n != entry["file"]]),
    }[field]


def add_a_key_to_a_manifest(chance: random.Random, folder: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        array, file = chance.choice(sorted(manifest["arrays"])), chance.choice(sorted(manifest["files"]))
        chance.choice([manifest, manifest["arrays"][array], manifest["files"][file]])["extra"] = chance.random()

    edit(chosen(chance, MANIFESTS, folder), change)


def list_an_array_more(chance: random.Random, folder: Path) -> None:
    """In the file, and in a manifest that agrees with it; the catalogue alone does not know it."""
    path = chosen(chance, [p for p in ARRAYS if p.parent.name == "data"], folder)
    array = np.zeros(2, np.float32)
    content = save({**load_file(path), "extra/array": array})
    rewrite(path, content)
    entry = {"file": path.name, "dtype": "float32", "shape": [2], "sha256": store.digest(array), "made": "by hand"}
    edit(folder / store.MANIFEST, lambda manifest: manifest["arrays"].update({"extra/array": entry}))
    make_agree(path, folder)


def forget_an_array(chance: random.Random, folder: Path) -> None:
    edit(
        chosen(chance, MANIFESTS, folder),
        lambda manifest: manifest["arrays"].pop(chance.choice(sorted(manifest["arrays"]))),
    )


def drop_an_array(chance: random.Random, folder: Path) -> None:
    """From a file that is whole; the manifest agrees with the file, and still lists the array."""
    path = chosen(chance, ARRAYS, folder)
    arrays = load_file(path)
    del arrays[chance.choice(sorted(arrays))]
    rewrite(path, save(arrays))
    make_agree(path, folder)


def change_an_array(chance: random.Random, folder: Path) -> None:
    """One element of one array, in a file that is whole, with every fact about the file made to agree."""
    path = chosen(chance, ARRAYS, folder)
    arrays = load_file(path)
    key = chance.choice([k for k in sorted(arrays) if arrays[k].size])
    changed = np.array(arrays[key])
    octets = changed.reshape(-1).view(np.uint8)
    octets[chance.randrange(octets.size)] ^= 1
    rewrite(path, save({**arrays, key: changed}))
    make_agree(path, folder)


def add_a_file(chance: random.Random, folder: Path) -> None:
    path = chosen(chance, ARRAYS, folder)
    path.with_name(f"{path.stem}-{chance.randrange(10**6)}{path.suffix}").write_bytes(path.read_bytes())


def make_agree(path: Path, folder: Path) -> None:
    """Make the manifest's facts about the file, and its seal, those of what the file holds."""
    manifest = folder / store.MANIFEST if path.parent.name == "data" else path.parent / store.MANIFEST
    content = path.read_bytes()
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(manifest, lambda found: found["files"].update({path.name: facts}))
    reseal(manifest)


def reseal(manifest: Path) -> None:
    edit(manifest, lambda found: found.update(sha256=store.seal(found)))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads(path.read_text())
    change(manifest)
    rewrite(path, json.dumps(manifest).encode())


KINDS: dict[Callable[[random.Random, Path], None], str] = {
    flip_a_bit: "",
    truncate: "",
    append: r"\d+ bytes, the manifest says \d+: truncated or replaced",
    swap_files: "",
    lie_in_a_header: "",
    reorder_a_header: "corrupted, outside its arrays",
    agreed(claim_a_dtype): ": dtype is .*, the manifest says ",
    agreed(claim_a_shape): ": shape is .*, the manifest says ",
    agreed(claim_an_extra_array): "holds 'extra/.*', which the manifest does not list",
    lie_in_a_manifest: "",
    lie_in_a_sealed_manifest: "(dtype|shape|sha256) is .*, the manifest says|made differently|which the manifest lists",
    add_a_key_to_a_manifest: "changed by hand or damaged",
    list_an_array_more: "'extra/array' is missing from the catalogue",
    forget_an_array: "",
    drop_an_array: "no array '.*', which the manifest lists",
    change_an_array: ": sha256 is .*, the manifest says ",
    add_a_file: "not listed in manifest.json",
}
"""What is done to the folder -> what the guard says that has to answer; nothing where several may."""


def opened() -> list[store.Store]:
    """What a run opens before its first case."""
    return [store.open_golden(), *store.open_recorded()]


def test_the_linked_folder_is_sound(copy: Path) -> None:
    assert sum(found.verify() for found in opened()) > 3000


def test_there_are_two_hundred_damages() -> None:
    assert SEEDS * len(KINDS) >= 200


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damage_is_noticed(kind: Callable[[random.Random, Path], None], seed: int, copy: Path) -> None:
    kind(random.Random(f"{kind.__name__} {seed}"), copy)
    with pytest.raises(GoldenError, match=KINDS[kind] or None):
        opened()
