"""Reading golden arrays: a manifest, one .safetensors file per family, and integer recipes for large inputs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from touchstone import documents
from touchstone.errors import InputError
from touchstone.golden.catalogue import CATALOGUE
from touchstone.golden.recipes import Recipe

HERE = Path(__file__).parent
DATA = HERE / "data"
RECORDED = HERE / "recorded"
MANIFEST = "manifest.json"
FORMAT = 1
_REMEDY = "restore it from version control or run `touchstone golden generate`"


class GoldenError(InputError):
    """The golden folder cannot be trusted; the message names file and key and says what to do."""


def digest(array: np.ndarray) -> str:
    """SHA-256 of the array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without its own entry ``sha256``, whatever its layout as text."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def dtype_name(array: np.ndarray) -> str:
    """The dtype as a manifest spells it: NumPy's name, or that of ml_dtypes, "bfloat16"."""
    return array.dtype.name


class Store:
    """Golden arrays under one folder, checked as they are read.

    Constructing it checks the manifest, every file against it by size and SHA-256, and every array in a file by
    dtype, shape and SHA-256, so that damage stops a run at once; recipes are made and checked when first asked for.
    Raises GoldenError. Arrays come back read-only.
    """

    def __init__(self, folder: Path, manifest: Path) -> None:
        self.folder, self.path = folder, manifest
        self.manifest = _read_manifest(manifest)
        self.arrays: dict[str, dict[str, Any]] = self.manifest["arrays"]
        _check_files(folder, self.manifest, manifest)
        self._families: dict[str, dict[str, np.ndarray]] = {}
        self._cache: dict[str, np.ndarray] = {}
        self._external: set[str] = set()
        self._check_arrays()
        if self.manifest.get("sha256") != seal(self.manifest):
            raise GoldenError(f"{manifest}: was changed by hand or damaged; restore it from version control")

    def _check_arrays(self) -> None:
        """Read every array that lies in a file, and refuse one that the manifest does not list."""
        listed: dict[str, set[str]] = {name: set() for name in self.manifest["files"]}
        for key, entry in self.arrays.items():
            if entry["file"] is not None:
                listed[entry["file"]].add(key)
                self[key]
        for name, keys in listed.items():
            if extra := sorted(self._family(name).keys() - keys):
                raise GoldenError(f"{self.folder / name}: holds {extra[0]!r}, which the manifest does not list")

    def add_external(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Serve arrays from elsewhere, a user's checkpoint, beside the golden ones."""
        for key, array in arrays.items():
            array.flags.writeable = False
            self._cache[key] = array
        self._external |= arrays.keys()

    @property
    def sha256(self) -> str:
        """One hash for the whole store, that of its manifest."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def where(self, key: str) -> str:
        """``file:key`` for messages."""
        if key in self._external:
            return key
        entry = self.arrays.get(key, {})
        return f"{self.folder.parent.name}/{self.folder.name}/{entry.get('file') or 'recipe'}:{key}"

    def _family(self, name: str) -> dict[str, np.ndarray]:
        if name not in self._families:
            try:
                self._families[name] = load_file(self.folder / name)
            except (SafetensorError, OSError) as error:
                raise GoldenError(f"{self.folder / name}: not a readable safetensors file ({error})") from error
        return self._families[name]

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._cache:
            array = self._load(key)
            array.flags.writeable = False
            self._cache[key] = array
        return self._cache[key]

    def _load(self, key: str) -> np.ndarray:
        entry = self.arrays.get(key)
        if entry is None:
            raise GoldenError(f"{self.path}: no array {key!r}; run `touchstone golden generate`")
        if entry["file"] is None:
            how = CATALOGUE.get(key)
            if not isinstance(how, Recipe):
                raise GoldenError(f"{self.path}: {key!r} is listed as a recipe but the catalogue has none")
            array = how.make(key)
        else:
            found = self._family(entry["file"])
            if key not in found:
                raise GoldenError(f"{self.folder / entry['file']}: no array {key!r}, which the manifest lists")
            array = found[key]
        facts = {"dtype": dtype_name(array), "shape": list(array.shape), "sha256": digest(array)}
        for name, value in facts.items():
            if value != entry[name]:
                raise GoldenError(f"{self.where(key)}: {name} is {value}, the manifest says {entry[name]}; {_REMEDY}")
        return array

    def verify(self) -> int:
        """Read every array, recipes too; the number of arrays. Raises GoldenError."""
        for key in self.arrays:
            self[key]
        return len(self.arrays)


class _File(msgspec.Struct):
    sha256: str
    bytes: int


class _Array(msgspec.Struct):
    file: str | None
    dtype: str
    shape: list[int]
    sha256: str
    made: str


class _Manifest(msgspec.Struct):
    """What a manifest must hold."""

    format: int
    files: dict[str, _File]
    arrays: dict[str, _Array]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise GoldenError(f"{path}: cannot be read ({error.strerror}); run `touchstone golden generate`") from error
    except ValueError as error:
        raise GoldenError(f"{path}: not valid JSON ({error})") from error
    if isinstance(manifest, dict) and manifest.get("format", FORMAT) != FORMAT:
        raise GoldenError(f"{path}: format {manifest['format']!r}, this version reads {FORMAT}")
    facts = documents.converted(manifest, _Manifest, str(path), GoldenError)
    for key, array in facts.arrays.items():
        if array.file is not None and array.file not in facts.files:
            raise GoldenError(f"{path}: array {key!r} is in {array.file!r}, which the manifest does not list")
    return manifest


def _check_files(folder: Path, manifest: dict[str, Any], path: Path) -> None:
    for name, fact in manifest["files"].items():
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise GoldenError(
                f"{folder / name}: listed in {path.name} but cannot be read ({error.strerror})"
            ) from error
        if len(content) != fact["bytes"]:
            raise GoldenError(
                f"{folder / name}: {len(content)} bytes, the manifest says {fact['bytes']}: truncated or replaced"
                f"; {_REMEDY}"
            )
        if hashlib.sha256(content).hexdigest() != fact["sha256"]:
            raise GoldenError(f"{folder / name}: corrupted{_first_damaged(folder / name, manifest)}")
    listed = {*manifest["files"], MANIFEST}
    for found in sorted(folder.iterdir()) if folder.is_dir() else []:
        if found.name not in listed and not found.name.startswith("."):  # .DS_Store and the like
            raise GoldenError(f"{found}: not listed in {path.name}; remove it or run `touchstone golden generate`")


def _first_damaged(path: Path, manifest: dict[str, Any]) -> str:
    """Name the first array whose bytes changed, where the file can still be parsed."""
    try:
        found = load_file(path)
    except Exception as error:  # any damage may surface here; the file is already known to be bad
        return f", and its header cannot be read ({error}); {_REMEDY}"
    for key, entry in manifest["arrays"].items():
        if entry["file"] == path.name and (key not in found or digest(found[key]) != entry["sha256"]):
            return f" at key {key!r}; {_REMEDY}"
    return f", outside its arrays; {_REMEDY}"


def open_golden() -> Store:
    """The generated store; GoldenError where the files or the catalogue disagree with the manifest."""
    import touchstone.golden.cases  # noqa: F401  fills the catalogue

    store = Store(DATA, HERE / MANIFEST)
    for key in sorted(CATALOGUE.keys() ^ store.arrays.keys()):
        side = "the manifest" if key in CATALOGUE else "the catalogue"
        raise GoldenError(f"{store.path}: {key!r} is missing from {side}; run `touchstone golden generate`")
    for key, how in CATALOGUE.items():
        if store.arrays[key]["made"] != how.describe():
            raise GoldenError(f"{store.path}: {key!r} is made differently now; run `touchstone golden generate`")
    return store


def open_recorded() -> list[Store]:
    """What frameworks produced, one store per ``NAME-VERSION-DEVICE`` folder, newest last."""
    found = [p for p in RECORDED.iterdir() if p.is_dir()] if RECORDED.is_dir() else []
    folders = sorted(found, key=_age)
    if not folders:
        raise GoldenError(f"{RECORDED}: no recorded parts; run `touchstone golden record mlx`")
    return [Store(folder, folder / MANIFEST) for folder in folders]


def _age(folder: Path) -> tuple[tuple[int, ...], str]:
    """Sorts ``NAME-VERSION-DEVICE`` by version: 0.9 before 0.10; the name decides between equal ones."""
    version = re.search(r"-(\d+(\.\d+)*)", folder.name)
    return tuple(map(int, version[1].split("."))) if version else (), folder.name
