"""``.npz``, as `numpy.savez`, `numpy.savez_compressed` and `mlx.core.savez` write it: a zip of ``.npy`` members.

Layout of a member: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Nothing is unpickled.
"""

from __future__ import annotations

import io
import sys
import tokenize
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats.names import check_name
from touchstone.migration.formats.reading import DamagedError, array_bytes, file_bytes, fortran, numpy_dtype, stored
from touchstone.migration.formats.zips import Member, members

NAME = "npz"
SUFFIX = ".npz"
MEMBER = ".npy"
_MOST_HEADER = 2**16
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGE = (
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    EOFError,
    RecursionError,
    OverflowError,
    MemoryError,
)
BFLOAT16 = "2-byte void arrays, which is how NumPy and MLX store bfloat16, are read as bfloat16"


def recognises(names: list[str]) -> bool:
    """Whether a zip file with these members is one."""
    return bool(names) and any(name.endswith(MEMBER) for name in names)


def open_npz(path: Path) -> Checkpoint:
    """The file's arrays. Raises CheckpointError; an array of objects, which would need unpickling, is refused."""
    tensors: dict[str, Tensor] = {}
    notes: list[str] = []
    for member in members(file_bytes(path)).values():
        if not member.name.endswith(MEMBER):
            raise CheckpointError(f"{path}: member {member.name!r} is no {MEMBER} array; write it with numpy.savez")
        name = member.name.removesuffix(MEMBER)
        check_name(name, path)
        tensors[name], was_void = _tensor(path, name, member)
        if was_void and not notes:
            notes.append(BFLOAT16)
    return Checkpoint(path, NAME, tensors, {}, [path], notes)


def _tensor(path: Path, name: str, member: Member) -> tuple[Tensor, bool]:
    """(the array, whether its dtype is the two-byte void that stands for bfloat16)."""
    shape, order, stored_as, begin = _header(path, name, member)
    if stored_as.hasobject:
        raise CheckpointError(
            f"{path}: array {name!r} holds Python objects, which only unpickling could read, and a pickle can run "
            "anything; save it as an array of numbers"
        )
    if stored_as.byteorder == (">" if sys.byteorder == "little" else "<"):
        raise CheckpointError(
            f"{path}: array {name!r} is {stored_as.str}, of the other byte order; save it in native order"
        )
    void = stored_as.str == "|V2" and stored_as.names is None
    dtype = numpy_dtype("bfloat16" if void else stored_as.name)
    if dtype is None:
        raise CheckpointError(
            f"{path}: array {name!r} has dtype {stored_as.str}, which holds no plain numbers; cast it"
        )
    try:
        needed = array_bytes(dtype, shape)
    except DamagedError as error:
        raise CheckpointError(f"{path}: array {name!r}: {error}") from error
    if needed != member.content.size - begin:
        raise CheckpointError(
            f"{path}: array {name!r}: {dtype.name} {list(shape)} needs {needed:,} bytes, "
            f"{member.content.size - begin:,} are stored; the file is damaged: copy or write it again"
        )
    strides = fortran(shape) if order and len(shape) > 1 else None
    after = _After(member.content, begin)
    return stored(name, dtype, shape, after, path, strides), void


class _After:
    """A member's bytes after its header."""

    def __init__(self, content: Any, begin: int) -> None:
        self._content, self._begin, self.size = content, begin, content.size - begin

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._content.read_into(self._begin + offset, buffer)


def _header(path: Path, name: str, member: Member) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """(shape, whether in Fortran order, dtype, where the data begins)."""
    size = min(_MOST_HEADER, member.content.size)
    buffer = bytearray(size)
    try:
        member.content.read_into(0, memoryview(buffer))
        file = io.BytesIO(bytes(buffer))
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise DamagedError(f"its header has version {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers as Python 2 wrote them
            shape, order, dtype = _READERS[version](file)
        return shape, order, dtype, file.tell()
    except (DamagedError, OSError) as error:
        raise CheckpointError(f"{path}: array {name!r}: {error}; copy or write it again") from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: array {name!r}: its header is damaged ({error}); copy or write it again"
        ) from error
