"""A Llama of PyTorch's own layers, named as Meta names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from touchstone.adapters.interface import Scheme
from touchstone.adapters.language import LanguageModel, LlamaConfig, Weights, check_names, pack, resolve, split_packed
from touchstone.adapters.torch.quantized import QuantizedLinear

Cache = tuple[Tensor, Tensor]
"""Keys and values ``[batch, heads, length, head dims]``."""


class RoPE(nn.Module):
    """Turns neighbouring pairs of ``x [..., length, dims]``, as Meta's complex product does; in float32 throughout."""

    def __init__(self, dims: int, base: float) -> None:
        super().__init__()
        self.dims, self.base = dims, base

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        steps = torch.arange(0, self.dims, 2, dtype=torch.float32, device=x.device)
        positions = torch.arange(offset, offset + x.shape[-2], dtype=torch.float32, device=x.device)
        angles = positions[:, None] * self.base ** (-steps / self.dims)
        a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        c, s = angles.cos(), angles.sin()
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.dims}, base={self.base}"


class Attend(nn.Module):
    """``q [..., queries, dims]`` over ``k, v [..., keys, dims]``; the last query sees every key."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Not is_causal=True: it lets the first query see the first key only, which is wrong behind a cache.
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device)
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen.tril(k.shape[-2] - q.shape[-2]))


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads = config.heads
        for name in ("wq", "wk", "wv", "wo"):
            setattr(self, name, nn.Linear(config.dims, config.dims, bias=False))
        self.rope, self.attend = RoPE(config.dims // config.heads, config.base), Attend()

    def forward(self, x: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        q, k, v = (w(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        offset = cache[0].shape[2] if cache else 0
        q, k = self.rope(q, offset), self.rope(k, offset)
        if cache:
            k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
        return self.wo(self.attend(q, k, v).transpose(1, 2).flatten(2)), (k, v)


class Gate(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return nn.functional.silu(a) * b


class FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dims, config.mlp_dims, bias=False)
        self.w2 = nn.Linear(config.mlp_dims, config.dims, bias=False)
        self.w3 = nn.Linear(config.dims, config.mlp_dims, bias=False)
        self.gate = Gate()

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.gate(self.w1(x), self.w3(x)))


class Block(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.dims, config.eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.dims, config.eps)
        self.feed_forward = FeedForward(config)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def forward(self, x: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        y, cache = self.attention(self.attention_norm(x), cache)
        x = self.add(x, y)
        return self.add(x, self.feed_forward(self.ffn_norm(x))), cache


class Llama(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocabulary, config.dims)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.dims, config.eps)
        self.output = nn.Linear(config.dims, config.vocabulary, bias=False)

    def forward(self, ids: Tensor, caches: list[Cache] | None = None) -> tuple[Tensor, list[Cache]]:
        x, kept = self.tok_embeddings(ids), []
        for n, layer in enumerate(self.layers):
            x, cache = layer(x, caches[n] if caches else None)
            kept.append(cache)
        return self.output(self.norm(x)), kept

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, targets.long())

    def loss(self, ids: Tensor) -> Tensor:
        return self.cross_entropy(self(ids)[0][:, :-1].flatten(0, 1), ids[:, 1:].flatten())


class TorchLlama(LanguageModel):
    def __init__(self, adapter: Any, config: LlamaConfig, weights: Weights) -> None:
        self.adapter, self.config = adapter, config
        arrays, packed = split_packed(weights)
        with torch.device("meta"):
            self.native = Llama(config)
        dtype = adapter.dtypes[arrays["norm.weight"].dtype.name]
        self.native.to(dtype).to_empty(device=adapter.device)
        if config.tied:
            self.native.output.weight = self.native.tok_embeddings.weight
        for path, parts in packed.items():
            kind = "quantized_embedding" if path == "tok_embeddings" else "quantized_linear"
            parent, _, name = path.rpartition(".")
            setattr(self.native.get_submodule(parent), name, adapter.layer(kind, parts).native)
        if config.tied and packed:
            table: Any = self.native.tok_embeddings
            # The same tensors, so that there is still one table.
            self.native.output = QuantizedLinear(table.weight, table.scales, table.biases, table.scheme)  # type: ignore[assignment]
        check_names(arrays, dict(self.native.named_parameters()))
        self.set_parameters(arrays)

    def forward(self, ids: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        with torch.no_grad():
            out, kept = self.native(self.adapter.place(ids), cache)
        return self.adapter.fetch(out), kept

    def apply(self, operation: str, *inputs: np.ndarray, **settings: Any) -> np.ndarray:
        placed = [self.adapter.place(x) for x in inputs]
        with torch.no_grad():
            return self.adapter.fetch(resolve(self.native, operation)(*placed, **settings))

    def parameters(self) -> dict[str, np.ndarray]:
        found = {name: self.adapter.fetch(value) for name, value in self.native.named_parameters()}
        found |= {name: self.adapter.fetch(value) for name, value in self.native.named_buffers()}
        return {name: value.view(np.uint32) if value.dtype == np.int32 else value for name, value in found.items()}

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.native.get_parameter(name).copy_(self.adapter.place(value))

    def loss_and_gradients(self, ids: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        self.native.zero_grad()
        loss = self.native.loss(self.adapter.place(ids))
        loss.backward()
        held = dict(self.native.named_parameters())
        return self.adapter.fetch(loss), {name: self.adapter.fetch(p.grad) for name, p in held.items()}

    def sgd_step(self, learning_rate: float) -> None:
        torch.optim.SGD(self.native.parameters(), lr=learning_rate).step()

    def quantized(self, scheme: Scheme) -> LanguageModel:
        values = self.parameters()
        made = {name: pack(self.adapter, value, scheme) if value.ndim == 2 else value for name, value in values.items()}
        return self.adapter.llama(self.config, made)

    def compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        torch.compiler.reset()
        function = torch.compile(lambda ids: self.native(ids)[0], backend="aot_eager")

        def run(ids: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return self.adapter.fetch(function(self.adapter.place(ids)))

        return run

    def save(self, path: Path) -> None:
        torch.save(self.native.state_dict(), path.with_suffix(".pt"))

    def load(self, path: Path) -> None:
        self.native.load_state_dict(torch.load(path.with_suffix(".pt"), weights_only=True))
