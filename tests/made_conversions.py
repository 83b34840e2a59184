"""Small models as hubs hold them, what a sound converter makes of them, and ways to get it wrong.

The conversions are written out here once more, with NumPy alone, by what mlx-lm's `sanitize` methods do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.made_checkpoints import Arrays, write
from touchstone.migration.check import Check
from touchstone.migration.findings import Finding

LAYERS, EXPERTS, DIMS, INNER, HEADS, TAPS = 3, 4, 32, 64, 4, 5
NOPE, VALUE, RANK = 32, 10, 64


class Model:
    """Arrays drawn one after the other, every one unlike the others."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        return (0.1 * self.rng.standard_normal(shape)).astype(np.float32)

    def norm(self, size: int = DIMS) -> np.ndarray:
        return 1 + self.normal(size)


def _outside(model: Model) -> Arrays:
    return {
        "model.embed_tokens.weight": model.normal(64, DIMS),
        "model.norm.weight": model.norm(),
        "lm_head.weight": model.normal(64, DIMS),
    }


def _attention(model: Model, prefix: str) -> Arrays:
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    out = {f"{prefix}.self_attn.{name}.weight": model.normal(DIMS, DIMS) for name in names}
    norms = ("input_layernorm", "post_attention_layernorm")
    return out | {f"{prefix}.{name}.weight": model.norm() for name in norms}


SHAPES = {"gate_proj": (INNER, DIMS), "up_proj": (INNER, DIMS), "down_proj": (DIMS, INNER)}


def mixture(names: Mapping[str, str], module: str) -> tuple[Arrays, Arrays]:
    """(hub, MLX) of a mixture of experts. names: gate_proj, up_proj and down_proj -> as the hub calls them."""
    model = Model()
    before = _outside(model)
    for n in range(LAYERS):
        prefix = f"model.layers.{n}"
        before |= _attention(model, prefix) | {f"{prefix}.{module}.gate.weight": model.normal(EXPERTS, DIMS)}
        for e in range(EXPERTS):
            for name, shape in SHAPES.items():
                before[f"{prefix}.{module}.experts.{e}.{names[name]}.weight"] = model.normal(*shape)
    after = {name: t for name, t in before.items() if ".experts." not in name}
    for n in range(LAYERS):
        for name in SHAPES:
            stem = f"model.layers.{n}.{module}"
            parts = [before[f"{stem}.experts.{e}.{names[name]}.weight"] for e in range(EXPERTS)]
            after[f"{stem}.switch_mlp.{name}.weight"] = np.stack(parts)
    return before, after


def fused(*, interleaved: bool = False, turned: bool = False) -> tuple[Arrays, Arrays]:
    """(hub, MLX) of experts that are stored together, gate and up in one tensor."""
    model = Model()
    before = _outside(model)
    after = dict(before)
    for n in range(LAYERS):
        prefix = f"model.layers.{n}"
        shared = _attention(model, prefix)
        both, down = model.normal(EXPERTS, 2 * INNER, DIMS), model.normal(EXPERTS, DIMS, INNER)
        gate, up = (both[:, ::2], both[:, 1::2]) if interleaved else (both[:, :INNER], both[:, INNER:])
        stored = [t.swapaxes(1, 2) if turned else t for t in (both, down)]
        before |= shared | {
            f"{prefix}.mlp.experts.gate_up_proj": stored[0],
            f"{prefix}.mlp.experts.down_proj": stored[1],
        }
        parts = {"gate_proj": gate, "up_proj": up, "down_proj": down}
        after |= shared | {f"{prefix}.mlp.switch_mlp.{name}.weight": t for name, t in parts.items()}
    return before, after


def convolutions() -> tuple[Arrays, Arrays]:
    """(hub, MLX) of a state-space model, of patches with as many taps as channels, and of what enlarges."""
    model = Model()
    before = {
        "backbone.embeddings.weight": model.normal(64, DIMS),
        "vision.patch_embed.proj.weight": model.normal(8, 3, 3, 3),
        "vision.neck.conv_transpose.weight": model.normal(6, 6, 2, 2),
    }
    after = dict(before)
    after["vision.neck.conv_transpose.weight"] = before["vision.neck.conv_transpose.weight"].transpose(1, 2, 3, 0)
    after["vision.patch_embed.proj.weight"] = before["vision.patch_embed.proj.weight"].transpose(0, 2, 3, 1)
    for n in range(LAYERS):
        name = f"backbone.layers.{n}.mixer"
        own = {f"{name}.in_proj.weight": model.normal(DIMS, DIMS), f"{name}.conv1d.bias": model.normal(DIMS)}
        before |= own | {f"{name}.conv1d.weight": model.normal(DIMS, 1, TAPS)}
        after |= own | {f"{name}.conv1d.weight": before[f"{name}.conv1d.weight"].swapaxes(1, 2)}
    return before, after


def latent() -> tuple[Arrays, Arrays]:
    """(hub, MLX) of multi-head latent attention, whose kv_b_proj is cut in two by heads."""
    model = Model()
    before = _outside(model)
    after = dict(before)
    for n in range(LAYERS):
        stem = f"model.layers.{n}.self_attn"
        whole = model.normal(HEADS * (NOPE + VALUE), RANK)
        before[f"{stem}.kv_b_proj.weight"] = whole
        heads = whole.reshape(HEADS, NOPE + VALUE, RANK)
        after[f"{stem}.embed_q.weight"] = heads[:, :NOPE].swapaxes(1, 2)
        after[f"{stem}.unembed_out.weight"] = heads[:, NOPE:]
    return before, after


def plus_one() -> tuple[Arrays, Arrays]:
    """(hub, MLX) of a model whose norms are stored less one."""
    model = Model()
    before = _outside(model)
    for n in range(LAYERS):
        before |= _attention(model, f"model.layers.{n}")
    return before, {k: t + np.float32(1) if t.ndim == 1 else t for k, t in before.items()}


def prefixed() -> tuple[Arrays, Arrays]:
    """(hub, MLX) of a model whose modules are called otherwise."""
    model = Model()
    before, after = {"gpt_neox.embed_in.weight": model.normal(64, DIMS)}, {}
    for n in range(LAYERS):
        for leaf, shape in {
            "attention.query_key_value.weight": (3 * DIMS, DIMS),
            "mlp.dense.weight": (DIMS, DIMS),
        }.items():
            before[f"gpt_neox.layers.{n}.{leaf}"] = model.normal(*shape)
    for name, t in before.items():
        after[name.replace("gpt_neox.layers", "model.h").replace("gpt_neox", "model")] = t
    return before, after


MODELS: Mapping[str, tuple[Callable[[], tuple[Arrays, Arrays]], str]] = {
    "experts": (lambda: mixture({n: n for n in SHAPES}, "mlp"), "qwen3_moe"),
    "experts w1 w2 w3": (
        lambda: mixture({"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}, "block_sparse_moe"),
        "mixtral",
    ),
    "halves": (fused, "mistral4"),
    "halves, transposed": (lambda: fused(turned=True), "qwen3_vl_moe"),
    "interleaved": (lambda: fused(interleaved=True), "gpt_oss"),
    "convolutions": (convolutions, "mamba"),
    "latent attention": (latent, "deepseek_v3"),
    "plus one": (plus_one, "qwen3_next"),
    "prefix": (prefixed, "gpt_neox"),
}
"""A kind of conversion -> what makes both sides, and a `model_type` for which it is documented."""

CONFIG: Mapping[str, Any] = {"num_attention_heads": HEADS, "vocab_size": 64}


def save(folder: Path, before: Arrays, after: Arrays, model: str, **quantization: Any) -> tuple[Path, Path]:
    """Both sides as folders, with the metadata that transformers and mlx-lm write."""
    config = {**CONFIG, "model_type": model} if model else dict(CONFIG)
    ends = {"quantization": quantization} if quantization else {}
    source = write(folder / "hub", before, config, framework="pt")
    return source, write(folder / "mlx", after, {**config, **ends}, framework="mlx")


def checked(folder: Path, before: Arrays, after: Arrays, model: str) -> tuple[Check, list[tuple[str, Finding]]]:
    """The check, and every finding with its tensor."""
    check = Check(*save(folder, before, after, model))
    return check, [(q.name, check.finding(q)) for q in check.questions]


def changed(arrays: Arrays, pattern: str, change: Callable[[np.ndarray], np.ndarray], *, everywhere: bool) -> Arrays:
    """The arrays with those whose names end so changed: the one of layer 1, or of every layer."""
    names = [name for name in arrays if re.search(pattern, name)]
    assert names, pattern
    chosen = names if everywhere else [next(n for n in names if ".1." in n or len(names) == 1)]
    return arrays | {name: np.ascontiguousarray(change(arrays[name])) for name in chosen}


def exchanged(arrays: Arrays, one: str, other: str, *, everywhere: bool) -> Arrays:
    """The arrays with two of every layer, or of layer 1, in each other's place."""
    out = dict(arrays)
    for name in arrays:
        if one in name and (everywhere or ".1." in name):
            twin = name.replace(one, other)
            out[name], out[twin] = arrays[twin], arrays[name]
    return out
