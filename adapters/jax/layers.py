"""How Flax NNX, and `jax.numpy` beside it, build each layer of the interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters.interface import Layer, Packed, Scheme
from touchstone.adapters.jax.layer import JaxLayer
from touchstone.adapters.jax.spellings import SPELLINGS

if TYPE_CHECKING:
    from touchstone.adapters.jax.adapter import JaxAdapter

_TABLE = {"weight": ("embedding", False)}
_KERNEL = {"weight": ("kernel", True), "bias": ("bias", False)}
_PLAIN = {"weight": ("weight", False), "bias": ("bias", False)}


def embedding(adapter: JaxAdapter, weight: Any, **options: Any) -> Layer:
    """`nnx.Embed` with options of its constructor."""
    value = adapter.base(weight)
    module = adapter.nnx.Embed(
        *value.shape,
        param_dtype=value.dtype,
        embedding_init=_constant(adapter, value),
        rngs=adapter.rngs,
        **adapter.given(options),
    )
    return JaxLayer(adapter, module, _TABLE)


def raw_lookup(adapter: JaxAdapter, weight: Any, spelling: str = "") -> Layer:
    """Indexing of a bare Param, or another function of it."""
    from touchstone.adapters.jax import modules

    if spelling:
        return _spelled(adapter, SPELLINGS["raw_lookup"][spelling], {}, weight=weight)
    return JaxLayer(adapter, modules.RawLookup(adapter.place(weight)), _TABLE)


def linear(
    adapter: JaxAdapter, weight: Any, bias: np.ndarray | None = None, spelling: str = "", **options: Any
) -> Layer:
    """`nnx.Linear` with options of its constructor, or another function of JAX with its own."""
    if spelling:
        return _spelled(adapter, SPELLINGS["linear"][spelling], options, weight=weight, bias=bias)
    value = adapter.base(weight)
    module = adapter.nnx.Linear(
        value.shape[1],
        value.shape[0],
        use_bias=bias is not None,
        param_dtype=value.dtype,
        kernel_init=_constant(adapter, np.ascontiguousarray(value.T)),
        bias_init=_constant(adapter, bias),
        rngs=adapter.rngs,
        **adapter.given(options),
    )
    return JaxLayer(adapter, module, _KERNEL)


def _constant(adapter: JaxAdapter, value: Any) -> Callable[..., Any]:
    placed = adapter.place(value)
    return lambda key, shape, dtype: placed


def _spelled(adapter: JaxAdapter, function: Callable[..., Any], options: Mapping[str, Any], **held: Any) -> Layer:
    from touchstone.adapters.jax import modules

    placed = {name: adapter.place(value) for name, value in held.items()}
    return JaxLayer(adapter, modules.Spelled(partial(function, **adapter.given(options)), **placed), _PLAIN)


def quantized_embedding(adapter: JaxAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """This project's module over packed parts: Flax has none in MLX's formats."""
    from touchstone.adapters.jax import modules

    return JaxLayer(adapter, modules.QuantizedEmbed(*_parts(adapter, weight, scheme)), _PLAIN)


def quantized_linear(
    adapter: JaxAdapter, weight: Any, bias: np.ndarray | None = None, scheme: Scheme | None = None
) -> Layer:
    """As `quantized_embedding`."""
    from touchstone.adapters.jax import modules

    parts = _parts(adapter, weight, scheme)
    return JaxLayer(adapter, modules.QuantizedLinear(*parts, adapter.place(bias)), _PLAIN)


def _parts(adapter: JaxAdapter, weight: Any, scheme: Scheme | None) -> tuple[Any, Any, Any, Scheme]:
    """Words, scales and biases on the device, of packed parts or quantized there, and their scheme."""
    if not isinstance(weight, Packed):
        from touchstone.adapters.jax import packing

        assert scheme is not None
        return *packing.quantize(adapter.place(weight), scheme), scheme
    weight.check()
    return adapter.place(weight.weight), adapter.place(weight.scales), adapter.place(weight.biases), weight.scheme


def tied_model(adapter: JaxAdapter, weights: Mapping[str, np.ndarray]) -> Layer:
    """A module with two `nnx.Embed`, the table and the head, that hold one Param."""
    from touchstone.adapters.jax import tied

    layer = JaxLayer(adapter, tied.TiedModel(*weights["embed"].shape), tied.ROLES)
    layer.set_parameters(
        {path: weights[role].T if transposed else weights[role] for role, (path, transposed) in tied.ROLES.items()}
    )
    return layer


def stack(adapter: JaxAdapter, weights: Sequence[np.ndarray]) -> Layer:
    """An `nnx.List` of `nnx.Linear`."""
    from touchstone.adapters.jax import tied

    layer = JaxLayer(adapter, tied.Stack(len(weights), len(weights[0])), {})
    layer.set_parameters({f"layers.{number}.kernel": weight.T for number, weight in enumerate(weights)})
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
