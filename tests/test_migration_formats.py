"""Is one model the same in every format that a framework writes, and read as such?"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests import checkpoint_files as files
from tests.made_checkpoints import GGUF, HEADS, hugging_face, meta, red, renamed, verdicts
from touchstone.migration import llama_names

FORMATS = ("pytorch", "safetensors", "shards", "mlx npz", "npz", "msgpack", "orbax", "gguf")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same Llama as each ecosystem names it, in the format that it writes."""
    folder = tmp_path_factory.mktemp("formats")
    weights, flax = meta(), llama_names.convert(meta(), "flax")
    made = {
        "pytorch": (files.write_pytorch, weights),
        "safetensors": (files.write_safetensors, hugging_face(weights)),
        "shards": (files.write_shards, hugging_face(weights)),
        "mlx npz": (files.write_mlx_npz, llama_names.convert(weights, "mlx")),
        "npz": (files.write_npz_compressed, weights),
        "msgpack": (files.write_msgpack, flax),
        "orbax": (files.write_orbax, flax),
        "gguf": (files.write_gguf, renamed(weights, GGUF, "blk", permuted=False)),
    }
    out = {}
    for name, (write, tensors) in made.items():
        own = folder / name.replace(" ", "_")
        own.mkdir()
        out[name] = write(own, tensors)
        (own / "config.json").write_text(f'{{"num_attention_heads": {HEADS}}}')
    return out


@pytest.mark.parametrize(("before", "after"), [*itertools.permutations(FORMATS, 2)])
def test_a_model_in_two_formats(written: dict[str, Path], before: str, after: str) -> None:
    found = verdicts(written[before], written[after])
    assert red(found) == {}
    assert len(found) == len(meta())


@pytest.mark.parametrize("after", FORMATS)
def test_another_model_in_that_format_is_red_in_every_tensor(
    written: dict[str, Path], after: str, tmp_path: Path
) -> None:
    other = files.write_pytorch(tmp_path, meta(seed=1))
    (tmp_path / "config.json").write_text(f'{{"num_attention_heads": {HEADS}}}')
    assert len(red(verdicts(other, written[after]))) == len(meta())


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q4_0", "Q5_0", "Q5_1"])
def test_gguf_blocks_hold_their_source_within_bound(tmp_path: Path, kind: str) -> None:
    weights = {n: t for n, t in renamed(meta(), GGUF, "blk", permuted=False).items() if t.ndim == 2}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    target = files.write_gguf(tmp_path / "b", weights, **{name.replace(".", "_"): kind for name in weights})
    found = verdicts(files.write_safetensors(tmp_path / "a", weights), target)
    assert red(found) == {}
    headroom = max(f.headroom or 0 for f in found.values())
    assert 0.5 < headroom <= 1
    wrong = {n: np.roll(t, 1, axis=0) if n == "output.weight" else t for n, t in weights.items()}
    (tmp_path / "c").mkdir()
    assert red(verdicts(files.write_safetensors(tmp_path / "c", wrong), target)) == {"output.weight": "rows shifted"}
