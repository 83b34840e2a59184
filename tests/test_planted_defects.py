"""Does a defect in an adapter turn its own requirement group red, and leave unrelated groups green?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.registry import Target
from touchstone.adapters.interface import Packed
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

pytestmark = pytest.mark.filterwarnings("default:Initializing zero-element tensors")  # what PyTorch says of no features

CASES_PER_TEST = 8
QUANTIZED = ("quantized_embedding", "quantized_linear")
ELSEWHERE = {
    *("Llama", "Migration of a checkpoint", "Extents", "Repeated calls"),
    *("Layer states", "Refusals", "Sizes", "Special values", "Constructor options", "Spellings"),
    *("Crossed dimensions", "Functions", "Losses", "Initializers", "Layers", "Modules", "Arrays"),
}
"""Groups whose own faults are planted in test_llama_faults, test_migration_faults, test_upstream_cases, test_functions,
test_losses, test_initializers, test_layers, test_modules, test_arrays and test_planted_over_time."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def red_requirements(
    name: str, bench: Bench, plant: Callable[[Any], None] | None, only: Collection[str] = ()
) -> dict[str, set[str]]:
    """Red requirement ids by group, for the adapter with the defect.

    Asked are cases spread over every test of every requirement, or of those in `only`.
    """
    target = registry.resolve([f"{name}@cpu"])[0]
    adapter: Any = target.cls("cpu")
    adapter.undo = []
    if plant:
        plant(adapter)
    try:
        return _red(target, Planted(target, adapter), bench, only)
    finally:
        for undo in adapter.undo:
            undo()


def _red(target: Target, planted: Target, bench: Bench, only: Collection[str]) -> dict[str, set[str]]:
    entries = known.load(known.path_for(target.cls), target.cls, requirements.load().keys())
    red: dict[str, set[str]] = {}
    for question in direct.questions():
        if only and question.requirement.id not in only:
            continue
        asked = [c for c in question.cases if not c.marks]
        if question.requirement.group in ELSEWHERE:
            continue  # they ask of layers what other groups ask, and turn red with them
        if question.requirement.id == "LIN-PRECISION-1":
            continue  # asked in a worker of its own, which a defect planted here cannot reach
        for case in asked[:: max(1, len(asked) // CASES_PER_TEST)]:
            # In this process, so that the planted defect is met: only where it cannot harm the process.
            if case.hazard and target.cls.corrupts_memory:
                continue
            here = replace(case, hazard=None)
            assay, error = direct.run(question, planted, here, bench)
            verdict = verdict_of(assay, error, entries, bootstrap=False)[0].verdict
            if verdict.is_red:
                red.setdefault(question.requirement.group, set()).add(question.requirement.id)
    return red


class Planted(Target):
    """A target whose adapter is given instead of made."""

    def __init__(self, target: Target, adapter: Any) -> None:
        super().__init__(target.spec, target.cls, target.device, None, target.versions, target.facts)
        self._adapter = adapter

    @cached_property
    def adapter(self) -> Any:
        return self._adapter


def wrap(adapter: Any, maker: str, change: Callable[[Any], None]) -> None:
    """Apply `change` to every layer that the adapter's method `maker` makes."""
    original = getattr(adapter, maker)

    def made(*args: Any, **kwargs: Any) -> Any:
        layer = original(*args, **kwargs)
        change(layer)
        return layer

    setattr(adapter, maker, made)


def wrap_layers(adapter: Any, names: Collection[str], change: Callable[[Any], None], part: str = "") -> None:
    """Apply `change` to every layer of these names that the adapter builds, of those given the part if one is named."""
    original = adapter.layer

    def made(name: str, weight: Any, **parts: Any) -> Any:
        layer = original(name, weight, **parts)
        if name in names and (not part or parts.get(part) is not None):
            change(layer)
        return layer

    adapter.layer = made


def give(adapter: Any, names: Collection[str], change: Callable[[Any, dict[str, Any]], Any]) -> None:
    """Have layers of these names made of the weight that `change(weight, parts)` returns, and the parts it left."""
    original = adapter.layer

    def made(name: str, weight: Any, **parts: Any) -> Any:
        given = change(weight, parts) if name in names else weight
        return original(name, given, **parts)

    adapter.layer = made


def loses_signed_zero(adapter: Any) -> None:
    def change(layer: Any) -> None:
        call = layer._call
        layer._call = lambda module, ids: call(module, ids) + 0.0

    wrap_layers(adapter, ("embedding", "raw_lookup"), change)


def truncates_ids_to_int32(adapter: Any) -> None:
    place = adapter.place
    adapter.place = lambda value: place(
        value.astype(np.int32) if isinstance(value, np.ndarray) and value.dtype == np.int64 else value
    )


def clamps_ids(adapter: Any) -> None:
    def change(layer: Any) -> None:
        call = layer._call

        def clamped(module: Any, ids: Any) -> Any:
            integer = hasattr(ids, "dtype") and ids.dtype in (adapter.torch.int32, adapter.torch.int64)
            return call(module, ids.clamp(max=len(module.weight) - 1) if integer else ids)

        layer._call = clamped

    wrap_layers(adapter, ("embedding",), change)


def adds_the_bias_twice(adapter: Any) -> None:
    def change(weight: Any, parts: dict[str, Any]) -> Any:
        if parts.get("bias") is not None:
            parts["bias"] = parts["bias"] + parts["bias"]
        return weight

    give(adapter, ("linear",), change)


def rounds_x_to_tf32(adapter: Any) -> None:
    """Keeps 11 significant bits of float32 inputs, as a TF32 product does."""

    def change(layer: Any) -> None:
        call, torch = layer._call, adapter.torch

        def product(module: Any, x: Any) -> Any:
            if x.dtype == torch.float32:
                x = ((x.detach().view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)
            return call(module, x)

        layer._call = product

    wrap_layers(adapter, ("linear",), change)


def casts_by_truncation(adapter: Any) -> None:
    def change(layer: Any) -> None:
        cast = layer.cast

        def truncating(dtype: str) -> None:
            for parameter in layer.native.parameters():
                if parameter.dtype == adapter.torch.float32:
                    parameter.data = (parameter.data.view(adapter.torch.int32) & -65536).view(adapter.torch.float32)
            cast(dtype)

        layer.cast = truncating

    wrap_layers(adapter, ("embedding", "linear"), change)


def copies_the_table_for_the_head(adapter: Any) -> None:
    def change(layer: Any) -> None:
        head = adapter.torch.nn.Linear(1, 1, bias=False, device="meta")
        head.weight = adapter.torch.nn.Parameter(layer.native.weight.detach().clone())
        layer._tied_head = lambda: head

    wrap_layers(adapter, ("embedding",), change)


def with_codes(adapter: Any, change: Callable[[Any, Any, Any, Any, Any], Any]) -> None:
    """Have `change(weight, codes, scales, biases, scheme)` choose the codes that the adapter packs."""
    from touchstone.adapters.torch import packing as torch_packing

    def quantize(original: Any) -> Any:
        def quantized(weight: Any, scheme: Any) -> Any:
            words, scales, biases = original(weight, scheme)
            codes = torch_packing.unpack(words, scheme.bits).unflatten(-1, (-1, scheme.group_size))
            chosen = change(weight, codes, scales, biases, scheme)
            return torch_packing.pack(chosen.flatten(-2), scheme.bits), scales, biases

        return quantized

    replace_in(torch_packing, "quantize", quantize, adapter.undo)


def makes_every_code_one_too_high(adapter: Any) -> None:
    with_codes(adapter, lambda weight, codes, scales, biases, scheme: (codes + 1).clamp(max=2**scheme.bits - 1))


def rounds_codes_down(adapter: Any) -> None:
    def floored(weight: Any, codes: Any, scales: Any, biases: Any, scheme: Any) -> Any:
        if biases is None:
            return codes
        grouped = weight.float().reshape(codes.shape)
        exact = (grouped - biases.float().unsqueeze(-1)) / scales.float().unsqueeze(-1)
        return exact.floor().clamp(0, 2**scheme.bits - 1).long()

    with_codes(adapter, floored)


def replace_in(module: Any, name: str, made: Callable[[Any], Any], undo: list[Callable[[], None]]) -> None:
    """Replace a module's function by what `made` makes of it; `undo` takes it back."""
    original = getattr(module, name)
    undo.append(lambda: setattr(module, name, original))
    setattr(module, name, made(original))


def swaps_codes_that_cross_words(adapter: Any) -> None:
    """Reads 3-, 5- and 6-bit codes as if none of them crossed a word."""
    from touchstone.adapters.torch import packing as torch_packing

    def unpack(original: Any) -> Any:
        def padded(words: Any, bits: int) -> Any:
            codes = original(words, bits)
            if 32 % bits == 0:
                return codes
            crosses = [(i * bits) % 32 + bits > 32 for i in range(32)] * (codes.shape[-1] // 32)
            return codes.masked_fill(adapter.torch.tensor(crosses), 0)

        return padded

    replace_in(torch_packing, "unpack", unpack, adapter.undo)


def scales_blocks_by_half(adapter: Any) -> None:
    """Reads E8M0 with a bias of 128."""
    from touchstone.adapters.torch import packing as torch_packing

    def values(original: Any) -> Any:
        return lambda encoding, device: original(encoding, device) * (0.5 if encoding == "E8M0" else 1)

    replace_in(torch_packing, "_value_of", values, adapter.undo)


def rounds_elements_away_from_zero(adapter: Any) -> None:
    from touchstone.adapters.torch import packing as torch_packing

    def encode(original: Any) -> Any:
        return lambda x: original(x * (1 + 2.0**-20))

    replace_in(torch_packing, "encode_e2m1", encode, adapter.undo)


def accumulates_in_the_input_dtype(adapter: Any) -> None:
    def product(layer: Any, x: Any) -> Any:
        from touchstone.adapters.torch.packing import dequantize

        module = layer.native
        table = dequantize(module.weight, module.scales, module.biases, module.scheme, x.dtype)
        total = adapter.torch.zeros((*x.shape[:-1], len(table)), dtype=x.dtype)
        for k in range(0, x.shape[-1], 64):
            total += x[..., k : k + 64] @ table[:, k : k + 64].T
        return total

    def change(layer: Any) -> None:
        layer.native._matmul = lambda x: product(layer, x)

    wrap_layers(adapter, QUANTIZED, change)


def turns_nan_into_zero(adapter: Any) -> None:
    def change(weight: Any, parts: dict[str, Any]) -> Any:
        if isinstance(weight, Packed):
            return weight
        with np.errstate(over="ignore"):
            return np.nan_to_num(weight.astype(np.float32)).astype(weight.dtype)

    give(adapter, QUANTIZED, change)


def ignores_the_predicate(adapter: Any) -> None:
    quantized_model = adapter.quantized_model
    adapter.quantized_model = lambda weights, choices, settings: quantized_model(weights, None, settings)


def refuses_every_id(adapter: Any) -> None:
    def change(layer: Any) -> None:
        def refuse(module: Any, ids: Any) -> Any:
            raise NameError("a slip in the adapter")

        layer._call = refuse

    wrap_layers(adapter, ("embedding",), change)


def compiles_the_first_answer(adapter: Any) -> None:
    def change(layer: Any) -> None:
        compiled = layer.compiled

        def frozen(compiler: str, method: Any = "call") -> Any:
            function, answers = compiled(compiler, method), []

            def run(inputs: Any) -> Any:
                answers.append(function(inputs))
                return answers[0]

            return run

        layer.compiled = frozen

    wrap_layers(adapter, ("embedding", "raw_lookup"), change)


def draws_one_outlier(adapter: Any) -> None:
    def change(layer: Any) -> None:
        with adapter.torch.no_grad():
            layer.native.weight.view(-1)[0] = 1e6

    wrap(adapter, "construct", change)


def counts_a_repeated_id_once(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp

        def once(inputs: Any, cotangent: Any, method: Any = "call") -> Any:
            if method == "call" and np.ndim(inputs):
                ids, first = np.unique(inputs, return_index=True)
                return vjp(ids, cotangent.reshape(-1, cotangent.shape[-1])[first], method)
            return vjp(inputs, cotangent, method)

        layer.vjp = once

    wrap_layers(adapter, ("embedding", "raw_lookup"), change)


def draws_another_distribution(adapter: Any) -> None:
    def change(layer: Any) -> None:
        with adapter.torch.no_grad():
            layer.native.weight.mul_(1.05)

    wrap(adapter, "construct", change)


def starts_at_row_one(adapter: Any) -> None:
    def change(layer: Any) -> None:
        call = layer._apply
        layer._apply = lambda module, ids, method: call(module, ids + 1, method)

    wrap(adapter, "exercise", change)


def makes_intx_codes_one_too_high(adapter: Any) -> None:
    def change(layer: Any) -> None:
        codes = layer.native.weight.qdata
        layer.native.weight.qdata.copy_((codes.int() + 1).clamp(max=127))

    wrap_layers(adapter, QUANTIZED, change, "scheme")


def reads_zero_points_with_the_wrong_sign(adapter: Any) -> None:
    def change(weight: Any, parts: dict[str, Any]) -> Any:
        return replace(weight, biases=-weight.biases) if isinstance(weight, Packed) else weight

    give(adapter, QUANTIZED, change)


def unpacks_codes_in_reverse(adapter: Any) -> None:
    from touchstone.adapters.libraries import conversion

    replace_in(conversion, "unpack", lambda original: lambda *args: original(*args)[:, ::-1], adapter.undo)


def packs_and_unpacks_codes_in_reverse(adapter: Any) -> None:
    """What it packs, it unpacks."""
    from touchstone.adapters.libraries import conversion

    unpacks_codes_in_reverse(adapter)
    replace_in(conversion, "pack", lambda original: lambda codes, bits: original(codes[:, ::-1], bits), adapter.undo)


PLANTED = [
    ("torch", loses_signed_zero, "Embedding lookup", "EMB-BITS-1", set()),
    ("torch", truncates_ids_to_int32, "Id dtypes", "EMB-ID-4", {"Out of range"}),
    ("torch", clamps_ids, "Out of range", "EMB-OOR-1", {"Id dtypes"}),
    ("torch", adds_the_bias_twice, "Linear", "LIN-EXACT-1", {"Dtype casting"}),
    ("torch", rounds_x_to_tf32, "Linear", "LIN-EXACT-1", {"Gradients"}),
    ("torch", casts_by_truncation, "Dtype casting", "CAST-MODULE-1", set()),
    ("torch", copies_the_table_for_the_head, "Tied output", "TIED-UPDATE-1", {"Gradients"}),
    ("torch", makes_every_code_one_too_high, "Quantization bounds", "QNT-CODES-1", set()),
    ("torch", rounds_codes_down, "Quantization bounds", "QNT-MEAN-1", set()),
    ("torch", swaps_codes_that_cross_words, "Quantization bounds", "QNT-LOOKUP-1", {"Gradients"}),
    ("torch", scales_blocks_by_half, "Quantization bounds", "QNT-DEQUANT-1", {"Gradients"}),
    ("torch", rounds_elements_away_from_zero, "Quantization bounds", "QNT-TIES-1", set()),
    ("torch", accumulates_in_the_input_dtype, "Quantization bounds", "QNT-EXACT-1", set()),
    ("torch", turns_nan_into_zero, "Quantization bounds", "QNT-NONFINITE-1", set()),
    ("mlx", ignores_the_predicate, "Quantized conversion", "QAPI-PREDICATE-1", set()),
    (
        "torch",
        refuses_every_id,
        "Out of range",
        "EMB-OOR-1",
        {"Embedding lookup", "Id dtypes", "Dtype casting", "Tied output", "Gradients"},
    ),
    ("torch", compiles_the_first_answer, "Embedding lookup", "EMB-COMPILED-1", {"Out of range"}),
    ("torch", draws_one_outlier, "Construction", "INIT-DIST-1", set()),
    ("torch", counts_a_repeated_id_once, "Gradients", "GRAD-TABLE-1", set()),
    ("torch", draws_another_distribution, "Construction", "INIT-DIST-1", set()),
    ("jax", starts_at_row_one, "Seed exercise", "SEED-ROWS-1", set()),
    ("torchao", makes_intx_codes_one_too_high, "Elsewhere", "ELSE-BOUND-1", set()),
    ("torchao", makes_intx_codes_one_too_high, "Elsewhere", "ELSE-MEAN-1", set()),
    ("torchao", reads_zero_points_with_the_wrong_sign, "Elsewhere", "ELSE-CONVERT-1", set()),
    ("torchao", unpacks_codes_in_reverse, "Elsewhere", "ELSE-CONVERT-1", set()),
    ("torchao", packs_and_unpacks_codes_in_reverse, "Elsewhere", "ELSE-CONVERT-1", set()),
    ("torchao", packs_and_unpacks_codes_in_reverse, "Elsewhere", "ELSE-CONVERT-2", set()),
    ("torchao", packs_and_unpacks_codes_in_reverse, "Elsewhere", "ELSE-CONVERT-3", set()),
]


@pytest.mark.parametrize("name", ["torch", "jax", "torchao"])
def test_nothing_is_red_without_a_defect(name: str, bench: Bench) -> None:
    assert red_requirements(name, bench, None) == {}


@pytest.mark.parametrize(
    ("name", "plant", "group", "requirement", "also"), PLANTED, ids=[f"{p[1].__name__}-{p[3]}" for p in PLANTED]
)
def test_a_planted_defect_is_red_in_its_group(
    name: str, plant: Callable[[Any], None], group: str, requirement: str, also: set[str], bench: Bench
) -> None:
    """`also` names the groups that the same defect rightly touches."""
    red = red_requirements(name, bench, plant)
    assert requirement in red.get(group, set())
    assert red.keys() - {group} <= also, f"unrelated groups turned red: {red}"


def test_every_group_has_a_planted_defect() -> None:
    assert {p[2] for p in PLANTED} == {r.group for r in requirements.load().values()} - ELSEWHERE
