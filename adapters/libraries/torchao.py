"""torchao behind the interface: `IntxWeightOnlyConfig`, group-wise and asymmetric, on embedding and linear layers.

A weight is (q - zero_point) * scale per group, q in [-2**(bits-1), 2**(bits-1)) in int8, zero_point an int8, scale in
the dtype of the weight (torchao.quantization.IntxUnpackedToInt8Tensor). Every call dequantizes the whole matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from touchstone.adapters.interface import FLOATS, Capabilities, Layer, Packed, Scheme
from touchstone.adapters.libraries.elsewhere import ABSENT
from touchstone.adapters.torch.adapter import TorchAdapter
from touchstone.adapters.torch.layer import TorchLayer
from touchstone.adapters.torch.layers import embedding, linear

SCHEMES = [Scheme(bits, 32, "intx") for bits in range(1, 9)]
SCHEMES += [Scheme(bits, group, "intx") for bits in (4, 8) for group in (64, 128)]


def quantized_embedding(adapter: TorchaoAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """`nn.Embedding` over torchao's tensor, of parts or quantized."""
    if not isinstance(weight, Packed):
        return _quantized(adapter, embedding(adapter, weight).native, scheme)
    module = adapter.torch.nn.Embedding(*weight.weight.shape, device="meta")
    return _holding(adapter, module, weight)


def quantized_linear(
    adapter: TorchaoAdapter, weight: Any, bias: np.ndarray | None = None, scheme: Scheme | None = None
) -> Layer:
    """`nn.Linear` over torchao's tensor, of parts or quantized."""
    if not isinstance(weight, Packed):
        return _quantized(adapter, linear(adapter, weight, bias).native, scheme)
    rows, columns = weight.weight.shape
    module = adapter.torch.nn.Linear(columns, rows, bias=bias is not None, device="meta")
    if bias is not None:
        module.bias = adapter.parameter(bias)
    return _holding(adapter, module, weight)


def _quantized(adapter: TorchaoAdapter, module: Any, scheme: Scheme | None) -> Layer:
    from torchao.quantization import IntxWeightOnlyConfig, MappingType, PerGroup, quantize_

    assert scheme is not None
    element = getattr(adapter.torch, f"int{scheme.bits}")
    config = IntxWeightOnlyConfig(element, PerGroup(scheme.group_size), MappingType.ASYMMETRIC)
    quantize_(module, config, filter_fn=lambda module, name: True)
    return TorchaoLayer(adapter, module)


def _holding(adapter: TorchaoAdapter, module: Any, packed: Packed) -> Layer:
    """The module with these parts as its weight; torchao checks their shapes and dtypes."""
    from torchao.quantization import IntxUnpackedToInt8Tensor

    codes, scales, zeros = (adapter.place(part) for part in (packed.weight, packed.scales, packed.biases))
    element, block = getattr(adapter.torch, f"int{packed.scheme.bits}"), (1, packed.scheme.group_size)
    tensor = IntxUnpackedToInt8Tensor(codes, scales, zeros, element, block, scales.dtype, activation_quantization=None)
    module.weight = adapter.torch.nn.Parameter(tensor, requires_grad=False)
    return TorchaoLayer(adapter, module)


LAYERS: Mapping[str, Callable[..., Layer]] = {
    "quantized_embedding": quantized_embedding,
    "quantized_linear": quantized_linear,
}


class TorchaoAdapter(TorchAdapter):
    name = "torchao"
    distributions = ("torchao", "torch")
    module = "torchao"
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=frozenset({"int32", "int64"}),
        schemes=frozenset(map(str, SCHEMES)),
        persistence=False,
        construction=False,
        absent={
            **ABSENT,
            "layer": "torchao quantizes PyTorch's layers and has none of its own; target torch shows those",
            "layout": "torchao packs a dense copy of the weight",
            "compiler": "target torch compiles; here the numbers of a scheme are asked for",
            "id_dtype": "PyTorch looks up int32 and int64 ids only (torch.nn.functional.embedding)",
            "persistence": "torchao saves its tensor subclass by torch.save, not its parts as arrays",
            "construction": "torchao quantizes PyTorch's layers and constructs none",
        },
    )


class TorchaoLayer(TorchLayer):
    roles = {"weight": ("qdata", False), "scales": ("scale", False), "biases": ("zero_point", False)}

    def parameters(self) -> dict[str, np.ndarray]:
        """The tensors of the packed weight, by torchao's names."""
        weight = self.native.weight
        return {name: self.adapter.fetch(getattr(weight, name)) for name in weight.tensor_data_names}
