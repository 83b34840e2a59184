"""GGUF files: metadata, tensor records, then data (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).

The header is walked here: `gguf.GGUFReader` takes 12 s and 600 MB for the tokens of an ordinary vocabulary and does not
end for a list that claims more entries than the file has bytes. Types, block sizes and dequantization are gguf's own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Rows, Tensor
from touchstone.migration.formats.names import check_name
from touchstone.migration.formats.reading import (
    Cursor,
    DamagedError,
    FileBytes,
    array_bytes,
    file_bytes,
    guarded,
    library,
    numpy_dtype,
    stored,
)

NAME = "gguf"
SUFFIX = ".gguf"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
PLAIN = {
    "F32": "float32",
    "F16": "float16",
    "F64": "float64",
    "BF16": "bfloat16",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
}
STEPS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""Types whose blocks begin with a float16 d, neighbouring codes being d apart (ggml-common.h)."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Value type -> layout."""
_STRING, _ARRAY = 8, 9
_LEAST_VALUE, _LEAST_TENSOR = 13, 24
"""Bytes that a metadata value and a tensor record take at least."""
_MOST_ENTRIES = 16 * 2**20
_MOST_TEXT = 2**20
_MOST_AXES = 8


@dataclass(frozen=True)
class _Record:
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def open_gguf(path: Path) -> Checkpoint:
    """The file's tensors, shapes as NumPy shows them: [out, in]. Raises CheckpointError."""
    whole = file_bytes(path)
    gguf = library("GGUF files", "gguf", path, _import)
    try:
        config, records, begin = _Header(whole).read()
    except (DamagedError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole GGUF file ({error}); download or convert it again") from error
    if isinstance(parts := config.get("split.count"), int) and parts > 1:
        raise CheckpointError(f"{path}: is one of {parts} parts; join them with llama-gguf-split --merge")
    tensors: dict[str, Tensor] = {}
    used: list[tuple[int, int, str]] = []
    for record in records:
        check_name(record.name, path)
        if record.name in tensors:
            raise CheckpointError(f"{path}: holds {record.name!r} twice; convert it again")
        tensors[record.name], size = _tensor(gguf, path, whole, record, begin)
        used.append((record.offset, record.offset + size, record.name))
    _refuse_overlap(path, used)
    return Checkpoint(path, NAME, tensors, config, [path])


def _import() -> Any:
    import gguf
    import gguf.quants

    return gguf


class _Header:
    """Reads what comes before the data."""

    def __init__(self, whole: FileBytes) -> None:
        self.cursor = Cursor(whole)
        self.entries = 0

    def read(self) -> tuple[dict[str, Any], list[_Record], int]:
        """(metadata without lists, tensor records, where the data begins)."""
        if self.cursor.take(4) != MAGIC:
            raise DamagedError("it does not begin with GGUF")
        version = self._number("I")
        if version not in VERSIONS:
            swapped = struct.unpack("<I", struct.pack(">I", version))[0] in VERSIONS
            what = "it is big-endian" if swapped else f"its version is {version:,}"
            raise DamagedError(f"{what}; versions 2 and 3, little-endian, are read")
        tensors, values = self._number("Q"), self._number("Q")
        if tensors * _LEAST_TENSOR + values * _LEAST_VALUE > self.cursor.left:
            raise DamagedError(f"it claims {tensors:,} tensors and {values:,} values, more than it has room for")
        config: dict[str, Any] = {}
        for _ in range(values):
            self._count(1)
            key = self._text()
            if key in config:
                raise DamagedError(f"it holds the value {key!r} twice")
            config[key] = self._value(self._number("I"), key)
        records = [self._record() for _ in range(tensors)]
        alignment = config.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise DamagedError(f"general.alignment is {alignment}, not a power of two")
        begin = -(-self.cursor.at // alignment) * alignment
        for record in records:
            if record.offset % alignment:
                raise DamagedError(
                    f"tensor {record.name!r} begins at {record.offset:,}, between multiples of {alignment}"
                )
        return {key: value for key, value in config.items() if value is not None}, records, begin

    def _number(self, layout: str) -> Any:
        size = struct.calcsize(f"<{layout}")
        return struct.unpack(f"<{layout}", self.cursor.take(size))[0]

    def _count(self, more: int) -> None:
        self.entries += more
        if self.entries > _MOST_ENTRIES:
            raise DamagedError(f"its metadata has more than {_MOST_ENTRIES:,} entries")

    def _text(self) -> str:
        size = self._number("Q")
        if size > _MOST_TEXT:
            raise DamagedError(f"byte {self.cursor.at:,} announces a name of {size:,} bytes")
        try:
            return self.cursor.take(size).decode()
        except UnicodeDecodeError as error:
            raise DamagedError(f"the name at byte {self.cursor.at - size:,} is not UTF-8") from error

    def _value(self, kind: int, key: str, level: int = 0) -> Any:
        """A scalar or text; None for a list, which is passed over."""
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._passage()
        if kind != _ARRAY or level > 4:
            raise DamagedError(f"value {key!r} has type {kind:,}, which GGUF does not know")
        inner, length = self._number("I"), self._number("Q")
        if inner in _SCALARS:
            self.cursor.skip(length * struct.calcsize(f"<{_SCALARS[inner]}"))
            return None
        if length * 8 > self.cursor.left:
            raise DamagedError(f"list {key!r} claims {length:,} entries, more than the file has room for")
        self._count(length)
        for _ in range(length):
            self._value(inner, key, level + 1)
        return None

    def _passage(self) -> str | None:
        """A text; None for one too long to be of use."""
        size = self._number("Q")
        if size > _MOST_TEXT:
            self.cursor.skip(size)
            return None
        return self.cursor.take(size).decode(errors="replace")

    def _record(self) -> _Record:
        self._count(1)
        name, axes = self._text(), self._number("I")
        if axes > _MOST_AXES:
            raise DamagedError(f"tensor {name!r} has {axes:,} axes")
        shape = tuple(self._number("Q") for _ in range(axes))[::-1]
        return _Record(name, shape, self._number("I"), self._number("Q"))


def _tensor(gguf: Any, path: Path, whole: FileBytes, record: _Record, begin: int) -> tuple[Tensor, int]:
    """(the tensor, how many bytes it takes)."""
    name, shape = record.name, record.shape
    try:
        kind = gguf.GGMLQuantizationType(record.kind)
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path}: tensor {name!r} has type {record.kind}, which gguf {_version()} does not know; update gguf"
        ) from error
    columns = shape[-1] if shape else 1
    if columns % block:
        raise CheckpointError(
            f"{path}: tensor {name!r}: {columns} columns are no whole blocks of {block}; convert it again"
        )
    packed = (*shape[:-1], columns // block * block_bytes)
    try:
        array_bytes(np.dtype(np.float64), shape)
        size = array_bytes(np.dtype(np.uint8), packed)
        source = whole.part(begin + record.offset, size)
    except DamagedError as error:
        raise CheckpointError(
            f"{path}: tensor {name!r}: {kind.name} {list(shape)} does not fit the file ({error}); download it again"
        ) from error
    plain = PLAIN.get(kind.name)
    if plain and (dtype := numpy_dtype(plain)):
        return stored(name, dtype, shape, source, path), size
    _refuse_unknown(gguf, path, name, kind, block_bytes)
    length = shape[0]
    per_block = (size // block_bytes, block_bytes) if len(shape) == 1 else packed
    blocks = stored(name, np.dtype(np.uint8), per_block, source, path).rows

    def rows(start: int, stop: int) -> np.ndarray:
        """Of a vector, the blocks that hold its elements are read."""
        first, last = (start // block, -(-stop // block)) if len(shape) == 1 else (start, stop)
        raw = blocks(first, last)
        with np.errstate(all="ignore"):
            found = gguf.quants.dequantize(raw, kind) if raw.size else np.empty(0)
        if len(shape) == 1:
            found = found.reshape(-1)[start - first * block : stop - first * block].copy()
        return np.ascontiguousarray(found, np.float32).reshape(stop - start, *shape[1:])

    def step(start: int, stop: int) -> np.ndarray:
        raw = blocks(start, stop).reshape(stop - start, *shape[1:-1], columns // block, block_bytes)
        return np.abs(np.ascontiguousarray(raw[..., :2]).view(np.float16)[..., 0].astype(np.float32))

    also = (gguf.quants.QuantError, ValueError, ArithmeticError)
    known: Rows | None = guarded(name, path, length, step) if kind.name in STEPS and len(shape) > 1 else None
    whole_blocks = blocks if kind.name == "MXFP4" and len(shape) > 1 else None
    values = guarded(name, path, length, rows, also)
    return Tensor(name, "float32", shape, path, values, kind.name, known, whole_blocks), size


def _refuse_unknown(gguf: Any, path: Path, name: str, kind: Any, block_bytes: int) -> None:
    """Ask for one block of zeros: the package has types that it can only write, or only name."""
    try:
        with np.errstate(all="ignore"):
            gguf.quants.dequantize(np.zeros((1, block_bytes), np.uint8), kind)
    except NotImplementedError as error:
        raise CheckpointError(
            f"{path}: tensor {name!r} is {kind.name}, which gguf {_version()} cannot dequantize; "
            "convert it to another type"
        ) from error


def _refuse_overlap(path: Path, used: Iterable[tuple[int, int, str]]) -> None:
    end, before = 0, ""
    for first, last, name in sorted(used):
        if first < end and last > first:
            raise CheckpointError(f"{path}: tensors {before!r} and {name!r} share bytes; convert it again")
        end, before = max(end, last), name


def _version() -> str:
    from importlib.metadata import version

    return version("gguf")
