"""Are tensors paired by what they are, with the reason, and is a map that cannot be meant refused?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import made_checkpoints as made
from tests.checkpoint_files import write_gguf
from tests.made_checkpoints import Arrays, hugging_face, meta, red, renamed, verdicts, write
from touchstone.adapters.interface import Scheme
from touchstone.migration import hypotheses, llama_names
from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.conventions import (
    FLAX_LLAMA,
    GGUF,
    HUGGING_FACE,
    META,
    MLX_EXAMPLE,
    Heads,
    Name,
    convention_of,
)
from touchstone.migration.keymap import KeyMap
from touchstone.migration.opening import open_checkpoint
from touchstone.migration.pairing import Pair, Pairing, pair

SPELLED = {
    "Meta": (meta(), META),
    "MLX": (llama_names.convert(meta(), "mlx"), MLX_EXAMPLE),
    "Flax": (llama_names.convert(meta(), "flax"), FLAX_LLAMA),
    "Hugging Face": (hugging_face(meta()), HUGGING_FACE),
    "GGUF": (renamed(meta(), made.GGUF, "blk", permuted=False), GGUF),
}


def paired(tmp_path: Path, source: Arrays, target: Arrays, keymap: str = "", config: dict | None = None) -> Pairing:
    path = tmp_path / "map.toml"
    path.write_text(keymap)
    a, b = write(tmp_path / "a", source, config or made.CONFIG), write(tmp_path / "b", target, {})
    return pair(open_checkpoint(a), open_checkpoint(b), KeyMap.read(path))


def of(pairing: Pairing, target: str) -> Pair:
    return next(p for p in pairing.pairs if p.target.name == target)


@pytest.mark.parametrize("spelling", SPELLED)
def test_a_convention_is_recognised(spelling: str) -> None:
    tensors, convention = SPELLED[spelling]
    found, roles = convention_of(tensors.keys())
    assert found is convention
    assert len(roles) == len(tensors) == len(set(roles.values()))


@pytest.mark.parametrize("after", SPELLED)
@pytest.mark.parametrize("before", SPELLED)
def test_every_convention_is_converted_to_every_other(tmp_path: Path, before: str, after: str) -> None:
    source, target = SPELLED[before][0], SPELLED[after][0]
    found = verdicts(write(tmp_path / "a", source), write(tmp_path / "b", target))
    assert red(found) == {}
    assert len(found) == len(target)


@pytest.mark.parametrize("prefix", ["language_model.model.", "params/"])
def test_a_prefix_hides_no_convention(tmp_path: Path, prefix: str) -> None:
    target = {f"{prefix}{name.removeprefix('model.')}": t for name, t in hugging_face(meta()).items()}
    assert red(verdicts(write(tmp_path / "a", meta()), write(tmp_path / "b", target))) == {}


def test_flax_leaves_pair_with_the_same_path_elsewhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight, table = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 8), (10, 8)))
    source = {"encoder.layers.0.dense.weight": weight, "encoder.embed.weight": table, "encoder.norm.weight": table[0]}
    target = {
        "params/encoder/layers_0/dense/kernel": weight.T,
        "params/encoder/embed/embedding": table,
        "params/encoder/norm/scale": table[0],
    }
    pairing = paired(tmp_path, source, target)
    assert of(pairing, "params/encoder/layers_0/dense/kernel").transposed
    assert not of(pairing, "params/encoder/embed/embedding").transposed
    assert not pairing.alone
    target["params/encoder/layers_0/dense/kernel"] = weight
    found = verdicts(write(tmp_path / "a", source), write(tmp_path / "b", target))
    assert red(found) == {"params/encoder/layers_0/dense/kernel": "not transposed"}


def test_square_matrices_follow_what_the_others_show(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = {
        f"h.{n}.{m}": rng.standard_normal(s).astype(np.float32)
        for n in "012"
        for m, s in (("a.w", (8, 8)), ("b.w", (8, 4)))
    }
    target = {name: np.ascontiguousarray(t.T) for name, t in source.items()}
    a = write(tmp_path / "a", source)
    assert red(verdicts(a, write(tmp_path / "b", target))) == {}
    target["h.0.a.w"] = source["h.0.a.w"]
    assert red(verdicts(a, write(tmp_path / "b", target))) == {"h.0.a.w": "not transposed"}
    target["h.1.b.w"] = source["h.1.b.w"]
    found = {"h.0.a.w": "not transposed", "h.1.b.w": "not transposed"}
    assert red(verdicts(a, write(tmp_path / "b", target))) == found


def test_a_prefix_that_one_side_lacks(tmp_path: Path) -> None:
    source = {"bert.pooler.weight": np.ones((2, 3), np.float32), "bert.pooler.bias": np.ones(2, np.float32)}
    pairing = paired(tmp_path, source, {name.removeprefix("bert."): t for name, t in source.items()})
    assert [p.how for p in pairing.pairs] == ["the same name after 'bert.'"] * 2


def test_buffers_need_no_partner_and_others_do(tmp_path: Path) -> None:
    source = {
        **meta(),
        "rope.freqs": np.ones(8, np.float32),
        "layers.0.feed_forward.w4.weight": np.ones((3, 3), np.float32),
    }
    pairing = paired(tmp_path, source, hugging_face(meta()))
    assert {a.parameter.name: bool(a.reason) for a in pairing.alone} == {
        "rope.freqs": True,
        "layers.0.feed_forward.w4.weight": False,
    }


def test_a_map_pairs_what_no_convention_knows(tmp_path: Path) -> None:
    source = {f"{n}/w": np.arange(6, dtype=np.float32).reshape(2, 3) + n for n in (1, 2)}
    target: dict[str, np.ndarray] = {f"layer{n}.weight": t.T for n, t in zip((1, 2), source.values(), strict=True)}
    target["extra"] = np.ones(1, np.float32)
    keymap = """
        [rename]
        "{n}/w" = "layer{n}.weight"
        [transpose]
        targets = ["layer{n}.weight"]
        [ignore]
        target = ["extra"]
    """
    path = tmp_path / "own.toml"
    path.write_text(keymap)
    found = verdicts(write(tmp_path / "a", source), write(tmp_path / "b", target), path)
    assert red(found) == {}
    assert len(found) == 2


BAD_MAPS = {
    "[renames]\n": "unknown field 'renames'; use rename, transpose, ignore, heads",
    "rename = 3\n": "rename must be a table, not 3",
    "[transpose]\ntarget = []\n": "transpose has an unknown field 'target'; use targets",
    "[transpose]\ntargets = 'x'\n": "transpose.targets must be a list, not 'x'",
    "[rename]\n'norm.weight' = 3\n": "rename 'norm.weight' must be a string, not 3",
    "[rename]\n'nope' = 'model.norm.weight'\n": "'nope' is no tensor of the source",
    "[rename]\n'norm.weight' = 'nope'\n": "'nope' is no tensor of the target",
    "[rename]\n'layers.{n}.attention.wq.weight' = 'model.norm.weight'\n": "both claim 'model.norm.weight'",
    "[ignore]\nsource = ['nope']\n": "ignore.source 'nope' is no tensor of the source",
    "[ignore]\ntarget = ['nope']\n": "ignore.target 'nope' is no tensor of the target",
    "[transpose]\ntargets = ['nope']\n": "transpose.targets 'nope' is no tensor of the target",
    "[transpose]\ntargets = ['model.norm.weight']\n": "'model.norm.weight' has 1 axes",
    "[rename]\n'norm.weight' = 'model.norm.weight'\n'n{n}rm.weight' = 'lm_head.weight'\n": "is no tensor of the source",
    "[rename]\n'layers.0.ffn_norm.weight' = 'model.norm.weight'\n'layers.{n}.ffn_norm.weight' = "
    "'model.layers.{n}.input_layernorm.weight'\n": "to both",
    "[heads]\nquery = -1\n": "heads.query must be 0 or more, not -1",
    "[heads]\nquery = 'four'\n": "heads.query must be a whole number, not 'four'",
    "= \n": "cannot be read as TOML",
}


@pytest.mark.parametrize("text", BAD_MAPS)
def test_a_bad_map_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=BAD_MAPS[text]) as error:
        paired(tmp_path, meta(), hugging_face(meta()), text)
    assert "map.toml" in str(error.value)


def test_gpt_2_s_transposed_kernels_and_its_tables(tmp_path: Path) -> None:
    """Conv1D stores [in, out]; tables of positions are as they were, and square kernels follow their kind."""
    rng = np.random.default_rng(0)
    shapes = {"c_attn": (16, 48), "c_proj": (16, 16), "c_fc": (16, 64), "mlp.c_proj": (64, 16)}
    source = {f"h.{n}.{m}.weight": rng.standard_normal(s).astype(np.float32) for n in "01" for m, s in shapes.items()}
    tables = {
        f"{t}.weight": rng.standard_normal(s).astype(np.float32) for t, s in {"wte": (50, 16), "wpe": (32, 16)}.items()
    }
    target = {name: np.ascontiguousarray(t.T) for name, t in source.items()} | tables
    a = write(tmp_path / "a", source | tables)
    assert red(verdicts(a, write(tmp_path / "b", target))) == {}
    target["h.1.c_proj.weight"] = source["h.1.c_proj.weight"]
    assert red(verdicts(a, write(tmp_path / "b", target))) == {"h.1.c_proj.weight": "not transposed"}


def test_an_architecture_that_gguf_does_not_permute(tmp_path: Path) -> None:
    plain = renamed(meta(), made.GGUF, "blk", permuted=False)
    own = tmp_path / "a"
    own.mkdir()
    source = write_gguf(own, plain, architecture="qwen2")
    target = write(tmp_path / "b", hugging_face(meta(), permuted=False))
    assert red(verdicts(source, target)) == {}
    wrong = red(verdicts(source, write(tmp_path / "c", hugging_face(meta()))))
    assert set(wrong.values()) == {"q/k permuted"}


def test_heads_found_by_values_are_the_same_in_every_layer(tmp_path: Path) -> None:
    target = hugging_face(meta(), permuted=False)
    for n, heads in enumerate((4, 8, 4)):
        name = f"model.layers.{n}.self_attn.q_proj.weight"
        target[name] = made.halves(target[name], heads)
        target[name.replace("q_proj", "k_proj")] = made.halves(target[name.replace("q_proj", "k_proj")], 4)
    found = verdicts(write(tmp_path / "a", meta(), {}), write(tmp_path / "b", target, {}))
    assert red(found) == {"model.layers.1.self_attn.q_proj.weight": "q/k permuted for other heads"}


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_is_ignored_is_not_paired(tmp_path: Path, side: str) -> None:
    source = {"norm.weight": np.ones(4, np.float32), "other": np.ones(4, np.float32)}
    keymap = f"[ignore]\n{side} = ['other']\n"
    pairing = paired(tmp_path, source, {**source, "other": np.zeros(4, np.float32)}, keymap)
    assert [p.target.name for p in pairing.pairs] == ["norm.weight"]
    assert [a.parameter.name for a in pairing.alone] == ["other"]


def test_a_map_that_ignores_everything(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text("[ignore]\nsource = ['a']\ntarget = ['a']\n")
    one = write(tmp_path / "a", {"a": np.ones(2, np.float32)}), write(tmp_path / "b", {"a": np.ones(2, np.float32)})
    with pytest.raises(CheckpointError, match="the map ignores every tensor"):
        verdicts(*one, path)


def test_one_path_given_twice(tmp_path: Path) -> None:
    a = write(tmp_path / "a", meta())
    with pytest.raises(CheckpointError, match="are the same files"):
        verdicts(a, a / "model.safetensors")


def test_heads_come_from_a_map_where_no_configuration_says(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", meta(), {}), write(tmp_path / "b", hugging_face(meta()), {})
    without = verdicts(a, b)
    assert {f.behaviour for (_, n), f in without.items() if "q_proj" in n or "k_proj" in n} == {"exact"}
    path = tmp_path / "map.toml"
    path.write_text("[heads]\nquery = 8\n")
    wrong = red(verdicts(a, b, path))
    assert set(wrong.values()) == {"q/k permuted for other heads"}
    assert len(wrong) == 2 * made.LAYERS


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        ({"num_attention_heads": 32, "num_key_value_heads": 8}, Heads(32, 8)),
        ({"n_heads": 32}, Heads(32, 32)),
        ({"llama.attention.head_count": 9, "llama.attention.head_count_kv": 3}, Heads(9, 3)),
        ({"num_attention_heads": True}, Heads()),
        ({}, Heads()),
    ],
)
def test_numbers_of_heads(config: dict, heads: Heads) -> None:
    assert Heads.of({}, config) == heads


def test_names_are_understood() -> None:
    assert Name.of("params/layers_3/dense/kernel") == Name(("layers", "3", "dense"), "weight", True)
    assert Name.of("a.b.bias") == Name(("a", "b"), "bias")
    assert Name.of("alone") == Name((), "alone")


def test_two_tensors_with_one_role_are_refused(tmp_path: Path) -> None:
    target = hugging_face(meta())
    target["model.model.norm.weight"] = target["model.norm.weight"]
    target["norm.weight"] = target["model.norm.weight"]
    with pytest.raises(CheckpointError, match="are both the norm"):
        paired(tmp_path, meta(), target)


def test_packed_parts_are_one_parameter_and_settle_on_the_sources_columns(tmp_path: Path) -> None:
    target = made.packed(hugging_face(meta()), Scheme(4, 32))
    pairing = paired(tmp_path, meta(), target)
    found = of(pairing, "model.layers.0.mlp.up_proj.weight").target
    assert (found.form and found.form.name, found.shape, len(found.possible)) == ("affine4g32", (128, 64), 3)


def test_meta_s_own_configuration_says_how_many_heads(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", meta())
    (folder / "config.json").rename(folder / "params.json").write_text('{"n_heads": 8, "n_kv_heads": 4}')
    assert Heads.of(open_checkpoint(folder).config) == Heads(8, 4)


def test_heads_are_looked_for_once_for_q_and_once_for_k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    look = hypotheses.with_heads

    def counted(pair: Pair) -> Pair:
        seen.append(pair.target.name)
        return look(pair)

    monkeypatch.setattr(hypotheses, "with_heads", counted)
    found = verdicts(write(tmp_path / "a", meta(), {}), write(tmp_path / "b", hugging_face(meta()), {}))
    assert red(found) == {}
    assert len(seen) == 2


def test_heads_that_no_values_show_are_not_spoken_of(tmp_path: Path) -> None:
    target = hugging_face(meta(seed=5))
    found = verdicts(write(tmp_path / "a", meta(), {}), write(tmp_path / "b", target, {}))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert "heads" not in found["MIG-VALUES-1", name].message
