"""Are two configurations compared field by field, by whatever names, and is what the loader reads what is meant?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.made_checkpoints import packed, red, verdicts, write
from tests.made_conversions import CONFIG, MODELS, save
from touchstone.adapters.interface import Scheme
from touchstone.command import main
from touchstone.migration import fields
from touchstone.migration.behaviour import framework_of
from touchstone.migration.check import Check
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.fields import differences
from touchstone.migration.opening import open_checkpoint
from touchstone.migration.parameters import claim, foreign_method

TABLE = {"model.embed_tokens.weight": np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)}


@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        ({"rope_theta": 10000.0}, {"rope_theta": 500000.0}, ["rope_theta"]),
        ({"rope_theta": 500000.0}, {"hidden_act": "silu"}, ["rope_theta"]),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn"}}, {"rope_theta": 1e6}, ["rope_type"]),
        ({"rope_theta": 10000}, {"vocab_size": 3}, []),
        ({"n_layers": 4, "dim": 8}, {"num_hidden_layers": 5, "hidden_size": 8}, ["num_hidden_layers"]),
        ({"rms_norm_eps": 1e-6}, {"norm_eps": 1e-3}, ["rms_norm_eps"]),
        ({"hidden_act": "silu"}, {"hidden_activation": "gelu"}, ["hidden_act"]),
        ({"eos_token_id": 2}, {"eos_token_id": [2]}, []),
        ({"eos_token_id": 2}, {"eos_token_id": [2, 3]}, ["eos_token_id"]),
        ({"sliding_window": None}, {"sliding_window": 128}, ["sliding_window"]),
        ({"head_dim": None, "a": 1}, {"head_dim": 64}, []),
        ({"layer_types": ["a", "b"]}, {"layer_types": ["a", "a"]}, ["layer_types"]),
        ({"text_config": {"num_experts": 8}}, {"num_local_experts": 4}, ["num_experts"]),
        ({"transformers_version": "5"}, {"transformers_version": "4"}, []),
        ({"curious": 1}, {"curious": 2}, ["curious"]),
        (
            {"general.architecture": "llama", "llama.rope.freq_base": 1e4, "llama.block_count": 2},
            {"rope_theta": 5e5, "num_hidden_layers": 2},
            ["rope_theta"],
        ),
        ({}, {"rope_theta": 1.0}, []),
    ],
)
def test_fields_by_all_their_names(source: dict[str, Any], target: dict[str, Any], names: list[str]) -> None:
    assert [d.name for d in differences(source, target)] == names
    assert [d.name for d in differences(target, source)] == names


def test_a_field_that_is_not_understood_is_said(tmp_path: Path) -> None:
    write(tmp_path / "a", TABLE, {**CONFIG, "curious": 1})
    write(tmp_path / "b", TABLE, {**CONFIG, "curious": 2})
    check = Check(tmp_path / "a", tmp_path / "b")
    (found,) = (check.finding(q) for q in check.questions if q.name == "curious")
    assert not found.conforms
    assert "not understood" in found.message


GLOBAL = {"bits": 4, "group_size": 32, "mode": "mxfp4"}


def test_settings_of_a_layer_are_all_that_it_is_given() -> None:
    """As `nn.quantize` does with a dictionary: no mode is affine, whatever the rest of the model is."""
    config = {"quantization": {**GLOBAL, "mlp.gate": {"group_size": 64, "bits": 8}}}
    assert getattr(claim(config, "mlp.gate"), "name", "") == "affine8g64"
    assert getattr(claim(config, "mlp.up"), "name", "") == "mxfp4"


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "bitsandbytes", "compressed-tensors"])
def test_another_library_s_settings_claim_nothing(tmp_path: Path, method: str) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": method, "bits": 4, "group_size": 128}}
    assert claim(config, "lm_head") is None
    assert foreign_method(config) == method
    a, b = (write(tmp_path / side, TABLE, config) for side in "ab")
    assert red(verdicts(a, b)) == {}


def test_a_router_that_the_converter_leaves_in_float(tmp_path: Path) -> None:
    """Where the router is no linear layer; elsewhere it is quantized, or the configuration says why not."""
    source = {"model.layers.0.mlp.gate.weight": TABLE["model.embed_tokens.weight"][:32], **TABLE}
    target = packed(TABLE, Scheme(4, 32)) | {n: t for n, t in source.items() if n not in TABLE}
    said = {"bits": 4, "group_size": 32}
    assert red(verdicts(*save(tmp_path / "a", source, target, "glm4_moe", **said))) == {}
    found = red(verdicts(*save(tmp_path / "b", source, target, "qwen3_moe", **said)))
    assert found == {"model.layers.0.mlp.gate.weight": "silently unquantized"}


def _indexed(folder: Path, files: dict[str, dict[str, np.ndarray]], listed: dict[str, str]) -> Path:
    folder.mkdir()
    for name, tensors in files.items():
        save_file(tensors, folder / name, {"format": "mlx"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    return folder


def test_what_mlx_lm_would_not_load_and_what_it_would_besides(tmp_path: Path) -> None:
    """It loads model*.safetensors, and no index."""
    head = {"lm_head.weight": TABLE["model.embed_tokens.weight"] + 1}
    source = write(tmp_path / "a", TABLE | head)
    listed = {"model.embed_tokens.weight": "model-1.safetensors", "lm_head.weight": "head.safetensors"}
    target = _indexed(tmp_path / "b", {"model-1.safetensors": TABLE, "head.safetensors": head}, listed)
    assert red(verdicts(source, target)) == {"lm_head.weight as it is loaded": "loaded otherwise"}
    listed["lm_head.weight"] = "model-2.safetensors"
    files = {
        "model-1.safetensors": TABLE,
        "model-2.safetensors": head,
        "model-old.safetensors": {"x": head["lm_head.weight"]},
    }
    target = _indexed(tmp_path / "c", files, listed)
    assert red(verdicts(source, target)) == {"model-old.safetensors as it is loaded": "loaded otherwise"}
    (target / "model-old.safetensors").unlink()
    assert red(verdicts(source, target)) == {}


@pytest.mark.parametrize(("word", "adapter"), [("mlx", "mlx"), ("pt", "torch"), ("flax", "jax"), ("", "torch")])
def test_the_file_says_whose_layers_its_tensors_are_for(tmp_path: Path, word: str, adapter: str) -> None:
    assert framework_of(open_checkpoint(write(tmp_path / "a", TABLE, framework=word))) == adapter


def test_whose_layers_were_asked_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = save(tmp_path, TABLE, TABLE, "llama")
    assert main(["check", str(source), str(target)]) == 0
    assert "layers: the source's of torch@cpu, the target's of mlx@cpu" in capsys.readouterr().out


@pytest.mark.parametrize("std", [0.003, 0.01, 0.02])
def test_nvfp4_of_ordinary_weights(tmp_path: Path, std: float) -> None:
    """Their scales are subnormal E4M3 numbers, which are off by more than a sixteenth of themselves."""
    source = {"a.weight": (std * np.random.default_rng(0).standard_normal((256, 256))).astype(np.float32)}
    scheme = Scheme(4, 16, "nvfp4")
    target = packed(source, scheme)
    config = {"quantization": {"bits": 4, "group_size": 16, "mode": "nvfp4"}}
    assert red(verdicts(write(tmp_path / "a", source, {}), write(tmp_path / "b", target, config))) == {}
    scales = target["a.scales"]
    wrong = target | {"a.scales": np.where(np.arange(scales.shape[1]) == 3, scales + np.uint8(4), scales)}
    assert set(red(verdicts(tmp_path / "a", write(tmp_path / "c", wrong, config)))) == {"a.weight"}


@pytest.mark.parametrize("sides", [((), (1,)), ((1,), ()), ((), (1, 1))], ids=str)
def test_a_number_without_axes_and_one_with_them(
    tmp_path: Path, sides: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    def side(shape: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
        return {**TABLE, "logit_scale": np.full(shape, value, np.float32)}

    source = write(tmp_path / "a", side(sides[0], 3.5))
    assert red(verdicts(source, write(tmp_path / "b", side(sides[1], 3.5)))) == {}
    assert list(red(verdicts(source, write(tmp_path / "c", side(sides[1], 3.25))))) == ["logit_scale"]


def test_weights_under_a_key_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    weights = {name: torch.from_numpy(t) for name, t in TABLE.items()}
    path = tmp_path / "trained.pt"
    torch.save({"params": {n: t + 1 for n, t in weights.items()}, "nets": {"params_ema": weights}}, path)
    target = write(tmp_path / "b", TABLE)
    plain = ["check", str(path), str(target), "--tensors-only"]
    assert main(plain) == 2
    assert "(keys: params, nets); name the one that holds the weights by --key KEY" in capsys.readouterr().err
    assert main([*plain, "--key", "nets.params_ema"]) == 0
    assert main([*plain, "--key", "params"]) == 1
    assert main([*plain, "--key", "ema"]) == 2
    assert f"--key ema: {path} has no mapping 'ema'; it has params, nets" in capsys.readouterr().err
    assert main(["check", str(target), str(write(tmp_path / "c", TABLE)), "--tensors-only", "--key", "x"]) == 2


def test_places_that_hold_no_checkpoint_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = tmp_path / "model.safetensors"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    cache = tmp_path / "models--owner--name"
    (cache / "snapshots" / "abc").mkdir(parents=True)
    adapter = write(
        tmp_path / "adapter", {f"q_proj.{n}": TABLE["model.embed_tokens.weight"] for n in ("lora_a", "lora_b")}
    )
    said = {
        str(adapter): "is a LoRA adapter, not a model; name its base",
        str(pointer): "is a git-lfs pointer",
        str(cache): "is a hub's cache folder; name snapshots/abc",
        "owner/name": "a model of a hub is not fetched",
    }
    for path, text in said.items():
        with pytest.raises(CheckpointError, match=text):
            open_checkpoint(Path(path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="adapter/mistyped: does not exist; name a checkpoint's file or folder"):
        open_checkpoint(Path("adapter/mistyped"))


OTHERS: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "another model": (lambda t: np.random.default_rng(1).standard_normal(t.shape).astype(t.dtype), "same model"),
    "zeros": (np.zeros_like, "nearly every tensor of the target is zero"),
    "trained on": (
        lambda t: t + (0.2 * t.std() * np.random.default_rng(1).standard_normal(t.shape)).astype(t.dtype),
        "another training step",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_wrong_with_the_whole_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    change, sentence = OTHERS[other]
    before, after = MODELS["experts"][0]()
    source, target = save(tmp_path, before, {name: change(t) for name, t in after.items()}, "qwen3_moe")
    assert main(["check", str(source), str(target), "--tensors-only"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(sentence in line for line in lines) == 1
    assert len(lines) <= 60


def test_the_wrong_way_round_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "a", TABLE)
    target = write(
        tmp_path / "b", packed(TABLE, Scheme(4, 32)), {**CONFIG, "quantization": {"bits": 4, "group_size": 32}}
    )
    assert main(["check", str(target), str(source), "--tensors-only"]) == 1
    assert "the wrong way round" in capsys.readouterr().out


def test_nothing_is_said_of_a_sound_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = save(tmp_path, *MODELS["experts"][0](), "qwen3_moe")
    assert main(["check", str(source), str(target), "--tensors-only"]) == 0
    out = capsys.readouterr().out
    assert "?" not in out
    assert len(out.splitlines()) <= 15


MODEL = {"model_type": "olmo3"}
GGUF = {"general.architecture": "llama"}
LEVELS: Mapping[str, tuple[dict, dict, list[str]]] = {
    "a field beside the nested one": (
        {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e4}},
        {"rope_theta": 5e5, "rope_parameters": {"rope_theta": 1e4}},
        ["rope_theta"],
    ),
    "the nested one alone": (
        {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e4}},
        {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}},
        ["rope_parameters.rope_theta"],
    ),
    "one says it inside and one outside": ({"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5}}, []),
    "rotation by kind of layer": (
        {"rope_parameters": {"full_attention": {"rope_theta": 1e4}, "sliding_attention": {"rope_theta": 1e4}}},
        {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}},
        ["rope_parameters.full_attention.rope_theta"],
    ),
    "rotation by kind of layer inside of a model of images": (
        {"text_config": {"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}},
        {"text_config": {"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}},
        ["rope_parameters.full_attention.rope_theta"],
    ),
    "a switch beside what is nested": (
        {"sliding_window": None, "rope_parameters": {"rope_theta": 1e4}},
        {"sliding_window": 64, "rope_parameters": {"rope_theta": 1e4}},
        ["sliding_window"],
    ),
    "a tower": (
        {"vision_config": {"patch_size": 14}},
        {"vision_config": {"patch_size": 16}},
        ["vision_config.patch_size"],
    ),
    "a field that a copy lost": ({**MODEL, "n_group": 2, "x": 1}, MODEL, ["n_group"]),
    "what another ecosystem does not say": ({**MODEL, "n_group": 2}, {"vocab_size": 320}, []),
    "scaled rotation in GGUF": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {**GGUF, "llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0},
        [],
    ),
    "another factor in GGUF": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {**GGUF, "llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 8.0},
        ["factor"],
    ),
    "no scaled rotation in GGUF": (
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {**GGUF, "llama.vocab_size": 320},
        ["rope_type"],
    ),
    "Llama 3's, which GGUF stores as a tensor": (
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {**GGUF, "llama.vocab_size": 320},
        [],
    ),
}


@pytest.mark.parametrize("what", LEVELS)
def test_what_is_nested_is_compared_too(what: str) -> None:
    before, after, names = LEVELS[what]
    assert [d.name for d in fields.differences(before, after)] == names
