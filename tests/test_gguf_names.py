"""Are models of many architectures paired with the GGUF files that llama.cpp's converter makes of them?

The names are written out by hand here, from ``gguf-py/gguf/constants.py`` and the models' own files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.checkpoint_files import write_gguf
from tests.made_checkpoints import Arrays, halves, red, verdicts, write
from touchstone.command import main
from touchstone.migration.check import Check

DIMS, INNER, VOCABULARY, EXPERTS, HEADS, LAYERS = 32, 48, 80, 4, 4, 2
ATTENTION = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
OUT = {"self_attn.o_proj": "attn_output"}
MLP = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
GEMMA = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
QK_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
HEAD = {"lm_head": "output"}
DENSE = {**ATTENTION, **OUT, **MLP}
MODELS: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str], str]] = {
    "gemma2": ("model.layers", {**DENSE, **GEMMA}, OUTSIDE, "gemma2"),
    "gemma3": ("model.layers", {**DENSE, **GEMMA, **QK_NORMS}, OUTSIDE, "gemma3_text"),
    "qwen3": ("model.layers", {**DENSE, **NORMS, **QK_NORMS}, {**OUTSIDE, **HEAD}, "qwen3"),
    "qwen3moe": (
        "model.layers",
        {**ATTENTION, **OUT, **NORMS, **QK_NORMS, "mlp.gate": "ffn_gate_inp"}
        | {f"mlp.experts.{{e}}.{m}_proj": f"ffn_{m}_exps" for m in ("gate", "up", "down")},
        {**OUTSIDE, **HEAD},
        "qwen3_moe",
    ),
    "llama": (
        "model.layers",
        {**ATTENTION, **OUT, **NORMS, "block_sparse_moe.gate": "ffn_gate_inp"}
        | {f"block_sparse_moe.experts.{{e}}.w{n}": f"ffn_{m}_exps" for n, m in ((1, "gate"), (2, "down"), (3, "up"))},
        {**OUTSIDE, **HEAD},
        "mixtral",
    ),
    "gpt2": (
        "h",
        {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
        | {"ln_1": "attn_norm", "ln_2": "ffn_norm"},
        {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"},
        "gpt2",
    ),
    "phi3": (
        "model.layers",
        {"self_attn.qkv_proj": "attn_qkv", **OUT, "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down", **NORMS},
        {**OUTSIDE, **HEAD},
        "phi3",
    ),
    "starcoder2": (
        "model.layers",
        {**ATTENTION, **OUT, "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", **NORMS},
        OUTSIDE,
        "starcoder2",
    ),
    "mamba": (
        "backbone.layers",
        {"mixer.in_proj": "ssm_in", "mixer.x_proj": "ssm_x", "mixer.dt_proj": "ssm_dt", "mixer.out_proj": "ssm_out"}
        | {"norm": "attn_norm", "mixer.conv1d": "ssm_conv1d", "mixer.A_log": "ssm_a", "mixer.D": "ssm_d"},
        {"backbone.embeddings": "token_embd", "backbone.norm_f": "output_norm"},
        "mamba",
    ),
}
"""GGUF's architecture -> (where layers are, names within one, names outside, transformers' model_type)."""


def shape_of(name: str) -> tuple[int, ...]:
    """Of a tensor by its GGUF name, as transformers stores it."""
    special = {
        "attn_qkv": (3 * DIMS, DIMS),
        "ssm_conv1d": (DIMS, 1, 4),
        "ssm_a": (DIMS, 6),
        "ssm_d": (DIMS,),
        "token_embd": (VOCABULARY, DIMS),
        "output": (VOCABULARY, DIMS),
        "position_embd": (20, DIMS),
        "ffn_gate_inp": (EXPERTS, DIMS),
    }
    if name in special:
        return special[name]
    if name.endswith("norm"):
        return (DIMS,)
    if name.startswith(("ffn_gate", "ffn_up")):
        return (INNER, DIMS)
    return (DIMS, INNER) if name.startswith("ffn_down") else (DIMS, DIMS)


def converted(architecture: str, name: str, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(what transformers has, what GGUF has) of a tensor that GGUF calls so, drawn as `value`."""
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return value, value + np.float32(1)
    if architecture == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
        return halves(value, HEADS), value
    if architecture == "gpt2" and value.ndim == 2 and name.startswith("blk"):
        return np.ascontiguousarray(value.T), value
    if name.endswith("ssm_conv1d.weight"):
        return value, np.ascontiguousarray(value[:, 0])
    return (value, -np.exp(value)) if name.endswith("ssm_a") else (value, value)


def converted_back(name: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What a converter from GGUF makes, which has only what was rounded."""
    if name.endswith("ssm_a"):
        return np.log(-after)
    return after - np.float32(1) if after.ndim == 1 and (after != before).any() else before


def made(architecture: str, *, back: bool = False) -> tuple[Arrays, Arrays]:
    """(transformers' tensors, GGUF's); back: the first were made of the second."""
    place, inside, outside, _ = MODELS[architecture]
    rng = np.random.default_rng(0)
    before: Arrays = {}
    after: Arrays = {}

    def drawn(name: str) -> np.ndarray:
        shape = shape_of(name)
        value = 0.2 * rng.standard_normal(shape).astype(np.float32)
        return value + np.float32(1) if len(shape) == 1 else value

    names = {f"{old}.weight": f"{new}.weight" for old, new in outside.items()}
    for n in range(LAYERS):
        for old, new in inside.items():
            leaf = "" if new in ("ssm_a", "ssm_d") else ".weight"
            names[f"{place}.{n}.{old}{leaf}"] = f"blk.{n}.{new}{leaf}"
    for old, new in names.items():
        kind = new.removesuffix(".weight").rpartition(".")[2]
        if "{e}" in old:
            parts = [drawn(kind) for _ in range(EXPERTS)]
            before |= {old.format(e=e): part for e, part in enumerate(parts)}
            after[new] = np.stack(parts)
            continue
        before[old], after[new] = converted(architecture, new, drawn(kind))
        if back:
            before[old] = converted_back(new, before[old], after[new])
    return before, after


def saved(folder: Path, architecture: str, before: Arrays, after: Arrays) -> tuple[Path, Path]:
    config = {"num_attention_heads": HEADS, "model_type": MODELS[architecture][3]}
    gguf = folder / "gguf"
    gguf.mkdir(parents=True)
    return write(folder / "hub", before, config, framework="pt"), write_gguf(gguf, after, architecture)


@pytest.mark.parametrize("to_gguf", [True, False], ids=["to GGUF", "from GGUF"])
@pytest.mark.parametrize("architecture", MODELS)
def test_a_sound_conversion_conforms(tmp_path: Path, architecture: str, to_gguf: bool) -> None:
    hub, gguf = saved(tmp_path, architecture, *made(architecture, back=not to_gguf))
    assert red(verdicts(hub, gguf) if to_gguf else verdicts(gguf, hub)) == {}


def test_the_program_can_be_written_and_read_again(tmp_path: Path) -> None:
    """Functions of each element too, which only llama.cpp's conventions have."""
    hub, gguf = saved(tmp_path, "mamba", *made("mamba"))
    keymap = tmp_path / "map.toml"
    plain = ["check", str(hub), str(gguf), "--tensors-only"]
    assert main([*plain, "--write-map", str(keymap)]) == 0
    assert "apply -exp(x)" in keymap.read_text()
    assert main([*plain, "--map", str(keymap), "--strict"]) == 0


def _exchanged(a: np.ndarray) -> np.ndarray:
    return a[[1, 0, *range(2, len(a))]]


@pytest.mark.parametrize(
    ("architecture", "tensor", "change", "behaviour"),
    [
        ("gemma2", "blk.1.ffn_norm.weight", lambda a: a - np.float32(1), "1 forgotten"),
        ("qwen3moe", "blk.0.ffn_up_exps.weight", _exchanged, "experts exchanged"),
        ("llama", "blk.1.ffn_gate_exps.weight", lambda a: a[::-1], "experts reversed"),
        ("llama", "blk.1.attn_q.weight", lambda a: halves(a, HEADS), "q/k not permuted"),
        ("qwen3", "blk.1.attn_q_norm.weight", lambda a: -a, "sign changed"),
        ("gpt2", "blk.0.attn_output.weight", lambda a: a.T, "not transposed"),
        ("mamba", "blk.0.ssm_conv1d.weight", lambda a: a[:, ::-1], "columns reversed"),
        ("phi3", "blk.0.attn_qkv.weight", lambda a: np.roll(a, DIMS, 0), "blocks in another order"),
    ],
)
def test_a_fault_is_named(
    tmp_path: Path, architecture: str, tensor: str, change: Callable[[np.ndarray], np.ndarray], behaviour: str
) -> None:
    before, after = made(architecture)
    after[tensor] = np.ascontiguousarray(change(after[tensor]))
    assert red(verdicts(*saved(tmp_path, architecture, before, after))) == {tensor: behaviour}


def test_forgotten_everywhere_is_red_too(tmp_path: Path) -> None:
    before, after = made("gemma3")
    after = {n: t - np.float32(1) if n.endswith("norm.weight") else t for n, t in after.items()}
    found = red(verdicts(*saved(tmp_path, "gemma3", before, after)))
    assert set(found.values()) == {"1 forgotten"}
    assert len(found) == 6 * LAYERS + 1


EXPERT_DIMS, EXPERT_INNER = 64, 32
PLACE = "model.layers.{n}.mlp.experts"


def gpt_oss(*, in_blocks: bool) -> tuple[Arrays, Arrays]:
    """(transformers' tensors, GGUF's) of gpt-oss, its experts in MXFP4 blocks or as bfloat16's numbers, transposed."""
    rng = np.random.default_rng(0)
    before: Arrays = {}
    after: Arrays = {}
    inside = {**ATTENTION, **OUT, "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm"}
    names = {f"{old}.weight": f"{new}.weight" for old, new in {**OUTSIDE, **HEAD}.items()}
    for n in range(LAYERS):
        names |= {f"model.layers.{n}.{old}.weight": f"blk.{n}.{new}.weight" for old, new in inside.items()}
        names |= {f"model.layers.{n}.mlp.router.{leaf}": f"blk.{n}.ffn_gate_inp.{leaf}" for leaf in ("weight", "bias")}
        names[f"model.layers.{n}.self_attn.sinks"] = f"blk.{n}.attn_sinks.weight"
    for old, new in names.items():
        shape = (VOCABULARY, EXPERT_DIMS) if "embed" in old or "head" in old else (EXPERT_DIMS, EXPERT_DIMS)
        one_axis = "norm" in old or old.endswith(("bias", "sinks"))
        before[old] = after[new] = rng.standard_normal(shape[:1] if one_axis else shape).astype(np.float32)
    for n in range(LAYERS):
        source, target = PLACE.format(n=n), f"blk.{n}"
        for name, rows in (("gate_up_proj", 2 * EXPERT_INNER), ("down_proj", EXPERT_DIMS)):
            columns = EXPERT_DIMS if name == "gate_up_proj" else EXPERT_INNER
            codes = rng.integers(0, 16, (EXPERTS, rows, columns // 32, 32), np.uint8)
            scales = rng.integers(120, 125, (EXPERTS, rows, columns // 32), np.uint8)
            bias = rng.standard_normal((EXPERTS, rows)).astype(np.float32)
            before[f"{source}.{name}_bias"] = bias
            if in_blocks:
                before[f"{source}.{name}_blocks"] = codes[..., ::2] | codes[..., 1::2] << 4
                before[f"{source}.{name}_scales"] = scales
                stored = np.concatenate([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], axis=-1)
                whole = stored.reshape(EXPERTS, rows, -1)
            else:
                whole = rng.standard_normal((EXPERTS, rows, columns)).astype(np.float32)
                before[f"{source}.{name}"] = np.ascontiguousarray(whole.transpose(0, 2, 1))
            parts = {"ffn_down_exps": slice(None)}
            if name == "gate_up_proj":
                parts = {"ffn_gate_exps": slice(0, None, 2), "ffn_up_exps": slice(1, None, 2)}
            for part, which in parts.items():
                after[f"{target}.{part}.weight"] = np.ascontiguousarray(whole[:, which])
                after[f"{target}.{part}.bias"] = np.ascontiguousarray(bias[:, which])
    return before, after


def saved_gpt_oss(folder: Path, before: Arrays, after: Arrays) -> tuple[Path, Path]:
    (folder / "gguf").mkdir(parents=True)
    blocks = {n.replace(".", "_"): "MXFP4" for n, a in after.items() if a.dtype == np.uint8}
    config = {"model_type": "gpt_oss", "num_attention_heads": HEADS}
    hub = write(folder / "hub", before, config, framework="pt")
    return hub, write_gguf(folder / "gguf", after, "gpt-oss", **blocks)


@pytest.mark.parametrize("in_blocks", [True, False], ids=["blocks", "numbers"])
def test_gpt_oss(tmp_path: Path, in_blocks: bool) -> None:
    hub, gguf = saved_gpt_oss(tmp_path, *gpt_oss(in_blocks=in_blocks))
    check = Check(hub, gguf)
    found = [(q.name, check.finding(q)) for q in check.questions]
    assert {n: f.message for n, f in found if not f.conforms} == {}
    assert ("blk.0.ffn_up_exps.weight", "exact") in [(n, f.behaviour) for n, f in found]
    assert check.inferred == 0


def test_square_experts_that_were_not_transposed_are_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "EXPERT_INNER", EXPERT_DIMS)
    before, after = gpt_oss(in_blocks=False)
    names = [n for n in after if n.endswith("ffn_down_exps.weight")]
    after |= {n: np.ascontiguousarray(after[n].swapaxes(1, 2)) for n in names}
    found = red(verdicts(*saved_gpt_oss(tmp_path, before, after)))
    assert found == dict.fromkeys(names, "axes in another order")


@pytest.mark.parametrize(
    ("tensor", "change", "behaviour"),
    [
        ("blk.1.ffn_down_exps.weight", _exchanged, "experts exchanged"),
        ("blk.0.ffn_gate_exps.bias", lambda a: a[::-1], "experts reversed"),
        ("blk.1.ffn_up_exps.weight", "blk.1.ffn_gate_exps.weight", "another tensor"),
    ],
)
def test_a_fault_in_blocks_is_named(
    tmp_path: Path, tensor: str, change: Callable[[np.ndarray], np.ndarray] | str, behaviour: str
) -> None:
    before, after = gpt_oss(in_blocks=True)
    after[tensor] = np.ascontiguousarray(after[change] if isinstance(change, str) else change(after[tensor]))
    assert red(verdicts(*saved_gpt_oss(tmp_path, before, after))) == {tensor: behaviour}
