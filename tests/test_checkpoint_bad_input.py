"""Does every damaged, missing or hostile checkpoint give one clear error, and no crash, unpickling or memory spent?"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import checkpoint_files as files
from tests.checkpoint_files import WRITERS, arrays, everything, write_gguf
from touchstone.migration import lora
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.formats import reading
from touchstone.migration.opening import open_adapter, open_checkpoint
from touchstone.migration.parameters import parameters

Make = Callable[[Path], Path]
SHARD, INDEX = "model-00001-of-00002.safetensors", "model.safetensors.index.json"


def safetensors_bytes(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: str, shape: list[int], first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def a_file(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def header(content: Any, data: bytes = b"", length: int | None = None) -> Make:
    return a_file("model.safetensors", safetensors_bytes(content, data, length))


def cut(kind: str, keep: float) -> Make:
    """The format's file, of which only the beginning is left."""

    def make(folder: Path) -> Path:
        path = WRITERS[kind](folder, arrays())
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
        return path

    return make


def index(change: Callable[[Path, dict[str, str]], object]) -> Make:
    """A sharded folder; `change` edits the map of its index, or the folder."""

    def make(folder: Path) -> Path:
        files.write_shards(folder, arrays())
        weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
        change(folder, weight_map)
        (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
        return folder

    return make


def index_text(text: str) -> Make:
    def make(folder: Path) -> Path:
        files.write_shards(folder, arrays())
        (folder / INDEX).write_text(text)
        return folder

    return make


def named_shard(name: str) -> Make:
    return index(lambda folder, weight_map: weight_map.update(scale=name))


def linked_shard(folder: Path, weight_map: dict[str, str]) -> None:
    (folder.parent / "outside").mkdir()
    (folder / SHARD).rename(folder.parent / "outside" / SHARD)
    (folder / SHARD).symlink_to(folder.parent / "outside" / SHARD)


def second_claim(folder: Path, weight_map: dict[str, str]) -> None:
    """The second shard also holds a tensor of the first."""
    first = next(name for name, shard in weight_map.items() if shard == SHARD)
    other = SHARD.replace("00001", "00002", 1)
    files.write_safetensors(folder, {n: arrays()[n] for n, s in weight_map.items() if s == other or n == first})
    (folder / "model.safetensors").rename(folder / other)


def config(text: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / "config.json").write_text(text)
        return files.write_safetensors(folder, arrays())

    return make


def zipped(name: str, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Make:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / name, "w", method) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return folder / name

    return make


def npy(array: np.ndarray, **claims: Any) -> bytes:
    """A .npy file; `claims` replace what its header says."""
    file = io.BytesIO()
    if not claims:
        np.lib.format.write_array(file, array)
        return file.getvalue()
    honest = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, honest | claims)
    return file.getvalue() + array.tobytes()


def bomb(folder: Path) -> Path:
    """The directory says that 100 compressed bytes become a terabyte, and the array's header agrees."""
    content = npy(np.zeros(100, np.float32), shape=(2**38,))
    path = zipped("bomb.npz", {"w.npy": content}, zipfile.ZIP_DEFLATED)(folder)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    size = len(content) - 400 + 2**40
    raw[at + 24 : at + 28] = struct.pack("<I", min(size, 0xFFFFFFFE))
    path.write_bytes(raw)
    return path


def directory(at: int, layout: str, value: int) -> Make:
    """An .npz whose zip directory says `value` at byte `at` of its only record."""

    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", w=np.arange(9))
        raw = bytearray((folder / "a.npz").read_bytes())
        struct.pack_into(layout, raw, raw.rindex(b"PK\x01\x02") + at, value)
        (folder / "a.npz").write_bytes(raw)
        return folder / "a.npz"

    return make


def member_twice(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("w.npy", npy(np.zeros(2)))
        archive.writestr("w.npy", npy(np.ones(2)))
    return folder / "a.npz"


def compressed_torch(folder: Path) -> Path:
    import torch

    torch.save({"w": torch.zeros(1000)}, folder / "plain.pt")
    with zipfile.ZipFile(folder / "plain.pt") as old, zipfile.ZipFile(folder / "model.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    return folder / "model.pt"


def wrong_checksum(folder: Path) -> Path:
    path = files.write_npz_compressed(folder, {"w": np.arange(100_000)})
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 16] ^= 1
    path.write_bytes(raw)
    return path


class Hostile:
    """Unpickling it would create a file."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


def hostile_torch(folder: Path) -> Path:
    import torch

    torch.save({"w": torch.ones(2), "x": Hostile(str(folder / "ran"))}, folder / "model.pt")
    return folder / "model.pt"


def hostile_legacy(folder: Path) -> Path:
    import torch

    state = {"w": torch.ones(2), "x": Hostile(str(folder / "ran"))}
    torch.save(state, folder / "model.pt", _use_new_zipfile_serialization=False)
    return folder / "model.pt"


def hostile_pickle(folder: Path) -> Path:
    (folder / "model.bin").write_bytes(pickle.dumps(Hostile(str(folder / "ran"))))
    return folder / "model.bin"


def hostile_npz(folder: Path) -> Path:
    np.savez(folder / "a.npz", w=np.ones(2), x=np.array([Hostile(str(folder / "ran"))], dtype=object))
    return folder / "a.npz"


def hidden_global(folder: Path) -> Path:
    """The name of the global is built on the stack, where a static look at the pickle does not see it."""
    import torch

    torch.save({"w": torch.ones(2)}, folder / "plain.pt")
    payload = b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93\x8c" + bytes([len(str(folder / "ran"))])
    payload += str(folder / "ran").encode() + b"\x85R."
    with zipfile.ZipFile(folder / "plain.pt") as old, zipfile.ZipFile(folder / "model.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, payload if name.endswith("data.pkl") else old.read(name))
    return folder / "model.pt"


def saved(content: Callable[[Any], Any]) -> Make:
    """What `torch.save` makes of ``content(torch)``."""

    def make(folder: Path) -> Path:
        import torch

        torch.save(content(torch), folder / "model.pt")
        return folder / "model.pt"

    return make


def nested_forever(torch: Any) -> Any:
    tree: Any = {"w": torch.ones(2)}
    for _ in range(40):
        tree = {"model": tree}
    return {"state_dict": {"a": [1]}} | {"deep": tree}


def torch_member(suffix: str, content: bytes | None) -> Make:
    """A PyTorch file with one member replaced, or without it."""

    def make(folder: Path) -> Path:
        import torch

        torch.save({"w": torch.ones(8), "b": torch.zeros(4)}, folder / "old.pt")
        with zipfile.ZipFile(folder / "old.pt") as old, zipfile.ZipFile(folder / "model.pt", "w") as new:
            for name in old.namelist():
                if not name.endswith(suffix):
                    new.writestr(name, old.read(name))
                elif content is not None:
                    new.writestr(name, content)
        return folder / "model.pt"

    return make


def torch_script(folder: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folder / "model.pt")
    return folder / "model.pt"


def legacy(folder: Path) -> Path:
    import torch

    torch.save({"w": torch.ones(2)}, folder / "model.bin", _use_new_zipfile_serialization=False)
    return folder / "model.bin"


def consolidated(folder: Path) -> Path:
    import torch

    for number in range(2):
        torch.save({"layers.0.wq": torch.ones(2)}, folder / f"consolidated.0{number}.pth")
    return folder


def packed_array(shape: list[int], dtype: str, data: bytes, code: int = 1, more: bytes = b"") -> bytes:
    import msgpack

    content = msgpack.packb((shape, dtype, data)) + more
    return bytes(msgpack.packb({"w": msgpack.ExtType(code, content)}))


def missing_chunk(folder: Path) -> Path:
    from flax import serialization

    chunks = {"0": np.ones(2, np.float32), "2": np.ones(2, np.float32)}
    tree = {"w": {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": chunks}}
    (folder / "a.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    return folder / "a.msgpack"


def deep_msgpack() -> bytes:
    return b"\x81\xa1a" * 10_000 + b"\xc0"


def twice_msgpack(folder: Path) -> Path:
    from flax import serialization

    tree = {"a": {"b": np.ones(2)}, "a.b": np.ones(2)}
    (folder / "a.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    return folder / "a.msgpack"


def orbax(change: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> Path:
        path = files.write_orbax(folder, arrays() | {"big": np.random.default_rng(0).random((300, 10))})
        change(path)
        return path

    return make


def orbax_metadata(text: str) -> Make:
    return orbax(lambda path: (path / "_METADATA").write_text(text))


def orbax_of_folders(change: Callable[[Path], object]) -> Make:
    """With a folder per array, as older versions of Orbax wrote."""

    def make(folder: Path) -> Path:
        import orbax.checkpoint as ocp

        saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False))
        saver.save(folder / "orbax", {"big": np.arange(12.0).reshape(3, 4)})
        change(folder / "orbax")
        return folder / "orbax"

    return make


def rename_above(path: Path) -> None:
    """The only array is one in the folder above."""
    text = (path / "_METADATA").read_text()
    (path / "_METADATA").write_text(text.replace('"key": "big"', '"key": "../big"'))


def remove_data(path: Path) -> None:
    """The largest data file: the arrays' own bytes."""
    max((p for p in path.rglob("d/*")), key=lambda p: p.stat().st_size).unlink()


def shorten_data(path: Path) -> None:
    largest = max((p for p in path.rglob("d/*")), key=lambda p: p.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def rename_array(path: Path) -> None:
    text = (path / "_METADATA").read_text()
    (path / "_METADATA").write_text(text.replace('"key": "big"', '"key": "bog"'))


def unfinished(folder: Path) -> Path:
    return Path(shutil.move(files.write_orbax(folder, arrays()), folder / "a.orbax-checkpoint-tmp-17"))


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(values: bytes = b"", tensors: bytes = b"", counts: tuple[int, int] = (0, 0), version: int = 3) -> Make:
    content = b"GGUF" + struct.pack("<IQQ", version, *counts) + values + tensors
    return a_file("model.gguf", content + bytes(-len(content) % 32))


def record(name: bytes, dims: list[int], kind: int = 0, offset: int = 0) -> bytes:
    head = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dims))
    return head + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)


def one_tensor(*args: Any, data: bytes = bytes(64)) -> Make:
    content = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + record(*args)
    return a_file("model.gguf", content + bytes(-len(content) % 32) + data)


def empty_folder(folder: Path) -> Path:
    (folder / "a").mkdir()
    return folder / "a"


def named_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "model.safetensors")
    return folder / "model.safetensors"


def longer_msgpack(folder: Path) -> Path:
    path = files.write_msgpack(folder, arrays())
    path.write_bytes(path.read_bytes() + b"\xc0")
    return path


F32 = bytes(range(16))
BAD: dict[str, tuple[Make, str]] = {
    "missing path": (lambda f: f / "nothing", "does not exist"),
    "empty file": (a_file("model.safetensors", b""), "is empty"),
    "empty folder": (empty_folder, "is an empty folder"),
    "folder of other things": (lambda f: a_file("readme.md", b"x")(f).parent, "holds no checkpoint"),
    "no format": (a_file("readme.md", b"# A model, and its weights"), "is none of safetensors"),
    "named pipe": (named_pipe, "not a regular file"),
    "name too long": (lambda f: f / ("a" * 5000), "cannot be read"),
    "null byte in the path": (lambda f: Path(f"{f}/a\0b"), "does not exist|cannot be read"),
    # safetensors
    "no tensors": (header({"__metadata__": {"a": "b"}}), "holds no tensors"),
    "a few bytes": (a_file("model.safetensors", b"\1\0\0"), "3 bytes are too few"),
    "data shorter than offsets": (header({"w": entry("F32", [4], 0, 16)}, F32[:9]), "not a valid safetensors file"),
    "data longer than offsets": (header({"w": entry("F32", [4], 0, 16)}, F32 + b"x"), "not a valid safetensors file"),
    "header of 10 GB": (header({}, length=10 * 2**30), "claims a header of 10,737,418,240 bytes"),
    "header of 2**63": (header({}, length=2**63), "claims a header of 9,223,372,036,854,775,808 bytes"),
    "header a byte short": (header({"w": entry("F32", [4], 0, 16)}, F32, 55), "not a valid safetensors file"),
    "header is no JSON": (header(b"{nothing at all}", F32), "not a valid safetensors file"),
    "header is a list": (header(b"[1, 2, 3]", F32), "not a valid safetensors file"),
    "header is not UTF-8": (header(b'{"\xff\xfe": 1}', F32), "not a valid safetensors file"),
    "overlapping": (
        header({"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 8, 24)}, F32 + F32[:8]),
        "not a valid safetensors file",
    ),
    "a gap": (
        header({"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 12, 16)}, F32),
        "not a valid safetensors file",
    ),
    "negative offset": (header({"w": entry("F32", [4], -16, 0)}, F32), "not a valid safetensors file"),
    "offsets beyond the file": (header({"w": entry("F32", [4], 2**40, 2**40 + 16)}, F32), "not a valid safetensors"),
    "offsets reversed": (header({"w": entry("F32", [4], 16, 0)}, F32), "not a valid safetensors file"),
    "shape x dtype is not the size": (header({"w": entry("F32", [5], 0, 16)}, F32), "not a valid safetensors file"),
    "shape that overflows": (header({"w": entry("F32", [2**62, 2**62], 0, 16)}, F32), "not a valid safetensors file"),
    "unknown dtype": (header({"w": entry("F31", [4], 0, 16)}, F32), "not a valid safetensors file"),
    "dtype that nobody has": (header({"w": entry("F4", [32], 0, 16)}, F32), "tensor 'w' has dtype F4"),
    "name twice": (
        header(b'{"w":%s,"w":%s}' % ((json.dumps(entry("F32", [4], 0, 16)).encode(),) * 2), F32),
        "names 'w' twice|not a valid safetensors file",
    ),
    "axes without end": (header({"w": entry("F32", [1] * 40 + [4], 0, 16)}, F32), "tensor 'w'.*41 axes"),
    # an index
    "missing shard": (index(lambda f, m: (f / SHARD).unlink()), f"{SHARD}: is named by {INDEX} but missing"),
    "tensor absent from its shard": (
        index(lambda f, m: m.update(more=SHARD)),
        f"says that 'more' is in {SHARD}, which does not hold it",
    ),
    "shard above the folder": (named_shard("../model.safetensors"), r"names the file '\.\./model.safetensors'"),
    "absolute shard": (named_shard("/etc/passwd"), "names the file '/etc/passwd'"),
    "shard in a folder": (named_shard("a/b.safetensors"), "names the file 'a/b.safetensors'"),
    "shard with a backslash": (named_shard("..\\b.safetensors"), "names the file"),
    "shard is the folder": (named_shard(".."), r"names the file '\.\.'"),
    "shard with a null byte": (named_shard("a\0"), "names the file"),
    "shard is a link out of the folder": (index(linked_shard), "is a link to .*outside of the folder"),
    "name in two shards": (index(second_claim), f"both .*{SHARD}.* hold 'embed.weight'"),
    "index is no JSON": (index_text("{"), f"{INDEX}: is not JSON"),
    "index is a list": (index_text("[]"), "holds a list, not a JSON object"),
    "index without a map": (index_text("{}"), "has no object weight_map"),
    "index whose map is empty": (index_text('{"weight_map": {}}'), "has no object weight_map"),
    "index whose map is a list": (index_text('{"weight_map": ["a"]}'), "has no object weight_map"),
    "index with a number for a file": (index_text('{"weight_map": {"a": 1}}'), "weight_map gives 1 for 'a'"),
    "index nested without end": (index_text("[" * 100_000), "is not JSON"),
    "two indexes": (
        index(lambda f, m: (f / "other.safetensors.index.json").write_text("{}")),
        "has several indexes",
    ),
    # config.json
    "config is no JSON": (config("{'a': 1}"), "config.json: is not JSON"),
    "config is a list": (config("[1]"), "config.json: holds a list"),
    "config is not UTF-8": (
        lambda f: (config("{}")(f), (f / "config.json").write_bytes(b'{"\xff": 1}'))[0],
        "config.json: is not JSON",
    ),
    # npz
    "npz cut": (cut("npz", 0.7), "its zip directory cannot be read"),
    "npz of objects": (hostile_npz, "array 'x' holds Python objects"),
    "npz of text": (zipped("a.npz", {"x.npy": npy(np.array(["a"]))}), "array 'x' has dtype <U1"),
    "npz of records": (zipped("a.npz", {"x.npy": npy(np.zeros(2, [("a", "f4")]))}), "array 'x' has dtype"),
    "npz of one-byte voids": (zipped("a.npz", {"x.npy": npy(np.zeros(2, "V1"))}), r"array 'x' has dtype \|V1"),
    "npz big-endian": (zipped("a.npz", {"x.npy": npy(np.zeros(2, ">f4"))}), "array 'x' is >f4, of the other"),
    "npz claims more": (zipped("a.npz", {"x.npy": npy(np.zeros(2), shape=(2**40,))}), "array 'x': float64 .* needs"),
    "npz claims less": (zipped("a.npz", {"x.npy": npy(np.zeros(9), shape=(2,))}), "array 'x': float64 .* needs"),
    "npz negative": (zipped("a.npz", {"x.npy": npy(np.zeros(2), shape=(-2,))}), "array 'x': .*negative"),
    "npz absurd": (zipped("a.npz", {"x.npy": npy(np.zeros(2), shape=(2**62, 2**62))}), "array 'x': .*any memory"),
    "npz absurd and empty": (zipped("a.npz", {"x.npy": npy(np.zeros(0), shape=(0, 2**80))}), "array 'x': .*any memory"),
    "npz header damaged": (zipped("a.npz", {"x.npy": b"\x93NUMPY\1\0\x10\0{'descr': '<f4'}  "}), "array 'x': its"),
    "npz header runs code": (
        zipped("a.npz", {"x.npy": npy(np.zeros(2)).replace(b"'<f8'", b"exit(")}),
        "array 'x': its header is damaged",
    ),
    "npz member is no array": (zipped("a.npz", {"x.npy": npy(np.zeros(2)), "y.txt": b"x"}), "'y.txt' is no .npy"),
    "npz bomb": (bomb, "claims 4,294,967,294 bytes out of"),
    "npz encrypted": (directory(8, "<H", 1), "'w.npy': is encrypted"),
    "npz of two sizes": (directory(24, "<I", 5000), "'w.npy': claims 5,000 bytes"),
    "npz that points elsewhere": (directory(42, "<I", 7), "'w.npy': the directory points to no member"),
    "npz that points outside": (directory(42, "<I", 2**31), "a.npz"),
    "npz member twice": (member_twice, "holds 'w.npy' twice"),
    "npz without members": (zipped("a.npz", {}), "is an empty zip file"),
    "npz compressed by lzma": (zipped("a.npz", {"x.npy": npy(np.zeros(9))}, zipfile.ZIP_LZMA), "another method"),
    "another zip": (zipped("a.zip", {"word/document.xml": b"<a/>"}), "neither .npz nor PyTorch's"),
    "one array": (a_file("a.npy", npy(np.zeros(2))), r"is one array \(.npy\) without a name"),
    # PyTorch
    "pickle that runs": (hostile_torch, "refused, nothing was run: its pickle asks for posix.mkdir"),
    "pickle that runs, its global hidden": (hidden_global, "refused, nothing was run: its pickle asks for posix.mkdir"),
    "old pickle that runs": (hostile_legacy, "before 1.6"),
    "bare pickle that runs": (hostile_pickle, "is a bare pickle"),
    "whole model": (saved(lambda torch: torch.nn.Linear(2, 2)), "asks for torch.nn.modules.linear.Linear"),
    "before 1.6": (legacy, "before 1.6"),
    "TorchScript": (torch_script, "is a TorchScript archive"),
    "list": (saved(lambda torch: [torch.ones(2)]), "holds a list, not a state dict"),
    "one tensor": (saved(lambda torch: torch.ones(2)), "holds one tensor without a name"),
    "no tensor at all": (saved(lambda torch: {"epoch": 3, "args": {}}), r"without tensors \(keys: epoch, args\)"),
    "empty state dict": (saved(lambda torch: {}), "no tensors"),
    "nested in many models": (saved(nested_forever), "without tensors"),
    "sparse": (saved(lambda torch: {"w": torch.eye(3).to_sparse()}), "tensor 'w' is sparse"),
    "quantized": (
        saved(lambda torch: {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}),
        "tensor 'w' is sparse, quantized or nested",
    ),
    "conjugate": (saved(lambda torch: {"w": torch.ones(2, dtype=torch.complex64).conj()}), "tensor 'w' has dtype"),
    "expanded a millionfold": (saved(lambda torch: {"w": torch.ones(1).expand(10**6, 10**3)}), "tensor 'w' repeats 4"),
    "name that is no Unicode": (saved(lambda torch: {"\ud800": torch.ones(2)}), r"'\\ud800' is not valid Unicode"),
    "PyTorch cut": (cut("pytorch", 0.9), "its zip directory cannot be read"),
    "PyTorch without its zip": (a_file("model.pt", b"nothing of the kind"), "is not the zip file that PyTorch writes"),
    "storage missing": (torch_member("/data/1", None), "tensor 'b': its storage is missing"),
    "storage short": (torch_member("/data/0", bytes(12)), "tensor 'w': its storage"),
    "pickle damaged": (torch_member("data.pkl", b"\x80\x02}q\x00X"), "its pickle cannot be read"),
    "PyTorch compressed": (compressed_torch, "is compressed, which torch.save never does"),
    "byte order": (torch_member("byteorder", b"big"), "written on a big-endian machine"),
    "consolidated slices": (consolidated, "consolidated.01.pth hold 'layers.0.wq'; they are slices"),
    # msgpack
    "msgpack cut": (cut("msgpack", 0.8), "not a whole msgpack file"),
    "msgpack with more behind": (longer_msgpack, "1 bytes follow its end"),
    "msgpack text of 4 GB": (a_file("a.msgpack", b"\x81\xa1a\xdb\xff\xff\xff\xff"), "announces 4,294,967,295 bytes"),
    "msgpack array of 4 GB": (a_file("a.msgpack", b"\x81\xa1a\xc9\xff\xff\xff\xff\x01"), "bytes more"),
    "msgpack map of 4 billion": (a_file("a.msgpack", b"\xdf\xff\xff\xff\xff\xa1a\xc0"), "not a whole msgpack file"),
    "msgpack list of 16 million": (
        a_file("a.msgpack", b"\x81\xa1a\xdd\x01\0\0\0" + b"\xc0" * 2**24),
        "more than 300,000 values",
    ),
    "msgpack nested too deep": (a_file("a.msgpack", deep_msgpack()), "nested deeper than 64 levels"),
    "msgpack of a pickled object": (a_file("a.msgpack", packed_array([2], "x", b"", 42)), "'w' is an object of kind"),
    "msgpack of objects": (a_file("a.msgpack", packed_array([1], "object", bytes(8))), "dtype 'object'"),
    "msgpack shape and bytes": (a_file("a.msgpack", packed_array([3], "float32", bytes(8))), "needs 12 bytes, 8 are"),
    "msgpack absurd shape": (a_file("a.msgpack", packed_array([2**40], "float32", bytes(8))), "8 are stored"),
    "msgpack negative shape": (a_file("a.msgpack", packed_array([-2], "float32", bytes(8))), "'w' has no shape"),
    "msgpack of one array": (a_file("a.msgpack", packed_array([2], "float32", bytes(8))[3:]), "no mapping of names"),
    "msgpack without arrays": (a_file("a.msgpack", b"\x81\xa1a\x01"), "holds no tensors"),
    "msgpack name that is not UTF-8": (a_file("a.msgpack", b"\x81\xa1\xff\x01"), "not UTF-8"),
    "msgpack key twice": (a_file("a.msgpack", b"\x82\xa1a\x01\xa1a\x02"), "has the key 'a' twice"),
    "msgpack more bytes than shape": (a_file("a.msgpack", packed_array([1], "float32", bytes(8))), "4 bytes, 8 are"),
    "msgpack array with more": (a_file("a.msgpack", packed_array([2], "float32", bytes(8), more=b"\xc0")), "says 8"),
    "msgpack chunk missing": (missing_chunk, "'w' is a chunked array with a missing chunk"),
    "msgpack names that join to one": (twice_msgpack, "two arrays are named 'a.b'"),
    # Orbax
    "Orbax without metadata": (orbax(lambda p: (p / "_METADATA").unlink()), "holds no checkpoint"),
    "Orbax metadata is no JSON": (orbax_metadata("{"), "_METADATA: is not JSON"),
    "Orbax metadata of another kind": (orbax_metadata('{"tree_metadata": 3}'), "is not a tree as Orbax writes it"),
    "Orbax without arrays": (orbax_metadata('{"tree_metadata": {}}'), "holds no tensors"),
    "Orbax without its manifest": (orbax(lambda p: (p / "manifest.ocdbt").unlink()), "orbax"),
    "Orbax without its data": (orbax(remove_data), "is missing, and arrays lie in it"),
    "Orbax with half of its data": (orbax(shorten_data), "are needed; copy it again"),
    "Orbax array that is not there": (orbax(rename_array), "array 'bog' cannot be opened"),
    "Orbax path for a name": (orbax_of_folders(rename_above), r"names the array '\.\./big', a path"),
    "Orbax never finished": (unfinished, "was never finished"),
    # GGUF
    "GGUF cut in the data": (cut("gguf", 0.8), "does not fit the file"),
    "GGUF cut in the header": (cut("gguf", 0.2), "not a whole GGUF file"),
    "GGUF by name only": (a_file("model.gguf", b"GGML" + bytes(60)), "does not begin with GGUF"),
    "GGUF version": (gguf(version=9), "its version is 9"),
    "GGUF big-endian": (gguf(version=3 << 24), "it is big-endian"),
    "GGUF of 2**60 tensors": (gguf(counts=(2**60, 0)), "claims 1,152,921,504,606,846,976 tensors"),
    "GGUF of 2**60 values": (gguf(counts=(0, 2**60)), "more than it has room for"),
    "GGUF list of 2**60": (
        gguf(text("a") + struct.pack("<IIQ", 9, 8, 2**60), counts=(0, 1)),
        "list 'a' claims 1,152,921,504,606,846,976 entries",
    ),
    "GGUF numbers of 2**60": (gguf(text("a") + struct.pack("<IIQ", 9, 4, 2**60), counts=(0, 1)), "bytes more"),
    "GGUF name of 2**60": (gguf(struct.pack("<Q", 2**60), counts=(0, 1)), "announces a name of|more than it has room"),
    "GGUF value twice": (gguf((text("a") + struct.pack("<II", 4, 3)) * 2, counts=(0, 2)), "holds the value 'a' twice"),
    "GGUF name of 2 MB": (gguf(text("a" * 2**21), counts=(0, 1)), "announces a name of 2,097,152 bytes"),
    "GGUF unknown value": (gguf(text("a") + struct.pack("<I", 99), counts=(0, 1)), "value 'a' has type 99"),
    "GGUF lists in lists": (
        gguf(text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50, counts=(0, 1)),
        "value 'a' has type 9",
    ),
    "GGUF alignment": (gguf(text("general.alignment") + struct.pack("<II", 4, 3), counts=(0, 1)), "not a power of two"),
    "GGUF split": (gguf(text("split.count") + struct.pack("<IH", 2, 3), counts=(0, 1)), "one of 3 parts"),
    "GGUF without tensors": (gguf(text("a") + struct.pack("<II", 4, 3), counts=(0, 1)), "holds no tensors"),
    "GGUF unknown type": (one_tensor(b"w", [4], 99), "tensor 'w' has type 99, which gguf"),
    "GGUF type without dequantization": (one_tensor(b"w", [256], 15, 0, data=bytes(292)), "Q8_K, which gguf"),
    "GGUF broken block": (one_tensor(b"w", [33], 2), "33 columns are no whole blocks of 32"),
    "GGUF absurd shape": (one_tensor(b"w", [2**62, 2**62]), "tensor 'w': .*any memory"),
    "GGUF tensor beyond the file": (one_tensor(b"w", [4], 0, 2**40), "does not fit the file"),
    "GGUF tensor between": (one_tensor(b"w", [4], 0, 4), "between multiples of 32"),
    "GGUF axes": (one_tensor(b"w", [1] * 9), "has 9 axes"),
    "GGUF name that is not UTF-8": (one_tensor(b"\xff\xfe", [4]), "not UTF-8"),
    "GGUF name that is none": (one_tensor(b"", [4]), "array without a name"),
    "GGUF tensors on one another": (
        gguf(tensors=record(b"a", [4]) + record(b"b", [4]) + bytes(64), counts=(2, 0)),
        "'a' and 'b' share bytes",
    ),
    "GGUF name twice": (
        gguf(tensors=record(b"a", [4]) + record(b"a", [4], 0, 32) + bytes(96), counts=(2, 0)),
        "holds 'a' twice",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("case", BAD)
def test_one_clear_error(case: str, tmp_path: Path) -> None:
    make, expected = BAD[case]
    (folder := tmp_path / "model").mkdir()
    path = make(folder)
    begun = time.process_time()
    with pytest.raises(CheckpointError, match=expected) as caught:
        open_checkpoint(path)
    assert time.process_time() - begun < 10
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("make", [hostile_torch, hostile_legacy, hostile_pickle, hostile_npz, hidden_global])
def test_the_hostile_files_would_run(make: Make, tmp_path: Path) -> None:
    """The check above can fail: whoever unpickles one of these files creates a folder."""
    path = make(tmp_path)
    if make is hostile_npz:
        with np.load(path, allow_pickle=True) as found:
            found["x"]
    elif make is hostile_pickle:
        pickle.loads(path.read_bytes())
    else:
        import torch

        torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["safetensors", "npz", "npz-compressed", "pytorch", "msgpack", "gguf"])
@pytest.mark.parametrize("change", ["cut", "removed", "rewritten"])
def test_a_file_that_changes_after_it_was_opened(kind: str, change: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path, arrays())
    tensor = open_checkpoint(path).tensors["embed.weight"]
    if change == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif change == "removed":
        path.unlink()
    else:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tensor 'embed.weight': cannot be read"):
        tensor.rows(0, 7)


def test_a_pickle_that_would_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchstone.migration.formats.pytorch._MOST_PICKLE", 100)
    with pytest.raises(CheckpointError, match=r"member 'model/data.pkl' has \d+ bytes; save the state_dict"):
        open_checkpoint(files.write_pytorch(tmp_path, arrays()))


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at its time and the read: here its time is never looked at."""
    monkeypatch.setattr(reading, "_stamp", lambda stat: ())
    path = files.write_safetensors(tmp_path, arrays())
    tensors = open_checkpoint(path).tensors
    os.truncate(path, path.stat().st_size - 3)
    last = list(tensors.values())[-1]
    with pytest.raises(CheckpointError, match=r"cannot be read \(the file ends 3 bytes early; start again\)"):
        last.rows(0, last.length)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "expected"),
    [
        ((4,), None, 0, "needs 16 bytes, 12 are stored"),
        ((2,), (2,), 1, "needs 16 bytes, 12 are stored"),
        ((3,), None, 1, "needs 16 bytes, 12 are stored"),
        ((3,), (-1,), 2, "do not fit"),
        ((3,), (1, 1), 0, "do not fit"),
        ((3,), None, -1, "do not fit"),
    ],
)
def test_an_array_outside_of_its_bytes(shape: Any, strides: Any, offset: int, expected: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(12))
    source = reading.file_bytes(tmp_path / "data")
    with pytest.raises(CheckpointError, match=f"tensor 'w': .*{expected}"):
        reading.stored("w", np.dtype(np.float32), shape, source, tmp_path / "data", strides, offset)


def test_an_orbax_folder_that_loses_its_data(tmp_path: Path) -> None:
    path = orbax(lambda p: None)(tmp_path)
    tensor = open_checkpoint(path).tensors["big"]
    remove_data(path)
    with pytest.raises(CheckpointError, match="tensor 'big': cannot be read"):
        tensor.rows(0, 7)


def test_a_piece_that_is_missing_is_not_read_as_zeros(tmp_path: Path) -> None:
    path = orbax_of_folders(lambda p: (p / "big" / "0.0").unlink())(tmp_path)
    with pytest.raises(CheckpointError, match="tensor 'big': cannot be read"):
        open_checkpoint(path).tensors["big"].rows(0, 3)


def test_a_database_that_refers_to_files_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = orbax(lambda p: (p.parent / "outside").write_bytes(bytes(99)))(tmp_path)
    for place in ("../outside", str(tmp_path / "outside")):
        monkeypatch.setattr(
            "touchstone.migration.formats.orbax._references", lambda ts, base, place=place: [(place, 9)]
        )
        with pytest.raises(CheckpointError, match="outside', outside of the folder"):
            open_checkpoint(path)


def test_a_vocabulary_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchstone.migration.formats.gguf._MOST_ENTRIES", 4)
    with pytest.raises(CheckpointError, match="its metadata has more than 4 entries"):
        open_checkpoint(files.write_gguf(tmp_path, arrays()))


def test_compressed_data_is_compared_with_its_checksum(tmp_path: Path) -> None:
    tensor = open_checkpoint(wrong_checksum(tmp_path)).tensors["w"]
    with pytest.raises(CheckpointError, match=r"tensor 'w'.*does not match its checksum"):
        tensor.rows(0, 100_000)


def test_compressed_data_that_ends_early(tmp_path: Path) -> None:
    """The directory and the array's header agree on a size, the deflated stream holds less."""
    whole = np.random.default_rng(0).integers(0, 100, 20_000)
    content = npy(whole, shape=(40_000,))
    path = zipped("a.npz", {"w.npy": content}, zipfile.ZIP_DEFLATED)(tmp_path)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", len(content) + whole.nbytes)
    path.write_bytes(raw)
    tensor = open_checkpoint(path).tensors["w"]
    np.testing.assert_array_equal(tensor.rows(100, 19_000), whole[100:19_000])
    with pytest.raises(CheckpointError, match=r"tensor 'w'.*ends after 160,\d+ of 320,\d+ bytes"):
        tensor.rows(0, 40_000)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_no_memory_is_taken_for_claims(tmp_path: Path) -> None:
    """Every bad file together, in a process that may have 2 GB."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, (case, (make, _)) in enumerate(BAD.items()):
        (folder := tmp_path / str(number)).mkdir()
        with pytest.raises(CheckpointError):
            open_checkpoint(make(folder))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000, case


def damaged_copies(good: Path, chance: random.Random) -> Iterator[Path]:
    """The folder `good` over and over, beside it, each time with one of its files damaged."""
    bad = good.with_name("bad")
    candidates = sorted(p for p in good.rglob("*") if p.is_file() and p.stat().st_size)
    for _ in range(DAMAGES):
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        victim = bad / chance.choice(candidates).relative_to(good)
        victim.write_bytes(damaged(victim.read_bytes(), chance))
        yield bad


DAMAGES = 300
SECONDS = 20


@pytest.mark.parametrize("kind", WRITERS)
def test_random_damage(kind: str, tmp_path: Path) -> None:
    """A few bytes changed, or the end cut off: an error that says so, or tensors that can be read; nothing else."""
    good = tmp_path / "good"
    good.mkdir()
    weights = {n: a for n, a in arrays().items() if n != "nothing"}
    path = WRITERS[kind](good, weights)
    inside = path.relative_to(good)
    chance = random.Random(zlib.crc32(kind.encode()))
    refused = survived = 0
    begun = time.perf_counter()
    for bad in damaged_copies(good, chance):
        try:
            everything(open_checkpoint(bad / inside))
        except CheckpointError as error:
            refused += str(tmp_path) in str(error)
        else:
            survived += 1
    assert refused + survived == DAMAGES
    assert refused > DAMAGES // 20
    assert time.perf_counter() - begun < SECONDS


def coded(folder: Path) -> tuple[Path, Path]:
    """Codes as other libraries store them: FP8 with block scales and MXFP4 blocks, in safetensors and in GGUF."""
    rng = np.random.default_rng(0)
    found = {
        "model.layers.0.mlp.up_proj.weight": rng.normal(size=(130, 256)).astype(ml_dtypes.float8_e4m3fn),
        "model.layers.0.mlp.up_proj.weight_scale_inv": rng.random((2, 2)).astype(np.float32),
        "model.layers.0.mlp.experts.down_proj_blocks": rng.integers(0, 256, (3, 8, 2, 16), np.uint8),
        "model.layers.0.mlp.experts.down_proj_scales": rng.integers(0, 255, (3, 8, 2), np.uint8),
    }
    (folder / "hub").mkdir(parents=True)
    save_file(found, folder / "hub" / "model.safetensors")
    (folder / "gguf").mkdir()
    blocks = rng.integers(0, 255, (3, 8, 34), np.uint8)
    return folder / "hub", write_gguf(folder / "gguf", {"blk.0.ffn_down_exps.weight": blocks}, "gpt-oss",
                                      blk_0_ffn_down_exps_weight="MXFP4")  # fmt: skip


def adapted(folder: Path) -> tuple[Path, Path]:
    """A base, and a LoRA adapter of it."""
    rng = np.random.default_rng(0)
    name = "model.layers.0.mlp.up_proj"
    factors = {"lora_a": (32, 4), "lora_b": (4, 48)}
    for place, found in (
        ("base", {f"{name}.weight": rng.normal(size=(48, 32)).astype(np.float32)}),
        ("adapter", {f"{name}.{f}": rng.normal(size=s).astype(np.float32) for f, s in factors.items()}),
    ):
        (folder / place).mkdir(parents=True)
        save_file(found, folder / place / f"{'model' if place == 'base' else 'adapters'}.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text('{"lora_parameters": {"rank": 4, "scale": 20.0}}')
    return folder / "base", folder / "adapter"


def every_value(source: Path, other: Path) -> None:
    for checkpoint in map(open_checkpoint, (source, other)):
        for parameter in parameters(checkpoint).values():
            parameter.rows(0, parameter.length)


def every_sum(base: Path, adapter: Path) -> None:
    sums, _ = lora.added(parameters(open_checkpoint(base)), open_adapter(adapter))
    for parameter in sums.values():
        parameter.rows(0, parameter.length)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("make", "read"), [(coded, every_value), (adapted, every_sum)], ids=["codes", "adapter"])
def test_random_damage_to_codes_and_adapters(
    make: Callable[[Path], tuple[Path, Path]], read: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    pair = make(tmp_path / "good")
    read(*pair)
    refused = survived = 0
    for bad in damaged_copies(tmp_path / "good", random.Random(0)):
        try:
            read(*(bad / p.relative_to(tmp_path / "good") for p in pair))
        except CheckpointError as error:
            refused += str(tmp_path) in str(error)
        else:
            survived += 1
    assert refused + survived == DAMAGES
    assert refused > DAMAGES // 20


def damaged(content: bytes, chance: random.Random) -> bytes:
    raw = bytearray(content)
    if chance.random() < 0.3:
        return bytes(raw[: chance.randrange(len(raw))])
    reach = len(raw) if chance.random() < 0.5 else min(len(raw), 300)
    for _ in range(chance.randint(1, 4)):
        raw[chance.randrange(reach)] = chance.choice([0, 0xFF, 0x7F, chance.randrange(256)])
    return bytes(raw)
