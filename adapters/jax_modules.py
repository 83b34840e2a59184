"""NNX modules that Flax does not have: bare indexing, and MLX's packed affine format in JAX operations.

Words are uint32, low codes first; scales and biases are ``[rows, columns / group_size]``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

TILE_ROWS = 4096
"""Rows that the matrix product dequantizes at a time; the full table is never materialised."""


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


def quantize(weight: Array, bits: int, group_size: int) -> tuple[Array, Array, Array]:
    """``weight [rows, columns]`` -> uint32 words, scales, biases by MLX's affine algorithm in float32.

    Raises ValueError where columns do not divide by the group.
    """
    if weight.shape[-1] % group_size:
        raise ValueError(f"the last dimension, {weight.shape[-1]}, does not divide by group_size {group_size}")
    return _quantize(weight, bits, group_size)


def _divide(dividend: Array, divisor: Array) -> Array:
    """Correctly rounded quotient by a broadcast divisor.

    XLA turns a division by a broadcast value into a product with its reciprocal, which is off by an ulp in most
    quotients and moves codes at ties; the barrier keeps it from seeing the broadcast.
    """
    return dividend / jax.lax.optimization_barrier(jnp.broadcast_to(divisor, dividend.shape))


@partial(jax.jit, static_argnums=(1, 2))
def _quantize(weight: Array, bits: int, group_size: int) -> tuple[Array, Array, Array]:
    groups = weight.astype(jnp.float32).reshape(weight.shape[0], -1, group_size)
    low, high = groups.min(-1), groups.max(-1)
    scale = jnp.maximum(_divide(high - low, jnp.float32(2**bits - 1)), 1e-7)
    from_low = jnp.abs(low) > jnp.abs(high)
    scale = jnp.where(from_low, scale, -scale)
    edge = jnp.where(from_low, low, high)
    steps = jnp.rint(edge / scale)
    refit = steps != 0
    scale = jnp.where(refit, edge / jnp.where(refit, steps, 1), scale)
    bias = jnp.where(refit, edge, 0)
    quotients = _divide(groups - bias[..., None], scale[..., None])
    codes = jnp.clip(jnp.rint(quotients), 0, 2**bits - 1).astype(jnp.uint32)
    lanes = codes.reshape(weight.shape[0], -1, 32 // bits) << jnp.arange(0, 32, bits, dtype=jnp.uint32)
    return lanes.sum(-1, dtype=jnp.uint32), scale.astype(weight.dtype), bias.astype(weight.dtype)


def dequantize(words: Array, scales: Array, biases: Array, bits: int, group_size: int) -> Array:
    """Rows of packed parts, ``[..., words]`` -> ``[..., columns]`` in the dtype of the scales."""
    codes = (words[..., None] >> jnp.arange(0, 32, bits, dtype=jnp.uint32)) & jnp.uint32(2**bits - 1)
    codes = codes.reshape(*scales.shape, group_size).astype(scales.dtype)
    return (codes * scales[..., None] + biases[..., None]).reshape(*scales.shape[:-1], scales.shape[-1] * group_size)


@partial(jax.jit, static_argnums=(4, 5))
def _lookup(words: Array, scales: Array, biases: Array, ids: Array, bits: int, group_size: int) -> Array:
    words, scales, biases = (jnp.take(part, ids, axis=0) for part in (words, scales, biases))
    return dequantize(words, scales, biases, bits, group_size)


@partial(jax.jit, static_argnums=(4, 5))
def _matmul(words: Array, scales: Array, biases: Array, x: Array, bits: int, group_size: int) -> Array:
    tiles = []
    for start in range(0, words.shape[0], TILE_ROWS):
        part = slice(start, start + TILE_ROWS)
        tiles.append(jnp.dot(x, dequantize(words[part], scales[part], biases[part], bits, group_size).T))
    return tiles[0] if len(tiles) == 1 else jnp.concatenate(tiles, axis=-1)


class _Quantized(nnx.Module):
    """Packed parts are plain Variables, not Params, so that no optimizer updates them."""

    def __init__(self, weight: Array, scales: Array, biases: Array, bits: int, group_size: int) -> None:
        self.weight, self.scales, self.biases = nnx.Variable(weight), nnx.Variable(scales), nnx.Variable(biases)
        self.bits, self.group_size = bits, group_size

    def _parts(self) -> tuple[Array, Array, Array]:
        return self.weight[...], self.scales[...], self.biases[...]

    def _product(self, x: Array) -> Array:
        return _matmul(*self._parts(), x, self.bits, self.group_size)


class QuantizedEmbed(_Quantized):
    def __call__(self, ids: Array) -> Array:
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError("ids must be integers")
        return _lookup(*self._parts(), ids, self.bits, self.group_size)

    def attend(self, query: Array) -> Array:
        return self._product(query)


class QuantizedLinear(_Quantized):
    def __init__(
        self, weight: Array, scales: Array, biases: Array, bits: int, group_size: int, bias: Array | None = None
    ) -> None:
        super().__init__(weight, scales, biases, bits, group_size)
        self.bias = nnx.data(None) if bias is None else nnx.Variable(bias)

    def __call__(self, x: Array) -> Array:
        out = self._product(x)
        return out if self.bias is None else out + self.bias[...]
