"""Does every kind of damage to the golden folder stop a run, with a message that names the file and the key?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.command import PYTEST, copy_repository, run
from touchstone import command
from touchstone.golden import store, writer
from touchstone.golden.recipes import Recipe
from touchstone.golden.store import GoldenError

FILE, KEY = "tied.safetensors", "tied/ids/7"
HERE, DATA = store.HERE, store.DATA
RECIPE = "exact/float32/x/2x32769"
"""An array above `touchstone.golden.writer.LARGE`: the manifest holds its hash, no file holds its bytes."""

Damage = Callable[[Path], object]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A golden folder of its own, which `touchstone.golden.store` takes for the real one."""
    folder = tmp_path / "golden"
    shutil.copytree(store.DATA, folder / "data")
    shutil.copytree(store.RECORDED, folder / "recorded")
    shutil.copy(store.HERE / store.MANIFEST, folder / store.MANIFEST)
    for name, path in {"HERE": folder, "DATA": folder / "data", "RECORDED": folder / "recorded"}.items():
        monkeypatch.setattr(store, name, path)
    return folder


def verify() -> int:
    return store.open_golden().verify()


def header(content: bytes) -> tuple[int, dict[str, Any]]:
    """(where the data begin, the header) of a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    return 8 + size, json.loads(content[8 : 8 + size])


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / store.MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest | {"sha256": store.seal(manifest)}))


def edit_entry(key: str, **changes: Any) -> Damage:
    return lambda folder: edit_manifest(folder, lambda manifest: manifest["arrays"][key].update(changes))


def flip_data(folder: Path) -> None:
    path = folder / "data" / FILE
    begin, entries = header(path.read_bytes())
    flip(path, begin + entries[KEY]["data_offsets"][0])


def flip_first_brace(folder: Path) -> None:
    flip(folder / "data" / FILE, 8)


def flip_key_in_header(folder: Path) -> None:
    path = folder / "data" / FILE
    flip(path, path.read_bytes().index(KEY.encode()))


def truncate(folder: Path) -> None:
    path = folder / "data" / FILE
    path.write_bytes(path.read_bytes()[:-1])


def swap(folder: Path) -> None:
    first, second = folder / "data" / FILE, folder / "data" / "cast.safetensors"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def replace_consistently(arrays: dict[str, np.ndarray]) -> Damage:
    """The file holds other arrays, and its entry under `files` agrees with it."""

    def damage(folder: Path) -> None:
        content = save(arrays)
        (folder / "data" / FILE).write_bytes(content)
        facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        edit_manifest(folder, lambda manifest: manifest["files"].update({FILE: facts}))

    return damage


DAMAGES: dict[str, tuple[Damage, list[str]]] = {
    "flipped byte in the data": (flip_data, [FILE, "corrupted", KEY]),
    "flipped byte in the header": (flip_first_brace, [FILE, "corrupted", "header cannot be read"]),
    "flipped byte in a key": (flip_key_in_header, [FILE, "corrupted", KEY]),
    "truncated file": (truncate, [FILE, "bytes, the manifest says", "truncated"]),
    "empty file": (lambda f: (f / "data" / FILE).write_bytes(b""), [FILE, "0 bytes", "truncated"]),
    "missing file": (lambda f: (f / "data" / FILE).unlink(), [FILE, "cannot be read"]),
    "unlisted file": (lambda f: (f / "data" / "more.safetensors").touch(), ["more.safetensors", "not listed"]),
    "swapped files": (swap, ["cast.safetensors", "replaced"]),
    "other arrays in a file": (
        replace_consistently({"other": np.zeros(2, np.float32)}),
        [FILE, "no array 'tied/", "manifest lists"],
    ),
    "missing manifest": (lambda f: (f / "manifest.json").unlink(), ["manifest.json", "touchstone golden generate"]),
    "manifest cut short": (
        lambda f: os.truncate(f / "manifest.json", 1000),
        ["manifest.json", "not valid JSON"],
    ),
    "manifest in another encoding": (
        lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe{"),
        ["manifest.json", "not valid JSON"],
    ),
    "manifest of another form": (
        lambda f: (f / "manifest.json").write_text("[]"),
        ["manifest.json", "must be a table"],
    ),
    "manifest without arrays": (
        lambda f: edit_manifest(f, lambda m: m.pop("arrays")),
        ["manifest.json", "lacks arrays"],
    ),
    "another format": (
        lambda f: edit_manifest(f, lambda m: m.update(format=2)),
        ["manifest.json", "format 2", "reads 1"],
    ),
    "file entry without a hash": (
        lambda f: edit_manifest(f, lambda m: m["files"][FILE].pop("sha256")),
        ["manifest.json", FILE, "lacks sha256"],
    ),
    "array entry without a dtype": (
        lambda f: edit_manifest(f, lambda m: m["arrays"][KEY].pop("dtype")),
        ["manifest.json", KEY, "lacks dtype"],
    ),
    "array in an unknown file": (edit_entry(KEY, file="x.safetensors"), ["manifest.json", KEY, "x.safetensors"]),
    "array in the wrong file": (edit_entry(KEY, file="cast.safetensors"), ["cast.safetensors", KEY]),
    "wrong dtype": (edit_entry(KEY, dtype="int64"), [FILE, KEY, "dtype is int32", "says int64"]),
    "wrong shape": (edit_entry(KEY, shape=[1, 3]), [FILE, KEY, "shape is [3]", "says [1, 3]"]),
    "wrong hash": (edit_entry(KEY, sha256="0" * 64), [FILE, KEY, "sha256 is", "says 0000"]),
    "wrong hash of a recipe": (edit_entry(RECIPE, sha256="0" * 64), ["recipe", RECIPE, "sha256 is", "says 0000"]),
    "key missing from the manifest": (
        lambda f: edit_manifest(f, lambda m: m["arrays"].pop(KEY)),
        [FILE, f"holds {KEY!r}, which the manifest does not list"],
    ),
    "recipe missing from the manifest": (
        lambda f: edit_manifest(f, lambda m: m["arrays"].pop(RECIPE)),
        ["manifest.json", RECIPE, "missing from the manifest"],
    ),
    "key missing from the file": (
        lambda f: edit_manifest(f, lambda m: m["arrays"].update({"tied/more": m["arrays"][KEY]})),
        [FILE, "no array 'tied/more', which the manifest lists"],
    ),
    "recipe missing from the catalogue": (
        lambda f: edit_manifest(f, lambda m: m["arrays"].update({"exact/more": m["arrays"][RECIPE]})),
        ["manifest.json", "exact/more", "missing from the catalogue"],
    ),
    "made differently": (edit_entry(KEY, made="values(int32, [3])"), ["manifest.json", KEY, "made differently"]),
}


def test_an_undamaged_copy_is_accepted(copy: Path) -> None:
    manifest = json.loads((copy / store.MANIFEST).read_text())
    assert verify() == len(manifest["arrays"])


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(name: str, copy: Path) -> None:
    damage, told = DAMAGES[name]
    damage(copy)
    with pytest.raises(GoldenError) as error:
        verify()
    message = str(error.value)
    assert [part for part in told if part not in message] == [], message
    assert "\n" not in message


def test_an_array_in_a_file_but_not_in_the_manifest(copy: Path) -> None:
    replace_consistently({"tied/stray": np.zeros(2, np.float32)})(copy)
    edit_manifest(
        copy,
        lambda m: m.update(arrays={k: e for k, e in m["arrays"].items() if e["file"] != FILE}),
    )
    with pytest.raises(GoldenError, match=r"tied\.safetensors: holds 'tied/stray', which the manifest does not list"):
        store.Store(copy / "data", copy / store.MANIFEST)


@pytest.mark.parametrize("name", [n for n in DAMAGES if n != "wrong hash of a recipe"])
def test_damage_stops_a_run_at_collection(name: str, copy: Path) -> None:
    DAMAGES[name][0](copy)
    with pytest.raises(GoldenError):
        store.open_golden()


def test_recipes_are_made_when_first_asked_for(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recipe, "make", lambda *arguments: pytest.fail("made a recipe"))
    store.open_golden()


def test_hidden_files_are_no_arrays(copy: Path) -> None:
    for folder in (copy / "data", next((copy / "recorded").iterdir())):
        (folder / ".DS_Store").touch()
    store.open_golden().verify()
    assert store.open_recorded()


def test_the_newest_recording_is_the_last(copy: Path) -> None:
    (folder,) = (copy / "recorded").iterdir()
    versions = ["0.9.1", "0.31.0", "0.32.4.1", "0.100.0"]
    for version in reversed(versions):
        shutil.copytree(folder, folder.with_name(f"mlx-{version}-cpu"))
    shutil.rmtree(folder)
    assert [s.folder.name for s in store.open_recorded()] == [f"mlx-{version}-cpu" for version in versions]


def test_a_damaged_recording_is_refused(copy: Path) -> None:
    path = next((copy / "recorded").glob("*/affine.safetensors"))
    begin, entries = header(path.read_bytes())
    key = next(k for k in sorted(entries) if k != "__metadata__")
    flip(path, begin + entries[key]["data_offsets"][0])
    with pytest.raises(GoldenError) as error:
        store.open_recorded()
    assert str(path) in str(error.value)
    assert key in str(error.value)


def test_no_recording_at_all(copy: Path) -> None:
    shutil.rmtree(copy / "recorded")
    with pytest.raises(GoldenError, match=r"recorded: no recorded parts; run `touchstone golden record mlx`"):
        store.open_recorded()


def test_arrays_come_back_read_only(copy: Path) -> None:
    array = store.open_golden()[KEY]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_the_repository_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """That making it again gives the same is the command's own check, which takes minutes."""
    assert command.main(["golden", "verify"]) == 0
    assert "agree with" in capsys.readouterr().out


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making the arrays again gives what the repository holds, at once."""
    files = {path.name: path.read_bytes() for path in (*DATA.iterdir(), HERE / store.MANIFEST)}
    monkeypatch.setattr(writer, "generated", lambda: files)


@pytest.mark.parametrize("arguments", [("verify",), ("generate", "--check")], ids=" ".join)
def test_the_command_refuses_damage(
    arguments: tuple[str, ...], copy: Path, generated: None, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_data(copy)
    assert command.main(["golden", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {copy / 'data' / FILE}: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_share_of_the_check_refuses_another_array(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = {KEY: store.open_golden().arrays[KEY]["sha256"]}
    monkeypatch.setattr(writer, "recomputed", lambda share: sound)
    assert command.main(["golden", "generate", "--check", "--share", "10"]) == 0
    monkeypatch.setattr(writer, "recomputed", lambda share: {KEY: "0" * 64})
    assert command.main(["golden", "generate", "--check", "--share", "10"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {KEY!r}: generating it again gives other bytes")


def test_the_check_writes_nothing(copy: Path, generated: None) -> None:
    flip_data(copy)
    before = contents(copy)
    command.main(["golden", "generate", "--check"])
    assert contents(copy) == before


def test_generate_repairs_damage_and_keeps_recordings(copy: Path, generated: None) -> None:
    before = contents(copy)
    truncate(copy)
    (copy / "data" / "stray").touch()
    assert command.main(["golden", "generate"]) == 0
    assert contents(copy) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def changed_files() -> dict[str, bytes]:
    """A store of the same files, each with other content."""
    arrays = {f"{family}/array": np.full(4, number) for number, family in enumerate(("cast", "linear", "tied"), 1)}
    return writer.compose(arrays, dict.fromkeys(arrays, "values"), {})


def fail_on_third(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The third call of `owner.name` finds the disk full."""
    original, calls = getattr(owner, name), []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize(("owner", "name"), [(os, "replace"), (Path, "write_bytes")], ids=["rename", "write"])
def test_a_generate_that_fails_halfway(owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is half-written, the manifest is the old one, and what is left is not mistaken for a sound store."""
    folder, manifest = tmp_path / "data", tmp_path / store.MANIFEST
    arrays = {f"{family}/array": np.zeros(4) for family in ("cast", "linear", "tied")}
    old = writer.compose(arrays, dict.fromkeys(arrays, "values"), {})
    new = changed_files()
    writer.write(old, folder, manifest)
    with monkeypatch.context() as broken:
        fail_on_third(broken, owner, name)
        with pytest.raises(OSError, match="No space left"):
            writer.write(new, folder, manifest)
    assert manifest.read_bytes() == old[store.MANIFEST]
    for found in folder.glob("*.safetensors"):
        assert found.read_bytes() in (old[found.name], new[found.name])
    if contents(folder) != {n: c for n, c in old.items() if n != store.MANIFEST}:
        with pytest.raises(GoldenError):
            store.Store(folder, manifest)
    writer.write(new, folder, manifest)
    assert store.Store(folder, manifest).verify() == 3


def test_a_disk_that_fills_leaves_the_old_store_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is renamed before everything is written."""
    folder, manifest = tmp_path / "data", tmp_path / store.MANIFEST
    arrays = {f"{family}/array": np.zeros(4) for family in ("cast", "linear", "tied")}
    writer.write(writer.compose(arrays, dict.fromkeys(arrays, "values"), {}), folder, manifest)
    before = contents(tmp_path)
    fail_on_third(monkeypatch, Path, "write_bytes")
    with pytest.raises(OSError, match="No space left"):
        writer.write(changed_files(), folder, manifest)
    assert contents(tmp_path) == before
    assert store.Store(folder, manifest).verify() == 3


def test_a_run_on_a_damaged_folder_stops_at_once(tmp_path: Path) -> None:
    root = copy_repository(tmp_path)
    flip_data(root / "golden")
    done = run(*PYTEST, "suites/", "--co", "-q", "--adapter", "reference", cwd=root)
    assert done.returncode not in (0, 5)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"ERROR: {root / 'golden' / 'data' / FILE}: corrupted at key {KEY!r}")
