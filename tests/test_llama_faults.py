"""Does a defect in a Llama turn red what speaks of it, and leave the rest green?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_planted_defects import Planted
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Packed
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of
from touchstone.suites.direct import Question

SLOW = "LLAMA-COMPILED-1"
"""Asked only of the defect it is there for."""


def questions() -> list[Question]:
    return [q for q in direct.questions() if q.requirement.group == "Llama"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    import torch

    made, threads = Bench(open_golden(), open_recorded()), torch.get_num_threads()
    torch.set_num_threads(1)  # products this small only wait for each other
    yield made
    torch.set_num_threads(threads)
    made.close()


def red_requirements(name: str, bench: Bench, plant: Callable[[Any, Any], None] | None, *, slow: bool) -> set[str]:
    """The ids of the requirements that turn red when every Llama of the adapter is made with the defect."""
    target = registry.default(name)
    adapter: Any = target.cls("cpu")
    with pytest.MonkeyPatch.context() as patch:
        if plant:
            plant(adapter, patch)
        # What float64 says is shared between the defects, models are not.
        kept = {key: value for key, value in bench.kept.items() if key[1] != "model"}
        fresh = replace(bench, kept=kept)
        red = _red(Planted(replace(target, device="cpu"), adapter), fresh, slow=slow)
        bench.kept.update({key: value for key, value in fresh.kept.items() if key[1] != "model"})
    return red


def _red(target: Target, bench: Bench, *, slow: bool) -> set[str]:
    entries = known.load(known.path_for(target.cls), target.cls, requirements.load().keys())
    out = set()
    for question in questions():
        if question.requirement.id == SLOW and not slow:
            continue
        for case in question.cases:
            if case.params.get("dtype", "float32") != "float32":
                continue
            assay, error = direct.run(question, target, case, bench)
            if verdict_of(assay, error, entries, bootstrap=False)[0].verdict.is_red:
                out.add(question.requirement.id)
                break
    return out


def on_models(adapter: Any, change: Callable[[Any], None]) -> None:
    """Apply `change` to every Llama that the adapter makes."""
    llama = adapter.llama

    def made(config: Any, weights: Any) -> Any:
        model = llama(config, weights)
        change(model)
        return model

    adapter.llama = made


def on_weights(adapter: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Apply `change` to the weights of every Llama that the adapter makes."""
    llama = adapter.llama
    adapter.llama = lambda config, weights: llama(config, change(dict(weights)))


def rope_by_halves_in_torch(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.torch import llama as torch_llama

    right = torch_llama.RoPE.forward

    def wrong(self: Any, x: Any, offset: int = 0) -> Any:
        pairs = x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
        return right(self, pairs, offset).unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)

    patch.setattr(torch_llama.RoPE, "forward", wrong)


def rope_by_halves_in_mlx(adapter: Any, patch: Any) -> None:
    def change(model: Any) -> None:
        for layer in model.native.layers:
            layer.attention.rope.traditional = False

    on_models(adapter, change)


def rope_one_further_behind_a_cache(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.jax import llama as jax_llama

    patch.setattr(jax_llama, "_forward", lambda model, ids, caches: model(ids, caches))  # not what compiled without it
    right = jax_llama.RoPE.__call__
    patch.setattr(jax_llama.RoPE, "__call__", lambda self, x, offset=0: right(self, x, offset + (offset > 0)))


def no_mask(adapter: Any, patch: Any) -> None:
    from torch.nn.functional import scaled_dot_product_attention

    from touchstone.adapters.torch import llama as torch_llama

    patch.setattr(torch_llama.Attend, "forward", lambda self, q, k, v: scaled_dot_product_attention(q, k, v))


def mask_from_the_first_key(adapter: Any, patch: Any) -> None:
    """As PyTorch's ``is_causal=True`` does where there are more keys than queries."""
    from torch.nn.functional import scaled_dot_product_attention

    from touchstone.adapters.torch import llama as torch_llama

    def wrong(self: Any, q: Any, k: Any, v: Any) -> Any:
        return scaled_dot_product_attention(q, k, v, is_causal=True)

    patch.setattr(torch_llama.Attend, "forward", wrong)


def scale_by_the_head_size(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.mlx import llama as mlx_llama

    right = mlx_llama.Attend.__call__
    patch.setattr(mlx_llama.Attend, "__call__", lambda self, q, k, v: right(self, q * q.shape[-1] ** -0.5, k, v))


def compile_anew(patch: Any) -> None:
    """What JAX compiled before a defect was planted would be met instead of it."""
    from flax import nnx

    from touchstone.adapters.jax import llama as jax_llama

    for name in ("_forward", "_loss_and_gradients"):
        right = getattr(jax_llama, name).__wrapped__
        patch.setattr(jax_llama, name, nnx.jit(lambda *given, right=right: right(*given)))


def gate_and_up_swapped(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.jax import llama as jax_llama

    compile_anew(patch)
    right = jax_llama.Gate.__call__
    patch.setattr(jax_llama.Gate, "__call__", lambda self, a, b: right(self, b, a))


def gate_and_up_weights_swapped(adapter: Any, patch: Any) -> None:
    other = {"linear1": "linear2", "linear2": "linear1"}

    def change(weights: dict[str, Any]) -> dict[str, Any]:
        return {".".join(other.get(part, part) for part in name.split(".")): v for name, v in weights.items()}

    on_weights(adapter, change)


def epsilon_of_another_size(adapter: Any, patch: Any) -> None:
    def change(model: Any) -> None:
        model.native.norm.eps = 1e-2

    on_models(adapter, change)


def default_epsilon_of_flax(adapter: Any, patch: Any) -> None:
    """1e-6 where the weights were trained with 1e-5: what leaving the argument out does."""

    def change(model: Any) -> None:
        for layer in model.native.layers:
            layer.mlp_norm.epsilon = 1e-6

    on_models(adapter, change)


def norm_without_its_weight(adapter: Any, patch: Any) -> None:
    import torch

    def change(model: Any) -> None:
        norm = model.native.layers[1].attention_norm
        norm.forward = lambda x: torch.nn.functional.rms_norm(x, norm.normalized_shape, None, norm.eps)

    on_models(adapter, change)


def square_kernel_not_transposed(adapter: Any, patch: Any) -> None:
    name = "layers.1.attention.query.kernel"
    on_weights(adapter, lambda weights: {n: v.T.copy() if n == name else v for n, v in weights.items()})


def head_untied(adapter: Any, patch: Any) -> None:
    import torch

    def change(model: Any) -> None:
        if model.config.tied and hasattr(model.native.output, "in_features"):
            model.native.output.weight = torch.nn.Parameter(model.native.output.weight.detach().clone())

    on_models(adapter, change)


def stale_head(adapter: Any, patch: Any) -> None:
    """A copy of the table, in no tree of parameters."""
    import mlx.core as mx

    def change(model: Any) -> None:
        if model.config.tied and "scales" not in model.native.embedding:
            table = mx.array(model.native.embedding.weight)
            object.__setattr__(model.native.embedding, "as_linear", lambda x: x @ table.T)

    on_models(adapter, change)


def another_default_epsilon(adapter: Any, patch: pytest.MonkeyPatch) -> None:
    construct = adapter.construct

    def made(*arguments: Any, **options: Any) -> Any:
        layer = construct(*arguments, **options)
        layer.native.eps = 1e-3
        return layer

    patch.setattr(adapter, "construct", made)


def climbs(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.torch import llama as torch_llama

    right = torch_llama.TorchLlama.sgd_step
    patch.setattr(torch_llama.TorchLlama, "sgd_step", lambda self, rate: right(self, -rate))


def table_without_gradient(adapter: Any, patch: Any) -> None:
    import jax

    from touchstone.adapters.jax import llama as jax_llama

    compile_anew(patch)

    right = jax_llama.Llama.__call__

    def wrong(self: Any, ids: Any, caches: Any = None) -> Any:
        embed = self.embed
        self.embed = _Stopped(embed, jax.lax.stop_gradient)
        try:
            return right(self, ids, caches)
        finally:
            self.embed = embed

    patch.setattr(jax_llama.Llama, "__call__", wrong)


class _Stopped:
    def __init__(self, embed: Any, stop: Callable[[Any], Any]) -> None:
        self.embed, self.stop, self.attend = embed, stop, embed.attend

    def __call__(self, ids: Any) -> Any:
        return self.stop(self.embed(ids))


def scales_of_the_next_group(adapter: Any, patch: Any) -> None:
    def change(weights: dict[str, Any]) -> dict[str, Any]:
        name = "layers.0.feed_forward.w2.weight"
        if isinstance(weights[name], Packed):
            weights[name] = replace(weights[name], scales=np.roll(weights[name].scales, 1, 1))
        return weights

    on_weights(adapter, change)


def quantizes_with_another_group(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.mlx import llama as mlx_llama

    right = mlx_llama.MLXLlama.quantized
    patch.setattr(mlx_llama.MLXLlama, "quantized", lambda self, scheme: right(self, replace(scheme, bits=2)))


def saves_no_norm(adapter: Any, patch: Any) -> None:
    import torch

    from touchstone.adapters.torch import llama as torch_llama

    def wrong(self: Any, path: Path) -> None:
        stored = {n: v for n, v in self.native.state_dict().items() if n != "norm.weight"}
        torch.save(stored | {"norm.weight": torch.ones(self.config.dims)}, path.with_suffix(".pt"))

    patch.setattr(torch_llama.TorchLlama, "save", wrong)


def compiled_once_for_all(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.mlx import llama as mlx_llama

    right = mlx_llama.MLXLlama.compiled

    def wrong(self: Any) -> Any:
        function, first = right(self), []

        def run(ids: np.ndarray) -> np.ndarray:
            first.append(function(ids))
            return first[0]

        return run

    patch.setattr(mlx_llama.MLXLlama, "compiled", wrong)


def loss_of_the_same_token(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.torch import llama as torch_llama

    def wrong(self: Any, ids: Any) -> Any:
        return self.cross_entropy(self(ids)[0].flatten(0, 1), ids.flatten())

    patch.setattr(torch_llama.Llama, "loss", wrong)


def loss_is_a_sum(adapter: Any, patch: Any) -> None:
    import mlx.nn as nn

    from touchstone.adapters.mlx import llama as mlx_llama

    def wrong(self: Any, logits: Any, targets: Any) -> Any:
        return nn.losses.cross_entropy(logits, targets, reduction="sum")

    patch.setattr(mlx_llama.Llama, "cross_entropy", wrong)


def second_sum_forgets_its_first_term(adapter: Any, patch: Any) -> None:
    from touchstone.adapters.torch import llama as torch_llama

    patch.setattr(torch_llama.Block, "add", lambda self, x, y: y)


TOKENS, PACKED = {"LLAMA-GREEDY-1"}, {"LLAMA-QUANT-2"}
LOGITS = {"LLAMA-LOGITS-1", "LLAMA-CACHE-1", "LLAMA-GRAD-1", "LLAMA-SGD-1", "LLAMA-QUANT-1"} | PACKED
"""What asks about numbers that the whole model makes."""
WHOLE = LOGITS | TOKENS


def prints_no_epsilon(adapter: Any, patch: Any) -> None:
    patch.setattr(adapter.nn.RMSNorm, "_extra_repr", lambda self: f"{self.weight.shape[0]}")


def prints_no_layers(adapter: Any, patch: Any) -> None:
    """As where they are kept in a plain list, of which PyTorch knows nothing."""
    from torch import nn

    patch.setattr(nn.ModuleList, "__repr__", lambda self: "ModuleList()")


def reads_files_in_half_precision(adapter: Any, patch: Any) -> None:
    mx, load = adapter.mx, adapter.mx.load
    patch.setattr(mx, "load", lambda path: {n: v.astype(mx.float16).astype(v.dtype) for n, v in load(path).items()})


@dataclass(frozen=True)
class Fault:
    framework: str
    plant: Callable[[Any, Any], None]
    red: set[str]


SWAPPED_BACK = {"LLAMA-QUANT-1"}
"""`quantized` makes a Llama from one whose weights were swapped already."""

FAULTS = [
    Fault("torch", rope_by_halves_in_torch, WHOLE | {"LLAMA-OP-1", "LLAMA-ROPE-1"}),
    Fault("mlx", rope_by_halves_in_mlx, WHOLE | {"LLAMA-OP-1", "LLAMA-ROPE-1"}),
    Fault("jax", rope_one_further_behind_a_cache, {"LLAMA-ROPE-1", "LLAMA-CACHE-1"}),
    Fault("torch", no_mask, WHOLE | {"LLAMA-OP-1"}),
    Fault("torch", mask_from_the_first_key, {"LLAMA-CACHE-1"} | TOKENS),
    Fault("mlx", scale_by_the_head_size, WHOLE | {"LLAMA-OP-1"}),
    Fault("jax", gate_and_up_swapped, WHOLE | {"LLAMA-OP-1"}),
    Fault(
        "mlx",
        gate_and_up_weights_swapped,
        WHOLE - SWAPPED_BACK | {"LLAMA-OP-1", "LLAMA-TREE-1", "LLAMA-CONVERT-1"},
    ),
    Fault("torch", epsilon_of_another_size, LOGITS | {"LLAMA-OP-1"}),
    Fault("jax", default_epsilon_of_flax, LOGITS | {"LLAMA-OP-1"}),
    Fault("torch", norm_without_its_weight, WHOLE | {"LLAMA-OP-1"}),
    Fault("jax", square_kernel_not_transposed, WHOLE - PACKED | {"LLAMA-OP-1", "LLAMA-TREE-1"}),
    Fault("torch", head_untied, {"LLAMA-TREE-1", "LLAMA-GRAD-1", "LLAMA-SGD-1"}),
    Fault("mlx", stale_head, {"LLAMA-GRAD-1", "LLAMA-SGD-1", "LLAMA-SAVE-1", "LLAMA-CONVERT-1"}),
    Fault("torch", climbs, {"LLAMA-SGD-1"}),
    Fault("jax", table_without_gradient, {"LLAMA-GRAD-1", "LLAMA-SGD-1"}),
    Fault("torch", scales_of_the_next_group, {"LLAMA-QUANT-1", "LLAMA-QUANT-2"}),
    Fault("mlx", quantizes_with_another_group, {"LLAMA-QUANT-1"}),
    Fault("torch", saves_no_norm, {"LLAMA-SAVE-1"}),
    Fault("mlx", reads_files_in_half_precision, {"LLAMA-SAVE-1", "LLAMA-CONVERT-1"}),
    Fault("mlx", compiled_once_for_all, {SLOW}),
    Fault("torch", loss_of_the_same_token, {"LLAMA-GRAD-1", "LLAMA-SGD-1"}),
    Fault("mlx", loss_is_a_sum, {"LLAMA-LOSS-1", "LLAMA-GRAD-1", "LLAMA-SGD-1"}),
    Fault("mlx", prints_no_epsilon, {"LLAMA-PRINT-1"}),
    Fault("torch", prints_no_layers, {"LLAMA-PRINT-1"}),
    Fault("torch", another_default_epsilon, {"LLAMA-EPS-1"}),
    Fault("torch", second_sum_forgets_its_first_term, WHOLE | {"LLAMA-EXACT-1"}),
]


@pytest.mark.parametrize("framework", ["mlx", "jax", "torch"])
def test_nothing_is_red_without_a_defect(framework: str, bench: Bench) -> None:
    assert red_requirements(framework, bench, None, slow=True) == set()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.framework}-{fault.plant.__name__}")
def test_a_defect_turns_its_requirements_red(fault: Fault, bench: Bench) -> None:
    assert red_requirements(fault.framework, bench, fault.plant, slow=SLOW in fault.red) == fault.red


def test_every_requirement_of_the_llama_is_met_by_a_defect() -> None:
    asked = {question.requirement.id for question in questions()}
    caught = set().union(*(fault.red for fault in FAULTS))
    assert asked == caught
