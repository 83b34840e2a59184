"""Where in a zip file are a member's bytes? Stored members are read in place, deflated ones in one forward pass."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass

from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.formats.names import MOST_NODES
from touchstone.migration.formats.reading import DamagedError, FileBytes, Source
from touchstone.migration.formats.streams import PIECE, Forward

MAGIC = b"PK\x03\x04"
EMPTY = b"PK\x05\x06"
_LOCAL = struct.Struct("<4s22xHH")
_MOST_RATIO = 1032
"""Deflate cannot shrink more (https://zlib.net/zlib_tech.html): a member that claims more is a bomb or damaged."""
_ENCRYPTED = 0x1
_DAMAGE = (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, struct.error, OverflowError)


@dataclass(frozen=True)
class Member:
    """One member: `where` are its bytes as they lie in the file, `content` what they stand for."""

    name: str
    where: FileBytes
    content: Source

    @property
    def plain(self) -> bool:
        return self.content is self.where


def members(whole: FileBytes) -> dict[str, Member]:
    """Name -> member. Raises CheckpointError for a directory that is damaged, encrypted, or claims the impossible."""
    path = whole.path
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: its zip directory cannot be read ({error}); the file is truncated or damaged: copy it again"
        ) from error
    if len(infos) > MOST_NODES:
        raise CheckpointError(f"{path}: has {len(infos):,} members, at most {MOST_NODES:,} are read")
    out: dict[str, Member] = {}
    for info in infos:
        if info.filename in out:
            raise CheckpointError(f"{path}: holds {info.filename!r} twice; write it again")
        try:
            out[info.filename] = _member(whole, info)
        except (DamagedError, OSError) as error:
            raise CheckpointError(f"{path}: member {info.filename!r}: {error}; copy or write it again") from error
    return out


def _member(whole: FileBytes, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & _ENCRYPTED:
        raise DamagedError("is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DamagedError("is compressed by another method than deflate")
    signature, name, extra = _LOCAL.unpack(whole.take(info.header_offset, _LOCAL.size))
    if signature != MAGIC:
        raise DamagedError("the directory points to no member")
    where = whole.part(info.header_offset + _LOCAL.size + name + extra, info.compress_size)
    if info.compress_type == zipfile.ZIP_STORED:
        if info.file_size != info.compress_size:
            raise DamagedError(f"claims {info.file_size:,} bytes, {info.compress_size:,} are stored")
        return Member(info.filename, where, where)
    if info.file_size > _MOST_RATIO * info.compress_size:
        raise DamagedError(f"claims {info.file_size:,} bytes out of {info.compress_size:,} compressed ones")
    return Member(info.filename, where, Forward(info.file_size, lambda: _Inflating(where, info.file_size, info.CRC)))


def content(member: Member, most: int) -> bytes:
    """A small member's bytes. Raises CheckpointError."""
    size = member.content.size
    try:
        if size > most:
            raise DamagedError(f"has {size:,} bytes, at most {most:,} are read")
        buffer = bytearray(size)
        member.content.read_into(0, memoryview(buffer))
    except (DamagedError, OSError) as error:
        raise CheckpointError(
            f"{member.where.path}: member {member.name!r}: {error}; copy or write it again"
        ) from error
    return bytes(buffer)


class _Inflating:
    """A deflated member from its beginning on (`touchstone.migration.formats.streams.Stream`)."""

    def __init__(self, where: FileBytes, size: int, crc: int) -> None:
        self.at, self._where, self._size, self._expected = 0, where, size, crc
        self._taken, self._crc, self._inflate = 0, 0, zlib.decompressobj(-zlib.MAX_WBITS)

    def read_into(self, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            piece = self._next(min(len(buffer) - done, PIECE))
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def _next(self, most: int) -> bytes:
        """One to `most` further bytes; after the member's last one its checksum is compared."""
        piece = b""
        while not piece:
            fresh = self._inflate.unconsumed_tail
            if not fresh:
                count = min(PIECE, self._where.size - self._taken)
                fresh = self._where.take(self._taken, count)
                self._taken += count
            try:
                piece = self._inflate.decompress(fresh, most)
            except zlib.error as error:
                raise DamagedError(f"its compressed data is damaged ({error})") from error
            if not piece and (self._inflate.eof or not fresh):
                raise DamagedError(f"its compressed data ends after {self.at:,} of {self._size:,} bytes")
        self.at, self._crc = self.at + len(piece), zlib.crc32(piece, self._crc)
        if self.at == self._size and self._crc != self._expected:
            raise DamagedError("its data does not match its checksum")
        return piece
