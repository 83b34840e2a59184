"""What adapters of single quantization libraries share: they quantize, and have no other layer to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.interface import Adapter, Layer, Method, Packed, Scheme, Unsupported

OWN_SCHEMES = "this library has quantization schemes of its own; parts of MLX's are converted (adapters/conversion.py)"
ABSENT = {
    "scheme": OWN_SCHEMES,
    "conversion": "layers are quantized one at a time here, from given weights",
    "construction": "quantization starts from given weights",
    "exercise": "the exercise is written for Flax",
}
"""Reasons that hold for every such library, for `Capabilities.absent`."""


class QuantizesOnly(Adapter):
    """No layer but the quantized ones that a subclass overrides; `Capabilities.absent` gives the reasons."""

    def _without(self, layer: str) -> Layer:
        raise Unsupported(self.capabilities.missing(f"layer:{layer}") or f"{self.name} has no {layer}")

    def embedding(self, weight: Any) -> Layer:
        return self._without("embedding")

    def raw_lookup(self, weight: Any) -> Layer:
        return self._without("raw_lookup")

    def linear(self, weight: Any, bias: np.ndarray | None = None) -> Layer:
        return self._without("linear")

    def quantized_embedding(self, weight: np.ndarray, scheme: Scheme) -> Layer:
        return self._without("quantized_embedding")

    def load_quantized_embedding(self, packed: Packed) -> Layer:
        return self._without("quantized_embedding")

    def quantized_linear(self, weight: np.ndarray, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        return self._without("quantized_linear")

    def load_quantized_linear(self, packed: Packed, bias: np.ndarray | None = None) -> Layer:
        return self._without("quantized_linear")

    def construct(self, layer: str, sizes: Sequence[int], seed: int, **options: Any) -> Layer:
        return self._without(layer)


class LookedUpOnly(Layer):
    """A quantized layer without gradients, training, compilation or files of its own; `absent` gives the reasons."""

    adapter: Any

    def _without(self, what: str) -> Any:
        raise Unsupported(self.adapter.capabilities.missing(what) or what)

    def vjp(self, inputs: Any, cotangent: np.ndarray, method: Method = "call") -> dict[str, np.ndarray]:
        return self._without("gradients")

    def sgd_step(self, learning_rate: float) -> None:
        self._without("optimizer")

    def cast(self, dtype: str) -> None:
        self._without("construction")

    def compiled(self, compiler: str, method: Method = "call") -> Callable[[Any], np.ndarray]:
        return self._without(f"compiler:{compiler}")

    def save(self, path: Path) -> None:
        self._without("persistence")

    def load(self, path: Path) -> None:
        self._without("persistence")
