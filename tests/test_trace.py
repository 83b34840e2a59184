"""Does a trace name the operation where two models first differ, none where they are the same, and leave no trace?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import ml_dtypes
import mlx.nn as mnn
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

from tests.command import ROOT, run
from touchstone.adapters.discovery import registry
from touchstone.adapters.language import LlamaConfig
from touchstone.adapters.tracing import Known, Recording
from touchstone.golden import llama
from touchstone.migration import llama_names
from touchstone.migration.trace import Step, compare, first_beyond

FRAMEWORKS = ("torch", "mlx", "jax")
CONVENTION = {"torch": "meta", "mlx": "mlx", "jax": "flax"}
CONFIG = llama.Config(vocabulary=30, dims=32, layers=2, heads=2, mlp_dims=48, tied=False)
IDS = np.random.default_rng(5).integers(0, CONFIG.vocabulary, (2, 5), np.int32)
SAMPLES = 8
"""Enough to cover rounding where nothing is wrong; 64 take eight times as long."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Products this small only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def weights(tied: bool = False) -> dict[str, np.ndarray]:
    """Weights about as large as trained ones: a row of the table has elements of 0.2, so that epsilon counts."""
    make = np.random.default_rng(11).standard_normal
    shapes = llama.shapes(replace(CONFIG, tied=tied))
    return {name: (make(shape) / shape[-1] ** 0.5).astype(np.float32) for name, shape in shapes.items()}


@cache
def adapter(name: str) -> Any:
    found = registry.adapter_class(name)
    registry.prepare_environment(found)
    return found("cpu")


def model(name: str, *, tied: bool = False, changed: dict[str, np.ndarray] | None = None, dtype: Any = None) -> Any:
    """The native Llama over Meta's weights, of which some are changed."""
    values = {**weights(tied), **(changed or {})}
    if dtype:
        values = {n: v.astype(dtype) for n, v in values.items()}
    own = llama_names.convert(values, CONVENTION[name])
    return adapter(name).llama(LlamaConfig(**asdict(replace(CONFIG, tied=tied))), own).native


def traced(source: Any, target: Any, names: Any = None, inputs: Any = IDS) -> list[Step]:
    return compare(source, target, inputs, names, samples=SAMPLES)


def names_between(source: str, target: str, tied: bool = False) -> dict[str, str]:
    return llama_names.between(CONVENTION[source], CONVENTION[target], CONFIG.layers, tied=tied)


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_the_same_llama_has_no_finding(source: str, target: str) -> None:
    """Every operation is paired and compared, but for MLX's feed-forward part, which is no module of its own."""
    steps = traced(model(source), model(target), names_between(source, target))
    assert [str(step) for step in steps if step.is_beyond] == []
    part = {"torch": "feed_forward", "jax": "mlp"}
    unlike_mlx = {source, target} - {"mlx"} if source != target and "mlx" in (source, target) else set()
    alone = {f"layers.{n}.{part[name]}" for name in unlike_mlx for n in (0, 1)}
    assert {step.source for step in steps if step.headroom is None} == alone
    in_a_layer = 16 if "mlx" not in (source, target) else 15
    assert len(steps) - len(alone) == 2 * in_a_layer + 4


@pytest.mark.parametrize("target", ["mlx", "jax"])
def test_a_tied_head_is_an_operation(target: str) -> None:
    steps = traced(model("torch", tied=True), model(target, tied=True), names_between("torch", target, True))
    assert first_beyond(steps) is None
    head = next(step for step in steps if step.source == "output")
    assert head.target in ("embedding.as_linear", "embed.attend")
    assert head.kind == "linear"


def test_without_names_operations_are_paired_by_name_and_convention() -> None:
    steps = traced(model("torch"), model("jax"))
    found = {step.source: step.target for step in steps}
    assert found["tok_embeddings"] == "embed"
    assert found["layers.1.feed_forward.w3"] == "layers.1.mlp.up_proj"
    assert found["layers.1.attention.rope#2"] == "layers.1.attention.rope#2"
    assert found["layers.1.feed_forward.gate"] == ""
    assert first_beyond(steps) is None


def transposed(name: str) -> dict[str, np.ndarray]:
    return {name: weights()[name].T.copy()}


def swapped(first: str, second: str) -> dict[str, np.ndarray]:
    return {first: weights()[second], second: weights()[first]}


def off_by(name: str, factor: float) -> dict[str, np.ndarray]:
    changed = weights()[name].copy()
    changed[3] *= factor
    return {name: changed}


WEIGHT_FAULTS = {
    "square kernel transposed": (transposed("layers.1.attention.wk.weight"), "layers.1.attention.wk"),
    "two layers swapped": (
        swapped("layers.0.feed_forward.w1.weight", "layers.1.feed_forward.w1.weight"),
        "layers.0.feed_forward.w1",
    ),
    "gate and up swapped": (
        swapped("layers.1.feed_forward.w1.weight", "layers.1.feed_forward.w3.weight"),
        "layers.1.feed_forward.w1",
    ),
    "one row a thousandth too large": (off_by("layers.1.feed_forward.w2.weight", 1.001), "layers.1.feed_forward.w2"),
    "norm of another layer": (
        swapped("layers.0.ffn_norm.weight", "layers.1.ffn_norm.weight"),
        "layers.0.ffn_norm",
    ),
    "another head": ({"output.weight": -weights()["output.weight"]}, "output"),
    "rows of the table off by one": (
        {"tok_embeddings.weight": np.roll(weights()["tok_embeddings.weight"], 1, 0)},
        "tok_embeddings",
    ),
}
EVERYWHERE = ("square kernel transposed", "two layers swapped")
WEIGHT_FAULTS_BY_TARGET = [
    (fault, target)
    for number, fault in enumerate(WEIGHT_FAULTS)
    for target in (FRAMEWORKS if fault in EVERYWHERE else [FRAMEWORKS[number % 3]])
]


@pytest.mark.parametrize(("fault", "target"), WEIGHT_FAULTS_BY_TARGET)
def test_a_wrong_weight_is_named_first(fault: str, target: str) -> None:
    changed, where = WEIGHT_FAULTS[fault]
    found = first_beyond(traced(model("torch"), model(target, changed=changed), names_between("torch", target)))
    assert found
    assert found.source == where
    assert found.target == names_between("torch", target)[where]


def halves(module: Any) -> None:
    for layer in module.layers:
        layer.attention.rope.traditional = False


def epsilon(module: Any) -> None:
    module.layers[1].mlp_norm.epsilon = 1e-6


class NoMask(nnx.Module):
    def __call__(self, q: Any, k: Any, v: Any) -> Any:
        return nnx.dot_product_attention(*(x.swapaxes(1, 2) for x in (q, k, v))).swapaxes(1, 2)


def no_mask(module: Any) -> None:
    module.layers[0].attention.attend = NoMask()


def no_residual(module: Any) -> None:
    module.layers[1].add = lambda x, y: y


def another_scale(module: Any) -> None:
    class Wrong(type(module.layers[1].attention.attend)):  # type: ignore[misc]
        def __call__(self, q: Any, k: Any, v: Any) -> Any:
            return super().__call__(q * 1.01, k, v)

    module.layers[1].attention.attend = Wrong()


@pytest.mark.parametrize(
    ("target", "change", "where"),
    [
        ("mlx", halves, "layers.0.attention.rope"),
        ("jax", epsilon, "layers.1.ffn_norm"),
        ("jax", no_mask, "layers.0.attention.attend"),
        ("mlx", another_scale, "layers.1.attention.attend"),
        ("torch", no_residual, "layers.1"),
    ],
)
def test_a_wrong_operation_is_named_first(target: str, change: Callable[[Any], None], where: str) -> None:
    wrong = model(target)
    change(wrong)
    found = first_beyond(traced(model("torch"), wrong, names_between("torch", target)))
    assert found
    assert found.source == where


def test_a_stale_head_is_named_although_the_table_is_right() -> None:
    wrong = model("torch", tied=True)
    wrong.output.weight = nn.Parameter(wrong.output.weight.detach() * 1.01)
    found = first_beyond(traced(model("mlx", tied=True), wrong, names_between("mlx", "torch", True)))
    assert found
    assert (found.source, found.target) == ("embedding.as_linear", "output")


RNG = np.random.default_rng(3)
TABLE, FIRST, BIAS, SECOND = (RNG.standard_normal(shape).astype(np.float32) for shape in ((9, 6), (6, 6), (6,), (4, 6)))


def torch_mlp(*, inplace: bool = False) -> Any:
    made = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 6), nn.ReLU(inplace), nn.LayerNorm(6), nn.Linear(6, 4, False))
    with torch.no_grad():
        for parameter, value in zip(
            (made[0].weight, made[1].weight, made[1].bias, made[4].weight), (TABLE, FIRST, BIAS, SECOND), strict=True
        ):
            parameter.copy_(torch.from_numpy(value))
    return made.eval()


def mlx_mlp() -> Any:
    import mlx.core as mx

    made = mnn.Sequential(
        mnn.Embedding(9, 6), mnn.Linear(6, 6), mnn.ReLU(), mnn.LayerNorm(6), mnn.Linear(6, 4, bias=False)
    )
    layers: Any = made.layers
    layers[0].weight, layers[1].weight, layers[1].bias, layers[4].weight = map(mx.array, (TABLE, FIRST, BIAS, SECOND))
    return made


def nnx_mlp() -> Any:
    rngs = nnx.Rngs(0)
    made = nnx.Sequential(
        nnx.Embed(9, 6, rngs=rngs),
        nnx.Linear(6, 6, rngs=rngs),
        nnx.relu,
        nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs),
        nnx.Linear(6, 4, use_bias=False, rngs=rngs),
    )
    layers: Any = made.layers
    layers[0].embedding.set_value(TABLE)
    layers[1].kernel.set_value(FIRST.T)
    layers[1].bias.set_value(BIAS)
    layers[4].kernel.set_value(SECOND.T)
    return made


MLPS = {"torch": torch_mlp, "mlx": mlx_mlp, "jax": nnx_mlp}
MLP_IDS = np.array([[8, 0, 3], [3, 5, 1]], np.int32)


def in_sequence(path: str) -> str:
    return path.removeprefix("layers.") if path.startswith("layers.") else f"layers.{path}" if path else path


@pytest.mark.parametrize(("source", "target"), [("torch", "mlx"), ("torch", "jax"), ("mlx", "jax"), ("jax", "torch")])
def test_models_of_native_layers_have_no_finding(source: str, target: str) -> None:
    names = None if "torch" not in (source, target) else in_sequence
    steps = traced(MLPS[source](), MLPS[target](), names, MLP_IDS)
    compared = [step.source.removeprefix("layers.") for step in steps if step.headroom is not None]
    relu = [] if "jax" in (source, target) else ["2"]  # Flax's is a function
    assert compared == ["0", "1", *relu, "3", "4", ""]
    assert first_beyond(steps) is None


def test_a_missing_bias_is_named() -> None:
    wrong = mlx_mlp()
    layers: Any = wrong.layers
    del layers[1].bias
    found = first_beyond(traced(torch_mlp(), wrong, in_sequence, MLP_IDS))
    assert found
    assert (found.source, found.kind) == ("1", "linear")
    assert "1 (there layers.1), linear: beyond its bound, worst element" in str(found)


def test_another_epsilon_of_a_layer_norm_is_named() -> None:
    wrong = nnx_mlp()
    wrong.layers[3].epsilon = 1e-3
    found = first_beyond(traced(torch_mlp(), wrong, in_sequence, MLP_IDS))
    assert found
    assert found.source == "3"


class Activated(nn.Module):
    """A function between two layers, which is no operation of its own."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.up, self.down, self.function = nn.Linear(8, 16), nn.Linear(16, 8), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.function(self.up(x)))


def test_a_difference_between_two_operations_is_placed() -> None:
    one, other = Activated(nn.functional.gelu), Activated(nn.functional.relu)
    other.load_state_dict(one.state_dict())
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    found = first_beyond(compare(one, other, x, samples=SAMPLES))
    assert found is not None
    assert "down is the first that is given something else, behind up" in str(found)
    one.function = other.function
    assert first_beyond(compare(one, other, x, samples=SAMPLES)) is None


def test_an_operation_that_works_in_place_is_seen_before_and_after() -> None:
    recorded = adapter("torch").traceable(torch_mlp(inplace=True)).record(MLP_IDS)
    (before,) = recorded["2"].inputs
    assert (before < 0).any()
    assert (recorded["2"].output == np.maximum(before, 0)).all()
    assert (recorded["1"].output == before).all()
    assert first_beyond(traced(torch_mlp(inplace=True), torch_mlp(), None, MLP_IDS)) is None


def test_a_model_in_another_dtype_has_no_finding() -> None:
    narrow = model("mlx", dtype=ml_dtypes.bfloat16)
    assert first_beyond(traced(model("torch"), narrow, names_between("torch", "mlx"))) is None


def test_a_fault_in_another_dtype_is_named() -> None:
    changed, where = WEIGHT_FAULTS["square kernel transposed"]
    narrow = model("jax", changed=changed, dtype=ml_dtypes.bfloat16)
    found = first_beyond(traced(model("torch"), narrow, names_between("torch", "jax")))
    assert found
    assert found.source == where


def parameters(module: Any) -> dict[str, bytes]:
    from mlx.utils import tree_flatten

    if isinstance(module, nn.Module):
        return {name: value.detach().numpy().tobytes() for name, value in module.named_parameters()}
    if isinstance(module, mnn.Module):
        flat: Any = tree_flatten(module.parameters())
        return {name: np.array(value).tobytes() for name, value in flat}
    return {str(path): np.array(value[...]).tobytes() for path, value in nnx.to_flat_state(nnx.state(module))}


def surroundings(module: Any) -> list[Any]:
    """Hooks of a module's parts, and what their classes hold."""
    if isinstance(module, nn.Module):
        return [(dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(vars(type(m)))) for m in module.modules()]
    parts = [m for _, m in (module.named_modules() if isinstance(module, mnn.Module) else nnx.iter_modules(module))]
    return [(type(part), dict(vars(type(part)))) for part in parts]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_modules_are_left_as_they_were(name: str) -> None:
    """The source's parameters are perturbed on the way, the target's operations are called one by one."""
    made, other = model(name), model("torch")
    before, held = surroundings(made), parameters(made)
    traced(made, other, names_between(name, "torch"))
    traced(other, made, names_between("torch", name))
    assert parameters(made) == held
    assert surroundings(made) == before


class Breaks(nn.Module):
    def forward(self, x: Any) -> Any:
        raise RuntimeError("broken")


class BreaksInMLX(mnn.Module):
    def __call__(self, x: Any) -> Any:
        raise RuntimeError("broken")


class BreaksInFlax(nnx.Module):
    def __call__(self, x: Any) -> Any:
        raise RuntimeError("broken")


def broken(name: str) -> Any:
    made = MLPS[name]()
    if name == "torch":
        made[3] = Breaks()
    else:
        made.layers[3] = BreaksInMLX() if name == "mlx" else BreaksInFlax()
    return made


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_modules_are_left_as_they_were_where_one_raises(name: str) -> None:
    made = broken(name)
    before = surroundings(made)
    with pytest.raises(RuntimeError, match="broken"):
        traced(made, MLPS[name](), None, MLP_IDS)
    assert surroundings(made) == before


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_parameters_are_put_back_where_an_operation_raises(name: str) -> None:
    made = MLPS[name]()
    held = parameters(made)
    found = adapter(name).traceable(made)
    found.record(MLP_IDS)
    path = "1" if name == "torch" else "layers.1"
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        found.apply(path, (np.zeros((2, 7), np.float32),), lambda name, value: value + 1)
    assert parameters(made) == held
    changed = found.apply(path, (TABLE[:2],), lambda name, value: value + 1)
    assert (changed != found.apply(path, (TABLE[:2],))).any()
    assert parameters(made) == held


def test_pytorch_s_precision_is_left_as_it_was() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        traced(torch_mlp(), torch_mlp(), None, MLP_IDS)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.inner(self.inner(x))


def test_a_module_that_is_called_twice_is_two_operations() -> None:
    made = Shared()
    steps = traced(made, made, None, np.ones((2, 3), np.float32))
    assert [step.source for step in steps] == ["inner", "inner#2", ""]


def test_what_cannot_be_compared_is_said() -> None:
    one, other = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    steps = traced(one, other, None, np.ones((2, 3), np.float32))
    assert str(first_beyond(steps)) == "0: gives shape (2, 5), the source's (2, 3)"
    assert str(steps[1]) == "1: not comparable: takes [(2, 5)], the source's takes [(2, 3)]"
    assert not steps[1].is_beyond
    lonely = traced(nn.Sequential(nn.Linear(3, 3)), nn.Sequential(), None, np.ones((2, 3), np.float32))
    assert str(lonely[0]) == "0: only the source has this operation"


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match="dict is a module of none of mlx, jax, torch"):
        compare({}, {}, IDS)


class Given:
    """One linear operation whose results are given."""

    def __init__(self, output: np.ndarray, again: np.ndarray | None = None) -> None:
        self.output, self.again = output, output if again is None else again

    def record(self, *inputs: Any) -> dict[str, Recording]:
        return {"it": Recording(inputs, self.output)}

    def apply(self, operation: str, inputs: Any, change: Any = None) -> np.ndarray:
        return self.output if change is None else self.again

    def known(self, operation: str) -> Known | None:
        return None


def result(*values: float, dtype: str = "float32") -> np.ndarray:
    return np.array([values], dtype)


@pytest.mark.parametrize(
    ("got", "beyond"),
    [
        (result(1, np.nan), False),
        (result(1 + 2**-23, np.nan), False),
        (result(1 + 3 * 2**-23, np.nan), True),
        (result(1, 2), True),
        (result(np.nan, np.nan), True),
        (result(np.inf, np.nan), True),
    ],
)
def test_a_result_that_cannot_be_perturbed_may_round_once_on_each_side(got: np.ndarray, beyond: bool) -> None:
    (step,) = compare(Given(result(1, np.nan)), Given(got), np.ones((1, 2), np.float32))
    assert step.is_beyond == beyond


def test_the_bound_of_an_unknown_operation_is_four_times_its_largest_change_and_two_roundings() -> None:
    source = Given(result(1, 8), again=result(1.5, 8.25))
    for error, beyond in ((1.99, False), (2.01, True)):
        (step,) = compare(source, Given(result(1 + error, 8)), np.ones((1, 2), np.float32))
        assert step.is_beyond == beyond
        assert step.bound == pytest.approx(2.0, rel=1e-6)


def test_the_documented_example() -> None:
    """What docs/migration-trace.md shows is what its code prints, but for the last digits of numbers."""
    page = (ROOT / "docs" / "migration-trace.md").read_text()
    (code,), (shown,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "text"))
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    number = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")
    assert number.sub("#", done.stdout) == number.sub("#", shown)
    first = "first: 1 (there layers.1), rms_norm: beyond its bound"
    assert first in done.stdout
    assert first in shown
