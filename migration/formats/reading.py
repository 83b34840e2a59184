"""Which bytes of which file are rows [a, b) of an array? Reading them without mapping a file into memory.

A mapped file counts as resident memory page by page as it is read, so nothing here maps data: every read opens the
file, seeks and fills a buffer of its own, which is also what makes it safe to call from several threads.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from touchstone.migration.checkpoint import CheckpointError, Rows, Tensor

MOST_AXES = 32
_MOST_BYTES = 2**62
_COPY_WHOLE = 4
"""A strided block is read in one piece when that reads at most so many times its own size."""


class DamagedError(Exception):
    """Bytes that were asked for are not there or not what the file said; the message gives the reason alone."""


class Source(Protocol):
    """A run of `size` bytes that any thread may read from any place."""

    @property
    def size(self) -> int: ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset` on. Raises DamagedError or OSError."""


@dataclass(frozen=True)
class FileBytes:
    """`size` bytes of a file from `start` on; `stamp` tells whether the file is still the one that was opened."""

    path: Path
    start: int
    size: int
    stamp: tuple[int, ...]

    def part(self, offset: int, size: int) -> FileBytes:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise DamagedError(f"bytes {offset:,} to {offset + size:,} are asked for, {self.size:,} are there")
        return FileBytes(self.path, self.start + offset, size, self.stamp)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset < 0 or offset + len(buffer) > self.size:
            raise DamagedError(f"bytes {offset:,} to {offset + len(buffer):,} are asked for, {self.size:,} are there")
        with open(self.path, "rb", buffering=0) as file:
            if _stamp(os.fstat(file.fileno())) != self.stamp:
                raise DamagedError("the file changed after it was opened; start again")
            file.seek(self.start + offset)
            done = 0
            while done < len(buffer):
                count = file.readinto(buffer[done:])
                if not count:
                    raise DamagedError(f"the file ends {len(buffer) - done:,} bytes early; start again")
                done += count

    def take(self, offset: int, size: int) -> bytes:
        """The bytes themselves, for headers."""
        if offset < 0 or offset + size > self.size:  # before the buffer is made: `size` may be a lie
            raise DamagedError(f"bytes {offset:,} to {offset + size:,} are asked for, {self.size:,} are there")
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)


@dataclass(frozen=True)
class Joined:
    """Several runs of bytes, one after the other."""

    parts: Sequence[Source]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        for part in self.parts:
            count = max(0, min(len(buffer), part.size - offset))
            if count:
                part.read_into(offset, buffer[:count])
                buffer, offset = buffer[count:], offset + count
            offset -= part.size
        if len(buffer):
            raise DamagedError(f"{len(buffer):,} bytes are missing at the end")


def _stamp(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def file_bytes(path: Path) -> FileBytes:
    """The whole of a regular file. Raises CheckpointError where it is missing, empty or something else."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            stat = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({_reason(error)})") from error
    if not path.is_file():
        raise CheckpointError(f"{path}: is not a regular file")
    if stat.st_size == 0:
        raise CheckpointError(f"{path}: is empty (0 bytes); copy or download it again")
    return FileBytes(path, 0, stat.st_size, _stamp(stat))


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """The dtype of that name in NumPy or ml_dtypes; None where neither has it, or it holds no plain numbers."""
    if isinstance(extension := getattr(ml_dtypes, name, None), type):
        return np.dtype(extension)
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        return None
    return dtype if dtype.kind in "biufc" and dtype.name == name and dtype.itemsize <= 16 else None


def array_bytes(dtype: np.dtype[Any], shape: Sequence[int]) -> int:
    """The size of an array. Raises DamagedError for a shape that no array can have."""
    if len(shape) > MOST_AXES:
        raise DamagedError(f"its shape has {len(shape):,} axes, at most {MOST_AXES} are read")
    if any(n < 0 for n in shape):
        raise DamagedError(f"its shape {list(shape)} is negative")
    if math.prod(max(1, n) for n in shape) * dtype.itemsize > _MOST_BYTES:
        raise DamagedError(f"its shape {list(shape)} is larger than any memory")
    return math.prod(shape) * dtype.itemsize


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of an array in C order."""
    return tuple(itertools.accumulate(reversed([*shape[1:], 1]), lambda a, b: a * max(1, b)))[::-1][: len(shape)]


def fortran(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of an array whose first axis varies fastest."""
    return contiguous(shape[::-1])[::-1]


def stored(
    name: str,
    dtype: np.dtype[Any],
    shape: Sequence[int],
    source: Source,
    file: Path,
    strides: Sequence[int] | None = None,
    offset: int = 0,
) -> Tensor:
    """A tensor whose elements lie in `source` from element `offset` on, `strides` elements apart (default C order).

    Raises CheckpointError where its last element would lie outside of the source.
    """
    shape = tuple(int(n) for n in shape)
    try:
        needed = array_bytes(dtype, shape)
    except DamagedError as error:
        raise CheckpointError(f"{file}: tensor {name!r}: {error}") from error
    steps = contiguous(shape) if strides is None else tuple(int(n) for n in strides)
    if len(steps) != len(shape) or offset < 0 or any(step < 0 for step in steps):
        raise CheckpointError(f"{file}: tensor {name!r}: strides {list(steps)} from {offset} do not fit {list(shape)}")
    last = (offset + _span(shape, steps)) * dtype.itemsize if needed else 0
    if last > source.size:
        raise CheckpointError(
            f"{file}: tensor {name!r}: {dtype.name} {list(shape)} needs {last:,} bytes, {source.size:,} are stored; "
            "the file is truncated or damaged: copy or convert it again"
        )
    length = shape[0] if shape else 1
    inner, between = shape[1:], steps[1:]
    per_row = steps[0] if steps else 0

    def read(start: int, stop: int) -> np.ndarray:
        out = np.empty((stop - start, *inner), dtype)
        if out.size:
            _fill(out, source, (per_row, *between), offset + start * per_row)
        return out

    return Tensor(name, dtype.name, shape, file, guarded(name, file, length, read))


def guarded(name: str, file: Path, length: int, read: Rows, also: tuple[type[Exception], ...] = ()) -> Rows:
    """`read` with its arguments checked; what goes wrong becomes one CheckpointError that names the tensor."""
    errors: tuple[type[Exception], ...] = (DamagedError, OSError, MemoryError, *also)

    def rows(start: int, stop: int) -> np.ndarray:
        if not 0 <= start <= stop <= length:
            raise IndexError(f"{file}: tensor {name!r}: rows {start} to {stop} of {length}")
        try:
            return read(start, stop)
        except errors as error:
            raise CheckpointError(f"{file}: tensor {name!r}: cannot be read ({_reason(error)})") from error

    return rows


def _span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from the first to the last one, both included; of an array that has elements."""
    return 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))


def _fill(out: np.ndarray, source: Source, strides: tuple[int, ...], offset: int) -> None:
    """Read `out` from elements `offset` + index · `strides`: in one piece where it is dense enough, else per plane."""
    if strides == contiguous(out.shape) and out.flags.c_contiguous:
        source.read_into(offset * out.itemsize, out.reshape(-1).view(np.uint8).data)
        return
    span = _span(out.shape, strides)
    if span <= _COPY_WHOLE * out.size or span * out.itemsize <= 4096:
        whole = np.empty(span, out.dtype)
        source.read_into(offset * out.itemsize, whole.view(np.uint8).data)
        out[...] = np.ndarray(out.shape, out.dtype, whole, strides=tuple(s * out.itemsize for s in strides))
        return
    axis = max((i for i, n in enumerate(out.shape) if n > 1), key=lambda i: strides[i])
    rest = (*strides[:axis], *strides[axis + 1 :])
    for i in range(out.shape[axis]):
        plane = np.empty((*out.shape[:axis], *out.shape[axis + 1 :]), out.dtype)
        _fill(plane, source, rest, offset + i * strides[axis])
        out[(slice(None),) * axis + (i,)] = plane


class Cursor:
    """Reads a header front to back, in pieces of 64 kB, and skips what is not needed without reading it."""

    def __init__(self, source: FileBytes, at: int = 0) -> None:
        self.source, self.at = source, at
        self._start, self._window = 0, b""

    @property
    def left(self) -> int:
        return self.source.size - self.at

    def take(self, size: int) -> bytes:
        """The next `size` bytes. Raises DamagedError where so many are not left."""
        if size > self.left:
            raise DamagedError(f"byte {self.at:,} announces {size:,} bytes more, {self.left:,} are left")
        begin = self.at - self._start
        if begin < 0 or begin + size > len(self._window):
            self._start, begin = self.at, 0
            self._window = self.source.take(self.at, min(max(size, 1 << 16), self.left))
        self.at += size
        return self._window[begin : begin + size]

    def skip(self, size: int) -> None:
        if size > self.left:
            raise DamagedError(f"byte {self.at:,} announces {size:,} bytes more, {self.left:,} are left")
        self.at += size


def library(name: str, package: str, file: Path, load: Callable[[], Any]) -> Any:
    """`load()`, an import. Raises CheckpointError with the command that installs the package."""
    try:
        return load()
    except ImportError as error:
        raise CheckpointError(f"{file}: reading {name} needs the package {package}: pip install {package}") from error
