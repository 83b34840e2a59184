"""Files of arrays that lie, are cut short or hold what would be executed: bytes, made of sound files by one change."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MARK = "touchstone-executed"
"""What the error of a pickle says that was executed."""
SOUND = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
HUGE = 2**40


class _Executes:
    """Unpickled, it raises an error that says so."""

    def __reduce__(self) -> Any:
        return exec, (f"raise RuntimeError('{MARK}')",)


def npy(x: np.ndarray = SOUND, **options: Any) -> bytes:
    """What NumPy saves."""
    out = io.BytesIO()
    np.lib.format.write_array(out, x, **options)
    return out.getvalue()


def npy_of(header: str, data: bytes = SOUND.tobytes(), version: bytes = b"\x01\x00", length: int = -1) -> bytes:
    """A file of format npy with this header; length: what is said of the header's."""
    text = header.encode("latin-1") + b" " * (-(len(header) + 11) % 64) + b"\n"
    said = struct.pack("<H", len(text) if length < 0 else length)
    return b"\x93NUMPY" + version + said + text + data


def _header(descr: str = "'<f4'", shape: str = "(3, 4)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


NPY: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "cut in its magic": lambda: npy()[:4],
    "cut before its header": lambda: npy()[:9],
    "cut in its header": lambda: npy()[:40],
    "cut before its data": lambda: npy()[: -SOUND.nbytes],
    "cut in its data": lambda: npy()[:-6],
    "of another magic": lambda: b"\x93NUMPI" + npy()[6:],
    "of an unknown version": lambda: npy_of(_header(), version=b"\x09\x00"),
    "a header longer than the file": lambda: npy_of(_header(), length=60000),
    "a header of no length": lambda: npy_of(_header(), length=0),
    "a header that is no dictionary": lambda: npy_of("[1, 2, 3]"),
    "a header of code": lambda: npy_of(f"exec(\"raise RuntimeError('{MARK}')\")"),
    "a header without a shape": lambda: npy_of("{'descr': '<f4', 'fortran_order': False, }"),
    "a header without a dtype": lambda: npy_of("{'fortran_order': False, 'shape': (3, 4), }"),
    "a longer shape": lambda: npy_of(_header(shape="(300, 4)")),
    "a huge shape": lambda: npy_of(_header(shape=f"({HUGE}, 4)")),
    "a shape beyond int64": lambda: npy_of(_header(shape=f"({2**66}, 4)")),
    "a shape whose product wraps": lambda: npy_of(_header(shape=f"({2**32}, {2**32})")),
    "a negative shape": lambda: npy_of(_header(shape="(-3, 4)")),
    "a shape of text": lambda: npy_of(_header(shape="('a', 4)")),
    "a shape without an end": lambda: npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4"),
    "an unknown dtype": lambda: npy_of(_header(descr="'<q9'")),
    "a dtype of no length": lambda: npy_of(_header(descr="''")),
    "a dtype of fields": lambda: npy_of(_header(descr="[('a', '<f4'), ('b', '<f4')]")),
    "texts": lambda: npy(np.array(["a", "bc"])),
    "pickled objects": lambda: npy(np.array([_Executes(), None], object), allow_pickle=True),
    "a pickle": lambda: _pickled(),
}
"""Fault -> a file of format npy with it."""


def _pickled() -> bytes:
    import pickle

    return pickle.dumps(_Executes())


def zipped(entries: Mapping[str, bytes]) -> bytes:
    """A zip archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return out.getvalue()


def npz() -> bytes:
    """What NumPy saves of two arrays."""
    return zipped({"x.npy": npy(), "y.npy": npy(SOUND * 2)})


NPZ: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no zip": lambda: b"this is no archive" * 20,
    "cut in its directory": lambda: npz()[:-30],
    "cut in its data": lambda: npz()[:150],
    "of one byte changed": lambda: _changed(npz(), npz().index(SOUND.tobytes()) + 4),
    "an entry that is no array": lambda: zipped({"x.npy": b"text"}),
    "an entry that is cut": lambda: zipped({"x.npy": npy()[:-6]}),
    "an entry of a longer shape": lambda: zipped({"x.npy": npy_of(_header(shape="(300, 4)"))}),
    "an entry of a huge shape": lambda: zipped({"x.npy": npy_of(_header(shape=f"({HUGE}, 4)"))}),
    "an entry of pickled objects": lambda: zipped({"x.npy": NPY["pickled objects"]()}),
    "a pickle": _pickled,
}


def _changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]


def safetensors(entry: Mapping[str, Any] = {}, data: bytes = SOUND.tobytes(), **others: Any) -> bytes:
    """A file of one array called x, what its entry says changed; others: entries beside it."""
    x = {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, SOUND.nbytes], **entry}
    return safetensors_of(json.dumps({"x": x, **others}).encode(), data)


def safetensors_of(header: bytes, data: bytes = SOUND.tobytes(), length: int = -1) -> bytes:
    """A file with this header; length: what is said of the header's."""
    return struct.pack("<Q", len(header) if length < 0 else length) + header + data


SAFETENSORS: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "cut in its length": lambda: safetensors()[:5],
    "cut in its header": lambda: safetensors()[:30],
    "cut before its data": lambda: safetensors(data=b""),
    "cut in its data": lambda: safetensors()[:-6],
    "a header longer than the file": lambda: safetensors_of(b"{}", length=10**6),
    "a header of a huge length": lambda: safetensors_of(b"{}", length=2**63),
    "a header that is no JSON": lambda: safetensors_of(b'{"x": '),
    "a header that is a list": lambda: safetensors_of(b"[1, 2]"),
    "a header of a number": lambda: safetensors_of(b"12345678"),
    "an entry that is a number": lambda: safetensors_of(b'{"x": 3}'),
    "an entry without a dtype": lambda: safetensors_of(b'{"x": {"shape": [3, 4], "data_offsets": [0, 48]}}'),
    "an entry without offsets": lambda: safetensors_of(b'{"x": {"dtype": "F32", "shape": [3, 4]}}'),
    "an unknown dtype": lambda: safetensors({"dtype": "Q99"}),
    "offsets beyond the file": lambda: safetensors({"data_offsets": [10**6, 10**6 + 48]}),
    "offsets of a huge number": lambda: safetensors({"data_offsets": [2**62, 2**62 + 48]}),
    "negative offsets": lambda: safetensors({"data_offsets": [-48, 0]}),
    "offsets that end before they begin": lambda: safetensors({"data_offsets": [48, 0]}),
    "a longer shape": lambda: safetensors({"shape": [300, 4]}),
    "a huge shape": lambda: safetensors({"shape": [HUGE, 4]}),
    "a shape whose product wraps": lambda: safetensors({"shape": [2**32, 2**32]}),
    "a negative shape": lambda: safetensors({"shape": [-3, 4]}),
    "a shape of text": lambda: safetensors({"shape": ["a", 4]}),
    "one offset": lambda: safetensors({"data_offsets": [0]}),
    "a pickle": _pickled,
}
SAFETENSORS_WITHIN: Mapping[str, Callable[[], bytes]] = {
    "a shorter shape": lambda: safetensors({"shape": [2, 4]}),
    "overlapping arrays": lambda: safetensors(y={"dtype": "F32", "shape": [2, 4], "data_offsets": [16, 48]}),
    "bytes of no array": lambda: safetensors({"shape": [2, 4], "data_offsets": [16, 48]}),
}
"""Faults that lead nowhere outside the file."""


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensors: int = 1,
    pairs: int = 1,
    pair: bytes = _text("general.name") + struct.pack("<I", 8) + _text("made"),
    name: bytes = _text("x"),
    shape: tuple[int, ...] = (4, 3),
    axes: int = -1,
    kind: int = 0,
    offset: int = 0,
    data: bytes = SOUND.tobytes(),
) -> bytes:
    """A file of one array, each part of which may be another."""
    head = magic + struct.pack("<IQQ", version, tensors, pairs) + pair
    axes = len(shape) if axes < 0 else axes
    info = name + struct.pack("<I", axes) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset)
    body = head + info
    return body + b"\0" * (-len(body) % 32) + data


GGUF: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "cut in its magic": lambda: gguf()[:3],
    "cut in its counts": lambda: gguf()[:10],
    "cut in its metadata": lambda: gguf()[:40],
    "cut in its entries": lambda: gguf()[:70],
    "cut before its data": lambda: gguf(data=b""),
    "cut in its data": lambda: gguf()[:-6],
    "of another magic": lambda: gguf(magic=b"GGML"),
    "of an unknown version": lambda: gguf(version=99),
    "more arrays than it has": lambda: gguf(tensors=1000),
    "arrays without number": lambda: gguf(tensors=2**62),
    "more metadata than it has": lambda: gguf(pairs=1000),
    "metadata without number": lambda: gguf(pairs=2**62),
    "a key longer than the file": lambda: gguf(pair=struct.pack("<Q", 10**6) + b"key"),
    "a key of a huge length": lambda: gguf(pair=struct.pack("<Q", 2**62) + b"key"),
    "a value longer than the file": lambda: gguf(pair=_text("k") + struct.pack("<IQ", 8, 10**6) + b"value"),
    "a value of an unknown kind": lambda: gguf(pair=_text("k") + struct.pack("<I", 77) + b"value"),
    "a list longer than the file": lambda: gguf(pair=_text("k") + struct.pack("<IIQ", 9, 4, 10**6) + b"\0" * 8),
    "a list of a huge length": lambda: gguf(pair=_text("k") + struct.pack("<IIQ", 9, 4, 2**62) + b"\0" * 8),
    "a list of an unknown kind": lambda: gguf(pair=_text("k") + struct.pack("<IIQ", 9, 77, 2) + b"\0" * 8),
    "a name longer than the file": lambda: gguf(name=struct.pack("<Q", 10**6) + b"x"),
    "an unknown kind of array": lambda: gguf(kind=4242),
    "many axes": lambda: gguf(axes=1000),
    "a longer shape": lambda: gguf(shape=(4, 300)),
    "a huge shape": lambda: gguf(shape=(4, HUGE)),
    "a shape whose product wraps": lambda: gguf(shape=(2**32, 2**32)),
    "an offset beyond the file": lambda: gguf(offset=10**6 * 32),
    "an offset of a huge number": lambda: gguf(offset=2**62),
    "a pickle": _pickled,
}
FAULTS: Mapping[str, Mapping[str, Callable[[], bytes]]] = {
    "npy": NPY,
    "npz": NPZ,
    "safetensors": SAFETENSORS,
    "gguf": GGUF,
}
"""Format -> fault -> a file with it."""
