"""What `torch.save` wrote: a zip of one pickle and one member of raw bytes per storage.

The pickle is read as data (`pickles`), so PyTorch need not be there: it says which storage each tensor is a view of,
with which shape and strides (https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats import pickles
from touchstone.migration.formats.names import MOST_LEVELS, check_name, passed_over
from touchstone.migration.formats.reading import FileBytes, file_bytes, numpy_dtype, stored
from touchstone.migration.formats.zips import Member, content, members

NAME = "pytorch"
SUFFIXES = (".pt", ".pth", ".bin")
PICKLE = "data.pkl"
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that PyTorch wrote before 1.6: a pickle of its magic number."""
NESTED = ("state_dict", "model", "model_state_dict", "module")
"""Keys under which training scripts keep the model's state dict."""
_MOST_PICKLE = 256 * 2**20
_MOST_EXPANDED = 64 * 2**20


_STORAGES = {
    **{"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
    **{"QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4"},
}
"""Classes of storages, without "Storage" -> the dtype of what they hold."""
_DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
    *("uint16", "uint32", "uint64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
    *("qint8", "quint8", "qint32", "quint4x2", "quint2x4"),
)


@dataclass(frozen=True)
class _Dtype:
    """PyTorch's dtype of this name."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """The member ``data/KEY``, `count` elements of this dtype; of an untyped storage bytes."""

    key: str
    dtype: str
    count: int

    @property
    def nbytes(self) -> int:
        dtype = numpy_dtype(self.dtype)
        return self.count * (dtype.itemsize if dtype is not None else 1)


@dataclass(frozen=True)
class _Strided:
    """A view of a storage; `bits` are the lazy operations, conjugate or negative, that PyTorch would apply."""

    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    bits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Other:
    """A tensor that is not a plain view of a storage."""


def recognises(names: list[str]) -> bool:
    """Whether a zip file with these members is one."""
    return any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in names)


def open_pytorch(path: Path, key: str = "") -> Checkpoint:
    """The tensors of a state dict, at `key` where they are not outermost.

    Raises CheckpointError; nothing that the pickle asks for is ever run.
    """
    whole = file_bytes(path)
    found = members(whole)
    _check_members(path, found)
    base = _base(found)
    loaded = _load(path, content(found[f"{base}{PICKLE}"], _MOST_PICKLE))
    state, notes = _state_dict(path, _at(path, loaded, key))
    tensors: dict[str, Tensor] = {}
    others = []
    storages = {n.removeprefix(f"{base}data/"): m.where for n, m in found.items() if n.startswith(f"{base}data/")}
    for name, value in state.items():
        if _is_tensor(value):
            check_name(str(name), path)
            tensors[str(name)] = _tensor(path, str(name), value, storages)
        else:
            others.append(f"{name} ({type(value).__name__})")
    return Checkpoint(path, NAME, tensors, {}, [path], [*notes, *passed_over(others, "not a tensor")])


def refuse_legacy(path: Path) -> CheckpointError:
    """The error for what `torch.save` wrote before PyTorch 1.6; it says how to save the file anew."""
    return CheckpointError(
        f"{path}: was written in the format that PyTorch used before 1.6, which mixes data into a pickle; "
        "load it with weights_only=True and save it again with torch.save"
    )


def refuse_pickle(path: Path) -> CheckpointError:
    """The error for a pickle outside of any zip; it says what to save instead."""
    return CheckpointError(
        f"{path}: is a bare pickle, which can run anything when it is read; save the arrays as safetensors"
    )


def _base(found: Mapping[str, Member]) -> str:
    """The folder that the members lie in, with its slash."""
    return next(name for name in found if name == PICKLE or name.endswith(f"/{PICKLE}")).removesuffix(PICKLE)


def _check_members(path: Path, found: Mapping[str, Member]) -> None:
    """What would be misread, or read into memory whole."""
    base = _base(found)
    if f"{base}constants.pkl" in found:
        raise CheckpointError(
            f"{path}: is a TorchScript archive, which holds code; save the model's state_dict() with torch.save"
        )
    if packed := next((name for name, member in found.items() if not member.plain), None):
        raise CheckpointError(f"{path}: member {packed!r} is compressed, which torch.save never does; save it again")
    for name, member in found.items():
        if not name.startswith(f"{base}data/") and member.content.size > _MOST_PICKLE:
            raise CheckpointError(
                f"{path}: member {name!r} has {member.content.size:,} bytes; save the state_dict() alone"
            )
    if order := found.get(f"{base}byteorder"):
        written = content(order, 64).decode("ascii", "replace")
        if written != sys.byteorder:
            raise CheckpointError(f"{path}: was written on a {written}-endian machine; save it again on this one")


def _load(path: Path, pickle: bytes) -> Any:
    """The object in the file. Raises CheckpointError."""
    try:
        return pickles.load(pickle, _BUILDERS, _VALUES, _storage)
    except pickles.ForbiddenError as error:
        raise CheckpointError(
            f"{path}: refused, nothing was run: its pickle asks for {error}, and a pickle can run anything it asks "
            "for; save the model's state_dict(), which holds tensors alone"
        ) from error
    except pickles.PickleError as error:
        raise CheckpointError(
            f"{path}: its pickle cannot be read ({error}); copy the file again, or save the model's state_dict() with "
            "torch.save"
        ) from error


def _storage(identifier: Any) -> _Storage:
    kind, dtype, key, _, count = identifier
    if kind != "storage" or not isinstance(dtype, _Dtype) or not isinstance(key, str) or not isinstance(count, int):
        raise pickles.PickleError("refers to a storage in a way that torch.save does not")
    return _Storage(key, dtype.name, count)


def _strided(
    storage: _Storage, offset: int, shape: Any, strides: Any, requires_grad: bool, hooks: Any, metadata: Any = None
) -> _Strided:
    return _view(storage, storage.dtype, offset, shape, strides, metadata)


def _strided_of_dtype(
    storage: _Storage,
    offset: int,
    shape: Any,
    strides: Any,
    grad: bool,
    hooks: Any,
    dtype: _Dtype,
    metadata: Any = None,
) -> _Strided:
    return _view(storage, dtype.name, offset, shape, strides, metadata)


def _view(storage: _Storage, dtype: str, offset: int, shape: Any, strides: Any, metadata: Any) -> _Strided:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(n) is int for n in numbers):
        raise pickles.PickleError("makes a tensor of something else than a storage and numbers")
    bits = frozenset(name for name, is_set in (metadata or {}).items() if is_set)
    return _Strided(storage, dtype, offset, tuple(shape), tuple(strides), bits)


def _of_type(function: Any, kind: Any, arguments: tuple[Any, ...], state: Any) -> Any:
    """A tensor with attributes of Python, which go."""
    if not isinstance(function, pickles.Global) or function.name not in _BUILDERS:
        raise pickles.PickleError("makes a tensor by something else than PyTorch's own functions")
    return _BUILDERS[function.name](*arguments)


_BUILDERS: pickles.Builders = {
    "collections.OrderedDict": lambda *items: dict(*items),
    "collections.Counter": lambda *items: dict(*items),
    "builtins.set": lambda *items: set(*items),
    "_codecs.encode": lambda text, coding: text.encode("latin1"),
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda *names: names,
    "torch.serialization._get_layout": lambda name: name,
    "torch._utils._rebuild_tensor_v2": _strided,
    "torch._utils._rebuild_tensor_v3": _strided_of_dtype,
    "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, requires_grad, hooks, state: data,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    **dict.fromkeys(
        [
            *("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_sparse_csr_tensor"),
            *("torch._utils._rebuild_nested_tensor", "torch._utils._rebuild_qtensor"),
            *("torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass"),
        ],
        lambda *arguments: _Other(),
    ),
}
_VALUES: Mapping[str, Any] = {
    **{f"torch.{name}Storage": _Dtype(dtype) for name, dtype in _STORAGES.items()},
    "torch.storage.UntypedStorage": _Dtype("uint8"),
    **{f"torch.{name}": _Dtype(name) for name in _DTYPES},
    **{f"torch.{name}": name for name in ("per_tensor_affine", "per_channel_affine")},
    **{name: name for name in ("torch._tensor.Tensor", "torch.Tensor", "torch.nn.parameter.Parameter")},
}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, _Strided | _Other)


def _at(path: Path, loaded: Any, key: str) -> Any:
    """What lies at a key, levels parted by dots. Raises CheckpointError, which lists the keys that there are."""
    for part in key.split(".") if key else ():
        inner = loaded.get(part) if isinstance(loaded, Mapping) else None
        if not isinstance(inner, Mapping):
            there = ", ".join(str(k) for k in list(loaded)[:10]) if isinstance(loaded, Mapping) else "no keys"
            raise CheckpointError(f"--key {key}: {path} has no mapping {part!r}; it has {there}")
        loaded = inner
    return loaded


def _state_dict(path: Path, loaded: Any) -> tuple[Mapping[Any, Any], list[str]]:
    """(the mapping that holds tensors, a note where it was not the outermost one)."""
    keys: list[str] = []
    while isinstance(loaded, Mapping) and len(keys) < MOST_LEVELS:
        if any(map(_is_tensor, loaded.values())):
            where = "".join(f"[{key!r}]" for key in keys)
            return loaded, [f"read from {where}"] if keys else []
        key = next((k for k in NESTED if isinstance(loaded.get(k), Mapping)), None)
        if key is None:
            break
        keys.append(key)
        loaded = loaded[key]
    if isinstance(loaded, Mapping):
        listed = ", ".join(str(key) for key in list(loaded)[:10])
        holds = f"a mapping without tensors (keys: {listed})" if listed else "an empty mapping: no tensors"
        if any(isinstance(value, Mapping) for value in loaded.values()):
            raise CheckpointError(f"{path}: holds {holds}; name the one that holds the weights by --key KEY")
    else:
        holds = "one tensor without a name" if _is_tensor(loaded) else f"a {type(loaded).__name__}"
    raise CheckpointError(f"{path}: holds {holds}, not a state dict; save model.state_dict() with torch.save")


def _tensor(path: Path, name: str, value: Any, found: Mapping[str, FileBytes]) -> Tensor:
    """found: the key of each storage -> its bytes."""
    if not isinstance(value, _Strided) or value.dtype.startswith(("qint", "quint")):
        raise CheckpointError(f"{path}: tensor {name!r} is sparse, quantized or nested; save it as a plain tensor")
    dtype = numpy_dtype(value.dtype)
    if dtype is None or value.bits:
        raise CheckpointError(
            f"{path}: tensor {name!r} has dtype torch.{value.dtype}, which NumPy and ml_dtypes cannot hold as it is "
            "stored; convert it to another dtype"
        )
    source = found.get(value.storage.key)
    if source is None or source.size != value.storage.nbytes:
        there = (
            "is missing" if source is None else f"has {source.size:,} bytes, the pickle says {value.storage.nbytes:,}"
        )
        raise CheckpointError(f"{path}: tensor {name!r}: its storage {there}; the file is damaged: copy it again")
    size = int(np.prod(value.shape, dtype=object)) * dtype.itemsize
    if size > source.size + _MOST_EXPANDED:
        raise CheckpointError(
            f"{path}: tensor {name!r} repeats {source.size:,} bytes to {size:,}; save it as a tensor of its own"
        )
    return stored(name, dtype, value.shape, source, path, value.strides, value.offset)
