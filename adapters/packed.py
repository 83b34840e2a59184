"""Quantized layers for frameworks that have none in MLX's packed format: what their adapters share."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from touchstone.adapters.interface import Adapter, Layer, Packed, Scheme

LARGEST_ELEMENT = {"mxfp4": 6.0, "mxfp8": 448.0, "nvfp4": 6.0}
"""Of E2M1 and E4M3 (docs/packed-format.md)."""


class HoldsPacked(Adapter):
    """Quantizes or takes packed parts, and holds them in layers of the framework's own operations."""

    @abc.abstractmethod
    def _quantized(self, kind: str, weight: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        """An "embedding" or "linear" layer over ``weight [rows, columns]`` quantized on the device."""

    @abc.abstractmethod
    def _parts(self, packed: Packed) -> tuple[Any, Any, Any]:
        """Words, scales and biases on the device."""

    @abc.abstractmethod
    def _hold(self, kind: str, parts: Any, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        """An "embedding" or "linear" layer over parts that are on the device."""

    def quantized_embedding(self, weight: np.ndarray, scheme: Scheme) -> Layer:
        return self._quantized("embedding", weight, scheme)

    def quantized_linear(self, weight: np.ndarray, scheme: Scheme, bias: np.ndarray | None = None) -> Layer:
        return self._quantized("linear", weight, scheme, bias)

    def load_quantized_embedding(self, packed: Packed) -> Layer:
        packed.check()
        return self._hold("embedding", self._parts(packed), packed.scheme)

    def load_quantized_linear(self, packed: Packed, bias: np.ndarray | None = None) -> Layer:
        packed.check()
        return self._hold("linear", self._parts(packed), packed.scheme, bias)
