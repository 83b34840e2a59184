"""Is every fault of a conversion named, with its tensor, and is no clean conversion blamed?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.made_checkpoints import (
    CONFIG,
    DIMS,
    GGUF,
    VOCABULARY,
    Arrays,
    halves,
    hugging_face,
    meta,
    packed,
    quantization,
    red,
    renamed,
    verdicts,
    write,
)
from touchstone.adapters.interface import Scheme
from touchstone.golden import packing
from touchstone.golden.packing import format_of
from touchstone.migration.opening import open_checkpoint
from touchstone.migration.parameters import parameters

SCHEMES = [
    Scheme(4, 32),
    Scheme(8, 64),
    Scheme(2, 32),
    Scheme(4, 32, "mxfp4"),
    Scheme(8, 32, "mxfp8"),
    Scheme(4, 16, "nvfp4"),
]
DTYPES = ("float32", "float16", "bfloat16")
Q0, V0, V1, V2 = (f"model.layers.{n}.self_attn.{m}_proj.weight" for n, m in ((0, "q"), (0, "v"), (1, "v"), (2, "v")))
UP1, TABLE, HEAD = "model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight", "lm_head.weight"


def as_dtype(weights: Arrays, dtype: str) -> Arrays:
    return {name: value.astype(getattr(ml_dtypes, dtype, dtype)) for name, value in weights.items()}


def check(tmp_path: Path, source: Arrays, target: Arrays, config: dict | None = None) -> dict[str, str]:
    return red(verdicts(write(tmp_path / "a", source), write(tmp_path / "b", target, config or CONFIG)))


CLEAN: dict[str, tuple[Arrays, Arrays, dict]] = {
    "the same": (meta(), meta(), dict(CONFIG)),
    "Meta to Hugging Face": (meta(), hugging_face(meta()), dict(CONFIG)),
    "Hugging Face to Meta": (hugging_face(meta()), meta(), dict(CONFIG)),
    "Meta to GGUF's names": (meta(), renamed(meta(), GGUF, "blk", permuted=False), dict(CONFIG)),
    "GGUF's names to Hugging Face": (renamed(meta(), GGUF, "blk", permuted=False), hugging_face(meta()), dict(CONFIG)),
    "tied": (meta(tied=True), hugging_face(meta(tied=True)), dict(CONFIG)),
    "tied, with a copy": (
        meta(tied=True),
        {**hugging_face(meta(tied=True)), HEAD: meta()["tok_embeddings.weight"]},
        {},
    ),
    "small weights to float16": (meta(spread=1e-3), as_dtype(hugging_face(meta(spread=1e-3)), "float16"), {}),
    "subnormal in float16": (meta(spread=1e-6), as_dtype(hugging_face(meta(spread=1e-6)), "float16"), {}),
    **{f"to {d}": (meta(), as_dtype(hugging_face(meta()), d), dict(CONFIG)) for d in DTYPES[1:]},
    **{f"from {d}": (as_dtype(meta(), d), hugging_face(as_dtype(meta(), d)), dict(CONFIG)) for d in DTYPES[1:]},
    "bfloat16 to float32": (
        as_dtype(meta(), "bfloat16"),
        hugging_face(as_dtype(as_dtype(meta(), "bfloat16"), "float32")),
        {},
    ),
    "bfloat16 to float16": (
        as_dtype(meta(), "bfloat16"),
        hugging_face(as_dtype(as_dtype(meta(), "bfloat16"), "float16")),
        {},
    ),
    **{f"{s}": (meta(), packed(hugging_face(meta()), s), quantization(s)) for s in SCHEMES},
    **{
        f"{s} of bfloat16": (
            as_dtype(meta(), "bfloat16"),
            packed(hugging_face(as_dtype(meta(), "bfloat16")), s, "bfloat16"),
            quantization(s),
        )
        for s in SCHEMES
    },
    **{
        f"{s} by way of {d}": (meta(), packed(as_dtype(hugging_face(meta()), d), s, d), quantization(s))
        for s in SCHEMES
        for d in DTYPES[1:]
    },
    "packed twice the same": (
        packed(meta(), Scheme(4, 32)),
        packed(hugging_face(meta()), Scheme(4, 32)),
        quantization(Scheme(4, 32)),
    ),
}


@pytest.mark.parametrize("what", CLEAN)
def test_a_clean_conversion_is_not_blamed(tmp_path: Path, what: str) -> None:
    source, target, config = CLEAN[what]
    config = {**config, **CONFIG}
    found = verdicts(write(tmp_path / "a", source), write(tmp_path / "b", target, config))
    assert red(found) == {}
    assert len(found) >= len(source) / 3


Plant = Callable[[Arrays], None]


def transpose(t: Arrays) -> None:
    t[V0] = t[V0].T


def no_permutation(t: Arrays) -> None:
    t[Q0] = meta()["layers.0.attention.wq.weight"].astype(t[Q0].dtype)


def permuted_twice(t: Arrays) -> None:
    t[Q0] = halves(t[Q0])


def permuted_for_other_heads(t: Arrays) -> None:
    t[Q0] = halves(meta()["layers.0.attention.wq.weight"], 8).astype(t[Q0].dtype)


def stale_head(t: Arrays) -> None:
    t[HEAD] = meta(seed=9)["output.weight"].astype(t[HEAD].dtype)


def one_row(t: Arrays) -> None:
    t[TABLE] = t[TABLE].copy()
    t[TABLE][17] = t[TABLE][18]


def shifted(t: Arrays) -> None:
    t[TABLE] = np.roll(t[TABLE], 1, axis=0)


def shifted_from(t: Arrays) -> None:
    t[TABLE] = np.concatenate([t[TABLE][:200], t[TABLE][201:], t[TABLE][-1:]])


def two_rows(t: Arrays) -> None:
    t[TABLE] = t[TABLE].copy()
    t[TABLE][[40, 300]] = t[TABLE][[300, 40]]


def swapped(t: Arrays) -> None:
    t[V1], t[V2] = t[V2], t[V1]


def another(t: Arrays) -> None:
    t[V1] = t[V2]


def truncated(t: Arrays) -> None:
    t[TABLE] = t[TABLE][:-3]


def padded(t: Arrays) -> None:
    t[TABLE] = np.concatenate([t[TABLE], np.zeros((8, DIMS), t[TABLE].dtype)])


def zeros(t: Arrays) -> None:
    t[V0] = np.zeros_like(t[V0])


def negative(t: Arrays) -> None:
    t[V0] = -t[V0]


def missing(t: Arrays) -> None:
    del t[V0]


def extra(t: Arrays) -> None:
    t["adapter.weight"] = t[V0]


FAULTS: dict[str, tuple[Plant, dict[str, str]]] = {
    "transposed square kernel": (transpose, {V0: "transposed"}),
    "q not permuted": (no_permutation, {Q0: "q/k not permuted"}),
    "q permuted for twice as many heads": (permuted_for_other_heads, {Q0: "q/k permuted for other heads"}),
    "one row off by one": (one_row, {TABLE: "row off by one"}),
    "all rows off by one": (shifted, {TABLE: "rows shifted"}),
    "a row lost in the middle": (shifted_from, {TABLE: "rows shifted"}),
    "two rows exchanged": (two_rows, {TABLE: "rows swapped"}),
    "two layers exchanged": (swapped, {V1: "swapped", V2: "swapped"}),
    "another layer's": (another, {V1: "another tensor"}),
    "table truncated": (truncated, {TABLE: "table truncated"}),
    "table padded": (padded, {TABLE: "table padded"}),
    "zeros": (zeros, {V0: "zeros everywhere"}),
    "negative": (negative, {V0: "sign changed"}),
    "missing": (missing, {"layers.0.attention.wv.weight of the source": "missing"}),
    "extra": (extra, {"adapter.weight of the target": "unexpected"}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(tmp_path: Path, fault: str, dtype: str) -> None:
    plant, want = FAULTS[fault]
    target = as_dtype(hugging_face(meta()), dtype)
    plant(target)
    assert check(tmp_path, meta(), target) == want


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("extra", "missing")])
def test_a_fault_is_named_in_a_quantized_checkpoint(tmp_path: Path, fault: str, scheme: Scheme) -> None:
    """The fault comes before quantization, as in a converter that renames and reorders first."""
    plant, want = FAULTS[fault]
    target = hugging_face(meta())
    plant(target)
    assert check(tmp_path, meta(), packed(target, scheme), quantization(scheme)) == want


def test_a_stale_head(tmp_path: Path) -> None:
    source = meta(tied=True)
    target = hugging_face(source)
    target[HEAD] = meta(seed=9)["output.weight"]
    assert check(tmp_path, source, target) == {f"{HEAD} (tied)": "head untied and stale"}
    source["output.weight"] = source["tok_embeddings.weight"]
    assert check(tmp_path, source, target) == {HEAD: "head untied and stale"}


def test_a_head_that_is_no_copy_of_the_table_is_missed(tmp_path: Path) -> None:
    target = hugging_face(meta())
    del target[HEAD]
    assert check(tmp_path, meta(), target) == {f"{TABLE} (tied)": "untied head dropped"}


def test_overflow_of_float16(tmp_path: Path) -> None:
    source = meta()
    source["layers.1.feed_forward.w3.weight"][5, 7] = 70_000.0
    with np.errstate(over="ignore"):
        target = as_dtype(hugging_face(source), "float16")
    assert check(tmp_path, source, target) == {UP1: "overflow to infinity"}


def test_nan_everywhere_and_somewhere(tmp_path: Path) -> None:
    target = hugging_face(meta())
    target[V0] = target[V0] * np.float32("nan")
    target[V1] = target[V1].copy()
    target[V1][3, 4] = np.nan
    assert check(tmp_path, meta(), target) == {V0: "NaN everywhere", V1: "NaN"}


def test_nan_everywhere_on_both_sides_is_no_copy_to_be_glad_of(tmp_path: Path) -> None:
    source = meta()
    source["layers.0.attention.wv.weight"] *= np.float32("nan")
    assert check(tmp_path, source, hugging_face(source)) == {V0: "NaN everywhere"}


def test_a_dropped_bias(tmp_path: Path) -> None:
    source = {**meta(), "layers.1.feed_forward.w3.bias": np.ones(128, np.float32)}
    found = check(tmp_path, source, hugging_face(meta()))
    assert found == {"layers.1.feed_forward.w3.bias of the source": "bias dropped"}


def test_precision_lost_on_the_way(tmp_path: Path) -> None:
    target = hugging_face(meta())
    target[V0] = target[V0].astype(ml_dtypes.bfloat16).astype(np.float32)
    target[V1] = target[V1].astype(np.float16).astype(np.float32)
    assert check(tmp_path, meta(), target) == {V0: "rounded on the way", V1: "rounded on the way"}


def test_truncation_instead_of_rounding(tmp_path: Path) -> None:
    target = hugging_face(meta())
    cut = {n: (t.view(np.uint32) >> 16).astype(np.uint16).view(ml_dtypes.bfloat16) for n, t in target.items()}
    assert set(check(tmp_path, meta(), cut).values()) == {"truncated, not rounded"}


def test_a_single_flipped_bit(tmp_path: Path) -> None:
    target = hugging_face(meta())
    target[UP1] = target[UP1].copy()
    target[UP1].view(np.uint32)[99, 3] ^= 1
    assert check(tmp_path, meta(), target) == {UP1: "elements changed"}


@pytest.mark.parametrize("sign", [-0.0, 0.0])
def test_the_sign_of_a_zero(tmp_path: Path, sign: float) -> None:
    source = meta()
    source["layers.1.feed_forward.w3.weight"][5, 7] = sign
    target = hugging_face(source)
    target[UP1] = target[UP1].copy()
    target[UP1][5, 7] = -sign
    assert check(tmp_path, source, target) == {UP1: "elements changed"}


def test_gemma_s_norm(tmp_path: Path) -> None:
    target = hugging_face(meta())
    target["model.norm.weight"] = target["model.norm.weight"] - np.float32(1)
    assert check(tmp_path, meta(), target) == {"model.norm.weight": "offset"}


AFFINE = Scheme(4, 32)


def roll_parts(*parts: str, axis: int) -> Plant:
    def plant(t: Arrays) -> None:
        for part in parts:
            t[f"model.layers.1.mlp.up_proj.{part}"] = np.roll(t[f"model.layers.1.mlp.up_proj.{part}"], 1, axis=axis)

    return plant


def other_scales(t: Arrays) -> None:
    for part in ("scales", "biases"):
        t[f"model.layers.1.mlp.up_proj.{part}"] = t[f"model.layers.2.mlp.up_proj.{part}"]


def nibbles(t: Arrays) -> None:
    data = t[UP1].view(np.uint8)
    t[UP1] = ((data >> 4) | (data << 4)).view(np.uint32)


def other_width(t: Arrays) -> None:
    """4-bit codes stored as if they had 8 bits, as by a loader that mistook the width."""
    t[UP1] = np.repeat(t[UP1], 3, axis=1)


PARTS: dict[str, tuple[Plant, str]] = {
    "scales and biases of the next group": (roll_parts("scales", "biases", axis=1), "scales of the wrong group"),
    "scales of the next group": (roll_parts("scales", axis=1), "scales of the wrong group"),
    "biases of the next group": (roll_parts("biases", axis=1), "biases of the wrong group"),
    "scales and biases of the next row": (roll_parts("scales", "biases", axis=0), "scales of the wrong group"),
    "words of the next row": (roll_parts("weight", axis=0), "codes of the wrong row"),
    "scales of another layer": (other_scales, "scales of another tensor"),
    "high bits first": (nibbles, "bits in reversed order"),
}


@pytest.mark.parametrize("fault", PARTS)
def test_mixed_up_parts_are_named(tmp_path: Path, fault: str) -> None:
    plant, behaviour = PARTS[fault]
    target = packed(hugging_face(meta()), AFFINE)
    plant(target)
    assert check(tmp_path, meta(), target, quantization(AFFINE)) == {UP1: behaviour}


def test_words_that_no_width_explains(tmp_path: Path) -> None:
    target = packed(hugging_face(meta()), AFFINE)
    other_width(target)
    assert check(tmp_path, meta(), target, quantization(AFFINE)) == {UP1: "bits read as another width"}


def test_words_of_half_the_width(tmp_path: Path) -> None:
    """Their size is that of 2-bit codes."""
    target = packed(hugging_face(meta()), AFFINE)
    target[UP1] = np.ascontiguousarray(target[UP1][:, ::2])
    assert check(tmp_path, meta(), target, quantization(AFFINE)) == {UP1: "bits read as another width"}


def test_a_transposed_square_kernel_of_what_were_codes(tmp_path: Path) -> None:
    source = packed(meta(), AFFINE)
    found = parameters(open_checkpoint(write(tmp_path / "a", source, quantization(AFFINE))))
    values = {name: p.rows(0, p.length).astype(np.float32) for name, p in found.items()}
    target = hugging_face(values)

    def red_of() -> dict[str, str]:
        return red(verdicts(tmp_path / "a", write(tmp_path / "b", target)))

    assert red_of() == {}
    transpose(target)
    assert red_of() == {V0: "transposed"}


@pytest.mark.parametrize(
    ("claimed", "behaviour"),
    [
        (Scheme(8, 64), "wrong bits and group size in the configuration"),
        (Scheme(2, 64), "wrong bits and group size in the configuration"),
        (Scheme(4, 64), "wrong group size in the configuration"),
        (Scheme(4, 32, "mxfp4"), "wrong mode in the configuration"),
    ],
    ids=str,
)
def test_a_configuration_that_is_not_what_is_stored(tmp_path: Path, claimed: Scheme, behaviour: str) -> None:
    target = packed(hugging_face(meta()), AFFINE)
    own = {UP1.removesuffix(".weight"): {"bits": claimed.bits, "group_size": claimed.group_size, "mode": claimed.mode}}
    assert check(tmp_path, meta(), target, quantization(AFFINE, **own)) == {UP1: behaviour}


Config = dict[str, object]
CLAIMS: dict[str, tuple[Callable[[Arrays, Config], object], dict[str, str]]] = {
    "no quantization": (lambda t, c: c.pop("quantization"), {UP1: "quantization missing in the configuration"}),
    "no numbers": (
        lambda t, c: c.update(quantization={"bits": -3, "group_size": "a"}),
        {"quantization": "quantization that cannot be read"},
    ),
    "a list": (lambda t, c: c.update(quantization=[1]), {"quantization": "quantization that cannot be read"}),
    "other heads": (lambda t, c: c.update(num_attention_heads=8), {"number of heads": "other number of heads"}),
    "ties, and stores another head": (
        lambda t, c: c.update(tie_word_embeddings=True),
        {"tie_word_embeddings": "head that the configuration ties"},
    ),
    "ties not, and stores no head": (
        lambda t, c: (t.pop(HEAD), c.update(tie_word_embeddings=False)),
        {"tie_word_embeddings": "head missing for the configuration", f"{TABLE} (tied)": "untied head dropped"},
    ),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_configuration_says_of_the_model(tmp_path: Path, claim: str) -> None:
    change, want = CLAIMS[claim]
    config: Config = quantization(AFFINE)
    target = hugging_face(meta())
    target |= packed({UP1: target.pop(UP1)}, AFFINE)
    own = {n.removesuffix(".weight"): False for n, t in target.items() if t.ndim == 2 and n != UP1}
    config["quantization"] = {**config["quantization"], **own}  # type: ignore[dict-item]
    assert check(tmp_path, meta(), target, config) == {}, "the control"
    change(target, config)
    found = check(tmp_path, meta(), target, config)
    assert want.items() <= found.items()
    assert found.keys() - want.keys() <= {UP1}


def test_a_copy_of_the_table_may_be_stored_though_it_is_tied(tmp_path: Path) -> None:
    source = meta(tied=True)
    target = hugging_face(source) | {HEAD: source["tok_embeddings.weight"]}
    assert check(tmp_path, source, target, {**CONFIG, "tie_word_embeddings": True}) == {}


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_scale_that_holds_everything_and_nothing(tmp_path: Path, scheme: Scheme) -> None:
    """Within half a step of its own scale is no praise where the step is as wide as the weights."""
    target = packed(hugging_face(meta()), scheme)
    stem = UP1.removesuffix("weight")
    target[UP1] = np.zeros_like(target[UP1])
    target[f"{stem}scales"] = np.full_like(target[f"{stem}scales"], 140 if scheme.mode.startswith("mx") else 100)
    if f"{stem}biases" in target:
        target[f"{stem}biases"] = np.zeros_like(target[f"{stem}biases"])
    assert check(tmp_path, meta(), target, quantization(scheme)) == {UP1: "zeros everywhere"}


def test_one_scale_for_a_whole_tensor(tmp_path: Path) -> None:
    source = meta()
    source["layers.1.feed_forward.w3.weight"][0, 0] = 40.0
    target = packed(hugging_face(source), AFFINE)
    stem, weight = UP1.removesuffix("weight"), hugging_face(source)[UP1]
    step = np.float32((weight.max() - weight.min()) / 15)
    codes = np.clip(np.rint((weight - weight.min()) / step), 0, 15).astype(np.int64)
    target[UP1] = packing.pack(codes, 4)
    target[f"{stem}scales"] = np.full_like(target[f"{stem}scales"], step)
    target[f"{stem}biases"] = np.full_like(target[f"{stem}biases"], weight.min())
    assert check(tmp_path, source, target, quantization(AFFINE)) == {UP1: "beyond quantization bound"}


def test_codes_without_a_column_are_no_fault(tmp_path: Path) -> None:
    source = {"a.weight": np.zeros((8, 0), np.float32), "b.weight": np.ones((4, 32), np.float32)}
    target = {"a.weight": np.zeros((8, 0), np.uint32), "b.weight": source["b.weight"]}
    target |= {f"a.{part}": np.zeros((8, 0), np.float32) for part in ("scales", "biases")}
    assert "a.weight" not in check(tmp_path, source, target, quantization(AFFINE))


def test_a_model_of_embeddings_needs_no_head(tmp_path: Path) -> None:
    config = {**CONFIG, "tie_word_embeddings": False}
    source = {n: t for n, t in hugging_face(meta()).items() if n != HEAD}
    assert red(verdicts(write(tmp_path / "a", source, config), write(tmp_path / "b", source, config))) == {}
    whole = write(tmp_path / "c", hugging_face(meta()), config)
    assert "tie_word_embeddings" in red(verdicts(whole, tmp_path / "b"))


def test_offsets_that_were_moved_by_less_than_half_a_step(tmp_path: Path) -> None:
    """Each value is within its bound: the source lay on the lattice of its codes, as of a model that was trained so."""
    target = packed(hugging_face(meta()), AFFINE)
    scales, biases = (target[UP1.replace("weight", part)] for part in ("scales", "biases"))
    source = hugging_face(meta())
    source[UP1] = packing.dequantize(target[UP1], scales, biases, format_of("affine", 4, 32)).astype(np.float32)
    assert check(tmp_path / "sound", source, target, quantization(AFFINE)) == {}
    biases += np.float32(0.3) * scales
    assert check(tmp_path / "moved", source, target, quantization(AFFINE)) == {UP1: "codes lean to one side"}


def test_zeroed_rows_beside_an_outlier_of_what_were_codes(tmp_path: Path) -> None:
    source = meta()
    source["layers.1.feed_forward.w3.weight"][0, 0] = 1000.0
    coded = packed(source, AFFINE, "bfloat16")
    found = parameters(open_checkpoint(write(tmp_path / "a", coded, quantization(AFFINE))))
    target = hugging_face({n: p.rows(0, p.length).astype(np.float32) for n, p in found.items()})
    assert red(verdicts(tmp_path / "a", write(tmp_path / "b", target))) == {}
    target[UP1][1:] = 0
    assert red(verdicts(tmp_path / "a", write(tmp_path / "c", target))).keys() == {UP1}


def test_double_rounding_is_named(tmp_path: Path) -> None:
    target = as_dtype(as_dtype(hugging_face(meta()), "bfloat16"), "float16")
    assert set(check(tmp_path, meta(), target).values()) == {"rounded on the way"}


def test_a_bias_that_is_called_like_a_mask(tmp_path: Path) -> None:
    source = {"pool.attn.weight": np.ones((8, 8), np.float32), "pool.attn.bias": np.ones(8, np.float32)}
    found = check(tmp_path, source, {"pool.attn.weight": source["pool.attn.weight"]})
    assert found == {"pool.attn.bias of the source": "bias dropped"}
    mask = {**source, "pool.attn.bias": np.ones((1, 1, 8, 8), np.float32)}
    assert check(tmp_path, mask, {"pool.attn.weight": source["pool.attn.weight"]}) == {}


def test_scales_of_the_next_expert(tmp_path: Path) -> None:
    experts = np.random.default_rng(3).standard_normal((4, 32, 64)).astype(np.float32)
    parts = packed({"experts.weight": experts.reshape(128, 64)}, AFFINE)
    target = {name: t.reshape(4, 32, -1) for name, t in parts.items()}
    assert check(tmp_path, {"experts.weight": experts}, target, quantization(AFFINE)) == {}
    target["experts.scales"] = np.roll(target["experts.scales"], 1, axis=0)
    found = check(tmp_path, {"experts.weight": experts}, target, quantization(AFFINE))
    assert found == {"experts.weight": "scales of the wrong group"}


def test_mixed_settings_are_read_per_layer(tmp_path: Path) -> None:
    target = packed(hugging_face(meta()), AFFINE)
    del target["model.layers.1.mlp.up_proj.scales"], target["model.layers.1.mlp.up_proj.biases"]
    target |= packed({UP1: hugging_face(meta())[UP1]}, Scheme(8, 64))
    target[V0] = hugging_face(meta())[V0]
    del target[V0.replace("weight", "scales")], target[V0.replace("weight", "biases")]
    own = {UP1.removesuffix(".weight"): {"bits": 8, "group_size": 64}, V0.removesuffix(".weight"): False}
    assert check(tmp_path, meta(), target, quantization(AFFINE, **own)) == {}
    del own[V0.removesuffix(".weight")]
    assert check(tmp_path, meta(), target, quantization(AFFINE, **own)) == {V0: "silently unquantized"}


def test_a_padded_vocabulary_that_the_configuration_knows(tmp_path: Path) -> None:
    target = hugging_face(meta())
    for name in (TABLE, HEAD):
        target[name] = np.concatenate([target[name], np.zeros((8, DIMS), np.float32)])
    config = {**CONFIG, "vocab_size": VOCABULARY + 8}
    assert check(tmp_path, meta(), target, config) == {}
    target[TABLE][5] = 0
    assert check(tmp_path, meta(), target, config) == {TABLE: "rows of zeros"}


UNEXPLAINED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "reshaped": (lambda t: t.reshape(-1), "reshaped"),
    "another shape": (lambda t: t[:, :-1], "wrong shape"),
    "longer": (lambda t: np.concatenate([t, t[:4]]), "tensor padded"),
    "shorter": (lambda t: t[:-4], "tensor truncated"),
    "one axis more": (lambda t: t[None, :-1], "wrong shape"),
    "integers": (lambda t: t.astype(np.int32), "wrong dtype"),
    "booleans": (lambda t: t > 0, "wrong dtype"),
    "nothing": (lambda t: t[:0], "tensor truncated"),
    "words": (lambda t: t.view(np.uint32), "bits read as another width"),
}


@pytest.mark.parametrize("fault", UNEXPLAINED)
def test_a_shape_or_dtype_that_no_pairing_explains(tmp_path: Path, fault: str) -> None:
    change, behaviour = UNEXPLAINED[fault]
    target = hugging_face(meta())
    target[UP1] = change(target[UP1])
    assert check(tmp_path, meta(), target) == {UP1: behaviour}


def test_a_tensor_without_a_partner_is_told_where_its_values_are(tmp_path: Path) -> None:
    target = hugging_face(meta())
    target["elsewhere.weight"] = np.ascontiguousarray(target.pop(UP1).T)
    target["unlike.weight"] = target["elsewhere.weight"] + 1
    found = verdicts(write(tmp_path / "a", meta()), write(tmp_path / "b", target))
    source = found["MIG-PAIR-1", "layers.1.feed_forward.w3.weight of the source"]
    assert "elsewhere.weight has its values, transposed" in source.message
    moved = found["MIG-PAIR-1", "elsewhere.weight of the target"]
    assert "layers.1.feed_forward.w3.weight has its values, transposed" in moved.message
    assert "of its shape there is layers.1" in found["MIG-PAIR-1", "unlike.weight of the target"].message


def test_every_code_one_too_high_is_beyond_its_bound(tmp_path: Path) -> None:
    """Half of such codes would pass a bound of one step."""
    target = packed(hugging_face(meta()), Scheme(8, 64))
    words = target[UP1].view(np.uint8).copy()
    target[UP1] = np.where(words < 255, words + 1, words).view(np.uint32)
    assert check(tmp_path, meta(), target, quantization(Scheme(8, 64))) == {UP1: "beyond quantization bound"}
