"""A small Llama in float64: every operation, its gradient, logits, a next-token loss and one step of gradient descent.

Written from the papers and independent of every adapter. Weights have Meta's names. Results differ from one machine to
the next in the last bits of float64, a billionth of what they are compared within, and are therefore not stored.

- RMSNorm: y = x / sqrt(mean(x²) + ε) · w (Zhang & Sennrich, arXiv:1910.07467, equation 4, with ε inside the root)
- RoPE: neighbouring pairs of a head at position p turn by p · base**(-2i/d) (Su et al., arXiv:2104.09864, section 3.2)
- attention: softmax(q kᵀ / sqrt(d)) v over positions up to the query's own (Vaswani et al., arXiv:1706.03762)
- SwiGLU: a · σ(a) · b (Shazeer, arXiv:2002.05202, equation 5, without biases and with β = 1)
- loss: mean of -log softmax(logits)[next token]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Config:
    """Sizes of the model; `dims` divides by `heads` into heads of even size. tied: the head is the token table."""

    vocabulary: int
    dims: int
    layers: int
    heads: int
    mlp_dims: int
    tied: bool
    eps: float = 1e-5
    base: float = 10000.0


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every weight by Meta's name; matrices are ``[out, in]``."""
    d, m = config.dims, config.mlp_dims
    out: dict[str, tuple[int, ...]] = {"tok_embeddings.weight": (config.vocabulary, d)}
    for n in range(config.layers):
        out |= {f"layers.{n}.attention.{name}.weight": (d, d) for name in ("wq", "wk", "wv", "wo")}
        out |= {f"layers.{n}.feed_forward.{name}.weight": (m, d) for name in ("w1", "w3")}
        out |= {f"layers.{n}.feed_forward.w2.weight": (d, m)}
        out |= {f"layers.{n}.{name}.weight": (d,) for name in ("attention_norm", "ffn_norm")}
    out["norm.weight"] = (d,)
    return out if config.tied else {**out, "output.weight": (config.vocabulary, d)}


def embedding(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows ``ids.shape + (dims,)``."""
    return table[ids]


def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``x [..., in]`` and ``weight [out, in]`` give ``[..., out]``."""
    return x @ weight.T


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """x ``[..., dims]`` over its root mean square, eps inside the root, times weight ``[dims]`` (arXiv:1910.07467)."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def angles(length: int, dims: int, offset: int, base: float) -> np.ndarray:
    """Angles ``[length, dims / 2]`` of positions from `offset` on."""
    frequencies = base ** (-np.arange(0, dims, 2) / dims)
    return np.arange(offset, offset + length)[:, None] * frequencies


def rope(x: np.ndarray, base: float, offset: int = 0, turn: float = 1.0) -> np.ndarray:
    """``x [..., length, dims]`` with neighbouring pairs turned; turn = -1 turns them back."""
    angle = turn * angles(x.shape[-2], x.shape[-1], offset, base)
    c, s, a, b = np.cos(angle), np.sin(angle), x[..., 0::2], x[..., 1::2]
    return np.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)


def _probabilities(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Attention weights ``[..., queries, keys]``; the last query sees every key."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    seen = np.tri(q.shape[-2], k.shape[-2], k.shape[-2] - q.shape[-2], dtype=bool)
    scores = np.where(seen, scores, -np.inf)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """``q [..., queries, dims]`` over ``k, v [..., keys, dims]``; queries are the last of the keys' positions."""
    return _probabilities(q, k) @ v


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def swiglu(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a · σ(a) · b, element by element, of two projections of one shape (arXiv:2002.05202, equation 5)."""
    return a * _sigmoid(a) * b


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The residual connection: x + y of one shape."""
    return x + y


def split(x: np.ndarray, heads: int) -> np.ndarray:
    """``[batch, length, dims]`` to ``[batch, heads, length, dims / heads]``."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def merge(x: np.ndarray) -> np.ndarray:
    """The inverse of `split`."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean over rows of ``logits [n, vocabulary]`` of the negative log-probability of ``targets [n]``."""
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return np.asarray(-logs[np.arange(len(targets)), targets].mean())


def _linear_vjp(g: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    return g @ weight, g.reshape(-1, g.shape[-1]).T @ x.reshape(-1, x.shape[-1])


def _embedding_vjp(g: np.ndarray, table: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, None]:
    out = np.zeros(table.shape)
    np.add.at(out, ids.reshape(-1), g.reshape(-1, table.shape[1]))
    return out, None


def _rms_norm_vjp(g: np.ndarray, x: np.ndarray, weight: np.ndarray, eps: float) -> tuple[np.ndarray, ...]:
    r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    scaled = g * weight
    dx = r * scaled - x * r**3 * (scaled * x).mean(-1, keepdims=True)
    return dx, (g * x * r).reshape(-1, x.shape[-1]).sum(0)


def _attend_vjp(g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    p = _probabilities(q, k)
    dp = g @ v.swapaxes(-1, -2)
    scores = p * (dp - (p * dp).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    return scores @ k, scores.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g


def _swiglu_vjp(g: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    s = _sigmoid(a)
    return g * b * s * (1 + a * (1 - s)), g * a * s


def _cross_entropy_vjp(g: np.ndarray, logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, None]:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    out = powers / powers.sum(-1, keepdims=True)
    out[np.arange(len(targets)), targets] -= 1
    return g * out / len(targets), None


@dataclass(frozen=True)
class Kind:
    """An operation: its value, and what a cotangent of its output is for each of its inputs."""

    function: Callable[..., np.ndarray]
    vjp: Callable[..., tuple[np.ndarray | None, ...]]


KINDS = {
    "embedding": Kind(embedding, _embedding_vjp),
    "linear": Kind(linear, _linear_vjp),
    "rms_norm": Kind(rms_norm, _rms_norm_vjp),
    "rope": Kind(rope, lambda g, x, base, offset=0: (rope(g, base, offset, -1.0),)),
    "attend": Kind(attend, _attend_vjp),
    "swiglu": Kind(swiglu, _swiglu_vjp),
    "add": Kind(add, lambda g, x, y: (g, g)),
    "split": Kind(split, lambda g, x, heads: (merge(g),)),
    "merge": Kind(merge, lambda g, x: (split(g, x.shape[1]),)),
    "cross_entropy": Kind(cross_entropy, _cross_entropy_vjp),
}


@dataclass(frozen=True)
class Step:
    """One operation as it was carried out. An operation used again has "#2" behind its name."""

    name: str
    kind: str
    inputs: tuple[np.ndarray, ...]
    output: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)


class _Tape:
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, name: str, kind: str, *inputs: np.ndarray, **settings: Any) -> np.ndarray:
        output = KINDS[kind].function(*inputs, **settings)
        self.steps.append(Step(name, kind, inputs, output, settings))
        return output


def wide(weights: Weights) -> dict[str, np.ndarray]:
    """float64 without a copy where it is that already, so that a weight stays the same object."""
    return {name: value.astype(np.float64, copy=False) for name, value in weights.items()}


def forward(config: Config, weights: Weights, ids: np.ndarray) -> list[Step]:
    """Every operation in order for ``ids [batch, length]``; the last one's output is the logits."""
    do, w = _Tape(), wide(weights)
    table = w["tok_embeddings.weight"]
    x = do("tok_embeddings", "embedding", table, ids)
    for n in range(config.layers):
        at = f"layers.{n}"
        y = do(f"{at}.attention_norm", "rms_norm", x, w[f"{at}.attention_norm.weight"], eps=config.eps)
        q, k, v = (
            do("", "split", do(f"{at}.attention.{m}", "linear", y, w[f"{at}.attention.{m}.weight"]), heads=config.heads)
            for m in ("wq", "wk", "wv")
        )
        q = do(f"{at}.attention.rope", "rope", q, base=config.base)
        k = do(f"{at}.attention.rope#2", "rope", k, base=config.base)
        y = do("", "merge", do(f"{at}.attention.attend", "attend", q, k, v))
        x = do(f"{at}.add", "add", x, do(f"{at}.attention.wo", "linear", y, w[f"{at}.attention.wo.weight"]))
        y = do(f"{at}.ffn_norm", "rms_norm", x, w[f"{at}.ffn_norm.weight"], eps=config.eps)
        a, b = (do(f"{at}.feed_forward.{m}", "linear", y, w[f"{at}.feed_forward.{m}.weight"]) for m in ("w1", "w3"))
        y = do(f"{at}.feed_forward.gate", "swiglu", a, b)
        y = do(f"{at}.feed_forward.w2", "linear", y, w[f"{at}.feed_forward.w2.weight"])
        x = do(f"{at}.add#2", "add", x, y)
    x = do("norm", "rms_norm", x, w["norm.weight"], eps=config.eps)
    do("output", "linear", x, table if config.tied else w["output.weight"])
    return do.steps


def logits(config: Config, weights: Weights, ids: np.ndarray) -> np.ndarray:
    """``ids [batch, length]`` to ``[batch, length, vocabulary]``."""
    return forward(config, weights, ids)[-1].output


def with_loss(config: Config, weights: Weights, ids: np.ndarray) -> list[Step]:
    """`forward`, then the loss of predicting each id from those before it."""
    steps = forward(config, weights, ids)
    do = _Tape()
    do.steps = steps
    # The last position predicts nothing that is known: its logits have no part in the loss.
    rows = steps[-1].output[:, :-1].reshape(-1, config.vocabulary)
    do("cross_entropy", "cross_entropy", rows, ids[:, 1:].reshape(-1))
    return steps


def gradients(config: Config, weights: Weights, ids: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The loss, and its gradient for every weight by Meta's name, by reverse accumulation over the steps."""
    w = wide(weights)
    *steps, loss = with_loss(config, w, ids)
    (rows, _) = KINDS["cross_entropy"].vjp(np.asarray(1.0), *loss.inputs)
    assert rows is not None
    cotangent = np.zeros(steps[-1].output.shape)
    cotangent[:, :-1] = rows.reshape(cotangent[:, :-1].shape)
    found = {id(steps[-1].output): cotangent}
    for step in reversed(steps):
        for value, gradient in zip(
            step.inputs, KINDS[step.kind].vjp(found[id(step.output)], *step.inputs, **step.settings), strict=True
        ):
            if gradient is not None:
                found[id(value)] = found.get(id(value), 0) + gradient
    names = {id(value): name for name, value in w.items()}
    used = {id(value): value for step in steps for value in step.inputs}
    return loss.output, {names[i]: found[i] for i in used if i in names}


def generate(config: Config, weights: Weights, prompt: np.ndarray, count: int) -> np.ndarray:
    """``prompt [batch, length]`` and the `count` likeliest next ids, each from the whole sequence before it."""
    ids = prompt
    for _ in range(count):
        ids = np.concatenate([ids, logits(config, weights, ids)[:, -1:].argmax(-1).astype(ids.dtype)], 1)
    return ids
