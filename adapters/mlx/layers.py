"""How MLX builds each layer of the interface, on the stream that `MLXAdapter.layer` chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Packed, Scheme
from touchstone.adapters.mlx.layer import MLXLayer
from touchstone.adapters.mlx.spellings import SPELLINGS

if TYPE_CHECKING:
    from touchstone.adapters.mlx.adapter import MLXAdapter


def embedding(adapter: MLXAdapter, weight: Any) -> Layer:
    """`nn.Embedding`."""
    return MLXLayer(adapter, _filled(adapter, adapter.nn.Embedding(1, 1), weight=weight))


def raw_lookup(adapter: MLXAdapter, weight: Any, spelling: str = "") -> Layer:
    """Indexing of a bare array, or another function of it."""
    function = SPELLINGS["raw_lookup"][spelling] if spelling else lambda mx, module, ids: module.weight[ids]
    return MLXLayer(adapter, _filled(adapter, adapter.nn.Module(), weight=weight), partial(function, adapter.mx))


def linear(adapter: MLXAdapter, weight: Any, bias: np.ndarray | None = None, spelling: str = "") -> Layer:
    """`nn.Linear`, or another function of mlx.core."""
    if spelling:
        module = _filled(adapter, adapter.nn.Module(), weight=weight, bias=bias)
        return MLXLayer(adapter, module, partial(SPELLINGS["linear"][spelling], adapter.mx))
    return MLXLayer(adapter, _filled(adapter, adapter.nn.Linear(1, 1, bias is not None), weight=weight, bias=bias))


def quantized_embedding(adapter: MLXAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """`nn.QuantizedEmbedding`, filled with parts or made by `to_quantized`."""
    if not isinstance(weight, Packed):
        assert scheme is not None
        return embedding(adapter, weight).quantized(scheme)
    module = adapter.nn.QuantizedEmbedding(2, _columns(weight), *adapter.sizes(weight.scheme))
    module.num_embeddings = weight.weight.shape[0]
    return MLXLayer(adapter, _filled(adapter, module, **_parts(weight)))


def quantized_linear(
    adapter: MLXAdapter, weight: Any, bias: np.ndarray | None = None, scheme: Scheme | None = None, spelling: str = ""
) -> Layer:
    """`nn.QuantizedLinear`, filled with parts or made by `to_quantized`; or another function of its parts."""
    if spelling:
        return _spelled_quantized(adapter, weight, bias, spelling)
    if not isinstance(weight, Packed):
        assert scheme is not None
        return linear(adapter, weight, bias).quantized(scheme)
    module = adapter.nn.QuantizedLinear(_columns(weight), 2, bias is not None, *adapter.sizes(weight.scheme))
    return MLXLayer(adapter, _filled(adapter, module, **_parts(weight), bias=bias))


def _spelled_quantized(adapter: MLXAdapter, packed: Packed, bias: np.ndarray | None, spelling: str) -> Layer:
    module = _filled(adapter, adapter.nn.Module(), **_parts(packed))
    module.freeze()
    module.sizes = adapter.sizes_by_name(packed.scheme)
    module = _filled(adapter, module, bias=bias)
    return MLXLayer(adapter, module, partial(SPELLINGS["quantized_linear"][spelling], adapter.mx))


def _filled(adapter: MLXAdapter, module: Any, **values: Any) -> Any:
    """The module with these parameters; one that is None is left out."""
    for name, value in values.items():
        if value is not None:
            setattr(module, name, adapter.place(value))
    return module


def _parts(packed: Packed) -> dict[str, Any]:
    return {"weight": packed.weight, "scales": packed.scales, "biases": packed.biases}


def _columns(packed: Packed) -> int:
    return int(packed.scales.shape[1]) * packed.scheme.group_size


def tied_model(adapter: MLXAdapter, weights: Mapping[str, np.ndarray]) -> Layer:
    """A module that ends in `as_linear` of its `nn.Embedding`."""
    from touchstone.adapters.mlx import tied

    layer = MLXLayer(adapter, tied.TiedModel(*weights["embed"].shape), roles=tied.ROLES)
    layer.set_parameters({tied.ROLES[role][0]: value for role, value in weights.items()})
    return layer


def stack(adapter: MLXAdapter, weights: Sequence[np.ndarray]) -> Layer:
    """A module with a Python list of `nn.Linear`."""
    from touchstone.adapters.mlx import tied

    layer = MLXLayer(adapter, tied.Stack(len(weights), len(weights[0])))
    layer.set_parameters({f"layers.{number}.weight": weight for number, weight in enumerate(weights)})
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
