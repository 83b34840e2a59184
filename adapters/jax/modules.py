"""NNX modules that Flax does not have: bare indexing, and embedding and linear over MLX's packed parts."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from touchstone.adapters.interface import Scheme
from touchstone.adapters.jax.packing import dequantize
from touchstone.adapters.jax.product import Parts, product
from touchstone.adapters.jax.releases import data


def apply(module: Any, inputs: Array, method: str) -> Array:
    """The module's call, its tied head ("as_linear"), or the head applied to the call ("tied")."""
    if method == "call":
        return module(inputs)
    return module.attend(inputs if method == "as_linear" else module(inputs))


@partial(jax.jit, static_argnums=(0, 1, 2))
def vjp(graph: Any, method: str, floating: bool, params: Any, rest: Any, inputs: Array, cotangent: Array) -> Any:
    """(gradients of params, gradient of inputs or None); compiled once per module structure and shapes."""
    if floating:
        return jax.vjp(lambda p, x: apply(nnx.merge(graph, p, rest), x, method), params, inputs)[1](cotangent)
    return *jax.vjp(lambda p: apply(nnx.merge(graph, p, rest), inputs, method), params)[1](cotangent), None


class RawLookup(nnx.Module):
    """``table[ids]`` and nothing else."""

    def __init__(self, table: Array) -> None:
        self.embedding = nnx.Param(table)

    def __call__(self, ids: Array) -> Array:
        return self.embedding[ids]


class Spelled(nnx.Module):
    """A lookup or a product by a function of jax.numpy, the module and the input."""

    def __init__(self, function: Any, weight: Array, bias: Array | None = None) -> None:
        self.function, self.weight = function, nnx.Param(weight)
        self.bias = data(None) if bias is None else nnx.Param(bias)

    def __call__(self, inputs: Array) -> Array:
        return self.function(jnp, self, inputs)


@partial(jax.jit, static_argnums=2)
def _lookup(parts: Parts, ids: Array, scheme: Scheme) -> Array:
    words, scales, biases = (None if part is None else jnp.take(part, ids, axis=0) for part in parts)
    # As mlx.nn.QuantizedEmbedding: rows of a mode without biases are bfloat16, in which they are exact.
    return dequantize(words, scales, biases, scheme, jnp.bfloat16 if biases is None else biases.dtype)


class _Quantized(nnx.Module):
    """Packed parts are plain Variables, not Params, so that no optimizer updates them."""

    def __init__(self, weight: Array, scales: Array, biases: Array | None, scheme: Scheme) -> None:
        self.weight, self.scales = nnx.Variable(weight), nnx.Variable(scales)
        self.biases = data(None) if biases is None else nnx.Variable(biases)
        self.scheme = scheme

    def _parts(self) -> Parts:
        return self.weight[...], self.scales[...], None if self.biases is None else self.biases[...]

    def _product(self, x: Array) -> Array:
        return product(x, self._parts(), self.scheme)


class QuantizedEmbed(_Quantized):
    def __call__(self, ids: Array) -> Array:
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError("ids must be integers")
        return _lookup(self._parts(), ids, self.scheme)

    def attend(self, query: Array) -> Array:
        return self._product(query)


class QuantizedLinear(_Quantized):
    def __init__(
        self, weight: Array, scales: Array, biases: Array | None, scheme: Scheme, bias: Array | None = None
    ) -> None:
        super().__init__(weight, scales, biases, scheme)
        self.bias = data(None) if bias is None else nnx.Variable(bias)

    def __call__(self, x: Array) -> Array:
        out = self._product(x)
        return out if self.bias is None else out + self.bias[...]
