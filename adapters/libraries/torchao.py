"""torchao behind the interface: `IntxWeightOnlyConfig`, group-wise and asymmetric, on embedding and linear layers.

A weight is (q - zero_point) * scale per group, q in [-2**(bits-1), 2**(bits-1)) in int8, zero_point an int8, scale in
the dtype of the weight (torchao.quantization.IntxUnpackedToInt8Tensor). Every call dequantizes the whole matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from touchstone.adapters.interface import FLOATS, Capabilities, Layer, Packed, Scheme
from touchstone.adapters.libraries.elsewhere import ABSENT
from touchstone.adapters.torch.adapter import TorchAdapter, TorchLayer

SCHEMES = [Scheme(bits, 32, "intx") for bits in range(1, 9)]
SCHEMES += [Scheme(bits, group, "intx") for bits in (4, 8) for group in (64, 128)]


class TorchaoAdapter(TorchAdapter):
    name = "torchao"
    distributions = ("torchao", "torch")
    module = "torchao"
    capabilities = Capabilities(
        layers=frozenset({"quantized_embedding", "quantized_linear"}),
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

    def _quantized(self, kind: str, weight: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        from torchao.quantization import IntxWeightOnlyConfig, MappingType, PerGroup, quantize_

        layer = self.embedding(weight) if kind == "embedding" else self.linear(weight, bias)
        element = getattr(self.torch, f"int{scheme.bits}")
        config = IntxWeightOnlyConfig(element, PerGroup(scheme.group_size), MappingType.ASYMMETRIC)
        quantize_(layer.native, config, filter_fn=lambda module, name: True)
        return TorchaoLayer(self, layer.native)

    def load_quantized_embedding(self, packed: Packed) -> Layer:
        return self._hold("embedding", self._parts(packed), packed.scheme)

    def load_quantized_linear(self, packed: Packed, bias: np.ndarray | None = None) -> Layer:
        return self._hold("linear", self._parts(packed), packed.scheme, bias)

    def _parts(self, packed: Packed) -> tuple[Any, Any, Any]:
        return self.place(packed.weight), self.place(packed.scales), self.place(packed.biases)

    def _hold(self, kind: str, parts: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        from torchao.quantization import IntxUnpackedToInt8Tensor

        codes, scales, zeros = parts  # torchao checks their shapes and dtypes
        rows, columns = codes.shape
        nn, element = self.torch.nn, getattr(self.torch, f"int{scheme.bits}")
        tensor = IntxUnpackedToInt8Tensor(
            codes, scales, zeros, element, (1, scheme.group_size), scales.dtype, activation_quantization=None
        )
        if kind == "embedding":
            module = nn.Embedding(rows, columns, device="meta")
        else:
            module = nn.Linear(columns, rows, bias=bias is not None, device="meta")
            if bias is not None:
                module.bias = self._parameter(bias)
        module.weight = nn.Parameter(tensor, requires_grad=False)
        return TorchaoLayer(self, module)


class TorchaoLayer(TorchLayer):
    roles = {"weight": ("qdata", False), "scales": ("scale", False), "biases": ("zero_point", False)}

    def parameters(self) -> dict[str, np.ndarray]:
        """The tensors of the packed weight, by torchao's names."""
        weight = self.native.weight
        return {name: self.adapter.fetch(getattr(weight, name)) for name in weight.tensor_data_names}
