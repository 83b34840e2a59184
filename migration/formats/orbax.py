"""Orbax folders: `StandardCheckpointer` and `PyTreeCheckpointer` of plain trees and of ``nnx.state(model)``.

``_METADATA`` names the arrays; each is a Zarr array, in an OCDBT database or a folder of its own, that TensorStore
reads by slices (https://orbax.readthedocs.io, https://google.github.io/tensorstore/kvstore/ocdbt).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats.documents import json_object
from touchstone.migration.formats.names import MOST_NODES, Leaf, named, passed_over, without_value
from touchstone.migration.formats.reading import (
    DamagedError,
    Source,
    array_bytes,
    guarded,
    library,
    numpy_dtype,
    stored,
)
from touchstone.migration.formats.streams import PIECE, Forward

NAME = "orbax"
METADATA = "_METADATA"
UNFINISHED = ".orbax-checkpoint-tmp"
LARGE = 16 * 2**20
"""TensorStore decodes a piece whole, whichever rows of it are asked for: larger ones are decoded as a stream, where an
array is one piece that Zstandard compressed, which is Orbax's default, or nothing did; others are mentioned."""
_CACHE = 64 * 2**20
_WINDOW = 2**27
"""The most that Zstandard may look back, and so hold: what its own command allows without being told."""
_ABSENT = ("None", "Dict", "List", "Tuple", "NamedTuple", "string")


def find(folder: Path) -> Path | None:
    """The folder that holds ``_METADATA``: this one, or below a `CheckpointManager`'s folder the only one.

    Raises CheckpointError where there are several.
    """
    if (folder / METADATA).is_file():
        return folder
    below = sorted({p.parent for pattern in (f"*/{METADATA}", f"*/*/{METADATA}") for p in folder.glob(pattern)})
    if len(below) > 1:
        listed = ", ".join(str(p.relative_to(folder)) for p in below[:10])
        raise CheckpointError(f"{folder}: holds {len(below)} Orbax checkpoints ({listed}); name one of them")
    return below[0] if below else None


def open_orbax(folder: Path) -> Checkpoint:
    """The arrays of one Orbax item by their dotted names. Raises CheckpointError."""
    if UNFINISHED in folder.resolve().name:
        raise CheckpointError(f"{folder}: was never finished; use a checkpoint whose saving ended")
    ts = library("Orbax checkpoints", "tensorstore", folder, _import)
    metadata = json_object(folder / METADATA)
    found, others = _entries(folder, metadata)
    if not found:
        raise CheckpointError(f"{folder}: holds no tensors")
    if metadata.get("use_ocdbt"):
        _check_pieces(ts, folder)
    notes = passed_over(others, "not an array")
    context = ts.Context({"cache_pool": {"total_bytes_limit": _CACHE}})
    opened = named(found, folder, lambda name, keys: _open(ts, folder, metadata, keys, context))
    streams = {name: source for name, array in opened.items() if (source := _stream(folder, array))}
    largest = max((_piece(array) for name, array in opened.items() if name not in streams), default=0)
    if largest > LARGE:
        name = next(n for n, array in opened.items() if n not in streams and _piece(array) == largest)
        notes.append(
            f"{name} is stored in pieces of {largest / 2**20:,.0f} MB, each decoded whole: memory grows by about twice "
            "that for every thread; SaveArgs(chunk_byte_size=…) makes smaller ones"
        )
        context = ts.Context({"cache_pool": {"total_bytes_limit": largest + _CACHE}})
        opened = named(found, folder, lambda name, keys: _open(ts, folder, metadata, keys, context))
    tensors = {name: _tensor(folder, name, array, streams.get(name)) for name, array in opened.items()}
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return Checkpoint(folder, NAME, tensors, {}, files, notes)


def _import() -> Any:
    import tensorstore

    return tensorstore


def _entries(folder: Path, metadata: Mapping[str, Any]) -> tuple[list[Leaf], list[str]]:
    """([(keys as the model has them, keys as stored)], names of values that are no arrays)."""
    found: list[Leaf] = []
    others: list[str] = []
    try:
        for entry in metadata["tree_metadata"].values():
            keys = tuple(str(part["key"]) for part in entry["key_metadata"])
            about = entry["value_metadata"]
            if about["skip_deserialize"] or about["value_type"] in _ABSENT:
                others.append(f"{'.'.join(keys)} ({about['value_type']})")
            else:
                found.append((keys, keys))
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / METADATA}: is not a tree as Orbax writes it ({error!r}); restore it or save the model again"
        ) from error
    if any(not keys for keys, _ in found):
        raise CheckpointError(f"{folder / METADATA}: holds an array without a name; save a tree of arrays")
    return without_value(found), others


def _check_pieces(ts: Any, folder: Path) -> None:
    """Every file that the database refers to is there, and long enough. Raises CheckpointError."""
    ends: dict[str, int] = {}
    try:
        base = ts.KvStore.open({"driver": "file", "path": _home(folder)}).result()
        for place, end in _references(ts, base):
            ends[place] = max(end, ends.get(place, 0))
    except CheckpointError:
        raise
    except Exception as error:  # TensorStore documents no list of what it raises
        raise CheckpointError(f"{folder}: its database cannot be read ({_short(error)}); copy it again") from error
    for place, end in ends.items():
        path = folder / place
        if os.path.isabs(place) or ".." in Path(place).parts:
            raise CheckpointError(f"{folder}: refers to {place!r}, outside of the folder; save the model again")
        if not path.is_file():
            raise CheckpointError(f"{path}: is missing, and arrays lie in it; copy the whole folder again")
        if path.stat().st_size < end:
            raise CheckpointError(f"{path}: has {path.stat().st_size:,} bytes, {end:,} are needed; copy it again")


def _references(ts: Any, base: Any) -> Iterator[tuple[str, int]]:
    """(file, where the referred part ends) of every node and value of the newest version."""
    versions = ts.ocdbt.dump(base).result()["versions"]
    if not versions:
        return
    waiting = list(_locations(versions[-1]["root"]))
    seen = 0
    while waiting:
        location = waiting.pop()
        kind, outer, inner, offset, length = location.split(":")
        yield unquote(outer) + unquote(inner), int(offset) + int(length)
        seen += 1
        if seen > MOST_NODES:
            raise DamagedError(f"it has more than {MOST_NODES:,} nodes")
        if kind == "btreenode":
            waiting += _locations(ts.ocdbt.dump(base, location).result())


def _locations(node: Any) -> Iterator[str]:
    """References in a dumped node: ``kind:folder:file:offset:length``."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("location", "indirect_value") and isinstance(value, str):
                yield value
            else:
                yield from _locations(value)
    elif isinstance(node, list):
        for value in node:
            yield from _locations(value)


def _home(folder: Path) -> str:
    return f"{folder.resolve()}/"


def _open(ts: Any, folder: Path, metadata: Mapping[str, Any], keys: tuple[str, ...], context: Any) -> Any:
    """The TensorStore of one array."""
    name = ".".join(keys)
    if metadata.get("use_ocdbt"):
        place = {"driver": "ocdbt", "base": {"driver": "file", "path": _home(folder)}, "path": f"{name}/"}
    else:
        if "/" in name or "\\" in name or name in (".", ".."):
            raise CheckpointError(f"{folder}: names the array {name!r}, a path; save the model again")
        place = {"driver": "file", "path": f"{_home(folder)}{name}/"}
    driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    spec = {"driver": driver, "kvstore": place, "fill_missing_data_reads": False}
    try:
        return ts.open(spec, open=True, read=True, context=context).result()
    except Exception as error:  # TensorStore documents no list of what it raises
        raise CheckpointError(
            f"{folder}: array {name!r} cannot be opened ({_short(error)}); copy the whole folder again"
        ) from error


def _piece(array: Any) -> int:
    """Bytes of one chunk."""
    shape = array.chunk_layout.read_chunk.shape or array.shape
    return int(np.prod([max(1, n) for n in shape], dtype=object)) * int(array.dtype.numpy_dtype.itemsize)


def _stream(folder: Path, array: Any) -> Source | None:
    """The bytes of an array that is one large piece in C order, which need not be decoded at once; None for others."""
    if _piece(array) <= LARGE:
        return None
    layout = array.spec().to_json()
    about = layout.get("metadata", {})
    packed, shape = about.get("compressor"), list(array.shape)
    plain = layout["driver"] == "zarr" and about.get("order") == "C" and not about.get("filters")
    whole = plain and about.get("chunks") == shape and not str(about.get("dtype", ">")).startswith(">")
    if not whole or (packed is not None and packed.get("id") != "zstd"):
        return None
    size, key = _piece(array), about.get("dimension_separator", ".").join("0" * len(shape))
    value = _Value(array.kvstore, key)
    if packed is None:
        return _Plain(size, value)
    zstandard = library("large arrays of Orbax", "zstandard", folder, _import_zstandard)
    return Forward(size, lambda: _Decoding(size, value, zstandard))


def _import_zstandard() -> Any:
    import zstandard

    return zstandard


@dataclass(frozen=True)
class _Value:
    """What a key of a TensorStore database holds."""

    store: Any
    key: str

    def part(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start` on: fewer where the value ends. Raises DamagedError."""
        try:
            return self._read(slice(start, start + size))
        except ValueError:  # out of range: the value ends in between, or before
            try:
                return self._read(slice(start, None))[:size]
            except ValueError:
                return b""

    def _read(self, where: slice) -> bytes:
        try:
            found = self.store.read(self.key, byte_range=where).result()
        except ValueError:
            raise
        except Exception as error:  # TensorStore documents no list of what it raises
            raise DamagedError(_short(error)) from error
        if found.state != "value":
            raise DamagedError(f"piece {self.key!r} is {found.state}")
        return bytes(found.value)


@dataclass(frozen=True)
class _Plain:
    """`size` bytes that lie in a value as they are."""

    size: int
    value: _Value

    def read_into(self, offset: int, buffer: memoryview) -> None:
        found = self.value.part(offset, len(buffer))
        if len(found) != len(buffer):
            raise DamagedError(f"its data ends before byte {offset + len(buffer):,} of {self.size:,}")
        buffer[:] = found


class _Decoding:
    """A value that Zstandard compressed, from its beginning on (`touchstone.migration.formats.streams.Stream`)."""

    def __init__(self, size: int, value: _Value, zstandard: Any) -> None:
        self.at, self._size, self._value, self._taken = 0, size, value, 0
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(self, read_size=PIECE)

    def read(self, count: int) -> bytes:
        """Further compressed bytes, for the decoder."""
        found = self._value.part(self._taken, count)
        self._taken += len(found)
        return found

    def read_into(self, buffer: memoryview) -> None:
        done = 0
        try:
            while done < len(buffer):
                count = self._reader.readinto(buffer[done:])
                if not count:
                    raise DamagedError(f"its compressed data ends after {self.at + done:,} of {self._size:,} bytes")
                done += count
            self.at += done
            if self.at == self._size and self._reader.read(1):
                raise DamagedError(f"its compressed data goes on after {self._size:,} bytes")
        except self._error as error:
            raise DamagedError(f"its compressed data is damaged ({error})") from error


def _tensor(folder: Path, name: str, array: Any, source: Source | None) -> Tensor:
    shape = tuple(int(n) for n in array.shape)
    dtype = numpy_dtype(array.dtype.name.removesuffix("_t"))
    if dtype is None:
        raise CheckpointError(f"{folder}: array {name!r} has dtype {array.dtype.name}, which holds no plain numbers")
    try:
        array_bytes(dtype, shape)
    except DamagedError as error:
        raise CheckpointError(f"{folder}: array {name!r}: {error}") from error
    if source:
        return stored(name, dtype, shape, source, folder)

    def read(start: int, stop: int) -> np.ndarray:
        try:
            found = (array[start:stop] if shape else array).read(order="C").result()
        except Exception as error:  # TensorStore documents no list of what it raises
            raise DamagedError(_short(error)) from error
        rows = found if shape else np.reshape(found, 1)[start:stop]
        return np.array(rows, dtype, order="C")

    length = shape[0] if shape else 1
    return Tensor(name, dtype.name, shape, folder, guarded(name, folder, length, read))


def _short(error: Exception) -> str:
    """A message without the specification that TensorStore appends to it."""
    return str(error).split(" [tensorstore_spec")[0][:300]
