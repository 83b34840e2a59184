"""What adapters of single quantization libraries share: they quantize, and have no other layer to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.interface import Adapter, Layer, Packed, Scheme, Unsupported

OWN_SCHEMES = "this library has quantization schemes of its own; parts of MLX's are converted (adapters/conversion.py)"


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
