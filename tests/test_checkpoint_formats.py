"""Does every file format come out bit for bit, whole or in part, with the names and shapes that its users know?"""

from __future__ import annotations

import json
import random
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests import checkpoint_files as files
from tests.checkpoint_files import HELD, WRITERS, arrays, everything, opened
from tests.command import run
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.formats import reading
from touchstone.migration.opening import open_checkpoint

FORMATS = {
    "safetensors": "safetensors",
    "shards": "safetensors shards",
    "npz": "npz",
    "npz-compressed": "npz",
    "mlx-npz": "npz",
    "pytorch": "pytorch",
    "msgpack": "msgpack",
    "orbax": "orbax",
    "gguf": "gguf",
}


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Bit for bit: NaN and -0.0 count."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One checkpoint of float32 in each format."""
    return WRITERS[request.param](tmp_path, arrays())


@pytest.mark.parametrize(("kind", "dtype"), [(k, d) for k, dtypes in HELD.items() for d in dtypes])
def test_round_trip(kind: str, dtype: str, tmp_path: Path) -> None:
    expected = arrays(getattr(ml_dtypes, dtype, None) or np.dtype(dtype))
    checkpoint = open_checkpoint(WRITERS[kind](tmp_path, expected))
    found = everything(checkpoint)
    assert checkpoint.format == FORMATS[kind]
    left_out = {"orbax": {"nothing"}, "gguf": {"nothing", "scale"}}.get(kind, set())
    assert found.keys() == expected.keys() - left_out
    for name, array in found.items():
        assert_same(array, expected[name])
        assert checkpoint.tensors[name].dtype == dtype


def test_any_rows_are_a_slice_of_the_whole(written: Path) -> None:
    for tensor in open_checkpoint(written).tensors.values():
        whole = tensor.rows(0, tensor.length)
        assert tensor.length == len(whole)
        for start in range(tensor.length + 1):
            for stop in range(start, tensor.length + 1):
                rows = tensor.rows(start, stop)
                assert_same(rows, whole[start:stop])
                assert rows.flags.c_contiguous
                assert rows.flags.writeable
                assert rows.flags.owndata or rows.base is not None


def test_rows_that_are_not_there(written: Path) -> None:
    tensor = open_checkpoint(written).tensors["embed.weight"]
    for start, stop in ((0, 8), (-1, 2), (3, 2), (8, 8)):
        with pytest.raises(IndexError, match=rf"embed.weight.*rows {start} to {stop} of 7"):
            tensor.rows(start, stop)


def test_rows_are_the_callers_own(written: Path) -> None:
    tensor = open_checkpoint(written).tensors["embed.weight"]
    before = tensor.rows(0, 7)
    tensor.rows(0, 7)[...] = 0
    assert_same(tensor.rows(0, 7), before)


def test_threads_read_at_once(written: Path) -> None:
    """In any order; each sees the rows that it asked for."""
    tensors = open_checkpoint(written).tensors
    whole = {n: t.rows(0, t.length) for n, t in tensors.items()}
    chance = random.Random(1)
    asked = []
    for name, tensor in list(tensors.items()) * 60:
        start = chance.randint(0, tensor.length)
        asked.append((name, start, chance.randint(start, tensor.length)))
    with ThreadPoolExecutor(8) as pool:
        for (name, start, stop), rows in zip(asked, pool.map(lambda a: tensors[a[0]].rows(*a[1:]), asked), strict=True):
            assert_same(rows, whole[name][start:stop])


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pytorch", "msgpack", "gguf"])
def test_the_content_tells_the_format(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path, arrays())
    path.rename(other := tmp_path / "model.dat")
    assert open_checkpoint(other).format == kind


def test_opening_loads_no_framework() -> None:
    libraries = {"torch", "gguf", "tensorstore", "zstandard", "orbax", "jax", "mlx", "msgpack"}
    program = f"import sys, touchstone.migration.opening; print('loaded', sorted({libraries} & sys.modules.keys()))"
    assert run("-c", program).stdout == "loaded []\n"


@pytest.mark.parametrize(("kind", "package"), [("orbax", "tensorstore"), ("gguf", "gguf")])
def test_a_missing_library(kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = WRITERS[kind](tmp_path, arrays())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CheckpointError, match=f"needs the package {package}: pip install {package}"):
        open_checkpoint(path)


def _state() -> dict[str, Any]:
    """What models and training scripts put into a state dict: parameters, views, shared storages, every dtype."""
    import torch

    chance = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 4, generator=chance)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    noted = torch.nn.Parameter(matrix.clone())
    noted.note = "kept by PyTorch"
    dtypes = [getattr(torch, name) for name in ("float16", "bfloat16", "int8", "uint8", "bool", "complex64", "uint16")]
    return {
        **module.state_dict(),
        "transposed": matrix.T,
        "column": matrix[:, 1],
        "steps": matrix[::2],
        "expanded": torch.ones(1, 3).expand(5, 3),
        "shared": matrix,
        "noted": noted,
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "float8": matrix.to(torch.float8_e4m3fn),
        **{str(dtype): (matrix * 3).to(dtype) for dtype in dtypes},
    }


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_state_dict_is_what_pytorch_says(protocol: int, nested: bool, tmp_path: Path) -> None:
    """Read without PyTorch, which is asked afterwards."""
    import torch

    state = _state()
    content = {"model": OrderedDict(state), "epoch": 3, "names": {"a", "b"}} if nested else state
    torch.save(content, tmp_path / "model.pt", pickle_protocol=protocol)
    found = open_checkpoint(tmp_path / "model.pt").tensors
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    want = loaded["model"] if nested else loaded
    assert found.keys() == want.keys()
    for name, tensor in want.items():
        got = found[name].rows(0, found[name].length) if tensor.dim() else found[name].rows(0, 1)
        plain = tensor.detach().contiguous()
        integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[plain.element_size()]
        expected = plain.view(integers).numpy() if plain.numel() else plain.numpy()
        assert np.array_equal(got.reshape(plain.shape).view(expected.dtype), expected), name


def test_a_state_dict_needs_no_pytorch(tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.ones(2, 3)}, tmp_path / "model.pt")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from touchstone.migration.opening import open_checkpoint\n"
        f"print(open_checkpoint(Path({str(tmp_path / 'model.pt')!r})).tensors['w'].rows(0, 2).sum())"
    )
    assert run("-c", program).stdout == "6.0\n"


def test_config_is_read_beside_folder_and_file(tmp_path: Path) -> None:
    path = files.write_safetensors(tmp_path, arrays())
    assert open_checkpoint(path).config == {}
    (tmp_path / "config.json").write_text('{"quantization": {"bits": 4, "group_size": 64}}')
    for at in (path, tmp_path):
        checkpoint = open_checkpoint(at)
        assert checkpoint.config == {"quantization": {"bits": 4, "group_size": 64}}
        assert {f.name for f in checkpoint.files} == {"model.safetensors", "config.json"}
        assert checkpoint.path == at


def test_an_index_may_be_named_itself(tmp_path: Path) -> None:
    files.write_shards(tmp_path, arrays())
    by_name, by_folder = open_checkpoint(tmp_path / "model.safetensors.index.json"), open_checkpoint(tmp_path)
    assert by_name.tensors.keys() == by_folder.tensors.keys() == set(files.NAMES)
    assert len(by_folder.files) == 3
    assert {t.file.name for t in by_folder.tensors.values()} == {f.name for f in by_folder.files if "of" in f.name}


def test_a_folder_of_the_hugging_face_cache(tmp_path: Path) -> None:
    """Its files are links into a folder of blobs."""
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    files.write_shards(snapshot, arrays())
    blobs.mkdir()
    for number, file in enumerate(sorted(snapshot.iterdir())):
        file.rename(blobs / str(number))
        file.symlink_to(Path("../../blobs") / str(number))
    for name, array in opened(snapshot).items():
        assert_same(array, arrays()[name])


def test_several_safetensors_files_without_an_index(tmp_path: Path) -> None:
    files.write_shards(tmp_path, arrays())
    (tmp_path / "model.safetensors.index.json").unlink()
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "safetensors shards"
    assert checkpoint.tensors.keys() == set(files.NAMES)


def test_what_was_left_out_of_a_folder_is_said(tmp_path: Path) -> None:
    files.write_safetensors(tmp_path, arrays())
    files.write_pytorch(tmp_path, arrays())
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.notes == ["also in the folder, and not read: model.pt"]


def test_an_mlx_folder_of_quantized_layers(tmp_path: Path) -> None:
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    model = nn.Sequential(nn.Embedding(64, 64), nn.Linear(64, 32))
    nn.quantize(model, group_size=32, bits=4)
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), weights)
    (tmp_path / "config.json").write_text(json.dumps({"quantization": {"group_size": 32, "bits": 4}}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.config["quantization"] == {"group_size": 32, "bits": 4}
    assert checkpoint.tensors["layers.0.weight"].dtype == "uint32"
    for name, array in everything(checkpoint).items():
        assert_same(array, np.array(weights[name]))


def test_npz_in_an_mlx_folder_may_be_split(tmp_path: Path) -> None:
    expected = arrays()
    for number, names in enumerate((files.NAMES[:3], files.NAMES[3:])):
        part: dict[str, Any] = {n: expected[n] for n in names}
        np.savez(tmp_path / f"weights.0{number}.npz", **part)
    assert opened(tmp_path).keys() == expected.keys()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_in_fortran_order(save: Any, tmp_path: Path) -> None:
    expected = {"matrix": np.asfortranarray(arrays()["embed.weight"]), "cube": np.asfortranarray(arrays()["cube"])}
    save(tmp_path / "a.npz", **expected)
    tensors = open_checkpoint(tmp_path / "a.npz").tensors
    for name, array in expected.items():
        assert_same(tensors[name].rows(1, 2), array[1:2])
        assert_same(tensors[name].rows(0, len(array)), array)


def test_bfloat16_in_npz_is_noted(tmp_path: Path) -> None:
    assert open_checkpoint(files.write_npz(tmp_path, arrays())).notes == []
    (note,) = open_checkpoint(files.write_npz(tmp_path, arrays(ml_dtypes.bfloat16))).notes
    assert note.endswith("are read as bfloat16")


def test_a_compressed_member_is_read_in_blocks_in_any_order(tmp_path: Path) -> None:
    whole = np.random.default_rng(1).integers(0, 9, (4000, 200)).astype(np.float32)
    np.savez_compressed(tmp_path / "a.npz", w=whole)
    tensor = open_checkpoint(tmp_path / "a.npz").tensors["w"]
    blocks = [(start, start + 500) for start in range(0, 4000, 500)]
    for start, stop in [*blocks, *reversed(blocks)]:
        assert_same(tensor.rows(start, stop), whole[start:stop])


def test_threads_read_a_compressed_member_at_once(tmp_path: Path) -> None:
    """Each keeps its own place in the stream."""
    whole = np.random.default_rng(1).integers(0, 9, (8000, 200)).astype(np.float32)
    np.savez_compressed(tmp_path / "a.npz", w=whole)
    tensor = open_checkpoint(tmp_path / "a.npz").tensors["w"]
    starts = [start for _ in range(6) for start in range(0, 8000, 500)]
    with ThreadPoolExecutor(8) as pool:
        for start, rows in zip(starts, pool.map(lambda at: tensor.rows(at, at + 500), starts), strict=True):
            assert_same(rows, whole[start : start + 500])


def test_a_transposed_view_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of it are short runs of bytes: one per column, and no other bytes."""
    import torch

    torch.save({"w": torch.arange(64 * 20_000).reshape(64, 20_000).t()}, tmp_path / "a.pt")
    tensor = open_checkpoint(tmp_path / "a.pt").tensors["w"]
    sizes: list[int] = []
    real = reading.FileBytes.read_into

    def counted(self: reading.FileBytes, offset: int, buffer: memoryview) -> None:
        sizes.append(len(buffer))
        real(self, offset, buffer)

    monkeypatch.setattr(reading.FileBytes, "read_into", counted)
    assert_same(tensor.rows(100, 150), np.arange(64 * 20_000).reshape(64, 20_000).T[100:150])
    assert sizes == [50 * 8] * 64


def test_torch_views_are_what_the_user_sees(tmp_path: Path) -> None:
    """Transposed, cut out, permuted, expanded, tied, and larger than what is copied in one piece."""
    import torch

    weight = torch.arange(24.0).reshape(4, 6)
    large = torch.arange(3000 * 40, dtype=torch.int32).reshape(3000, 40)
    views = {
        "transposed": weight.t(),
        "cut": weight[1:3, 2:5],
        "column": weight[:, 3],
        "permuted": torch.arange(60).reshape(3, 4, 5).permute(2, 0, 1),
        "expanded": torch.arange(4).expand(5, 4),
        "one": torch.ones(1, 1).expand(3, 2),
        "tied": weight,
        "large": large.t(),
        "sparse columns": large[:, ::20],
        "parameter": torch.nn.Parameter(weight.clone()),
    }
    torch.save(views, tmp_path / "views.pt")
    tensors = open_checkpoint(tmp_path / "views.pt").tensors
    assert tensors.keys() == views.keys()
    for name, view in views.items():
        expected = view.detach().contiguous().numpy()
        assert_same(tensors[name].rows(0, len(expected)), expected)
        assert_same(tensors[name].rows(1, 2), expected[1:2])


@pytest.mark.parametrize("keys", [("state_dict",), ("model",), ("model_state_dict",), ("model", "module")])
def test_a_state_dict_inside_a_training_checkpoint(keys: tuple[str, ...], tmp_path: Path) -> None:
    import torch

    state: Any = {n: files.torch_tensor(a) for n, a in arrays().items()}
    for key in reversed(keys):
        state = {key: state, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    torch.save(state, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert checkpoint.tensors.keys() == set(files.NAMES)
    assert checkpoint.notes == [f"read from {''.join(f'[{key!r}]' for key in keys)}"]


def test_values_that_are_no_tensors_are_named(tmp_path: Path) -> None:
    import torch
    from flax import serialization

    torch.save({"w": torch.ones(2), "step": 3}, tmp_path / "a.pt")
    (tmp_path / "a.msgpack").write_bytes(serialization.msgpack_serialize({"w": np.ones(2), "step": 3, "tag": "x"}))
    assert open_checkpoint(tmp_path / "a.pt").notes == ["not read, because not a tensor: step (int)"]
    assert open_checkpoint(tmp_path / "a.msgpack").notes == [
        "not read, because not an array: step (int), tag (str)"
    ]  # fmt: skip


def test_pytorch_shards(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.zeros(3)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    weight_map = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    checkpoint = open_checkpoint(tmp_path)
    assert (checkpoint.format, list(checkpoint.tensors)) == ("pytorch", ["a", "b"])


def test_one_consolidated_file(tmp_path: Path) -> None:
    import torch

    torch.save({"tok_embeddings.weight": torch.ones(2, 3)}, tmp_path / "consolidated.00.pth")
    assert list(open_checkpoint(tmp_path).tensors) == ["tok_embeddings.weight"]


def test_chunked_arrays_of_msgpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flax cuts an array above 1 GiB into flat chunks, here one above 64 bytes; rows lie across their borders."""
    from flax import serialization

    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 64)
    for name, array in opened(files.write_msgpack(tmp_path, arrays())).items():
        assert_same(array, arrays()[name])
    tensor = open_checkpoint(tmp_path).tensors["embed.weight"]
    assert_same(tensor.rows(2, 6), arrays()["embed.weight"][2:6])


def test_to_bytes_of_nnx_state(tmp_path: Path) -> None:
    from flax import nnx, serialization

    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    state = nnx.state(model)
    (tmp_path / "a.msgpack").write_bytes(serialization.to_bytes(nnx.to_pure_dict(state)))
    found = opened(tmp_path / "a.msgpack")
    assert found.keys() == {"kernel", "bias"}
    assert_same(found["kernel"], np.array(model.kernel[...]))


def test_orbax_of_nnx_state_has_the_models_names(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.embed = nnx.Embed(9, 4, rngs=rngs)
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])

    model = Model(nnx.Rngs(0))
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "state", nnx.state(model))
    found = opened(tmp_path / "state")
    assert found.keys() == {"embed.embedding", *(f"layers.{i}.{n}" for i in (0, 1) for n in ("kernel", "bias"))}
    assert_same(found["layers.1.kernel"], np.array(model.layers[1].kernel[...]))


def test_a_parameter_that_is_called_value_keeps_its_name(tmp_path: Path) -> None:
    from flax import serialization

    heads = {"query": np.ones(2), "key": np.ones(2), "value": np.ones(2)}
    (tmp_path / "a.msgpack").write_bytes(serialization.msgpack_serialize({"attention": heads}))
    assert open_checkpoint(tmp_path / "a.msgpack").tensors.keys() == {f"attention.{n}" for n in heads}


@pytest.mark.parametrize("options", [{}, {"use_ocdbt": False}, {"use_zarr3": True}, {"use_compression": False}])
def test_orbax_layouts(options: dict[str, bool], tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    tree: dict[str, dict[str, Any]] = {
        "params": {"w": arrays()["embed.weight"], "blocks": [np.arange(3), np.arange(4)]}
    }
    saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options))
    saver.save(tmp_path / "a", tree)
    found = opened(tmp_path / "a")
    assert found.keys() == {"params.w", "params.blocks.0", "params.blocks.1"}
    assert_same(found["params.w"], tree["params"]["w"])


def test_orbax_in_chunks(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    whole = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    saver = ocp.PyTreeCheckpointer()
    saver.save(tmp_path / "a", {"w": whole}, save_args={"w": ocp.SaveArgs(chunk_byte_size=1000)})
    assert_same(open_checkpoint(tmp_path / "a").tensors["w"].rows(55, 910), whole[55:910])


def test_the_only_step_of_a_checkpoint_manager(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(7, args=ocp.args.StandardSave({"w": np.ones(3)}))
    checkpoint = open_checkpoint(tmp_path / "run")
    assert (list(checkpoint.tensors), checkpoint.notes) == (["w"], ["read from 7/default"])
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(8, args=ocp.args.StandardSave({"w": np.ones(3)}))
    with pytest.raises(CheckpointError, match=r"holds 2 Orbax checkpoints \(7/default, 8/default\); name one"):
        open_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ2_0", "MXFP4"])
def test_gguf_blocks_are_dequantized(kind: str, tmp_path: Path) -> None:
    import gguf

    weight = np.random.default_rng(3).standard_normal((6, 512)).astype(np.float32)
    found = {"token_embd.weight": weight, "plain": weight[:2]}
    tensors = open_checkpoint(files.write_gguf(tmp_path, found, token_embd_weight=kind)).tensors
    blocks = gguf.quants.quantize(weight, gguf.GGMLQuantizationType[kind])
    tensor = tensors["token_embd.weight"]
    assert (tensor.encoding, tensor.dtype, tensor.shape) == (kind, "float32", (6, 512))
    assert_same(tensor.rows(1, 5), gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind])[1:5])
    assert (tensors["plain"].encoding, tensors["plain"].step) == ("", None)
    if kind in ("TQ2_0", "MXFP4"):
        assert tensor.step is None
    else:
        assert tensor.step is not None
        step = tensor.step(1, 5)
        assert (step.dtype, step.shape) == (np.dtype(np.float32), (4, 16))
        rows = tensor.rows(1, 5).reshape(4, 16, 32)
        assert ((np.abs(weight[1:5].reshape(4, 16, 32) - rows).max(-1) / step) <= 1.01).all()
        gaps = np.diff(np.sort(rows, axis=-1), axis=-1)
        np.testing.assert_allclose(np.where(gaps > 1e-3 * step[..., None], gaps, np.inf).min(-1), step, rtol=1e-3)


def test_gguf_vector_of_blocks(tmp_path: Path) -> None:
    weight = np.random.default_rng(3).standard_normal(96).astype(np.float32)
    tensor = open_checkpoint(files.write_gguf(tmp_path, {"norm": weight}, norm="Q8_0")).tensors["norm"]
    whole = tensor.rows(0, 96)
    assert np.abs(whole - weight).max() < 0.02
    for start, stop in ((0, 0), (0, 1), (31, 33), (40, 50), (64, 96)):
        assert_same(tensor.rows(start, stop), whole[start:stop])


def test_gguf_header_agrees_with_the_package(tmp_path: Path) -> None:
    import gguf

    found = {n: a for n, a in arrays().items() if a.size and a.ndim}
    path = files.write_gguf(tmp_path, found | {"q": np.ones((3, 64), np.float32)}, q="Q4_1")
    checkpoint, reader = open_checkpoint(path), gguf.GGUFReader(path)
    assert list(checkpoint.tensors) == [t.name for t in reader.tensors]
    for theirs in reader.tensors:
        assert checkpoint.tensors[theirs.name].shape == tuple(theirs.shape.tolist())[::-1]
        if not checkpoint.tensors[theirs.name].encoding:
            assert_same(opened(path)[theirs.name], np.array(theirs.data))
    fields = {n: f.contents() for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    assert checkpoint.config == {n: v for n, v in fields.items() if not isinstance(v, list)}
    assert checkpoint.config["llama.block_count"] == 3
    assert "tokenizer.ggml.tokens" in fields


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from touchstone.migration.opening import open_checkpoint

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024

for package in sys.argv[2:]:
    __import__(package)
before = peak()
checkpoint = open_checkpoint(Path(sys.argv[1]))
total = 0
for tensor in checkpoint.tensors.values():
    for start in range(0, tensor.length, 1000):
        rows = tensor.rows(start, min(start + 1000, tensor.length))
        total += rows.nbytes
        assert (rows[:, 0] == np.arange(start, start + len(rows))).all()
print(total // 2**20, peak() - before)
"""
IMPORTED = {"pytorch": ("torch", "torch._subclasses"), "orbax": ("tensorstore", "zstandard"), "gguf": ("gguf",)}
MEGABYTES, ALLOWED = 320, 120


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", [k for k in WRITERS if k != "npz-compressed"])
def test_memory_does_not_grow_with_the_file(kind: str, tmp_path: Path) -> None:
    """Peak of resident memory, mapped pages included, of a child that reads 320 MB in blocks of 4 MB."""
    table = np.zeros((40_000, 1024), np.float32)
    table[:, 0] = np.arange(40_000)
    path = WRITERS[kind](tmp_path, {"a": table, "b": table})
    total, grown = map(int, run("-c", MEMORY, str(path), *IMPORTED.get(kind, ())).stdout.split())
    assert total == 2 * table.nbytes // 2**20 > MEGABYTES - 10
    assert grown < ALLOWED


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_memory_of_an_orbax_array_in_chunks(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    table = np.zeros((80_000, 1024), np.float32)
    table[:, 0] = np.arange(80_000)
    ocp.PyTreeCheckpointer().save(tmp_path / "a", {"w": table}, save_args={"w": ocp.SaveArgs(chunk_byte_size=2**24)})
    total, grown = map(int, run("-c", MEMORY, str(tmp_path / "a"), "tensorstore").stdout.split())
    assert total == table.nbytes // 2**20
    assert grown < 2 * ALLOWED
