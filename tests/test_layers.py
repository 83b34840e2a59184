"""Are layers what two other sources say, in float64, and is a fault in one red under its requirement?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.targets import entries_of, on_cpu
from tests.test_functions import questions
from tests.test_planted_defects import Planted
from touchstone.golden.cases import layer_choices, layers
from touchstone.golden.operations import precise
from touchstone.golden.operations.layers import LAYERS
from touchstone.golden.operations.layers.making import ALL
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Sample
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

Operands = list[np.ndarray]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def _operands(sample: Sample) -> Operands:
    return [np.asarray(of.recipe("float32", "agree").make("agree")) for of in sample.arguments.values()]


def _wide(operands: Operands) -> Operands:
    return [one.astype(np.float64) if one.dtype == np.float32 else one for one in operands]


def _number(operation: Operation, sample: Sample) -> int:
    return [dict(one) for one in operation.every_option].index(dict(sample.options))


def _samples(chosen: Callable[[str, Sample], bool]) -> list[Any]:
    return [
        pytest.param(one.name, sample, id=f"{one.name}-{sample.name}")
        for one in LAYERS.values()
        for sample in one.samples
        if chosen(one.name, sample) and not _is_of_specials(sample) and np.prod(sample.result) < 4096
    ]


def _is_of_specials(sample: Sample) -> bool:
    """Whether it holds NaN or infinity somewhere, or what no float64 of another source agrees with."""
    return list(sample.regions) != [ALL] or sample.name.startswith(("many", "large window"))


SECOND_SOURCE = {
    **dict.fromkeys(("GroupNorm", "RoPE", "ALiBi", "SinusoidalPositionalEncoding", "cells of LSTM"), "mlx"),
    "MultiHeadAttention of every size": "mlx",
    "running biased variance of BatchNorm": "",
    "QuantizedEmbedding": "",
    "QuantizedLinear": "",
    "RoPE of neighbours": "",
    "Upsample": "torch",
}
"""Whose float64 a layer is compared with, where that is not PyTorch's; none: it is of float32, or has none."""
IN_FLOAT32 = ("RoPE", "SinusoidalPositionalEncoding", "cells of LSTM", "MultiHeadAttention of every size")
"""Layers whose angles, sigmoids or shares MLX computes in float32, whatever x is."""


def _source(name: str) -> str:
    return SECOND_SOURCE.get(name, "torch")


@cache
def _adapter(name: str) -> Any:
    return on_cpu(name).cls("cpu")


def _can(name: str, sample: Sample) -> bool:
    source = _source(name)
    if not source:
        return False
    needs = [f"operation:{name}", *(f"option:{name} {option}" for option in sample.options)]
    return _adapter(source).capabilities.unmet(needs) is None


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("name", "sample"), _samples(_can))
def test_values_and_gradients_agree_with_another_source_in_float64(name: str, sample: Sample) -> None:
    operation, operands = LAYERS[name], _operands(sample)
    tolerance = 1e-4 if name in IN_FLOAT32 else 1e-9
    number, adapter = _number(operation, sample), _adapter(_source(name))
    value = precise.made((name, "", number), "value", *operands)
    assert value.shape == sample.result
    found = adapter.operation(name, _wide(operands), **sample.options)
    np.testing.assert_allclose(found, value, rtol=tolerance, atol=tolerance)
    cotangent = np.cos(np.arange(value.size)).astype(np.float32).reshape(value.shape)
    if _source(name) == "mlx" or (name, sample.name) in layers.CRASHING:
        return
    for place, argument in enumerate(sample.arguments):
        if argument not in operation.slopes:
            continue
        gradient = precise.made((name, argument, number), "value", cotangent, *operands)
        found = adapter.operation_gradient(name, _wide(operands), place, cotangent.astype(np.float64), **sample.options)
        np.testing.assert_allclose(found, gradient, rtol=1e-8, atol=1e-8, err_msg=argument)


def _padded_first(name: str, sample: Sample) -> tuple[Operands, dict[str, Any]]:
    """Operands with x padded by NumPy, and the options that are left: of a way of padding that PyTorch lacks."""
    x, *rest = _wide(_operands(sample))
    given = dict(sample.options)
    kernel = rest[0].shape[1:-1] if rest else (given["kernel_size"],) * (x.ndim - 2)
    edge = next((how for how in ("circular", "reflect") if given.pop(how, False)), "")
    spread = [given.get("dilation", 1) * (k - 1) for k in kernel]
    if given.pop("causal", False):
        widths = [(wide, 0) for wide in spread]
    elif given.pop("same", False):
        if not rest:
            step = given.get("stride", kernel[0])
            spread = [max((-(-n // step) - 1) * step + k - n, 0) for n, k in zip(x.shape[1:-1], kernel, strict=True)]
        widths = [(wide // 2, wide - wide // 2) for wide in spread]
    else:
        widths = [(given.pop("padding"), given.pop("padding_behind"))] * len(kernel)
    least = {"constant_values": -np.inf if name.startswith("Max") else 0.0}
    modes: Any = {"circular": {"mode": "wrap"}, "reflect": {"mode": "reflect"}}.get(edge, least)
    return [np.pad(x, [(0, 0), *widths, (0, 0)], **modes), *rest], given


def _pads_otherwise(name: str, sample: Sample) -> bool:
    """Where PyTorch has no such padding, nor divides by other than the whole window where NumPy pads."""
    ways = {"causal", "padding_behind", "circular", "reflect", *(["same"] if "Pool" in name else [])}
    return not _can(name, sample) and bool(ways & {*sample.options}) and "count_include_pad" not in sample.options


@pytest.mark.parametrize(("name", "sample"), _samples(_pads_otherwise))
def test_other_padding_is_what_numpy_pads(name: str, sample: Sample) -> None:
    operands, given = _padded_first(name, sample)
    value = precise.made((name, "", _number(LAYERS[name], sample)), "value", *_operands(sample))
    assert value.shape == sample.result
    np.testing.assert_allclose(_adapter("torch").operation(name, operands, **given), value, rtol=1e-9, atol=1e-9)


def test_a_quantized_layer_is_the_layer_over_what_its_parts_say() -> None:
    sample = LAYERS["QuantizedLinear"].sample
    x, words, scales, biases = _operands(sample)
    codes = (words[..., None] >> (4 * np.arange(8, dtype=np.uint32)) & 15).reshape(len(words), -1).astype(np.float64)
    weight = scales.astype(np.float64).repeat(64, 1) * codes + biases.astype(np.float64).repeat(64, 1)
    value = precise.made(("QuantizedLinear", "", 0), "value", x, words, scales, biases)
    np.testing.assert_allclose(value, x.astype(np.float64) @ weight.T, rtol=1e-12, atol=1e-12)


def test_neighbours_turn_by_complex_numbers() -> None:
    x = _operands(LAYERS["RoPE of neighbours"].sample)[0]
    angle = np.arange(x.shape[-2])[:, None] * 10000.0 ** (-np.arange(0, 8, 2) / 8)
    turned = (x[..., 0::2].astype(np.float64) + 1j * x[..., 1::2]) * np.exp(1j * angle)
    want = np.stack([turned.real, turned.imag], -1).reshape(x.shape)
    np.testing.assert_allclose(precise.made(("RoPE of neighbours", "", 0), "value", x), want, atol=1e-13)


@pytest.mark.parametrize("name", [one.name for one in LAYERS.values() if one.sample.arguments])
def test_the_error_is_no_more_than_some_roundings(name: str) -> None:
    """In float32, of the largest element: 2e-4, and 2e-3 where three norms and two attentions follow."""
    operation = LAYERS[name]
    sample = operation.sample
    operands = _operands(sample)
    value, error = (precise.made((name, "", 0), what, *operands) for what in ("value", "error"))
    assert error.max() <= (2e-3 if name == "TransformerDecoderLayer" else 2e-4) * np.abs(value).max()


def test_every_layer_of_the_documents_is_asked() -> None:
    from mlx import nn

    documented = {
        name
        for name in dir(nn)
        if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module) and name != "Module"
    }
    parts = {"Transformer": "TransformerEncoderLayer"}
    not_listed = {"Bilinear", "Identity", "QQLinear", "AllToShardedLinear", "ShardedToAllLinear", "FullyShardedModule"}
    not_listed |= {"QuantizedAllToShardedLinear", "QuantizedShardedToAllLinear"}
    not_listed |= {"TransformerEncoder", "TransformerDecoder"}
    asked = {*LAYERS, *layers.ACTIVATIONS, *layer_choices.DROPOUTS, *(k for k, v in parts.items() if v in LAYERS)}
    assert documented - not_listed <= asked


Answer = Callable[..., Any]


def _red(framework: str, bench: Bench, operation: str, fault: Callable[[Answer], Answer], requirement: str) -> int:
    """How many cases of an operation are red, whose answers a fault has changed."""
    target = on_cpu(framework)
    adapter: Any = target.cls("cpu")
    adapter.operation, adapter.operation_gradient = fault(adapter.operation), fault(adapter.operation_gradient)
    count = 0
    for question in questions(requirement):
        for case in question.cases:
            asked = case.params["operation"] == operation and case.hazard is None
            if asked and adapter.capabilities.unmet(case.needs) is None:
                assay, error = direct.run(question, Planted(target, adapter), case, bench)
                count += verdict_of(assay, error, entries_of(framework), bootstrap=False)[0].verdict.is_red
    return count


def _given(change: Callable[[Operands], Operands]) -> Callable[[Answer], Answer]:
    """Other operands than those asked."""
    return lambda answer: (
        lambda name, operands, *rest, **options: answer(name, change(list(operands)), *rest, **options)
    )


def _options(**changed: Any) -> Callable[[Answer], Answer]:
    """Other options than those asked."""
    return lambda answer: lambda *given, **options: answer(*given, **{**options, **changed})


def _result(change: Callable[[np.ndarray], Any]) -> Callable[[Answer], Answer]:
    return lambda answer: lambda *given, **options: change(answer(*given, **options))


def _without(option: str) -> Callable[[Answer], Answer]:
    """An option ignored."""
    return lambda answer: lambda *given, **options: answer(*given, **{k: v for k, v in options.items() if k != option})


def _turned(option: str) -> Callable[[Answer], Answer]:
    """Several numbers of an option in the other order."""
    return lambda answer: (
        lambda *given, **options: answer(
            *given, **{k: v[::-1] if k == option and isinstance(v, tuple) else v for k, v in options.items()}
        )
    )


def _at(place: int, change: Callable[[np.ndarray], Any]) -> Callable[[Answer], Answer]:
    def made(operands: Operands) -> Operands:
        operands[place] = np.ascontiguousarray(change(operands[place]))
        return operands

    return _given(made)


def _gates(order: Sequence[int], count: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weight: np.concatenate([np.split(weight, count)[n] for n in order])


def _rounded(answer: np.ndarray) -> np.ndarray:
    return answer.astype(np.float16).astype(answer.dtype)


VALUES, OPTIONS, GRADIENT = "LAYER-VALUES-1", "LAYER-OPTIONS-1", "LAYER-GRADIENT-1"
FAULTS: dict[str, tuple[str, str, Callable[[Answer], Answer]]] = {
    "kernel flipped": ("Conv1d", VALUES, _at(1, lambda w: w[:, ::-1])),
    "kernel's axes exchanged": ("Conv2d", VALUES, _at(1, lambda w: w[:, ::-1, ::-1])),
    "channels of the kernel reversed": ("Conv3d", VALUES, _at(1, lambda w: w[..., ::-1])),
    "transposed kernel flipped": ("ConvTranspose2d", VALUES, _at(1, lambda w: w[:, ::-1, ::-1])),
    "bias left out": ("Conv2d", VALUES, _at(2, np.zeros_like)),
    "stride ignored": ("Conv1d", OPTIONS, _options(stride=1)),
    "dilation ignored": ("Conv2d", OPTIONS, _options(dilation=1)),
    "output padding in front": ("ConvTranspose1d", OPTIONS, _result(lambda a: np.roll(a, 1, 1))),
    "groups exchanged": ("Conv1d", OPTIONS, _at(0, lambda x: x[..., ::-1])),
    "a product of half precision": ("Conv1d", VALUES, _result(_rounded)),
    "padding not counted": ("AvgPool2d", OPTIONS, _result(lambda a: a * np.float32(1.125))),
    "the smallest of a window": ("MaxPool1d", VALUES, lambda ask: lambda n, o, *r, **k: -ask(n, [-o[0]], *r, **k)),
    "zeros in the padding of a maximum": ("MaxPool2d", OPTIONS, _result(lambda a: np.maximum(a, 0))),
    "NaN hidden": ("MaxPool2d", VALUES, _result(np.nan_to_num)),
    "epsilon a tenth": ("LayerNorm", VALUES, _options(eps=1e-6)),
    "epsilon outside of the root": ("RMSNorm", OPTIONS, _options(eps=0.25)),
    "no mean taken off": ("LayerNorm", VALUES, _at(0, lambda x: x + np.asarray(0.25, x.dtype) * (x > 0))),
    "weight left out": ("RMSNorm", VALUES, _at(1, np.ones_like)),
    "every other channel in a group": (
        "GroupNorm of neighbours",
        VALUES,
        _at(0, lambda x: x.reshape(*x.shape[:-1], 3, -1).swapaxes(-1, -2).reshape(x.shape)),
    ),
    "variance over n": ("running variance of BatchNorm", VALUES, _result(lambda a: a * a.dtype.type(0.99))),
    "momentum of the old": ("running mean of BatchNorm", OPTIONS, _options(momentum=0.75)),
    "gates of an LSTM in another order": ("LSTM", VALUES, _at(1, _gates((0, 1, 3, 2), 4))),
    "reset and update exchanged": ("GRU", VALUES, _at(1, _gates((1, 0, 2), 3))),
    "hidden bias outside of the reset": ("GRU", VALUES, _at(4, np.zeros_like)),
    "first state ignored": ("RNN", VALUES, _at(4, np.zeros_like)),
    "scale of the whole width": ("scaled_dot_product_attention", VALUES, _options(scale=0.25)),
    "keys of shared heads in turn": ("scaled_dot_product_attention", VALUES, _at(1, lambda k: k[:, ::-1])),
    "mask turned round": ("attention where a mask is true", VALUES, _at(3, lambda m: m | ~m)),
    "mask ignored": ("attention with a mask added", VALUES, _at(3, np.zeros_like)),
    "heads exchanged": ("MultiHeadAttention", VALUES, _at(3, lambda w: np.roll(w, 4, 0))),
    "norms at the other place": ("TransformerEncoderLayer", OPTIONS, _options(norm_first=True)),
    "memory's mask": ("TransformerDecoderLayer", VALUES, _at(1, lambda m: m[:, ::-1] * np.asarray(2, m.dtype))),
    "halves for neighbours": ("RoPE of neighbours", VALUES, _at(0, lambda x: np.roll(x, 1, -1))),
    "offset ignored": ("RoPE of neighbours", VALUES, _at(0, lambda x: x[..., ::-1, :])),
    "corners aligned": ("Upsample", OPTIONS, _options(align_corners=True)),
    "corners never aligned": ("Upsample by cubics", OPTIONS, _options(align_corners=False)),
    "factors of axes exchanged": ("Upsample", OPTIONS, _turned("scale_factor")),
    "a smaller result not smoothed": ("Upsample", OPTIONS, _options(antialias=False)),
    "the last window left out": ("MaxPool2d", OPTIONS, _options(ceil_mode=False)),
    "padding counted": ("AvgPool1d", OPTIONS, _options(count_include_pad=True)),
    "padding of axes exchanged": ("MaxPool3d", OPTIONS, _turned("padding")),
    "zeros for the other side": ("Conv2d", OPTIONS, _without("circular")),
    "zeros for a reflection": ("Conv3d", OPTIONS, _without("reflect")),
    "gradient of what is repeated lost": ("Conv1d", GRADIENT, _without("replicate")),
    "values in the place of keys": ("MultiHeadAttention of sizes", VALUES, _at(1, lambda k: k[:, ::-1])),
    "the bias of keys left out": ("weights of MultiHeadAttention", VALUES, _at(4, lambda b: b + 1)),
    "weights of the first head": ("weights of MultiHeadAttention", OPTIONS, _result(lambda a: a[:, :1] + 0 * a)),
    "the last batch alone": ("cumulative mean of BatchNorm", VALUES, _at(0, lambda x: x[-1:])),
    "instances of one statistic": ("InstanceNorm with statistics", VALUES, _at(3, lambda m: m + m.dtype.type(0.5))),
    "lengths ignored": ("GRU", OPTIONS, _at(-1, lambda n: np.full_like(n, 6) if n.dtype.kind == "i" else n)),
    "lengths in their order": ("LSTM", OPTIONS, _at(-1, lambda n: np.sort(n) if n.dtype.kind == "i" else n)),
    "the last step for the last state": ("RNN", OPTIONS, _without("last")),
    "gradient by the weight halved": ("Conv2d", GRADIENT, _result(lambda a: a / np.asarray(2, a.dtype))),
    "gradient not flipped": ("ConvTranspose1d", GRADIENT, _at(1, lambda w: w[:, ::-1])),
    "gradient of the mean left out": ("LayerNorm", GRADIENT, _result(lambda a: a + a.dtype.type(0.01))),
    "gradient through time cut": ("LSTM", GRADIENT, _at(2, np.zeros_like)),
    "gradient of softmax as of logits": ("scaled_dot_product_attention", GRADIENT, _options(scale=0.5)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_red_under_its_requirement(fault: str, bench: Bench) -> None:
    operation, requirement, plant = FAULTS[fault]
    assert _red("torch", bench, operation, plant, requirement)


def _registered() -> list[tuple[str, str, str]]:
    found = set()
    for name in ("mlx", "jax", "torch"):
        for entry in entries_of(name).deviations:
            if entry.requirement in (VALUES, OPTIONS, GRADIENT):
                found |= {(name, entry.requirement, o) for pattern in entry.cases for o in pattern["operation"]}
    return sorted(found)


@pytest.mark.parametrize(("name", "requirement", "operation"), _registered())
def test_a_registered_fault_hides_no_other(name: str, requirement: str, operation: str, bench: Bench) -> None:
    """Of every result, a quarter more: red in the cases that no deviation is registered of."""
    plant = _result(lambda a: (a.astype(np.float64) * 1.25).astype(a.dtype))
    assert _red(name, bench, operation, plant, requirement)
