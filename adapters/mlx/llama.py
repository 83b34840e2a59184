"""A Llama of `mlx.nn` layers, named as the MLX documentation's example names them.

A tied head is the embedding's own `as_linear`. A linear layer that shares the table's array would not stay tied:
`nn.quantize` gives each of the two layers a packed copy of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optimizers
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from touchstone.adapters.interface import Scheme
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights, check_names, resolve, split_packed

Cache = tuple[mx.array, mx.array]
"""Keys and values ``[batch, heads, length, head dims]``."""


class Attend(nn.Module):
    """``q [..., queries, dims]`` over ``k, v [..., keys, dims]``; the last query sees every key."""

    def __call__(self, q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        scores = (q * sqrt(1 / q.shape[-1])) @ k.swapaxes(-1, -2)
        if q.shape[-2] > 1:
            mask = nn.MultiHeadAttention.create_additive_causal_mask(k.shape[-2], scores.dtype)
            scores = scores + mask[-q.shape[-2] :]
        return mx.softmax(scores, axis=-1, precise=True) @ v


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.rope = nn.RoPE(config.dims // config.heads, traditional=True, base=config.base)
        for name in ("query_proj", "key_proj", "value_proj", "out_proj"):
            setattr(self, name, nn.Linear(config.dims, config.dims, bias=False))
        self.attend = Attend()

    def __call__(self, x: mx.array, cache: Cache | None = None) -> tuple[mx.array, Cache]:
        projections = (self.query_proj, self.key_proj, self.value_proj)
        q, k, v = (mx.unflatten(p(x), -1, (self.heads, -1)).swapaxes(1, 2) for p in projections)
        offset = cache[0].shape[2] if cache else 0
        q, k = self.rope(q, offset=offset), self.rope(k, offset=offset)
        if cache:
            k, v = mx.concatenate([cache[0], k], 2), mx.concatenate([cache[1], v], 2)
        return self.out_proj(self.attend(q, k, v).swapaxes(1, 2).flatten(2)), (k, v)


class Gate(nn.Module):
    def __call__(self, a: mx.array, b: mx.array) -> mx.array:
        return a * mx.sigmoid(a) * b


class EncoderLayer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(config.dims, config.eps)
        self.attention = Attention(config)
        self.norm2 = nn.RMSNorm(config.dims, config.eps)
        self.linear1 = nn.Linear(config.dims, config.mlp_dims, bias=False)
        self.linear2 = nn.Linear(config.dims, config.mlp_dims, bias=False)
        self.linear3 = nn.Linear(config.mlp_dims, config.dims, bias=False)
        self.gate = Gate()

    def add(self, x: mx.array, y: mx.array) -> mx.array:
        return x + y

    def __call__(self, x: mx.array, cache: Cache | None = None) -> tuple[mx.array, Cache]:
        y, cache = self.attention(self.norm1(x), cache)
        x = self.add(x, y)
        y = self.norm2(x)
        return self.add(x, self.linear3(self.gate(self.linear1(y), self.linear2(y)))), cache


class Llama(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.dims)
        self.layers = [EncoderLayer(config) for _ in range(config.layers)]
        self.norm = nn.RMSNorm(config.dims, config.eps)
        if not config.tied:
            self.out_proj = nn.Linear(config.dims, config.vocabulary, bias=False)

    def __call__(self, ids: mx.array, caches: list[Cache] | None = None) -> tuple[mx.array, list[Cache]]:
        x, kept = self.embedding(ids), []
        for n, layer in enumerate(self.layers):
            x, cache = layer(x, caches[n] if caches else None)
            kept.append(cache)
        x = self.norm(x)
        return self.out_proj(x) if "out_proj" in self else self.embedding.as_linear(x), kept

    def cross_entropy(self, logits: mx.array, targets: mx.array) -> mx.array:
        return nn.losses.cross_entropy(logits, targets, reduction="mean")

    def loss(self, ids: mx.array) -> mx.array:
        return self.cross_entropy(self(ids)[0][:, :-1].flatten(0, 1), ids[:, 1:].flatten())


class MLXLlama(LanguageModel):
    def __init__(self, adapter: Any, config: LlamaConfig, weights: Weights) -> None:
        self.adapter, self.config, self._gradients = adapter, config, None
        arrays, packed = split_packed(weights)
        with mx.stream(adapter.native_device):
            self.native = Llama(config)
            if packed:
                scheme = next(iter(packed.values())).scheme
                nn.quantize(self.native, scheme.group_size, scheme.bits, mode=scheme.mode)
            for path, parts in packed.items():
                found = {"weight": parts.weight, "scales": parts.scales, "biases": parts.biases}
                arrays |= {f"{path}.{part}": value for part, value in found.items() if value is not None}
            check_names(arrays, self._held())
            self.set_parameters(arrays)

    def _held(self) -> dict[str, mx.array]:
        return dict(tree_flatten(self.native.parameters()))

    def forward(self, ids: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        with mx.stream(self.adapter.native_device):
            out, kept = self.native(self.adapter.place(ids), cache)
            return self.adapter.fetch(out), kept

    def apply(self, operation: str, *inputs: np.ndarray, **settings: Any) -> np.ndarray:
        with mx.stream(self.adapter.native_device):
            placed = [self.adapter.place(x) for x in inputs]
            return self.adapter.fetch(resolve(self.native, operation)(*placed, **settings))

    def parameters(self) -> dict[str, np.ndarray]:
        with mx.stream(self.adapter.native_device):
            return {name: self.adapter.fetch(value) for name, value in self._held().items()}

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        with mx.stream(self.adapter.native_device):
            self.native.load_weights([(n, self.adapter.place(v)) for n, v in values.items()], strict=False)

    def loss_and_gradients(self, ids: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        with mx.stream(self.adapter.native_device):
            loss, self._gradients = nn.value_and_grad(self.native, self.native.loss)(self.adapter.place(ids))
            found = dict(tree_flatten(self._gradients))
            return self.adapter.fetch(loss), {name: self.adapter.fetch(value) for name, value in found.items()}

    def sgd_step(self, learning_rate: float) -> None:
        with mx.stream(self.adapter.native_device):
            optimizers.SGD(learning_rate).update(self.native, self._gradients)

    def quantized(self, scheme: Scheme) -> LanguageModel:
        copy: LanguageModel = self.adapter.llama(self.config, self.parameters())
        with mx.stream(self.adapter.native_device):
            nn.quantize(copy.native, scheme.group_size, scheme.bits, mode=scheme.mode)
        return copy

    def compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        function = mx.compile(lambda ids: self.native(ids)[0])

        def run(ids: np.ndarray) -> np.ndarray:
            with mx.stream(self.adapter.native_device):
                return self.adapter.fetch(function(self.adapter.place(ids)))

        return run

    def save(self, path: Path) -> None:
        self.native.save_weights(str(path.with_suffix(".npz")))

    def load(self, path: Path) -> None:
        """As the example does: `mx.load`, then the tree that the names spell."""
        with mx.stream(self.adapter.native_device):
            stored: Any = mx.load(str(path.with_suffix(".npz")))
            self.native.update(tree_unflatten(list(stored.items())))
