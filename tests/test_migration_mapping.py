"""Is a sound conversion of every kind green, and every fault in one layer or in all of them red by its name?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.made_checkpoints import Arrays, packed, quantization, red, verdicts, write
from tests.made_conversions import (
    DIMS,
    EXPERTS,
    HEADS,
    INNER,
    MODELS,
    changed,
    checked,
    exchanged,
    fused,
    mixture,
    save,
)
from touchstone.adapters.interface import Scheme
from touchstone.command import main
from touchstone.migration import comparing
from touchstone.migration.check import Check, headline
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.mapping.expressions import (
    Add,
    Apply,
    Flip,
    Multiply,
    Normalize,
    Part,
    Permute,
    Range,
    Reshape,
    Step,
    View,
    concatenated,
)
from touchstone.migration.mapping.orders import described, order_along
from touchstone.migration.mapping.templates import canonical, likeness, template
from touchstone.migration.mapping.writing import step_of

AFFINE = Scheme(4, 32)


def faults(folder: Path, before: Arrays, after: Arrays, model: str) -> dict[str, str]:
    """Tensor -> behaviour of what deviates."""
    _, found = checked(folder, before, after, model)
    return {name: f.behaviour for name, f in found if not f.conforms}


@pytest.mark.parametrize("kind", MODELS)
def test_a_sound_conversion_conforms_by_documented_rules(tmp_path: Path, kind: str) -> None:
    make, model = MODELS[kind]
    before, after = make()
    check, found = checked(tmp_path, before, after, model)
    assert {n: f.message for n, f in found if not f.conforms} == {}
    assert len(found) >= len(after), "every tensor of the target is asked about"
    assert check.rules, "the program has rules"
    assert check.inferred == 0
    assert len(headline(check)) <= 10


INFERRED = {"halves", "halves, transposed", "interleaved", "latent attention", "plus one"}
"""Kinds in which names alone do not say what goes where."""


@pytest.mark.parametrize("kind", MODELS)
def test_of_an_unknown_architecture_what_names_do_not_say_is_inferred(tmp_path: Path, kind: str) -> None:
    before, after = MODELS[kind][0]()
    check, found = checked(tmp_path, before, after, "a-model-nobody-knows")
    assert {n: f.message for n, f in found if not f.conforms} == {}
    assert bool(check.inferred) == (kind in INFERRED), [str(r) for r in check.rules]


@pytest.mark.parametrize("kind", ["experts", "halves", "latent attention"])
def test_a_quantized_conversion_conforms(tmp_path: Path, kind: str) -> None:
    make, model = MODELS[kind]
    before, after = make()
    target: Arrays = {}
    for name, t in after.items():
        flat = packed({"x.weight": t.reshape(-1, t.shape[-1])}, AFFINE) if t.ndim > 1 else {}
        parts = {
            name.removesuffix("weight") + part.removeprefix("x."): a.reshape(*t.shape[:-1], -1)
            for part, a in flat.items()
        }
        target |= parts if len(parts) == 3 else {name: t}
    said = {"bits": 4, "group_size": 32}
    source, mlx = save(tmp_path, before, target, model, **said)
    assert red(verdicts(source, mlx)) == {}
    wrong = changed(target, r"up_proj.weight$|embed_q.weight$", lambda a: a[::-1], everywhere=True)
    wrong = changed(wrong, r"up_proj.scales$|embed_q.scales$", lambda a: a[::-1], everywhere=True)
    wrong = changed(wrong, r"up_proj.biases$|embed_q.biases$", lambda a: a[::-1], everywhere=True)
    source, mlx = save(tmp_path / "wrong", before, wrong, model, **said)
    assert set(red(verdicts(source, mlx)).values()) <= {"experts reversed", "heads reversed"}


def _swap(a: np.ndarray) -> np.ndarray:
    return a[[1, 0, *range(2, len(a))]]


def _first_for_last(a: np.ndarray) -> np.ndarray:
    return a[[*range(len(a) - 1), 0]]


def _swap_heads(a: np.ndarray) -> np.ndarray:
    return _swap(a.reshape(HEADS, -1, DIMS)).reshape(a.shape)


def _swap_q_and_k(a: np.ndarray) -> np.ndarray:
    return _swap(a.reshape(3, DIMS, DIMS)).reshape(a.shape)


Change = Callable[[np.ndarray], np.ndarray]
CHANGES: Mapping[str, tuple[str, str, Change, str]] = {
    "order of experts": ("experts", "switch_mlp.up_proj", _swap, "experts exchanged"),
    "experts reversed": ("experts w1 w2 w3", "switch_mlp.gate_proj", lambda a: a[::-1], "experts reversed"),
    "expert duplicated": ("experts", "switch_mlp.down_proj", _first_for_last, "experts duplicated"),
    "expert lost": ("experts", "switch_mlp.up_proj", lambda a: a[:-1], "expert lost"),
    "turned twice": ("experts", "switch_mlp.up_proj", lambda a: a.swapaxes(1, 2).reshape(a.shape), "memory order"),
    "taps reversed": ("convolutions", "conv1d.weight", lambda a: a[:, ::-1], "taps reversed"),
    "channels": ("convolutions", "conv1d.weight", _swap, "output channels exchanged"),
    "axes not permuted": ("convolutions", "patch_embed", lambda a: a.transpose(0, 3, 1, 2), "axes in another order"),
    "as a plain one": ("convolutions", "conv_transpose", lambda a: a.transpose(3, 1, 2, 0), "axes in another order"),
    "rows of patches": ("convolutions", "patch_embed", lambda a: a[:, ::-1], "taps reversed"),
    "heads of latent attention": ("latent attention", "embed_q", lambda a: a[::-1], "heads reversed"),
    "one forgotten": ("plus one", r"layers.*input_layernorm", lambda a: a - 1, "1 forgotten"),
    "one added twice": ("plus one", r"layers.*input_layernorm", lambda a: a + 1, "1 added twice"),
    "router": ("experts", "mlp.gate.weight", _swap, "rows swapped"),
    "fused q and k": ("prefix", "query_key_value", _swap_q_and_k, "q and k exchanged"),
    "heads of q": ("experts", "q_proj", _swap_heads, "heads exchanged"),
}  # fmt: skip
"""Fault -> the kind of model, whose tensors change, how, and what it is called."""


@pytest.mark.parametrize("everywhere", [False, True], ids=["one layer", "all layers"])
@pytest.mark.parametrize("fault", CHANGES)
def test_a_fault_is_named(tmp_path: Path, fault: str, everywhere: bool) -> None:
    kind, pattern, change, name = CHANGES[fault]
    make, model = MODELS[kind]
    before, after = make()
    wrong = changed(after, pattern, change, everywhere=everywhere)
    touched = {n for n in after if after[n].shape != wrong[n].shape or (after[n] != wrong[n]).any()}
    assert faults(tmp_path, before, wrong, model) == dict.fromkeys(touched, name)


@pytest.mark.parametrize("everywhere", [False, True], ids=["one layer", "all layers"])
@pytest.mark.parametrize("kind", ["experts", "experts w1 w2 w3", "halves", "halves, transposed", "interleaved"])
def test_gate_and_up_exchanged(tmp_path: Path, kind: str, everywhere: bool) -> None:
    make, model = MODELS[kind]
    before, after = make()
    wrong = exchanged(after, "gate_proj", "up_proj", everywhere=everywhere)
    found = faults(tmp_path, before, wrong, model)
    assert set(found.values()) == {"gate and up exchanged"}
    assert len(found) == (6 if everywhere else 2)


@pytest.mark.parametrize("everywhere", [False, True], ids=["one layer", "all layers"])
def test_halves_read_for_interleaved(tmp_path: Path, everywhere: bool) -> None:
    """A documented convention is kept to whatever the values say; where none is, they decide for all layers at once."""
    before, after = fused(interleaved=True)
    _, read = fused()
    parts = r"switch_mlp.(gate|up)_proj"
    wrong = {
        n: read[n] if ("_proj.weight" in n and "switch" in n and (everywhere or ".1." in n)) else t
        for n, t in after.items()
    }
    found = faults(tmp_path, before, wrong, "gpt_oss")
    assert set(found.values()) == {"halves for interleaved"}, parts
    assert len(found) == (6 if everywhere else 2)
    unknown = faults(tmp_path / "unknown", before, wrong, "a-model-nobody-knows")
    assert bool(unknown) != everywhere


@pytest.mark.parametrize("kind", ["experts", "halves", "latent attention"])
def test_how_much_is_compared_at_once_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, model = MODELS[kind]
    before, after = make()
    wrong = changed(after, r"up_proj.weight$|embed_q.weight$", lambda a: np.where(a > 0.25, 3 * a, a), everywhere=True)
    seen = []
    for elements in (1 << 15, 64, 1):
        monkeypatch.setattr(comparing, "ELEMENTS", elements)
        seen.append(checked(tmp_path / str(elements), before, wrong, model)[1])
    assert seen[0] == seen[1] == seen[2]
    assert any(f.worst_index and len(f.worst_index) == 3 and f.worst_index[1] > 0 for _, f in seen[0] if not f.conforms)


def test_experts_of_another_layer(tmp_path: Path) -> None:
    before, after = mixture({n: n for n in ("gate_proj", "up_proj", "down_proj")}, "mlp")
    one, two = (f"model.layers.{n}.mlp.switch_mlp.up_proj.weight" for n in (0, 1))
    wrong = after | {one: after[two], two: after[one]}
    assert faults(tmp_path, before, wrong, "qwen3_moe") == {one: "swapped", two: "swapped"}


def test_what_a_rule_leaves_over_is_missing(tmp_path: Path) -> None:
    """A target without its up projections holds half of the source's fused tensor."""
    before, after = fused()
    wrong = {n: t for n, t in after.items() if "up_proj" not in n}
    found = faults(tmp_path, before, wrong, "mistral4")
    assert set(found.values()) == {"missing"}
    assert len(found) == 3


def test_what_converters_leave_out(tmp_path: Path) -> None:
    before, after = MODELS["experts"][0]()
    extra = {
        name: np.ones((3, DIMS), np.float32)
        for name in ("mtp.layers.0.weight", "vision_tower.proj.weight", "model.layers.7.x.weight")
    }
    source, target = save(tmp_path, before | extra, after, "qwen3_moe")
    config = json.loads((source / "config.json").read_text()) | {"num_hidden_layers": 3}
    for side in (source, target):
        (side / "config.json").write_text(json.dumps(config))
    check = Check(source, target)
    assert [check.finding(q).behaviour for q in check.questions if q.name.split(" ")[0] in extra] == ["left out"] * 3
    assert check.dropped == 3
    config["model_type"] = "a-model-nobody-knows"
    for side in (source, target):
        (side / "config.json").write_text(json.dumps(config))
    assert red(verdicts(source, target)) == {"model.layers.7.x.weight of the source": "missing"}


WHISPER = {
    "model.encoder.conv1.weight": "encoder.conv1.weight",
    "model.encoder.layers.{n}.self_attn.q_proj.weight": "encoder.blocks.{n}.attn.query.weight",
    "model.encoder.layers.{n}.self_attn.out_proj.bias": "encoder.blocks.{n}.attn.out.bias",
    "model.encoder.layers.{n}.self_attn_layer_norm.weight": "encoder.blocks.{n}.attn_ln.weight",
    "model.encoder.layers.{n}.fc1.weight": "encoder.blocks.{n}.mlp1.weight",
    "model.encoder.layer_norm.weight": "encoder.ln_post.weight",
    "model.decoder.layers.{n}.encoder_attn.k_proj.weight": "decoder.blocks.{n}.cross_attn.key.weight",
    "model.decoder.layers.{n}.encoder_attn.v_proj.weight": "decoder.blocks.{n}.cross_attn.value.weight",
    "model.decoder.layers.{n}.encoder_attn_layer_norm.bias": "decoder.blocks.{n}.cross_attn_ln.bias",
    "model.decoder.layers.{n}.final_layer_norm.weight": "decoder.blocks.{n}.mlp_ln.weight",
    "model.decoder.layer_norm.weight": "decoder.ln.weight",
    "model.decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "model.decoder.embed_positions.weight": "decoder.positional_embedding",
}


def whisper() -> tuple[Arrays, Arrays]:
    """As transformers and mlx-examples name the tensors; the encoder's sines are computed there."""
    rng = np.random.default_rng(0)
    before = {"model.encoder.embed_positions.weight": rng.normal(size=(8, 16)).astype(np.float32)}
    after = {}
    for old, new in WHISPER.items():
        shape = (16, 4, 3) if "conv" in old else (16, 16) if "proj.weight" in old or "embed" in old else (16,)
        for n in range(2 if "{n}" in old else 1):
            value = rng.normal(size=shape).astype(np.float32)
            before[old.format(n=n)] = value
            after[new.format(n=n)] = value.transpose(0, 2, 1) if value.ndim == 3 else value
    return before, after


def test_whisper(tmp_path: Path) -> None:
    before, after = whisper()
    source = write(tmp_path / "a", before, {"model_type": "whisper"}, "pt")
    check = Check(source, write(tmp_path / "b", after, {"model_type": "whisper"}, "mlx"))
    assert {q.name: f.message for q in check.questions if not (f := check.finding(q)).conforms} == {}
    assert check.inferred == 0
    names = [f"decoder.blocks.0.cross_attn.{which}.weight" for which in ("key", "value")]
    after[names[0]], after[names[1]] = after[names[1]], after[names[0]]
    del after["decoder.positional_embedding"]
    found = red(verdicts(source, write(tmp_path / "c", after, {"model_type": "whisper"}, "mlx")))
    assert found == {
        **dict.fromkeys(names, "swapped"),
        "model.decoder.embed_positions.weight of the source": "missing",
    }


def of_images() -> tuple[Arrays, Arrays]:
    """A tower under another name and a projector, which mlx-vlm keeps; mlx-lm leaves both out."""
    rng = np.random.default_rng(0)
    text = {"model.embed_tokens.weight": rng.normal(size=(64, 32)).astype(np.float32)}
    names = [f"blocks.{n}.attn.proj.weight" for n in range(3)] + ["merger.mlp.0.weight"]
    seen = {name: rng.normal(size=(32, 32)).astype(np.float32) for name in names}
    return (
        {**text, **{f"visual.{name}": t for name, t in seen.items()}},
        {
            "language_model.model.embed_tokens.weight": text["model.embed_tokens.weight"],
            **{f"vision_tower.{name}": t for name, t in seen.items()},
        },
    )


def test_a_tower_that_is_kept_is_compared(tmp_path: Path) -> None:
    before, after = of_images()
    assert faults(tmp_path / "sound", before, after, "qwen2_vl") == {}
    after["vision_tower.merger.mlp.0.weight"] = after["vision_tower.merger.mlp.0.weight"][:, ::-1]
    assert set(faults(tmp_path / "wrong", before, after, "qwen2_vl")) == {"vision_tower.merger.mlp.0.weight"}


def test_a_projector_that_is_lost_is_not_left_out(tmp_path: Path) -> None:
    before, after = of_images()
    del after["vision_tower.merger.mlp.0.weight"]
    assert faults(tmp_path, before, after, "qwen2_vl") == {"visual.merger.mlp.0.weight of the source": "missing"}


def test_towers_stay_as_they_are_when_the_text_is_quantized(tmp_path: Path) -> None:
    before, after = of_images()
    table = after.pop("language_model.model.embed_tokens.weight")
    after |= packed({"language_model.model.embed_tokens.weight": table}, AFFINE)
    source = write(tmp_path / "a", before, {"model_type": "qwen2_vl"}, "pt")
    target = write(tmp_path / "b", after, {"model_type": "qwen2_vl", **quantization(AFFINE)}, "mlx")
    assert red(verdicts(source, target)) == {}


def convolutions() -> tuple[Arrays, Arrays]:
    """Kimi's, whose names the converter changes and no page says how."""
    rng = np.random.default_rng(0)
    before, after = {}, {}
    for n in range(3):
        for which in "qkv":
            value = rng.normal(size=(32, 1, 4)).astype(np.float32)
            before[f"model.layers.{n}.self_attn.{which}_conv1d.weight"] = value
            after[f"model.layers.{n}.self_attn.{which}_conv.conv.weight"] = value.transpose(0, 2, 1)
    return before, after


def test_names_decide_where_a_converter_keeps_values(tmp_path: Path) -> None:
    before, after = convolutions()
    assert faults(tmp_path / "sound", before, after, "kimi_linear") == {}
    names = {n: n.replace("q_", "!").replace("k_", "q_").replace("!", "k_") for n in after}
    found = faults(tmp_path / "wrong", before, {n: after[names[n]] for n in after}, "kimi_linear")
    assert set(found) == {n for n in after if ".v_" not in n}


def test_experts_transposed_in_all_layers_under_other_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before: Arrays = {}
    after: Arrays = {}
    for n in range(2):
        for old, new in (("up_proj", "fc1"), ("down_proj", "fc2")):
            experts = [rng.normal(size=(32, 32)).astype(np.float32) for _ in range(3)]
            before |= {f"backbone.layers.{n}.mixer.experts.{e}.{old}.weight": x for e, x in enumerate(experts)}
            after[f"backbone.layers.{n}.mixer.switch_mlp.{new}.weight"] = np.stack(experts)
    assert faults(tmp_path / "sound", before, after, "nemotron_h") == {}
    turned = {name: np.ascontiguousarray(t.swapaxes(1, 2)) for name, t in after.items()}
    assert set(faults(tmp_path / "wrong", before, turned, "nemotron_h")) == set(after)


def hunyuan() -> tuple[Arrays, Arrays]:
    """Four heads of q for two of k, fused by heads of k."""
    rng = np.random.default_rng(0)
    before, after = {}, {}
    for n in range(3):
        fused = rng.normal(size=(2, 4, 8, 32)).astype(np.float32)
        before[f"model.layers.{n}.self_attn.qkv_proj.weight"] = fused.reshape(-1, 32)
        for name, which in (("q_proj", slice(0, 2)), ("k_proj", slice(2, 3)), ("v_proj", slice(3, 4))):
            after[f"model.layers.{n}.self_attn.{name}.weight"] = fused[:, which].reshape(-1, 32)
    return before, after


def test_heads_that_were_fused_in_groups(tmp_path: Path) -> None:
    config = {"model_type": "hunyuan", "num_attention_heads": 4, "num_key_value_heads": 2}
    before, after = hunyuan()
    source = write(tmp_path / "a", before, config, "pt")
    check = Check(source, write(tmp_path / "b", after, config, "mlx"))
    assert {q.name: f.message for q in check.questions if not (f := check.finding(q)).conforms} == {}
    assert check.inferred == 0
    swapped = {name: after[name.replace("k_", "!").replace("v_", "k_").replace("!", "v_")] for name in after}
    found = red(verdicts(source, write(tmp_path / "c", swapped, config, "mlx")))
    assert set(found) == {name for name in after if "q_proj" not in name}


@pytest.mark.parametrize(("model", "axis"), [("baichuan_m1", 1), ("bailing_moe", 0)])
@pytest.mark.parametrize("stored", ["float32", "bfloat16", "4 bits"])
def test_a_head_that_is_divided_by_its_length(tmp_path: Path, model: str, axis: int, stored: str) -> None:
    rng = np.random.default_rng(0)
    config = {"model_type": model, "norm_head": True}
    head = rng.normal(size=(64, 32)).astype(np.float32)
    made = head / (np.linalg.norm(head, axis=axis, keepdims=True) + np.float32(1e-7))

    def target(values: np.ndarray) -> Arrays:
        if stored == "4 bits":
            return packed({"lm_head.weight": values}, AFFINE)
        return {"lm_head.weight": values.astype(getattr(ml_dtypes, stored, stored))}

    source = write(tmp_path / "a", {"lm_head.weight": head}, config, "pt")
    said = {**config, **(quantization(AFFINE) if stored == "4 bits" else {})}
    assert red(verdicts(source, write(tmp_path / "b", target(made), said, "mlx"))) == {}
    assert set(red(verdicts(source, write(tmp_path / "c", target(head), said, "mlx")))) == {"lm_head.weight"}


def test_a_vector_in_another_shape(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(1, 1, 64)).astype(np.float32)
    names = [f"model.layers.{n}.attn.k_a" for n in range(2)]
    assert faults(tmp_path, dict.fromkeys(names, values), dict.fromkeys(names, values.reshape(4, 16)), "rwkv7") == {}


def test_a_map_confirms_what_was_inferred(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = fused()
    source, target = save(tmp_path, before, after, "a-model-nobody-knows")
    keymap = tmp_path / "found.toml"
    plain = ["check", str(source), str(target), "--tensors-only"]
    assert main([*plain, "--strict", "--write-map", str(keymap)]) == 1
    assert "6 inferred from values" in capsys.readouterr().out.splitlines()[-1]
    assert main(plain) == 0
    assert main([*plain, "--strict", "--map", str(keymap)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verdict: the target holds what its source says"
    wrong = exchanged(after, "gate_proj", "up_proj", everywhere=True)
    write(target, wrong, {}, framework="mlx")
    assert main(plain) == 0, "which half is the gate is not known, and the verdict says that it is inferred"
    assert main([*plain, "--map", str(keymap)]) == 1


def test_what_is_ignored_is_counted_and_never_strictly_green(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = MODELS["experts"][0]()
    source, target = save(tmp_path, before | {"odd.weight": before["lm_head.weight"]}, after, "qwen3_moe")
    plain = ["check", str(source), str(target), "--tensors-only"]
    assert main(plain) == 1
    assert "[ignore]" not in capsys.readouterr().out, "never what is advised"
    keymap = tmp_path / "map.toml"
    keymap.write_text('[ignore]\nsource = ["odd.*"]\n')
    assert main([*plain, "--map", str(keymap)]) == 0
    count = len(before) + 1 + len(after)
    said = f"verdict: agrees in what was compared: {count - 1} of {count} tensors of both sides; 1 ignored by the map"
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert main([*plain, "--map", str(keymap), "--strict"]) == 1


RULE = """
[[rule]]
target = "t.{n}.w"
sources = ["s.{n}.{e}.w"]
stack = "e"
"""
BAD_RULES = {
    RULE.replace('"e"', '"k"'): "rule 1: stack 'k': 's.{n}.{e}.w' has no single {k}",
    RULE.replace("t.{n}", "t.{k}"): "rule 1: 's.{n}.{e}.w' and 't.{k}.w' do not have the same {letters}",
    RULE + 'steps = ["turn 1 0"]': "rule 1: step 'turn 1 0' is none; write permute AXIS AXIS …",
    RULE + 'steps = ["part 1 2 2"]': "rule 1: step 'part 1 2 2' is none; write part AXIS K N",
    RULE + 'steps = ["add one"]': "rule 1: step 'add one' is none; write add NUMBER",
    RULE.replace("t.{n}", "u.{n}"): "rule 1: 'u.{n}.w' is no tensor of the target",
    RULE.replace("s.{n}", "x.{n}"): "rule 1: 'x.{n}.{e}.w' is no tensor of the source",
    RULE.replace('["s.{n}.{e}.w"]', "[]"): "rule 1: sources must name one template",
}


@pytest.mark.parametrize("text", BAD_RULES)
def test_a_rule_that_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    keymap = tmp_path / "map.toml"
    keymap.write_text(text)
    before = {f"s.{n}.{e}.w": np.full((2, 3), n + e, np.float32) for n in (0, 1) for e in (0, 1)}
    after = {f"t.{n}.w": np.stack([before[f"s.{n}.{e}.w"] for e in (0, 1)]) for n in (0, 1)}
    source, target = save(tmp_path, before, after, "")
    with pytest.raises(CheckpointError) as error:
        Check(source, target, keymap)
    assert str(error.value).startswith(f"--map {keymap}: {BAD_RULES[text]}")


@pytest.mark.parametrize(
    "step",
    [
        *(Permute((0, 2, 1)), Part(1, 0, 2), Part(0, 2, 3, True), Range(1, 0, 4), Reshape((4, 2)), Reshape(())),
        *(Add(-1.0), Apply("-exp(x)"), Apply("log(-x)"), Flip(1)),
        *(Multiply(((0, (0.75,)),)), Multiply(((1, (0.1, 3.0)), (2, (0.5,)))), Normalize(0), Normalize(1)),
    ],
    ids=str,
)
def test_a_step_is_read_as_it_is_written(step: Step) -> None:
    assert step_of(" ".join(map(str, step.words))) == step


def test_two_sources_after_one_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before = {
        f"layers.{n}.{k}_proj.weight": rng.standard_normal((s, 6)).astype(np.float32)
        for n in (0, 1)
        for k, s in (("q", 8), ("k", 4), ("v", 4))
    }
    after = {
        f"layers.{n}.qkv_proj.weight": np.concatenate([before[f"layers.{n}.{k}_proj.weight"] for k in "qkv"])
        for n in (0, 1)
    }
    check, found = checked(tmp_path, before, after, "")
    assert all(f.conforms for _, f in found)
    assert [str(rule) for rule in check.rules] == [
        "layers.{n}.qkv_proj.weight = layers.{n}.q_proj.weight + layers.{n}.k_proj.weight + layers.{n}.v_proj.weight: "
        "concatenated along axis 0"
    ]
    wrong = changed(after, "qkv", lambda a: np.concatenate([a[8:12], a[:8], a[12:]]), everywhere=False)
    assert list(faults(tmp_path / "wrong", before, wrong, "")) == ["layers.1.qkv_proj.weight"]


def strangers(count: int = 120) -> tuple[Arrays, Arrays]:
    """Tensors of a few shapes whose names say nothing; every third matrix is stored transposed in the target."""
    rng = np.random.default_rng(0)
    shapes = ((64, 64), (96, 64), (64, 96), (64,))
    before, after = {}, {}
    for i in range(count):
        values = rng.normal(size=shapes[i % 4]).astype(np.float32)
        before[rng.bytes(4).hex()] = values
        after[f"{count - i}" if i % 2 else rng.bytes(4).hex()] = values.T if i % 3 == 0 else values
    return before, dict(sorted(after.items()))


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "4 bits"])
def test_names_that_say_nothing_are_told_by_their_values(tmp_path: Path, stored: str) -> None:
    before, after = strangers()
    target: Arrays = {}
    for name, values in after.items():
        if stored == "4 bits" and values.ndim == 2:
            target |= packed({f"x{name}.weight": values}, AFFINE)
        else:
            target[name] = values.astype(np.float32 if stored == "4 bits" else getattr(ml_dtypes, stored, stored))
    config = quantization(AFFINE) if stored == "4 bits" else {}
    check = Check(write(tmp_path / "a", before, {}), write(tmp_path / "b", target, config))
    assert {q.name: f.message for q in check.questions if not (f := check.finding(q)).conforms} == {}
    assert check.inferred == len(after)
    assert len(headline(check)) <= 10


def test_of_strangers_one_with_other_values_has_no_partner(tmp_path: Path) -> None:
    before, after = strangers()
    name = next(n for n, v in after.items() if v.shape == (96, 64))
    after[name] = after[name][::-1]
    found = red(verdicts(write(tmp_path / "a", before, {}), write(tmp_path / "b", after, {})))
    assert sorted(found.values()) == ["missing", "unexpected"]
    assert f"{name} of the target" in found


def test_templates() -> None:
    assert template("params/layers_3/mlp/kernel") == ("params/layers_{}/mlp/kernel", (3,))
    assert template("ln_1.weight") == ("ln_1.weight", ()), "which norm it is is no layer's number"
    assert canonical("model.layers.{}.mlp.experts.gate_up_proj_bias")[-2:] == ("gate_up_proj", "bias")
    assert likeness("model.layers.{}.a.weight", "gpt.h.{}.a.weight") > likeness(
        "model.layers.{}.b.weight", "gpt.h.{}.a.weight"
    )


def _view(array: np.ndarray) -> View:
    return View(array.shape, lambda a, b: array[a:b])


@pytest.mark.parametrize(
    "step",
    [
        *(Permute((0, 2, 1)), Permute((2, 0, 1)), Part(0, 1, 2), Part(1, 0, 3, True), Reshape((3, 8))),
        Multiply(((1, (0.1, 3.0)), (3, (0.5,)))),
    ],
)
def test_rows_of_a_step_are_those_of_the_whole(step: Step) -> None:
    array = np.arange(24.0).reshape(4, 3, 2)
    view = step.apply(_view(array))
    assert view.shape == step.shape(array.shape) == view.whole().shape
    for start in range(view.length):
        for stop in range(start, view.length + 1):
            np.testing.assert_array_equal(view.rows(start, stop), view.whole()[start:stop])


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_of_a_normalized_matrix(axis: int) -> None:
    array = np.random.default_rng(0).normal(size=(5, 3))
    made = Normalize(axis).apply(_view(array))
    np.testing.assert_allclose(np.linalg.norm(made.whole(), axis=axis), 1, rtol=1e-6)
    np.testing.assert_array_equal(made.rows(1, 3), made.whole()[1:3])


def test_constants_are_rounded_to_the_dtype_as_their_product_is() -> None:
    found = np.full((3, 2), 3, ml_dtypes.bfloat16)
    made = Multiply(((1, (0.1, 3.0)), (2, (0.1,)))).apply(_view(found)).whole()
    tenth = ml_dtypes.bfloat16(0.1)
    assert made.dtype == found.dtype
    assert made[0, 0] == (tenth * ml_dtypes.bfloat16(3)) * ml_dtypes.bfloat16(3)
    assert made[1:].tolist() == [[tenth * ml_dtypes.bfloat16(3)] * 2] * 2


def test_rows_of_a_concatenation() -> None:
    parts = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2), np.zeros((0, 2))]
    whole, view = np.concatenate(parts), concatenated([_view(p) for p in parts])
    for start in range(6):
        for stop in range(start, 6):
            np.testing.assert_array_equal(view.rows(start, stop), whole[start:stop])


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ((3, 2, 1, 0), ("experts lie in reversed order", "reversed")),
        ((0, 2, 1, 3), ("experts 1 and 2 are exchanged", "exchanged")),
        ((0, 0, 2, 3), ("expert 1 holds 0, and expert 1 of its source is nowhere", "duplicated")),
        ((1, 2, 3, 0), ("expert 0 holds 1 of its source, 4 of 4 are elsewhere", "in another order")),
        ((0, 2, 1, 3)[::-1], ("expert 0 holds 3 of its source, 2 of 4 are elsewhere", "in another order")),
        ((0, 2, 4, 1, 3, 5), ("every second expert lies in the first half", "in halves")),
    ],
)
def test_an_order_in_words(places: tuple[int, ...], said: tuple[str, str]) -> None:
    if places == (3, 1, 2, 0):
        said = ("experts 0 and 3 are exchanged", "exchanged")
    assert described(places, "expert") == said


def test_alike_slices_have_no_order() -> None:
    same = np.ones((4, 5))
    assert order_along(same, same, 0) is None
    rows = np.random.default_rng(0).standard_normal((6, EXPERTS * INNER))
    found = order_along(rows, rows[::-1] + 1e-3, 0)
    assert found is not None
    assert found.is_permutation
    assert len(found.places) == 6
