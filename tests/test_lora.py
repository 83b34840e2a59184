"""A LoRA adapter, its base and what a library fused them to: sound ones conform, and what was done wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.switch_layers import SwitchLinear
from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear, LoRASwitchLinear
from safetensors.numpy import save_file

from tests.made_checkpoints import Arrays, red
from touchstone.migration.check import Check
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.findings import Finding

RANK, DIMS, HIDDEN, ROWS, EXPERTS = 4, 64, 96, 128, 3
QUERY, UP = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"
TABLE, SWITCH = "model.embed_tokens", "model.layers.0.mlp.switch_mlp.gate_proj"
LAYERS = (QUERY, UP, TABLE, SWITCH)
MLX_LM = {"fine_tune_type": "lora", "lora_parameters": {"rank": RANK, "scale": 20.0, "dropout": 0.0}}
PEFT = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16}


@dataclass(frozen=True)
class Made:
    base: Arrays
    adapter: Arrays
    fused: Arrays
    config: Mapping[str, Any]


def numpy(value: mx.array) -> np.ndarray:
    if value.dtype == mx.bfloat16:
        return np.array(value.view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(value)


def flat(name: str, layer: nn.Module) -> Arrays:
    return {f"{name}.{part}": numpy(layer[part]) for part in ("weight", "scales", "biases") if part in layer}


def made(dtype: str = "float32", *, quantized: bool = False, dequantize: bool = False) -> Made:
    """Fused by mlx-lm's own layers. The plain tensor beside them has no adapter."""
    mx.random.seed(0)
    layers = {
        QUERY: LoRALinear.from_base(cast(nn.Linear(DIMS, DIMS, bias=False), dtype, quantized=quantized), RANK),
        UP: LoRALinear.from_base(cast(nn.Linear(DIMS, HIDDEN, bias=False), dtype, quantized=quantized), RANK),
        TABLE: LoRAEmbedding.from_base(cast(nn.Embedding(ROWS, DIMS), dtype, quantized=quantized), RANK),
        SWITCH: LoRASwitchLinear.from_base(
            cast(SwitchLinear(DIMS, HIDDEN, EXPERTS, bias=False), dtype, quantized=quantized), RANK
        ),
    }
    base, fused = ({"model.norm.weight": np.ones(DIMS, np.float32)} for _ in range(2))
    adapter: Arrays = {}
    for name, layer in layers.items():
        for factor in ("lora_a", "lora_b"):
            layer[factor] = mx.random.normal(layer[factor].shape) * 0.02
            adapter[f"{name}.{factor}"] = numpy(layer[factor])
        base |= flat(name, layer["embedding" if name == TABLE else "linear"])
        fused |= flat(name, layer.fuse(dequantize=dequantize))
    settings = {"quantization": {"bits": 4, "group_size": 64}} if quantized else {}
    return Made(base, adapter, fused, settings)


def cast(layer: nn.Module, dtype: str, *, quantized: bool) -> nn.Module:
    layer.set_dtype(getattr(mx, dtype))
    return layer.to_quantized(group_size=64, bits=4) if quantized else layer


def peft(seed: int = 0) -> Made:
    """By PEFT's names and formula, from a base by transformers' names; one weight was trained as a whole."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    shapes = {QUERY: (DIMS, DIMS), UP: (HIDDEN, DIMS), TABLE: (ROWS, DIMS), "lm_head": (ROWS, DIMS)}
    base = {f"{name}.weight": normal(*shape) for name, shape in shapes.items()}
    adapter: Arrays = {}
    fused = dict(base)
    for name in (QUERY, UP):
        a, b = normal(RANK, shapes[name][1]), normal(shapes[name][0], RANK)
        adapter |= {f"base_model.model.{name}.lora_{f}.weight": v for f, v in (("A", a), ("B", b))}
        fused[f"{name}.weight"] = base[f"{name}.weight"] + (b @ a) * np.float32(16 / RANK)
    a, b = normal(RANK, ROWS), normal(DIMS, RANK)
    adapter |= {f"base_model.model.{TABLE}.lora_embedding_{f}": v for f, v in (("A", a), ("B", b))}
    fused[f"{TABLE}.weight"] = base[f"{TABLE}.weight"] + (b @ a).T * np.float32(16 / RANK)
    adapter["base_model.model.lm_head.weight"] = fused["lm_head.weight"] = normal(ROWS, DIMS)
    return Made(base, adapter, fused, {})


def write(folder: Path, tensors: Arrays, config: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True)
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_adapter(folder: Path, tensors: Arrays, settings: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True)
    name = "adapters.safetensors" if "lora_parameters" in settings else "adapter_model.safetensors"
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, folder / name)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def found(
    tmp_path: Path, one: Made, settings: Mapping[str, Any] = MLX_LM, target_config: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], Finding]:
    source = write(tmp_path / "base", one.base, one.config)
    target = write(tmp_path / "fused", one.fused, one.config if target_config is None else target_config)
    check = Check(source, target, adapter=write_adapter(tmp_path / "adapter", one.adapter, settings))
    return {(q.requirement, q.name): check.finding(q) for q in check.questions}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("form", ["plain", "quantized", "dequantized"])
def test_what_mlx_lm_fuses_is_base_and_adapter(tmp_path: Path, form: str, dtype: str) -> None:
    one = made(dtype, quantized=form != "plain", dequantize=form == "dequantized")
    verdict = found(tmp_path, one, target_config={} if form == "dequantized" else None)
    asked = {n: f.behaviour for (r, n), f in verdict.items() if r in ("MIG-VALUES-1", "MIG-QUANT-1")}
    shown = "quantized" if form == "quantized" else "rounded"
    assert asked == {f"{n}.weight": shown for n in LAYERS} | {"model.norm.weight": "exact"}
    assert red(verdict) == {}


def test_what_peft_merges_is_base_and_adapter(tmp_path: Path) -> None:
    assert red(found(tmp_path, peft(), PEFT)) == {}


def test_roots_and_patterns_of_peft_scale(tmp_path: Path) -> None:
    one = peft()
    a, b = (one.adapter[f"base_model.model.{QUERY}.lora_{f}.weight"] for f in "AB")
    one.fused[f"{QUERY}.weight"] = one.base[f"{QUERY}.weight"] + (b @ a) * np.float32(8 / 2)
    for name in (UP, TABLE):
        delta = one.fused[f"{name}.weight"] - one.base[f"{name}.weight"]
        one.fused[f"{name}.weight"] = one.base[f"{name}.weight"] + delta * np.float32(2)
    assert red(found(tmp_path, one, {**PEFT, "use_rslora": True, "alpha_pattern": {"q_proj": 8}})) == {}
    by_layer = {**PEFT, "use_rslora": True, "alpha_pattern": {r"layers\.0\.self_attn\.(q|v)_proj": 8}}
    assert red(found(tmp_path / "by layer", one, by_layer)) == {}


Plant = Callable[[Made, str], None]


def fused_again(times: float) -> Plant:
    def plant(one: Made, name: str) -> None:
        before, after = (side[f"{name}.weight"].astype(np.float32) for side in (one.base, one.fused))
        one.fused[f"{name}.weight"] = (before + times * (after - before)).astype(one.fused[f"{name}.weight"].dtype)

    return plant


FAULTS: Mapping[str, Plant] = {
    "adapter not added": fused_again(0),
    "adapter added twice": fused_again(2),
    "adapter added at another scale": fused_again(0.5),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fault", FAULTS)
def test_how_often_an_adapter_was_added_is_told(tmp_path: Path, fault: str, dtype: str, name: str) -> None:
    one = made(dtype)
    FAULTS[fault](one, name)
    assert red(found(tmp_path, one)) == {f"{name}.weight": fault}


def test_a_quantized_model_without_its_adapter_is_told(tmp_path: Path) -> None:
    one = made("bfloat16", quantized=True)
    for part in ("weight", "scales", "biases"):
        one.fused[f"{UP}.{part}"] = one.base[f"{UP}.{part}"]
    assert red(found(tmp_path, one)) == {f"{UP}.weight": "adapter not added"}


def test_an_adapter_goes_through_a_mapping(tmp_path: Path) -> None:
    """Queries with an adapter and keys without, concatenated."""
    one = peft()
    key = QUERY.replace("q_proj", "k_proj")
    base = {**one.base, f"{key}.weight": np.random.default_rng(1).normal(size=(DIMS, DIMS)).astype(np.float32)}
    joined = np.concatenate([one.fused[f"{QUERY}.weight"], base[f"{key}.weight"]])
    fused = {n: v for n, v in one.fused.items() if not n.startswith(QUERY)}
    fused[QUERY.replace("q_proj", "qk_proj") + ".weight"] = joined
    assert red(found(tmp_path / "sound", Made(base, one.adapter, fused, {}), PEFT)) == {}
    joined[:DIMS] = one.base[f"{QUERY}.weight"]
    assert red(found(tmp_path / "wrong", Made(base, one.adapter, fused, {}), PEFT))


@pytest.mark.parametrize("pattern", ["(a+)+", "(", "x" * 300])
def test_a_pattern_that_cannot_be_tried_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(CheckpointError, match=r"--lora .*the pattern "):
        found(tmp_path, peft(), {**PEFT, "alpha_pattern": {pattern: 8}})


def test_another_scale_is_another_check(tmp_path: Path) -> None:
    """What an interrupted check found must not be taken for what this one would."""
    one = made()
    source, target = write(tmp_path / "base", one.base, {}), write(tmp_path / "fused", one.fused, {})
    adapter = write_adapter(tmp_path / "adapter", one.adapter, MLX_LM)
    before = Check(source, target, adapter=adapter).key
    assert Check(source, target, adapter=adapter).key == before
    (adapter / "adapter_config.json").write_text(json.dumps({**MLX_LM, "lora_parameters": {"scale": 5.0}}))
    assert Check(source, target, adapter=adapter).key != before


REFUSED: Mapping[str, tuple[Callable[[Arrays], object], Mapping[str, Any], str]] = {
    "no configuration of a scale": (lambda a: None, {"fine_tune_type": "lora"}, "says no number lora_parameters.scale"),
    "DoRA by its configuration": (lambda a: None, {**PEFT, "use_dora": True}, "of kind 'dora'"),
    "DoRA by its tensors": (lambda a: a.update({f"{UP}.m": np.ones(DIMS)}), MLX_LM, "of kind 'dora'"),
    "all weights": (lambda a: None, {**MLX_LM, "fine_tune_type": "full"}, "of kind 'full'"),
    "one factor": (lambda a: a.pop(f"{UP}.lora_b"), MLX_LM, "has one of its two factors"),
    "another base": (lambda a: a.update(dict.fromkeys(["x.lora_a", "x.lora_b"], np.ones((2, 2)))), MLX_LM, "no weight"),
    "experts of a base by its hub's names": (
        lambda a: a.update({f"{SWITCH}_of_another.{f}": np.ones((2, 2)) for f in ("lora_a", "lora_b")}),
        MLX_LM,
        "no weight of the base; .* in MLX's layout",
    ),
    "other sizes": (
        lambda a: a.update({f"{UP}.lora_a": np.ones((DIMS + 1, RANK))}),
        MLX_LM,
        r"the factors \[65, 4\] and \[4, 96\] of .* make no weight \[96, 64\]",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_added_is_one_sentence(tmp_path: Path, why: str) -> None:
    one, (change, settings, text) = made(), REFUSED[why]
    change(one.adapter)
    with pytest.raises(CheckpointError, match=f"--lora .*{text}"):
        found(tmp_path, one, settings)


def test_a_model_is_no_adapter_and_an_adapter_needs_its_configuration(tmp_path: Path) -> None:
    one = made()
    base = write(tmp_path / "base", one.base, {})
    with pytest.raises(CheckpointError, match="is no LoRA adapter"):
        Check(base, write(tmp_path / "other", one.base, {}), adapter=base)
    adapter = write_adapter(tmp_path / "adapter", one.adapter, MLX_LM)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no adapter_config\.json beside it"):
        Check(base, tmp_path / "other", adapter=adapter)
