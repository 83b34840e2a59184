"""Fields of a configuration that change what a model computes: what each ecosystem calls them, and what holds unsaid.

Sources: transformers' configuration classes (`PretrainedConfig`, `LlamaConfig`, `MixtralConfig`, `GPT2Config` …), which
mlx-lm reads; Meta's `llama/model.py` (`ModelArgs`); llama.cpp's `gguf-py/gguf/constants.py` (`Keys`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNSAID = object()
"""Of a field without a default that all architectures share."""


@dataclass(frozen=True)
class Field:
    """A field by all its names.

    names: what it is called, GGUF's without the architecture in front; default: what holds where it is not said;
    is_off: whether null switches it off, and does not mean that something else decides.
    """

    names: tuple[str, ...]
    default: Any = UNSAID
    is_off: bool = False

    @property
    def name(self) -> str:
        return self.names[0]


FIELDS: Sequence[Field] = (
    Field(("hidden_size", "n_embd", "d_model", "dim", "embedding_length")),
    Field(("intermediate_size", "n_inner", "feed_forward_length")),
    Field(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "block_count")),
    Field(("num_attention_heads", "n_head", "n_heads", "attention.head_count")),
    Field(("num_key_value_heads", "n_kv_heads", "multi_query_group_num", "attention.head_count_kv")),
    Field(("head_dim", "attention.key_length")),
    Field(("vocab_size",)),
    Field(("rope_theta", "rotary_emb_base", "rope.freq_base"), 10000.0),
    Field(("rope_scaling",), None, is_off=True),
    Field(("rope_type", "rope.scaling.type"), "default"),
    Field(("factor", "rope.scaling.factor")),
    Field(("partial_rotary_factor", "rotary_pct"), 1.0),
    Field(("rotary_dim", "rope.dimension_count")),
    Field(("rope_traditional",), False),
    Field(("rope_local_base_freq",)),
    Field(
        (
            "rms_norm_eps",
            "layer_norm_eps",
            "layer_norm_epsilon",
            "norm_epsilon",
            "norm_eps",
            "attention.layer_norm_rms_epsilon",
            "attention.layer_norm_epsilon",
        )
    ),
    Field(("hidden_act", "hidden_activation", "activation_function")),
    Field(("tie_word_embeddings",)),
    Field(("attention_bias",)),
    Field(("mlp_bias",), False),
    Field(("use_qk_norm", "qk_norm")),
    Field(("layer_types", "block_types")),
    Field(("sliding_window", "attention.sliding_window"), is_off=True),
    Field(("use_sliding_window",)),
    Field(("sliding_window_pattern",)),
    Field(("attn_logit_softcapping", "attn_logit_softcap"), is_off=True),
    Field(("final_logit_softcapping", "final_logit_softcap"), is_off=True),
    Field(("query_pre_attn_scalar",)),
    Field(("attention_multiplier",)),
    Field(("embedding_multiplier",)),
    Field(("residual_multiplier",)),
    Field(("logits_scaling", "logit_scale")),
    Field(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "expert_count")),
    Field(("num_experts_per_tok", "moe_top_k", "moe_k", "expert_used_count")),
    Field(("moe_intermediate_size", "expert_feed_forward_length")),
    Field(("n_shared_experts", "num_shared_experts", "expert_shared_count")),
    Field(("norm_topk_prob", "expert_weights_norm")),
    Field(("routed_scaling_factor", "expert_weights_scale")),
    Field(("scoring_func",)),
    Field(("topk_method",)),
    Field(("n_group",)),
    Field(("topk_group",)),
    Field(("first_k_dense_replace", "leading_dense_block_count")),
    Field(("q_lora_rank", "attention.q_lora_rank")),
    Field(("kv_lora_rank", "attention.kv_lora_rank")),
    Field(("qk_rope_head_dim",)),
    Field(("qk_nope_head_dim",)),
    Field(("v_head_dim", "attention.value_length")),
    Field(("state_size", "mamba_d_state", "ssm_state_size", "ssm.state_size")),
    Field(("conv_kernel", "mamba_d_conv", "conv_L_cache", "ssm.conv_kernel")),
    Field(("expand", "mamba_expand")),
    Field(("time_step_rank", "mamba_dt_rank", "ssm.time_step_rank")),
    Field(("max_position_embeddings", "n_positions", "max_seq_len", "context_length")),
    Field(("bos_token_id",)),
    Field(("eos_token_id",)),
    Field(("pad_token_id",)),
)
_SILENT = (
    *("_name_or_path", "architectures", "auto_map", "transformers_version", "torch_dtype", "dtype", "use_cache"),
    *("quantization", "quantization_config", "attn_implementation", "id2label"),
    *("label2id", "output_attentions", "output_hidden_states", "return_dict", "initializer_range", "pretraining_tp"),
    *("attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "router_aux_loss_coef"),
    *("_attn_implementation_autoset", "unsloth_version", "unsloth_fixed", "mlx_lm_version", "multiple_of"),
)
"""Fields of training, of loading, and of what a person reads: no forward pass depends on them."""
_NESTED = ("text_config", "rope_parameters", "rope_scaling")
"""What is laid beside the other fields, to be compared by every ecosystem's names."""
_LEVELS = ("rope_parameters", "vision_config", "audio_config")
"""What is compared level by level where both sides have it: rotation of each kind of layer, towers."""
_GGUF = "general.architecture"
_AS_TENSOR = "llama3"
"""A kind of scaled rotation of which GGUF stores the frequencies, as a tensor, and no field."""
_NOTHING = "nothing"


@dataclass(frozen=True)
class Difference:
    """A field whose values differ, before in the source, after in the target. known: what it does is understood."""

    name: str
    before: Any
    after: Any
    known: bool = True


def differences(source: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Difference]:
    """Every field that both configurations speak of, or whose default both share, and say differently.

    >>> [d.name for d in differences({"rope_theta": 5e5}, {"hidden_act": "silu"})]
    ['rope_theta']
    """
    before, after = plain(source), plain(target)
    if not before or not after:
        return
    has_gguf = _GGUF in source or _GGUF in target
    is_copy = all(isinstance(side.get("model_type"), str) for side in (source, target))
    understood = set()
    for field in FIELDS:
        understood |= {*field.names}
        old, new = (_value(side, field) for side in (before, after))
        if has_gguf and (field.name == "rope_scaling" or _AS_TENSOR in (old, new)):
            continue
        if new is UNSAID and old is not UNSAID and is_copy:
            yield Difference(field.name, old, _NOTHING)
        elif UNSAID not in (old, new) and not same(old, new):
            yield Difference(field.name, old, new)
    if has_gguf:
        return
    for name in _LEVELS:
        yield from _between(name, before.get(name), after.get(name))
    for name in sorted(before.keys() & after.keys() - understood - {*_SILENT, *_NESTED, *_LEVELS}):
        if not same(before[name], after[name]):
            yield Difference(name, before[name], after[name], known=False)


def _between(path: str, before: Any, after: Any) -> Iterator[Difference]:
    """Every leaf that both have and that differs, by its path."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() & after.keys() - {*_SILENT}):
            yield from _between(f"{path}.{name}", before[name], after[name])
    elif before is not None and after is not None and not same(before, after):
        yield Difference(path, before, after)


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with what is nested in it for the text model, and for rotation, beside the rest."""
    architecture = config.get(_GGUF)
    out = {k.removeprefix(f"{architecture}.").removeprefix("tokenizer.ggml."): v for k, v in config.items()}
    for name in _NESTED:
        inner = out.get(name)
        if isinstance(inner, Mapping) and not any(isinstance(v, Mapping) for v in inner.values()):
            said: dict[str, Any] = {_ALSO.get(str(k), str(k)): v for k, v in inner.items() if v is not None}
            is_model = name == "text_config"
            out |= {k: v for k, v in said.items() if is_model or out.get(k) is None}
        elif isinstance(inner, Mapping) and name == "text_config":
            out |= plain(inner)
    return out


_ALSO = {"type": "rope_type"}
"""Names inside of what is nested that mean something else outside."""


def _value(config: Mapping[str, Any], field: Field) -> Any:
    """What a configuration says of a field; its default where it says nothing."""
    said = [config[n] for n in field.names if n in config and (config[n] is not None or field.is_off)]
    return said[0] if said else field.default


def same(a: Any, b: Any) -> bool:
    """Whether two values say the same: 1 and 1.0, one number and a list of it alone."""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return all(map(same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    left, right = (v[0] if isinstance(v, list) and len(v) == 1 else v for v in (a, b))
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (left, right)):
        return bool(abs(left - right) <= 1e-6 * abs(left))  # GGUF keeps float32
    return bool(left == right)
