"""Checkpoints of every format, each written by the library that users write them with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from touchstone.migration.checkpoint import Checkpoint
from touchstone.migration.opening import open_checkpoint

Arrays = Mapping[str, np.ndarray]
NAMES = ("embed.weight", "layers.0.kernel", "layers.0.bias", "scale", "nothing", "cube")


def arrays(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """A matrix that is no square, a vector, one without axes, an empty one and one with three axes."""
    shapes = ((7, 5), (5, 3), (3,), (), (0, 4), (2, 3, 4))
    rng = np.random.default_rng(7)
    return {n: _values(rng, shape, np.dtype(dtype)) for n, shape in zip(NAMES, shapes, strict=True)}


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), bool)
    return np.asarray(rng.integers(0, 256, (*shape, dtype.itemsize)), np.uint8).view(dtype).reshape(shape)


def everything(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Every tensor read whole, in the shape that the format shows."""
    return {n: t.rows(0, t.length).reshape(t.shape) for n, t in checkpoint.tensors.items()}


def opened(path: Path) -> dict[str, np.ndarray]:
    return everything(open_checkpoint(path))


def nested(flat: Arrays) -> dict[str, Any]:
    """``{"a.b": x}`` as ``{"a": {"b": x}}``."""
    tree: dict[str, Any] = {}
    for name, array in flat.items():
        *above, last = name.split(".")
        node = tree
        for key in above:
            node = node.setdefault(key, {})
        node[last] = array
    return tree


def torch_tensor(array: np.ndarray) -> Any:
    import torch

    raw = torch.frombuffer(bytearray(array.tobytes()) or bytearray(1), dtype=torch.uint8)[: array.nbytes]
    return raw.clone().view(getattr(torch, array.dtype.name)).reshape(array.shape)


def write_safetensors(folder: Path, found: Arrays) -> Path:
    from safetensors.numpy import save_file

    save_file({n: np.ascontiguousarray(a).reshape(a.shape) for n, a in found.items()}, folder / "model.safetensors")
    return folder / "model.safetensors"


def write_shards(folder: Path, found: Arrays) -> Path:
    """Two safetensors files and their index."""
    from safetensors.numpy import save_file

    names = list(found)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({n: np.ascontiguousarray(found[n]).reshape(found[n].shape) for n in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def write_npz(folder: Path, found: Arrays) -> Path:
    named: dict[str, Any] = dict(found)
    np.savez(folder / "stored.npz", **named)
    return folder / "stored.npz"


def write_npz_compressed(folder: Path, found: Arrays) -> Path:
    named: dict[str, Any] = dict(found)
    np.savez_compressed(folder / "deflated.npz", **named)
    return folder / "deflated.npz"


def write_mlx_npz(folder: Path, found: Arrays) -> Path:
    import mlx.core as mx

    path = folder / "weights.npz"
    mx.savez(str(path), **{n: mx.array(a) for n, a in found.items()})
    return path


def write_pytorch(folder: Path, found: Arrays) -> Path:
    import torch

    torch.save({n: torch_tensor(a) for n, a in found.items()}, folder / "model.pt")
    return folder / "model.pt"


def write_msgpack(folder: Path, found: Arrays) -> Path:
    from flax import serialization

    (folder / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(nested(found)))
    return folder / "flax_model.msgpack"


def write_orbax(folder: Path, found: Arrays) -> Path:
    """Without its empty arrays, which Orbax refuses."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as saver:
        saver.save((folder / "orbax").resolve(), nested({n: a for n, a in found.items() if a.size}))
    return folder / "orbax"


def write_gguf(folder: Path, found: Arrays, architecture: str = "llama", **types: str) -> Path:
    """`types`: tensor name with _ for . -> a quantization type; without its empty arrays and those without axes.

    Arrays of bytes are blocks of that type already.
    """
    import gguf

    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    writer.add_block_count(3)
    writer.add_token_list(["a", "b", "<s>"])
    for name, array in found.items():
        kind = types.get(name.replace(".", "_"))
        if not array.size or not array.ndim:
            continue
        if kind:
            quantization = gguf.GGMLQuantizationType[kind]
            blocks = array if array.dtype == np.uint8 else gguf.quants.quantize(array, quantization)
            writer.add_tensor(name, blocks, raw_dtype=quantization)
        elif array.dtype == ml_dtypes.bfloat16:
            bf16 = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, np.ascontiguousarray(array).view(np.uint8), raw_dtype=bf16)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "model.gguf"


WRITERS: dict[str, Callable[[Path, Arrays], Path]] = {
    "safetensors": write_safetensors,
    "shards": write_shards,
    "npz": write_npz,
    "npz-compressed": write_npz_compressed,
    "mlx-npz": write_mlx_npz,
    "pytorch": write_pytorch,
    "msgpack": write_msgpack,
    "orbax": write_orbax,
    "gguf": write_gguf,
}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
PLAIN = ("float32", "float64", "float16", "bfloat16", "bool", *INTEGERS)
HELD: dict[str, tuple[str, ...]] = {
    "safetensors": (*PLAIN, "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"),
    "shards": ("bfloat16",),
    "npz": (*PLAIN, "complex64", "complex128"),
    "npz-compressed": ("float32", "bfloat16"),
    "mlx-npz": ("float32", "bfloat16", "uint32"),
    "pytorch": (*PLAIN, "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e8m0fnu"),
    "msgpack": (*PLAIN, "complex64", "float8_e4m3fn"),
    "orbax": (*PLAIN, "float8_e4m3fn", "float8_e5m2"),
    "gguf": ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64"),
}
"""Format -> the dtypes that the library which writes it takes."""
