"""Are Orbax's large arrays, which are one piece each, read as streams: bit for bit, and without reading past damage?"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests import checkpoint_files as files
from tests.checkpoint_files import HELD, arrays, everything
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.formats import orbax, streams
from touchstone.migration.opening import open_checkpoint

STREAMED: tuple[dict[str, bool], ...] = ({}, {"use_ocdbt": False}, {"use_compression": False})
"""Layouts in which an array that is one piece need not be decoded whole."""
WHOLE = np.random.default_rng(1).integers(0, 9, (4000, 200)).astype(np.float32)


@pytest.fixture(autouse=True)
def only_scalars_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orbax, "LARGE", 8)


def write(folder: Path, tree: dict[str, Any], **options: bool) -> Path:
    import orbax.checkpoint as ocp

    ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)).save(folder / "orbax", tree)
    return folder / "orbax"


@pytest.mark.parametrize("dtype", HELD["orbax"])
def test_every_dtype(dtype: str, tmp_path: Path) -> None:
    expected = arrays(getattr(ml_dtypes, dtype, None) or np.dtype(dtype))
    checkpoint = open_checkpoint(files.write_orbax(tmp_path, expected))
    assert checkpoint.notes == []
    found = everything(checkpoint)
    assert found.keys() == expected.keys() - {"nothing"}
    for name, array in found.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
        assert array.tobytes() == expected[name].tobytes()


@pytest.mark.parametrize("options", STREAMED, ids=str)
def test_rows_in_any_order_and_from_threads(options: dict[str, bool], tmp_path: Path) -> None:
    path = write(tmp_path, {"w": WHOLE, "cube": WHOLE.reshape(40, 100, 200), "line": WHOLE[0]}, **options)
    checkpoint = open_checkpoint(path)
    assert checkpoint.notes == []
    chance = random.Random(1)
    asked = []
    for name in ["w", "cube", "line"] * 40:
        tensor = checkpoint.tensors[name]
        start = chance.randint(0, tensor.length)
        asked.append((tensor, start, chance.randint(start, tensor.length)))
    expected = {"w": WHOLE, "cube": WHOLE.reshape(40, 100, 200), "line": WHOLE[0]}
    with ThreadPoolExecutor(8) as pool:
        for (tensor, start, stop), rows in zip(asked, pool.map(lambda a: a[0].rows(*a[1:]), asked), strict=True):
            assert np.array_equal(rows, expected[tensor.name][start:stop])


def test_reading_on_decodes_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    real = orbax._Value.part

    def counted(self: Any, start: int, size: int) -> bytes:
        found = real(self, start, size)
        taken.append(len(found))
        return found

    monkeypatch.setattr(orbax._Value, "part", counted)
    path = write(tmp_path, {"w": WHOLE}, use_ocdbt=False)
    tensor = open_checkpoint(path).tensors["w"]
    for start in range(0, 4000, 100):
        tensor.rows(start, start + 100)
    assert sum(taken) == (path / "w" / "0.0").stat().st_size
    assert max(taken) <= streams.PIECE


@pytest.mark.parametrize(
    "stored",
    [
        {"order": "F", "compressor": {"id": "zstd", "level": 1}},
        {"order": "C", "compressor": {"id": "zlib", "level": 1}},
        {"order": "C", "compressor": {"id": "zstd", "level": 1}, "dtype": ">f4"},
        {"order": "C", "compressor": None, "dtype": ">f4"},
    ],
    ids=str,
)
def test_arrays_that_others_wrote(stored: dict[str, Any], tmp_path: Path) -> None:
    """Another order of the elements or of their bytes, or another compression: TensorStore reads these."""
    import tensorstore as ts

    path = write(tmp_path, {"w": WHOLE}, use_ocdbt=False)
    shutil.rmtree(path / "w")
    about = {"shape": [4000, 200], "chunks": [4000, 200], "dtype": "<f4"} | stored
    store = {"driver": "file", "path": f"{path}/w/"}
    ts.open({"driver": "zarr", "kvstore": store, "metadata": about, "create": True}).result().write(WHOLE).result()
    checkpoint = open_checkpoint(path)
    assert len(checkpoint.notes) == 1
    assert np.array_equal(checkpoint.tensors["w"].rows(55, 3910), WHOLE[55:3910])


@pytest.mark.parametrize("options", [{"use_zarr3": True}, {}], ids=["zarr3", "several pieces"])
def test_other_large_pieces_are_decoded_whole_and_noted(options: dict[str, bool], tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options))
    arguments = ocp.args.PyTreeSave({"w": WHOLE}, {"w": ocp.SaveArgs(chunk_byte_size=2**20)})
    saver.save(tmp_path / "a", args=arguments)
    checkpoint = open_checkpoint(tmp_path / "a")
    (note,) = checkpoint.notes
    assert note.startswith("w is stored in pieces of 1 MB, each decoded whole")
    assert np.array_equal(checkpoint.tensors["w"].rows(55, 3910), WHOLE[55:3910])


def test_small_pieces_are_left_to_tensorstore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orbax, "LARGE", WHOLE.nbytes)
    monkeypatch.setattr(orbax, "Forward", None)
    assert np.array_equal(open_checkpoint(write(tmp_path, {"w": WHOLE})).tensors["w"].rows(0, 4000), WHOLE)


def test_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"w": WHOLE})
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(CheckpointError, match="needs the package zstandard: pip install zstandard"):
        open_checkpoint(path)


def layout(path: Path, **changes: Any) -> None:
    """Changes what the folder says of its array w."""
    about = json.loads((path / "w" / ".zarray").read_text())
    (path / "w" / ".zarray").write_text(json.dumps(about | changes))


def cut(path: Path) -> None:
    piece = path / "w" / "0.0"
    os.truncate(piece, piece.stat().st_size // 2)


def flip(path: Path) -> None:
    """The first bytes say how the rest is compressed."""
    piece = path / "w" / "0.0"
    content = bytearray(piece.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    piece.write_bytes(content)


def looks_back_far(path: Path) -> None:
    """Whoever decodes it must hold what it looks back on: 256 MB."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (path / "w" / "0.0").write_bytes(packed.compress(WHOLE.tobytes()) + packed.flush())


DAMAGE = {
    "cut": (cut, r"its compressed data ends after [\d,]+ of 3,200,000 bytes"),
    "emptied": (lambda p: os.truncate(p / "w" / "0.0", 0), "its compressed data ends after 0 of 3,200,000 bytes"),
    "removed": (lambda p: (p / "w" / "0.0").unlink(), "piece '0.0' is missing"),
    "overwritten": (flip, "its compressed data is damaged"),
    "fewer rows than there are": (
        lambda p: layout(p, shape=[3999, 200], chunks=[3999, 200]),
        "its compressed data goes on after 3,199,200 bytes",
    ),
    "more rows than there are": (
        lambda p: layout(p, shape=[4001, 200], chunks=[4001, 200]),
        "its compressed data ends after 3,200,000 of 3,200,800 bytes",
    ),
    "window": (looks_back_far, "its compressed data is damaged .*too much memory"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage(case: str, tmp_path: Path) -> None:
    change, expected = DAMAGE[case]
    path = write(tmp_path, {"w": WHOLE}, use_ocdbt=False)
    change(path)
    tensor = open_checkpoint(path).tensors["w"]
    with pytest.raises(CheckpointError, match=f"tensor 'w': cannot be read .*{expected}"):
        deque(tensor.rows(start, min(start + 500, tensor.length)) for start in range(0, tensor.length, 500))


def test_damage_without_compression(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": WHOLE}, use_ocdbt=False, use_compression=False)
    cut(path)
    tensor = open_checkpoint(path).tensors["w"]
    assert np.array_equal(tensor.rows(0, 2000), WHOLE[:2000])
    for start, stop in ((2000, 2001), (1999, 2001), (3000, 4000)):
        with pytest.raises(
            CheckpointError, match=f"'w': cannot be read .*ends before byte {stop * 800:,} of 3,200,000"
        ):
            tensor.rows(start, stop)


def test_data_that_is_lost_after_opening(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": WHOLE})
    tensor = open_checkpoint(path).tensors["w"]
    shutil.rmtree(path)
    with pytest.raises(CheckpointError, match="tensor 'w': cannot be read"):
        tensor.rows(0, 7)


@pytest.mark.parametrize("seed", range(150))
def test_random_damage_is_never_read_as_something_else(seed: int, tmp_path: Path) -> None:
    """A byte changed anywhere in the folder: a clear error, or other numbers of the same shape, and nothing else."""
    path = write(tmp_path, {"w": WHOLE[:40]}, use_ocdbt=bool(seed % 2))
    chance = random.Random(seed)
    victim = chance.choice(sorted(p for p in path.rglob("*") if p.is_file() and p.stat().st_size))
    content = bytearray(victim.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    victim.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        for tensor in open_checkpoint(path).tensors.values():
            assert tensor.rows(0, tensor.length).shape == tensor.shape
