"""One safetensors file: eight bytes of header length, a JSON header, then the arrays without gaps.

The safetensors library checks the header; see https://huggingface.co/docs/safetensors for the layout.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats.names import check_name
from touchstone.migration.formats.reading import DamagedError, FileBytes, file_bytes, numpy_dtype, stored

NAME = "safetensors"
SUFFIX = ".safetensors"
MOST_HEADER = 100_000_000
"""The library's own limit."""
DTYPES = {
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "BF16": "bfloat16",
    **{
        f"{letter}{bits}": f"{name}{bits}" for letter, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "C64": "complex64",
}


def recognises(head: bytes) -> bool:
    """Whether a file that begins so may be one: a length below 2**40, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and head[5:8] == b"\0\0\0"


def open_safetensors(path: Path) -> Checkpoint:
    """The file's tensors, in the order in which they are stored. Raises CheckpointError."""
    whole = file_bytes(path)
    header, begin = _header(path, whole)
    tensors: dict[str, Tensor] = {}
    entries = sorted(((k, v) for k, v in header.items() if k != "__metadata__"), key=lambda e: e[1]["data_offsets"])
    for name, entry in entries:
        check_name(name, path)
        dtype = numpy_dtype(DTYPES.get(entry["dtype"], ""))
        if dtype is None:
            raise CheckpointError(
                f"{path}: tensor {name!r} has dtype {entry['dtype']}, which NumPy and ml_dtypes do not have; "
                "convert it to another dtype"
            )
        first, last = entry["data_offsets"]
        tensors[name] = stored(name, dtype, entry["shape"], whole.part(begin + first, last - first), path)
    said = header.get("__metadata__") or {}
    return Checkpoint(path, NAME, tensors, {}, [path], framework=str(said.get("format", "")))


def _header(path: Path, whole: FileBytes) -> tuple[dict[str, Any], int]:
    """(the header, where the data begins), checked by the library."""
    try:
        (length,) = struct.unpack("<Q", whole.take(0, 8))
        if length > min(whole.size - 8, MOST_HEADER):
            raise CheckpointError(
                f"{path}: claims a header of {length:,} bytes, the file has {whole.size:,}; "
                "it is truncated or no safetensors file: download or convert it again"
            )
        with safe_open(path, framework="numpy") as file:
            file.keys()
        header = json.loads(whole.take(8, length), object_pairs_hook=_unique)
    except DamagedError as error:
        raise CheckpointError(f"{path}: {whole.size} bytes are too few for a safetensors file") from error
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a valid safetensors file ({error}); download or convert it again"
        ) from error
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"its header names {twice!r} twice")
    return out
