"""Does a Llama made in PyTorch, saved, converted by the key map and loaded elsewhere stay the same model?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Packed, Scheme
from touchstone.adapters.language import LanguageModel, LlamaConfig
from touchstone.golden import llama, llama_bounds
from touchstone.migration import llama_names
from touchstone.suites.migration import llamas

SMALL = llama.Config(vocabulary=50, dims=64, layers=2, heads=2, mlp_dims=96, tied=False)
NAMES = sorted(llama_names.CONVENTIONS)
FRAMEWORKS = ("mlx", "jax", "torch")
IDS = np.random.default_rng(3).integers(0, SMALL.vocabulary, (2, 6), np.int32)


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def config(request: Any) -> llama.Config:
    return replace(SMALL, tied=request.param)


@pytest.fixture(scope="module")
def stored(config: llama.Config, tmp_path_factory: Any) -> dict[str, np.ndarray]:
    """What `torch.load` reads of a state dict that `torch.save` wrote, with Meta's names."""
    import torch

    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("llama") / "weights.pt"
    state = {name: torch.randn(shape) / shape[-1] ** 0.5 for name, shape in llama.shapes(config).items()}
    torch.save(state, path)
    return {name: value.numpy() for name, value in torch.load(path, weights_only=True).items()}


@cache
def adapter(name: str) -> Any:
    found = registry.adapter_class(name)
    registry.prepare_environment(found)
    return found("cpu")


def built(name: str, config: llama.Config, weights: dict[str, Any]) -> LanguageModel:
    found = adapter(name)
    return found.llama(LlamaConfig(**asdict(config)), llama_names.convert(weights, found.convention))


def saved_in_mlx_s_format(weights: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    import mlx.core as mx

    path = folder / "llama.npz"
    np.savez(path, **llama_names.convert(weights, "mlx"))  # type: ignore[arg-type]
    found: Any = mx.load(str(path))
    return {name: np.array(value) for name, value in found.items()}


def saved_in_flax_s_format(weights: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    from flax import serialization

    path = folder / "llama.msgpack"
    path.write_bytes(serialization.msgpack_serialize(llama_names.convert(weights, "flax")))
    return serialization.msgpack_restore(path.read_bytes())


def saved_as_it_was(weights: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    return weights


FORMATS: dict[str, Callable[[dict[str, np.ndarray], Path], dict[str, np.ndarray]]] = {
    "mlx": saved_in_mlx_s_format,
    "jax": saved_in_flax_s_format,
    "torch": saved_as_it_was,
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_converted_llama_is_the_same_model(
    name: str, config: llama.Config, stored: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Bit-equal parameters, and logits within the bound of float64's."""
    found = adapter(name)
    model = found.llama(LlamaConfig(**asdict(config)), FORMATS[name](stored, tmp_path))
    held = llama_names.restore(model.parameters(), found.convention)
    assert held.keys() == stored.keys()
    assert all(held[n].tobytes() == value.tobytes() for n, value in stored.items())
    error = np.abs(model.logits(IDS) - llama.logits(config, stored, IDS))
    assert (error <= llama_bounds.logits(config, stored, IDS)).all()


def test_parts_that_mlx_made_are_the_same_model_elsewhere(config: llama.Config, stored: dict[str, np.ndarray]) -> None:
    """`nn.quantize` at 4 bits; its words, scales and biases in PyTorch and Flax, bit for bit."""
    made = built("mlx", config, stored).quantized(Scheme(4, 32))
    parts = llama_names.restore(made.parameters(), "mlx")
    exact = llamas.dense(parts)
    want, bound = llama.logits(config, exact, IDS), llama_bounds.logits(config, exact, IDS)
    assert (np.abs(want - llama.logits(config, stored, IDS)) > bound).any()
    for name in FRAMEWORKS:
        model = built(name, config, llamas.packed(parts))
        held = llama_names.restore(model.parameters(), adapter(name).convention)
        assert {n: v.tobytes() for n, v in held.items()} == {n: v.tobytes() for n, v in parts.items()}
        assert (np.abs(model.logits(IDS) - want) <= bound).all(), name


def test_mlx_quantizes_a_head_that_shares_its_weight_into_a_second_copy() -> None:
    """Why a tied head is the table's own method here: `nn.quantize` sees two layers where one weight is shared."""
    import mlx.nn as nn

    table = nn.Embedding(64, 32)
    head = nn.Linear(32, 64, bias=False)
    head.weight = table.weight
    model: Any = nn.Sequential(table, head)
    nn.quantize(model, 32, 4)
    model.layers[0].weight = model.layers[0].weight + 1
    assert (np.array(model.layers[0].weight) != np.array(model.layers[1].weight)).all()


@pytest.mark.parametrize("convention", NAMES)
def test_a_convention_maps_every_weight_there_and_back(convention: str) -> None:
    weights = {name: np.random.default_rng(1).random(shape) for name, shape in llama.shapes(SMALL).items()}
    converted = llama_names.convert(weights, convention)
    assert len(converted) == len(weights)
    back = llama_names.restore(converted, convention)
    assert {name: value.tolist() for name, value in back.items()} == {n: v.tolist() for n, v in weights.items()}


def test_the_names_of_the_mlx_example() -> None:
    """As its documentation spells them, for one layer and all that is around it."""
    config = replace(SMALL, layers=1)
    names = llama_names.convert({n: np.zeros(s) for n, s in llama.shapes(config).items()}, "mlx")
    assert sorted(names) == [
        "embedding.weight",
        "layers.0.attention.key_proj.weight",
        "layers.0.attention.out_proj.weight",
        "layers.0.attention.query_proj.weight",
        "layers.0.attention.value_proj.weight",
        "layers.0.linear1.weight",
        "layers.0.linear2.weight",
        "layers.0.linear3.weight",
        "layers.0.norm1.weight",
        "layers.0.norm2.weight",
        "norm.weight",
        "out_proj.weight",
    ]


def test_kernels_are_transposed_and_parts_are_not() -> None:
    square = np.arange(16.0).reshape(4, 4)
    name = "layers.1.attention.wq.weight"
    path = "layers.1.attention.query"
    assert (llama_names.convert({name: square}, "flax")[f"{path}.kernel"] == square.T).all()
    parts = {name: square, name.replace("weight", "scales"): square}
    assert (llama_names.convert(parts, "flax")[f"{path}.weight"] == square).all()
    packed = Packed(square, square, square, Scheme(4, 32))
    assert llama_names.convert({name: packed}, "flax") == {f"{path}.weight": packed}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: llama_names.convert({"layers.0.attention.wz.weight": np.zeros(2)}, "mlx"), "layers.0.attention.wz"),
        (lambda: llama_names.convert({"norm.bias": np.zeros(2)}, "mlx"), "norm.bias"),
        (lambda: llama_names.convert({"rope.freqs": np.zeros(2)}, "mlx"), "rope.freqs"),
        (lambda: llama_names.restore({"head.bias": np.zeros(2)}, "flax"), "head.bias"),
        (lambda: llama_names.place("layers.wq", "meta"), "layers.wq"),
        (lambda: llama_names.place("norm", "keras"), "keras"),
    ],
)
def test_an_unknown_name_is_told(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(KeyError, match=told):
        call()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_weights_that_are_missing_or_unknown_are_named(name: str) -> None:
    weights = {n: np.zeros(s, np.float32) for n, s in llama.shapes(SMALL).items()}
    lacking = {n: v for n, v in weights.items() if n != "layers.1.feed_forward.w3.weight"}
    own = llama_names.place("layers.1.feed_forward.w3", adapter(name).convention).path
    with pytest.raises(KeyError, match=f"missing parameters: .*{own}"):
        built(name, SMALL, lacking)
    with pytest.raises(KeyError, match="unknown parameters"):
        built(name, replace(SMALL, tied=True), weights)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_rotation_is_by_neighbouring_pairs(name: str) -> None:
    """The layout that Meta's weights expect, and not that of two halves (`mlx.nn.RoPE` without ``traditional``)."""
    weights = {n: np.ones(s, np.float32) for n, s in llama.shapes(SMALL).items()}
    x = np.zeros((1, 1, 2, 32), np.float32)
    x[..., 0] = 1
    got = built(name, SMALL, weights).apply("layers.0.attention.rope", x)[0, 0, 1]
    assert np.flatnonzero(got).tolist() == [0, 1]
    np.testing.assert_allclose(got[:2], [np.cos(1), np.sin(1)], rtol=1e-6)
