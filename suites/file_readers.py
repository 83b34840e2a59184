"""What others read in a file of arrays: NumPy, the safetensors package, and GGUF by the words of its specification."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from touchstone.golden.cases.array_files import GGUF_KINDS, loads
from touchstone.golden.cases.array_members import numpy_dtype

_SAFETENSORS = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
    "BOOL": "bool",
    "C64": "complex64",
}
"""Names of dtypes in the format -> NumPy's, and ml_dtypes'."""


def read(form: str, file: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file by name, "" of one without."""
    if form == "npy":
        return {"": np.load(io.BytesIO(file), allow_pickle=False)}
    if loads(form) == "npz":
        with np.load(io.BytesIO(file), allow_pickle=False) as found:
            return dict(found)
    return _read_safetensors(file) if form == "safetensors" else read_gguf(file)


def _read_safetensors(file: bytes) -> dict[str, np.ndarray]:
    from safetensors import deserialize

    return {
        name: np.frombuffer(one["data"], numpy_dtype(_SAFETENSORS[one["dtype"]])).reshape(one["shape"])
        for name, one in deserialize(file)  # type: ignore[no-untyped-call]
    }


def read_gguf(file: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file of version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
    return dict(_Gguf(file).arrays())


class _Gguf:
    """A file of the format, read from its beginning on."""

    sizes = (1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)
    """Bytes of a value of each kind; of texts and lists, 8 and 9, their own."""

    def __init__(self, file: bytes) -> None:
        self.file, self.place = file, 8

    def number(self, form: str) -> Any:
        """The next number of this form of `struct`."""
        (found,) = struct.unpack_from(f"<{form}", self.file, self.place)
        self.place += struct.calcsize(f"<{form}")
        return found

    def text(self) -> str:
        """The next text."""
        length = self.number("Q")
        self.place += length
        return self.file[self.place - length : self.place].decode()

    def skip(self, kind: int) -> None:
        """Pass over a value."""
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip(inner)
        else:
            self.place += self.sizes[kind]

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name, array), whose axes the file has in reverse order."""
        count, pairs = self.number("Q"), self.number("Q")
        for _ in range(pairs):
            self.text()
            self.skip(self.number("I"))
        entries = []
        for _ in range(count):
            name, axes = self.text(), self.number("I")
            shape = [self.number("Q") for _ in range(axes)][::-1]
            entries.append((name, shape, self.number("I"), self.number("Q")))
        begin = self.place + -self.place % 32
        for name, shape, kind, offset in entries:
            dtype = numpy_dtype(GGUF_KINDS[kind])
            found = np.frombuffer(self.file, dtype, int(np.prod(shape)), begin + offset)
            yield name, found.reshape(shape)
