"""Small Llama checkpoints as their ecosystems name and store them, and the verdicts of a check of two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Scheme
from touchstone.migration.check import Check
from touchstone.migration.findings import Finding

DIMS, HIDDEN, VOCABULARY, HEADS, LAYERS = 64, 128, 320, 4, 3
CONFIG: Mapping[str, Any] = {"num_attention_heads": HEADS, "vocab_size": VOCABULARY}
SQUARE = ("attention.wq", "attention.wk", "attention.wv", "attention.wo")
OTHERS = {"feed_forward.w1": (HIDDEN, DIMS), "feed_forward.w2": (DIMS, HIDDEN), "feed_forward.w3": (HIDDEN, DIMS)}

HUGGING_FACE = {
    "tok_embeddings": "model.embed_tokens",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "norm": "model.norm",
    "output": "lm_head",
}
GGUF = {
    "tok_embeddings": "token_embd",
    "attention.wq": "attn_q",
    "attention.wk": "attn_k",
    "attention.wv": "attn_v",
    "attention.wo": "attn_output",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
    "attention_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
    "norm": "output_norm",
    "output": "output",
}
Arrays = dict[str, np.ndarray]


def meta(seed: int = 0, *, tied: bool = False, spread: float = 1.0) -> Arrays:
    """A Llama by Meta's names, float32. Every matrix is unlike the others, and no row like another."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (spread * rng.standard_normal(shape)).astype(np.float32)

    out: Arrays = {"tok_embeddings.weight": normal(VOCABULARY, DIMS)}
    for n in range(LAYERS):
        out |= {f"layers.{n}.{m}.weight": normal(DIMS, DIMS) for m in SQUARE}
        out |= {f"layers.{n}.{m}.weight": normal(*shape) for m, shape in OTHERS.items()}
        norms = ("attention_norm", "ffn_norm")
        out |= {f"layers.{n}.{m}.weight": 1 + normal(DIMS) / np.float32(8) for m in norms}
    out["norm.weight"] = 1 + normal(DIMS) / np.float32(8)
    return out if tied else out | {"output.weight": normal(VOCABULARY, DIMS)}


def halves(rows: np.ndarray, heads: int = HEADS) -> np.ndarray:
    """Rows of q or k from adjacent pairs to half a head apart, written out.

    Row i of a head goes to i / 2, or half a head further where i is odd.
    """
    size = len(rows) // heads
    order = [h * size + i for h in range(heads) for i in (*range(0, size, 2), *range(1, size, 2))]
    return rows[order]


def renamed(weights: Mapping[str, np.ndarray], names: Mapping[str, str], layer: str, *, permuted: bool) -> Arrays:
    """Meta's weights by other names. permuted: q and k rows go to the order of rotated halves."""
    out = {}
    for name, value in weights.items():
        path = name.removesuffix(".weight")
        if path.startswith("layers."):
            _, n, path = path.split(".", 2)
            value = halves(value) if permuted and path in ("attention.wq", "attention.wk") else value
            out[f"{layer}.{n}.{names[path]}.weight"] = np.ascontiguousarray(value)
        else:
            out[f"{names[path]}.weight"] = value
    return out


def hugging_face(weights: Mapping[str, np.ndarray], *, permuted: bool = True) -> Arrays:
    return renamed(weights, HUGGING_FACE, "model.layers", permuted=permuted)


def packed(weights: Mapping[str, np.ndarray], scheme: Scheme, dtype: str = "float32") -> Arrays:
    """Every matrix quantized, as mlx-lm stores it; the rest as it is."""
    adapter = registry.adapter_class("reference")("cpu")
    out: Arrays = {}
    for name, value in weights.items():
        value = value.astype(dtype)
        if value.ndim == 2 and value.shape[1] % scheme.group_size == 0:
            parts = adapter.layer("quantized_linear", value, scheme=scheme).parameters()
            out |= {f"{name.removesuffix('weight')}{part}": array for part, array in parts.items()}
        else:
            out[name] = value
    return out


def quantization(scheme: Scheme, **layers: Any) -> dict[str, Any]:
    """A configuration as mlx-lm writes it."""
    own = {"bits": scheme.bits, "group_size": scheme.group_size}
    mode = {} if scheme.mode == "affine" else {"mode": scheme.mode}
    return {**CONFIG, "quantization": {**own, **mode, **layers}}


def write(
    folder: Path, tensors: Mapping[str, np.ndarray], config: Mapping[str, Any] = CONFIG, framework: str = ""
) -> Path:
    """A folder as users have them: one safetensors file and config.json. framework: what the file says it is for."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
    save_file(stored, folder / "model.safetensors", {"format": framework} if framework else None)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def verdicts(
    source: Path, target: Path, keymap: Path | None = None, threads: int = 2
) -> dict[tuple[str, str], Finding]:
    """(requirement, tensor) -> verdict, of every question of a check."""
    check = Check(source, target, keymap)
    check.start({(q.requirement, q.name) for q in check.questions}, threads, None, "main")
    try:
        return {(q.requirement, q.name): check.finding(q) for q in check.questions}
    finally:
        check.close()


def red(found: dict[tuple[str, str], Finding]) -> dict[str, str]:
    """Tensor -> behaviour, of the verdicts that do not conform; its values' before its configuration's."""
    return {name: f.behaviour for (_, name), f in reversed(found.items()) if not f.conforms}
