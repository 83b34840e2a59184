"""Who names what how: the parameter names of Llama checkpoints in each ecosystem, and Flax's names of leaves.

Sources: transformers' `LlamaForCausalLM`, which mlx-lm keeps; Meta's `llama/model.py`; the Llama example of MLX's
documentation; llama.cpp's `gguf-py/gguf/constants.py`; `flax.nnx.Linear` (kernel ``[in, out]``), `Embed` and `RMSNorm`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from touchstone.migration import llama_names

Rope = Literal["half", "interleaved"]
"""How rows of q and k are ordered within a head: the two numbers of a rotated pair half a head apart, or adjacent."""

EMBEDDING, HEAD = "embedding", "head"
QUERY, KEY = "q", "k"
_LEAVES = {
    **{"weight": "weight", "kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"},
    **{"running_mean": "mean", "running_var": "var"},
}


@dataclass(frozen=True)
class Name:
    """A parameter's name, understood. module: its path; leaf: "weight", "bias", or as written."""

    module: tuple[str, ...]
    leaf: str
    is_kernel: bool = False
    """Stored ``[in, out]``, as Flax's linear layers do."""

    @classmethod
    @cache
    def of(cls, text: str) -> Name:
        """What a name as a file writes it says."""
        parts = tuple(p for p in re.split(r"[./]", text) if p)
        path = [*parts[:-1]]
        if path[:1] == ["params"]:
            path = path[1:]
        numbered = [re.fullmatch(r"(layers|h|blk|blocks|block|layer)_(\d+)", p) for p in path]
        module = tuple(t for p, m in zip(path, numbered, strict=True) for t in (m.groups() if m else (p,)))
        last = parts[-1] if parts else text
        return cls(module, _LEAVES.get(last, last), last == "kernel")


@dataclass(frozen=True)
class Convention:
    """Module paths of one ecosystem -> the role that the module has; ``{n}`` is a layer's number."""

    name: str
    rope: Rope
    modules: Mapping[str, str]

    @cached_property
    def patterns(self) -> Sequence[tuple[re.Pattern[str], str]]:
        return [
            (re.compile(rf"(?P<prefix>(?:.*\.)?){re.escape(path).replace(re.escape('{n}'), '(?P<n>[0-9]+)')}"), role)
            for path, role in self.modules.items()
        ]

    def roles(self, names: Collection[str]) -> dict[str, str]:
        """Name -> role and leaf ("layers.3.q.weight"), for each name that the convention explains.

        All names must share the prefix that those of the layers have, so that ``norm`` is not anyone's norm.
        """
        found: dict[str, list[tuple[str, str]]] = {}
        for text in names:
            name = Name.of(text)
            for pattern, role in self.patterns:
                if match := pattern.fullmatch(".".join(name.module)):
                    role = role.replace("{n}", match.groupdict().get("n") or "")
                    found.setdefault(match["prefix"], []).append((text, f"{role}.{name.leaf}"))
        prefix = max(found, key=lambda p: sum("layers." in role for _, role in found[p]), default="")
        prefixes = {prefix, *(prefix[: m.start() + 1] for m in re.finditer(r"\.", prefix[:-1])), ""}
        return {text: role for p in sorted(prefixes, key=len) for text, role in found.get(p, ())}


_ROLES = {
    "tok_embeddings": EMBEDDING,
    "layers.{n}.attention.wq": "layers.{n}.q",
    "layers.{n}.attention.wk": "layers.{n}.k",
    "layers.{n}.attention.wv": "layers.{n}.v",
    "layers.{n}.attention.wo": "layers.{n}.o",
    "layers.{n}.feed_forward.w1": "layers.{n}.gate",
    "layers.{n}.feed_forward.w3": "layers.{n}.up",
    "layers.{n}.feed_forward.w2": "layers.{n}.down",
    "layers.{n}.attention_norm": "layers.{n}.norm1",
    "layers.{n}.ffn_norm": "layers.{n}.norm2",
    "norm": "norm",
    "output": HEAD,
}
"""Meta's paths of modules -> their roles."""


def _of_llama(convention: str) -> dict[str, str]:
    """Roles by the paths that `touchstone.migration.llama_names` has in a convention."""
    places = llama_names.CONVENTIONS[convention]
    return {places[path].path: role for path, role in _ROLES.items()}


def _renamed(names: Mapping[str, str]) -> dict[str, str]:
    """Roles by paths, from role to path."""
    by_role = {role.removeprefix("layers.{n}."): role for role in _ROLES.values()}
    return {path: by_role[role] for role, path in names.items()}


HUGGING_FACE = Convention(
    "Hugging Face and mlx-lm",
    "half",
    _renamed(
        {
            EMBEDDING: "embed_tokens",
            QUERY: "layers.{n}.self_attn.q_proj",
            KEY: "layers.{n}.self_attn.k_proj",
            "v": "layers.{n}.self_attn.v_proj",
            "o": "layers.{n}.self_attn.o_proj",
            "gate": "layers.{n}.mlp.gate_proj",
            "up": "layers.{n}.mlp.up_proj",
            "down": "layers.{n}.mlp.down_proj",
            "norm1": "layers.{n}.input_layernorm",
            "norm2": "layers.{n}.post_attention_layernorm",
            "norm": "norm",
            HEAD: "lm_head",
        }
    ),
)
META = Convention("Meta's Llama", "interleaved", _of_llama("meta"))
MLX_EXAMPLE = Convention("MLX's Llama example", "interleaved", _of_llama("mlx"))
FLAX_LLAMA = Convention("the Flax Llama of this project", "interleaved", _of_llama("flax"))
GGUF = Convention(
    "GGUF's Llama",
    "interleaved",
    _renamed(
        {
            EMBEDDING: "token_embd",
            QUERY: "blk.{n}.attn_q",
            KEY: "blk.{n}.attn_k",
            "v": "blk.{n}.attn_v",
            "o": "blk.{n}.attn_output",
            "gate": "blk.{n}.ffn_gate",
            "up": "blk.{n}.ffn_up",
            "down": "blk.{n}.ffn_down",
            "norm1": "blk.{n}.attn_norm",
            "norm2": "blk.{n}.ffn_norm",
            "norm": "output_norm",
            HEAD: "output",
        }
    ),
)
CONVENTIONS = (HUGGING_FACE, META, MLX_EXAMPLE, FLAX_LLAMA, GGUF)

BUFFERS = re.compile(
    r"(^|\.)(rope\.freqs|rope_freqs(\.weight)?|rotary_emb\.inv_freq|inv_freq|freqs_cis|cos_cached|sin_cached"
    r"|position_ids|token_type_ids|num_batches_tracked)$"
)
"""Buffers that a model computes when it is built, so that a checkpoint may leave them out."""
_MASKS = re.compile(r"(^|\.)(attn|attention)\.(masked_)?bias$")


def is_buffer(name: str, axes: int) -> bool:
    """Whether a model computes what has this name; causal masks are called biases, and have 4 axes or none."""
    return bool(BUFFERS.search(name) or (_MASKS.search(name) and axes in (0, 4)))


TRAINING = re.compile(r"(^|[./])(opt_state|optimizer|optimizer_state|rngs|batch_rng)[./]|^(step|global_step|epoch)$")
"""What a training loop keeps beside the model: Flax's TrainState and nnx.Rngs, optimizers' moments, counters."""

_TABLES = ("embed_tokens", "tok_embeddings", "token_embd", "wte", "word_embeddings", "embedding", "embed")
_HEADS = ("lm_head", "output", "out_proj", "head", "unembed")


def rope_of(convention: Convention, config: Mapping[str, Any]) -> Rope:
    """How a checkpoint of this convention rotates: llama.cpp permutes q and k of its architecture "llama" alone."""
    permuted = config.get("general.architecture", "llama") == "llama"
    return convention.rope if convention is not GGUF or permuted else "half"


def convention_of(names: Collection[str]) -> tuple[Convention | None, dict[str, str]]:
    """The convention that explains most of the names, and the roles that it gives them.

    None where none explains the layers of attention.
    """
    best: tuple[Convention | None, dict[str, str]] = (None, {})
    for convention in CONVENTIONS:
        roles = convention.roles(names)
        attends = any(role.split(".")[2:3] == [QUERY] for role in roles.values())
        if attends and len(roles) > len(best[1]):
            best = convention, roles
    return best


def table_and_head(names: Collection[str], roles: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Names of the embedding's and the head's weights: by their roles, else by what such modules are called."""
    by_role = {role: name for name, role in roles.items()}
    table, head = by_role.get(f"{EMBEDDING}.weight"), by_role.get(f"{HEAD}.weight")
    if roles:
        return table, head

    def called(words: Sequence[str]) -> str | None:
        found = [t for w in words for t in names if (n := Name.of(t)).leaf == "weight" and n.module[-1:] == (w,)]
        outer = [t for t in found if not any(p.isdigit() for p in Name.of(t).module)]
        return outer[0] if outer else None

    return called(_TABLES), called(_HEADS)


@dataclass(frozen=True)
class Heads:
    """Numbers of attention heads, as a configuration says; 0 where it does not."""

    query: int = 0
    key: int = 0

    @classmethod
    def of(cls, *configs: Mapping[str, Any]) -> Heads:
        """From the first that says: transformers' and mlx-lm's names, Meta's, GGUF's; of images, the text model's."""
        inner = [c["text_config"] for c in configs if isinstance(c.get("text_config"), Mapping)]
        for config in (*configs, *inner):
            named = {k.rpartition("attention.")[2] if "attention.head_count" in k else k: v for k, v in config.items()}
            query = count(named, "num_attention_heads", "n_heads", "n_head", "head_count")
            if query:
                return cls(query, count(named, "num_key_value_heads", "n_kv_heads", "head_count_kv") or query)
        return cls()


def count(config: Mapping[str, Any], *names: str) -> int:
    """The first of these fields that is a positive integer, 0 where none is."""
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), 0)
