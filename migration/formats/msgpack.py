"""Flax's msgpack files: `flax.serialization.to_bytes` and `msgpack_serialize`.

The msgpack library gives values, not the places where they lie, and holds an array's bytes in memory; so the few kinds
of object are walked here (https://github.com/msgpack/msgpack/blob/master/spec.md), and arrays are passed over. An
array is extension 1 around a msgpack list of shape, dtype name and bytes; one above 1 GiB is a mapping of flat chunks
(https://flax.readthedocs.io/en/latest/api_reference/flax.serialization.html).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats.names import MOST_LEVELS, MOST_NODES, leaves, named, passed_over, without_value
from touchstone.migration.formats.reading import (
    Cursor,
    DamagedError,
    FileBytes,
    Joined,
    Source,
    file_bytes,
    numpy_dtype,
    stored,
)

NAME = "msgpack"
SUFFIX = ".msgpack"
ARRAY, COMPLEX, SCALAR = 1, 2, 3
"""Flax's extension codes."""
CHUNKED = "__msgpack_chunked_array__"
_MOST_KEY = 2**16

_FIXED: dict[int, tuple[str, str]] = {
    0xCA: (">f", "float"),
    0xCB: (">d", "float"),
    **{0xCC + i: (f">{code}", "int") for i, code in enumerate("BHIQbhiq")},
}
"""First byte -> (layout of the rest, what it is)."""
_SIZED: dict[int, tuple[str, str]] = {
    **{0xC4 + i: (f">{code}", "bin") for i, code in enumerate("BHI")},
    **{0xC7 + i: (f">{code}", "ext") for i, code in enumerate("BHI")},
    **{0xD9 + i: (f">{code}", "str") for i, code in enumerate("BHI")},
    **{0xDC + i: (f">{code}", "list") for i, code in enumerate("HI")},
    **{0xDE + i: (f">{code}", "map") for i, code in enumerate("HI")},
}
"""First byte -> (layout of the size that follows, what it is)."""


@dataclass(frozen=True)
class _Array:
    dtype: str
    shape: tuple[int, ...]
    data: Source


@dataclass(frozen=True)
class _Other:
    """A value that is no array: its kind, and the number itself for the shape of an array."""

    kind: str
    value: int | str | bool | None = None


def recognises(head: bytes) -> bool:
    """Whether a file that begins so may be one: a mapping whose first key is a string."""
    sizes = {0xDE: 3, 0xDF: 5}
    if not head or not (0x81 <= head[0] <= 0x8F or head[0] in sizes):
        return False
    key = head[sizes.get(head[0], 1) :][:1]
    return bool(key) and (0xA0 <= key[0] <= 0xBF or 0xD9 <= key[0] <= 0xDB)


def open_msgpack(path: Path) -> Checkpoint:
    """The file's arrays by their dotted names. Raises CheckpointError."""
    whole = file_bytes(path)
    cursor = Cursor(whole)
    try:
        tree = _Walk().value(cursor, ())
        if cursor.left:
            raise DamagedError(f"{cursor.left:,} bytes follow its end")
    except (DamagedError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole msgpack file of Flax ({error}); copy or write it again") from error
    if not isinstance(tree, Mapping):
        raise CheckpointError(f"{path}: holds no mapping of names to arrays; write a tree of parameters")
    found = list(leaves(tree))
    arrays = without_value((keys, leaf) for keys, leaf in found if isinstance(leaf, _Array))
    others = [f"{'.'.join(keys)} ({leaf.kind})" for keys, leaf in found if isinstance(leaf, _Other)]

    def tensor(name: str, leaf: _Array) -> Tensor:
        dtype = numpy_dtype(leaf.dtype)
        if dtype is None:
            raise CheckpointError(
                f"{path}: array {name!r} has dtype {leaf.dtype!r}, which NumPy and ml_dtypes do not have as numbers"
            )
        if math.prod(leaf.shape) * dtype.itemsize != leaf.data.size:
            raise CheckpointError(
                f"{path}: array {name!r}: {dtype.name} {list(leaf.shape)} needs "
                f"{math.prod(leaf.shape) * dtype.itemsize:,} bytes, {leaf.data.size:,} are stored; write it again"
            )
        return stored(name, dtype, leaf.shape, leaf.data, path)

    tensors = named(arrays, path, tensor)
    return Checkpoint(path, NAME, tensors, {}, [path], passed_over(others, "not an array"))


class _Walk:
    """Walks one file; counts what it has seen, so that a file of a billion empty values ends."""

    def __init__(self) -> None:
        self.seen = 0

    def value(self, cursor: Cursor, path: tuple[str, ...]) -> Any:
        """The next object: mappings and lists of them, `_Array`, or `_Other`."""
        self.seen += 1
        if self.seen > MOST_NODES:
            raise DamagedError(f"it has more than {MOST_NODES:,} values")
        if len(path) > MOST_LEVELS:
            raise DamagedError(f"{'.'.join(path[:4])}… is nested deeper than {MOST_LEVELS} levels")
        kind, size = _begin(cursor)
        if kind == "map":
            return _whole_array(dict(self._items(cursor, path, size)), path)
        if kind == "list":
            return {str(i): self.value(cursor, (*path, str(i))) for i in range(size)}
        if kind == "ext":
            return self._extension(cursor, path, size)
        if kind == "str" and size <= _MOST_KEY:
            return _Other(kind, _text(cursor.take(size), path))
        if kind in ("str", "bin"):
            cursor.skip(size)
        return _Other(kind, size)

    def _items(self, cursor: Cursor, path: tuple[str, ...], size: int) -> Iterator[tuple[str, Any]]:
        keys = set()
        for _ in range(size):
            kind, length = _begin(cursor)
            if kind != "str" or length > _MOST_KEY:
                raise DamagedError(f"{_place(path)} has a key that is {kind}, not a name")
            key = _text(cursor.take(length), path)
            if key in keys:
                raise DamagedError(f"{_place(path)} has the key {key!r} twice")
            keys.add(key)
            yield key, self.value(cursor, (*path, key))

    def _extension(self, cursor: Cursor, path: tuple[str, ...], size: int) -> _Array | _Other:
        code = cursor.take(1)[0]
        begin = cursor.at
        cursor.skip(size)
        if code == COMPLEX:
            return _Other("complex")
        if code not in (ARRAY, SCALAR):
            raise DamagedError(f"{_place(path)} is an object of kind {code}, which Flax does not write")
        return _array(cursor.source.part(begin, size), path)


def _begin(cursor: Cursor) -> tuple[str, int]:
    """(kind, size or value) of the next object; after it the cursor is at its content."""
    first = cursor.take(1)[0]
    for start, stop, kind, mask in (
        (0, 0x7F, "int", 0x7F),
        (0x80, 0x8F, "map", 15),
        (0x90, 0x9F, "list", 15),
        (0xA0, 0xBF, "str", 31),
    ):
        if start <= first <= stop:
            return kind, first & mask
    if first in _FIXED:
        layout, kind = _FIXED[first]
        (number,) = struct.unpack(layout, cursor.take(struct.calcsize(layout)))
        return kind, number if kind == "int" else 0
    if first in _SIZED:
        layout, kind = _SIZED[first]
        (size,) = struct.unpack(layout, cursor.take(struct.calcsize(layout)))
        return kind, size
    if 0xD4 <= first <= 0xD8:
        return "ext", 1 << (first - 0xD4)
    simple = {0xC0: "none", 0xC2: "false", 0xC3: "true"}
    if first in simple:
        return simple[first], 0
    return ("int", first - 256) if first >= 0xE0 else _never()


def _never() -> tuple[str, int]:
    raise DamagedError("byte 0xc1 begins no object")


def _array(inside: FileBytes, path: tuple[str, ...]) -> _Array:
    """The list [shape, dtype name, bytes] in an extension's content."""
    cursor = Cursor(inside)
    if _begin(cursor) != ("list", 3):
        raise DamagedError(f"{_place(path)} is no array")
    kind, axes = _begin(cursor)
    if kind != "list" or axes > MOST_LEVELS:
        raise DamagedError(f"{_place(path)} has no shape")
    shape = []
    for _ in range(axes):
        kind, length = _begin(cursor)
        if kind != "int" or length < 0:
            raise DamagedError(f"{_place(path)} has no shape")
        shape.append(length)
    kind, length = _begin(cursor)
    if kind not in ("str", "bin") or length > 64:
        raise DamagedError(f"{_place(path)} has no dtype")
    dtype = _text(cursor.take(length), path)
    kind, length = _begin(cursor)
    if kind not in ("str", "bin") or length != cursor.left:
        raise DamagedError(f"{_place(path)} holds {cursor.left:,} bytes, says {length:,}")
    return _Array(dtype, tuple(shape), inside.part(cursor.at, length))


def _whole_array(found: dict[str, Any], path: tuple[str, ...]) -> Any:
    """A chunked array as one array; any other mapping as it is."""
    if CHUNKED not in found:
        return found
    shape, chunks = found.get("shape"), found.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict):
        raise DamagedError(f"{_place(path)} is a chunked array without shape or chunks")
    sizes = [shape.get(str(i)) for i in range(len(shape))]
    pieces = [chunks.get(str(i)) for i in range(len(chunks))]
    if not all(isinstance(n, _Other) and n.kind == "int" and isinstance(n.value, int) and n.value >= 0 for n in sizes):
        raise DamagedError(f"{_place(path)} is a chunked array with no shape")
    arrays = [piece for piece in pieces if isinstance(piece, _Array)]
    if not arrays or len(arrays) < len(pieces) or len({array.dtype for array in arrays}) > 1:
        raise DamagedError(f"{_place(path)} is a chunked array with a missing chunk")
    whole = tuple(int(n.value) for n in sizes if n is not None)
    return _Array(arrays[0].dtype, whole, Joined([array.data for array in arrays]))


def _text(raw: bytes, path: tuple[str, ...]) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DamagedError(f"{_place(path)} has a name that is not UTF-8") from error


def _place(path: tuple[str, ...]) -> str:
    return repr(".".join(path)) if path else "the file"
