"""A Llama of Flax NNX layers, with the names and transposed kernels that Flax users have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, serialization
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from touchstone.adapters.interface import Scheme
from touchstone.adapters.jax.releases import List, assign, update
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights, check_names, pack, resolve, split_packed

Cache = tuple[Array, Array]
"""Keys and values ``[batch, heads, length, head dims]``."""


class RoPE(nnx.Module):
    """Turns neighbouring pairs of ``x [..., length, dims]`` in float32: Flax has no layer that does."""

    def __init__(self, dims: int, base: float) -> None:
        self.dims, self.base = dims, base

    def __call__(self, x: Array, offset: int = 0) -> Array:
        frequencies = self.base ** (-jnp.arange(0, self.dims, 2, dtype=jnp.float32) / self.dims)
        angles = jnp.arange(offset, offset + x.shape[-2], dtype=jnp.float32)[:, None] * frequencies
        wide = x.astype(jnp.float32)
        a, b, c, s = wide[..., 0::2], wide[..., 1::2], jnp.cos(angles), jnp.sin(angles)
        return jnp.stack((a * c - b * s, a * s + b * c), -1).reshape(x.shape).astype(x.dtype)


class Attend(nnx.Module):
    """``q [..., queries, dims]`` over ``k, v [..., keys, dims]``; the last query sees every key."""

    def __call__(self, q: Array, k: Array, v: Array) -> Array:
        queries, keys = q.shape[-2], k.shape[-2]
        q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
        mask = jnp.tri(queries, keys, keys - queries, dtype=bool)[None, None]
        return nnx.dot_product_attention(q, k, v, mask=mask, deterministic=True).swapaxes(1, 2)


class Attention(nnx.Module):
    def __init__(self, config: LlamaConfig, **options: Any) -> None:
        self.heads = config.heads
        for name in ("query", "key", "value", "out"):
            setattr(self, name, nnx.Linear(config.dims, config.dims, use_bias=False, **options))
        self.rope, self.attend = RoPE(config.dims // config.heads, config.base), Attend()

    def __call__(self, x: Array, cache: Cache | None = None) -> tuple[Array, Cache]:
        batch, length, _ = x.shape
        q, k, v = (w(x).reshape(batch, length, self.heads, -1).swapaxes(1, 2) for w in self._projections())
        offset = cache[0].shape[2] if cache else 0
        q, k = self.rope(q, offset), self.rope(k, offset)
        if cache:
            k, v = jnp.concatenate((cache[0], k), 2), jnp.concatenate((cache[1], v), 2)
        return self.out(self.attend(q, k, v).swapaxes(1, 2).reshape(x.shape)), (k, v)

    def _projections(self) -> tuple[Any, Any, Any]:
        return self.query, self.key, self.value


class Gate(nnx.Module):
    def __call__(self, a: Array, b: Array) -> Array:
        return nnx.silu(a) * b


class MLP(nnx.Module):
    def __init__(self, config: LlamaConfig, **options: Any) -> None:
        self.gate_proj = nnx.Linear(config.dims, config.mlp_dims, use_bias=False, **options)
        self.up_proj = nnx.Linear(config.dims, config.mlp_dims, use_bias=False, **options)
        self.down_proj = nnx.Linear(config.mlp_dims, config.dims, use_bias=False, **options)
        self.gate = Gate()

    def __call__(self, x: Array) -> Array:
        return self.down_proj(self.gate(self.gate_proj(x), self.up_proj(x)))


class Block(nnx.Module):
    def __init__(self, config: LlamaConfig, **options: Any) -> None:
        self.attention_norm = nnx.RMSNorm(config.dims, epsilon=config.eps, **options)
        self.attention = Attention(config, **options)
        self.mlp_norm = nnx.RMSNorm(config.dims, epsilon=config.eps, **options)
        self.mlp = MLP(config, **options)

    def add(self, x: Array, y: Array) -> Array:
        return x + y

    def __call__(self, x: Array, cache: Cache | None = None) -> tuple[Array, Cache]:
        y, cache = self.attention(self.attention_norm(x), cache)
        x = self.add(x, y)
        return self.add(x, self.mlp(self.mlp_norm(x))), cache


class Llama(nnx.Module):
    def __init__(self, config: LlamaConfig, **options: Any) -> None:
        self.embed = nnx.Embed(config.vocabulary, config.dims, **options)
        self.layers = List([Block(config, **options) for _ in range(config.layers)])
        self.norm = nnx.RMSNorm(config.dims, epsilon=config.eps, **options)
        self.head = None if config.tied else nnx.Linear(config.dims, config.vocabulary, use_bias=False, **options)

    def __call__(self, ids: Array, caches: list[Cache] | None = None) -> tuple[Array, list[Cache]]:
        x, kept = self.embed(ids), []
        for n, layer in enumerate(self.layers):
            x, cache = layer(x, caches[n] if caches else None)
            kept.append(cache)
        x = self.norm(x)
        return self.embed.attend(x) if self.head is None else self.head(x), kept

    def cross_entropy(self, logits: Array, targets: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def loss(self, ids: Array) -> Array:
        logits, _ = self(ids)
        return self.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


@nnx.jit
def _forward(model: Llama, ids: Array, caches: list[Cache] | None) -> tuple[Array, list[Cache]]:
    return model(ids, caches)


@nnx.jit
def _loss_and_gradients(model: Llama, ids: Array) -> tuple[Array, Any]:
    return nnx.value_and_grad(lambda model: model.loss(ids))(model)


class JaxLlama(LanguageModel):
    def __init__(self, adapter: Any, config: LlamaConfig, weights: Weights) -> None:
        self.adapter, self.config, self._gradients = adapter, config, None
        arrays, packed = split_packed(weights)
        dtype = arrays["norm.scale"].dtype
        self.native = nnx.eval_shape(lambda: Llama(config, param_dtype=dtype, rngs=nnx.Rngs(0)))
        for path, parts in packed.items():
            kind = "quantized_embedding" if path == "embed" else "quantized_linear"
            parent, _, name = path.rpartition(".")
            setattr(resolve(self.native, parent) if parent else self.native, name, adapter.layer(kind, parts).native)
        check_names(arrays, self._held(nnx.Param))
        self.set_parameters(arrays)

    def _held(self, kind: Any = nnx.Variable) -> dict[str, Any]:
        return flatten_dict(_text_keys(nnx.to_pure_dict(nnx.state(self.native, kind))), sep=".")

    def forward(self, ids: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        """Compiled, as whoever generates with JAX does; `logits` and `apply` are not."""
        out, kept = _forward(self.native, self.adapter.place(ids), cache)
        return self.adapter.fetch(out), kept

    def logits(self, ids: np.ndarray) -> np.ndarray:
        return self.adapter.fetch(self.native(self.adapter.place(ids))[0])

    def apply(self, operation: str, *inputs: np.ndarray, **settings: Any) -> np.ndarray:
        placed = [self.adapter.place(x) for x in inputs]
        return self.adapter.fetch(resolve(self.native, operation)(*placed, **settings))

    def parameters(self) -> dict[str, np.ndarray]:
        return {name: self.adapter.fetch(value) for name, value in self._held().items()}

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            assign(resolve(self.native, name), self.adapter.place(value))

    def loss_and_gradients(self, ids: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        loss, self._gradients = _loss_and_gradients(self.native, self.adapter.place(ids))
        found = flatten_dict(_text_keys(nnx.to_pure_dict(self._gradients)), sep=".")
        return self.adapter.fetch(loss), {name: self.adapter.fetch(value) for name, value in found.items()}

    def sgd_step(self, learning_rate: float) -> None:
        optimizer = nnx.Optimizer(self.native, optax.sgd(learning_rate), wrt=nnx.Param)
        update(optimizer, self.native, self._gradients)

    def quantized(self, scheme: Scheme) -> LanguageModel:
        made: dict[str, Any] = {}
        for name, value in self.parameters().items():
            path, _, leaf = name.rpartition(".")
            if value.ndim != 2:
                made[name] = value
            else:
                matrix = np.ascontiguousarray(value.T) if leaf == "kernel" else value
                made[f"{path}.weight"] = pack(self.adapter, matrix, scheme)
        return self.adapter.llama(self.config, made)

    def compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda ids: self.adapter.fetch(_forward(self.native, self.adapter.place(ids), None)[0])

    def save(self, path: Path) -> None:
        path.with_suffix(".msgpack").write_bytes(
            serialization.msgpack_serialize(unflatten_dict(self.parameters(), sep="."))
        )

    def load(self, path: Path) -> None:
        stored = serialization.msgpack_restore(path.with_suffix(".msgpack").read_bytes())
        self.set_parameters(flatten_dict(stored, sep="."))


def _text_keys(tree: Any) -> Any:
    """The tree with list indices as text."""
    return {str(key): _text_keys(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
