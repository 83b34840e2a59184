"""How NumPy builds each layer of the interface; it has no modules to build a model from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Packed, Scheme
from touchstone.adapters.reference.layer import ReferenceLayer, matmul, plain, product, rows
from touchstone.adapters.reference.packing import dequantize, quantize

if TYPE_CHECKING:
    from touchstone.adapters.reference.adapter import ReferenceAdapter


def lookup(adapter: ReferenceAdapter, weight: Any) -> Layer:
    """Rows of a table."""
    return ReferenceLayer({"weight": plain(weight)}, lambda p, ids: rows(p["weight"], ids))


def linear(adapter: ReferenceAdapter, weight: Any, bias: np.ndarray | None = None) -> Layer:
    """A product with one rounding."""
    values = {"weight": plain(weight)} | ({} if bias is None else {"bias": bias})
    return ReferenceLayer(values, lambda p, x: matmul(x, p["weight"], p.get("bias")))


def quantized_embedding(adapter: ReferenceAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """Rows that are dequantized when they are looked up."""
    packed = _packed(weight, scheme)

    def dequantized(p: Mapping[str, np.ndarray], ids: Any) -> np.ndarray:
        return dequantize({name: rows(part, ids) for name, part in p.items()}, packed.scheme)

    return ReferenceLayer(_parts(packed), dequantized, packed.scheme)


def quantized_linear(
    adapter: ReferenceAdapter, weight: Any, bias: np.ndarray | None = None, scheme: Scheme | None = None
) -> Layer:
    """A product with the dequantized matrix."""
    packed = _packed(weight, scheme)
    values = _parts(packed) | ({} if bias is None else {"bias": bias})
    return ReferenceLayer(values, lambda p, x: product(p, x, packed.scheme, p.get("bias")), packed.scheme)


def _packed(weight: Any, scheme: Scheme | None) -> Packed:
    """Packed parts as they are, anything else quantized."""
    if isinstance(weight, Packed):
        return weight
    assert scheme is not None
    return quantize(plain(weight), scheme)


def _parts(packed: Packed) -> dict[str, np.ndarray]:
    packed.check()
    parts = {name: getattr(packed, name) for name in ("weight", "scales", "biases")}
    return {name: plain(part) for name, part in parts.items() if part is not None}


LAYERS: Mapping[str, Callable[..., Layer]] = {
    "embedding": lookup,
    "raw_lookup": lookup,
    "linear": linear,
    "quantized_embedding": quantized_embedding,
    "quantized_linear": quantized_linear,
}
"""`Adapter.layers`."""
