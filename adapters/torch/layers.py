"""How PyTorch builds each layer of the interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Operand, Packed, Scheme
from touchstone.adapters.torch.layer import TorchLayer
from touchstone.adapters.torch.spellings import SPELLINGS

if TYPE_CHECKING:
    from touchstone.adapters.torch.adapter import TorchAdapter


def embedding(adapter: TorchAdapter, weight: Any, from_pretrained: bool = False, **options: Any) -> Layer:
    """`nn.Embedding` with options of its constructor, or of `from_pretrained`."""
    placed = adapter.parameter(weight)
    if from_pretrained:
        return TorchLayer(adapter, adapter.torch.nn.Embedding.from_pretrained(placed.detach(), **options))
    module = adapter.torch.nn.Embedding(*placed.shape, device="meta", **options)
    module.weight = placed
    return TorchLayer(adapter, module)


def raw_lookup(adapter: TorchAdapter, weight: Any, spelling: str = "", **options: Any) -> Layer:
    """Indexing of a bare Parameter, or another function of it with its options."""
    function = SPELLINGS["raw_lookup"][spelling] if spelling else lambda torch, module, ids: module.weight[ids]
    return _computed(adapter, partial(function, **options), weight)


def linear(adapter: TorchAdapter, weight: Any, bias: np.ndarray | None = None, spelling: str = "") -> Layer:
    """`nn.Linear`, or another function of torch."""
    if spelling:
        return _computed(adapter, SPELLINGS["linear"][spelling], weight, bias)
    placed = adapter.parameter(weight)
    module = adapter.torch.nn.Linear(placed.shape[1], placed.shape[0], bias=bias is not None, device="meta")
    module.weight = placed
    if bias is not None:
        module.bias = adapter.parameter(bias)
    return TorchLayer(adapter, module)


def _computed(
    adapter: TorchAdapter, function: Callable[..., Any], weight: Any, bias: np.ndarray | None = None
) -> Layer:
    """A bare module that holds weight and bias, and the function of torch, the module and its input."""
    module = adapter.torch.nn.Module()
    module.weight = adapter.parameter(weight)
    if bias is not None:
        module.bias = adapter.parameter(bias)
    return TorchLayer(adapter, module, call=partial(function, adapter.torch))


def quantized_embedding(adapter: TorchAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """This project's module over packed parts: PyTorch has none in MLX's formats."""
    from touchstone.adapters.torch import quantized

    return TorchLayer(adapter, quantized.QuantizedEmbedding(*_parts(adapter, weight, scheme)))


def quantized_linear(
    adapter: TorchAdapter, weight: Any, bias: np.ndarray | None = None, scheme: Scheme | None = None
) -> Layer:
    """As `quantized_embedding`."""
    from touchstone.adapters.torch import quantized

    placed = None if bias is None else adapter.place(bias)
    return TorchLayer(adapter, quantized.QuantizedLinear(*_parts(adapter, weight, scheme), placed))


def _parts(adapter: TorchAdapter, weight: Any, scheme: Scheme | None) -> tuple[Any, Any, Any, Scheme]:
    """Words, scales and biases on the device, of packed parts or quantized there, and their scheme."""
    if not isinstance(weight, Packed):
        from touchstone.adapters.torch import packing

        assert scheme is not None
        return *packing.quantize(adapter.place(weight), scheme), scheme
    weight.check()
    given = weight.weight if isinstance(weight.weight, Operand) else Operand(weight.weight)
    words = Operand(given.base.view(np.int32), given.view)
    return adapter.place(words), adapter.place(weight.scales), adapter.place(weight.biases), weight.scheme


def tied_model(adapter: TorchAdapter, weights: Mapping[str, np.ndarray]) -> Layer:
    """A module whose `nn.Linear` head holds the Parameter of its `nn.Embedding`."""
    from touchstone.adapters.torch import tied

    native = tied.TiedModel(*weights["embed"].shape).to(adapter.device, adapter.place(weights["embed"]).dtype)
    layer = TorchLayer(adapter, native, roles=tied.ROLES)
    layer.set_parameters({tied.ROLES[role][0]: value for role, value in weights.items()})
    return layer


def stack(adapter: TorchAdapter, weights: Sequence[np.ndarray]) -> Layer:
    """An `nn.Sequential` of `nn.Linear`."""
    from touchstone.adapters.torch import tied

    layer = TorchLayer(adapter, tied.Stack(len(weights), len(weights[0])).to(adapter.device))
    layer.set_parameters({f"{number}.weight": weight for number, weight in enumerate(weights)})
    return layer


LAYERS: Mapping[str, Callable[..., Layer]] = {
    "embedding": embedding,
    "raw_lookup": raw_lookup,
    "linear": linear,
    "quantized_embedding": quantized_embedding,
    "quantized_linear": quantized_linear,
    "tied_model": tied_model,
    "stack": stack,
}
"""`Adapter.layers`."""
