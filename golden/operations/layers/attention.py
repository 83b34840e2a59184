"""Attention by scaled products, alone and between projections, and the layers of a Transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt as root
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Condition, Number, where
from touchstone.golden.operations.functions import softmax
from touchstone.golden.operations.layers.dense import linear, two_layers
from touchstone.golden.operations.layers.making import (
    PAGE,
    arrays,
    by_entry,
    layer,
    narrow,
    styled,
    whole,
    without_gradients,
)
from touchstone.golden.operations.layers.norms import layer_norm
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import Argument, Sample

_ATTENTION_PAGE = (
    "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.fast.scaled_dot_product_attention.html"
)
_BATCH, _HEADS, _TIME, _DIMS = 2, 4, 5, 8
_MODEL, _MODEL_HEADS, _MLP = 8, 2, 12


_UNSEEN = -1024
"""A score that stands for minus infinity: its power has no part in the first 400 digits, and its error is a number."""


def _seen(scores: Number, holds: np.ndarray) -> Number:
    """Scores where a key is seen, and next to nothing elsewhere."""
    unknown = np.zeros(holds.shape, bool)
    return where(Condition(np.broadcast_to(holds, scores.shape), unknown, scores.precision), scores, _UNSEEN)


def _attention(q: Number, k: Number, v: Number, mask: Any = None, causal: bool = False, scale: Any = None) -> Number:
    """``q [batch, heads, queries, dims]`` over ``k, v [batch, heads / n, keys, dims]``.

    mask: numbers that are added to scores, or which keys a query sees.
    """
    repeated = q.shape[1] // k.shape[1]
    if repeated > 1:
        heads = np.repeat(np.arange(k.shape[1]), repeated)
        k, v = k[:, heads], v[:, heads]
    scores = q @ k.swapped() * (1 / root(q.shape[-1]) if scale is None else scale)
    if isinstance(mask, np.ndarray):
        scores = _seen(scores, mask.astype(bool))
    elif mask is not None:
        scores = scores + mask
    if causal:
        scores = _seen(scores, np.tri(*scores.shape[-2:], dtype=bool))
    return softmax(scores) @ v


def _heads(x: Number, heads: int) -> Number:
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _many_heads(
    queries: Number,
    keys: Number,
    values: Number,
    query: Number,
    key: Number,
    value: Number,
    out: Number,
    *biases: Number,
    num_heads: int = _MODEL_HEADS,
    causal: bool = False,
    **_: bool,
) -> Number:
    """Weights of the projections, then their biases, if any; what else is asked for does not change the result."""
    of = biases or (None,) * 4
    inputs = zip((queries, keys, values), (query, key, value), of, strict=False)
    q, k, v = (_heads(linear(x, weight, bias), num_heads) for x, weight, bias in inputs)
    made = _attention(q, k, v, causal=causal).transpose(0, 2, 1, 3)
    return linear(made.reshape(*made.shape[:2], -1), out, of[3])


def _of_memory(queries: Number, memory: Number, *parts: Number, num_heads: int = _MODEL_HEADS) -> Number:
    """Keys and values are one array."""
    return _many_heads(queries, memory, memory, *parts, num_heads=num_heads)


def _of_itself(x: Number, *parts: Number, evaluation: bool = False) -> Number:
    """Queries, keys and values are one array."""
    return _many_heads(x, x, x, *parts)


def _weights(
    queries: Number,
    keys: Number,
    query: Number,
    key: Number,
    *biases: Number,
    num_heads: int = _MODEL_HEADS,
    averaged: bool = False,
) -> Number:
    """``[batch, heads, queries, keys]``: what each query takes of each value; averaged: over the heads."""
    inputs = zip((queries, keys), (query, key), biases or (None, None), strict=True)
    q, k = (_heads(linear(x, weight, bias), num_heads) for x, weight, bias in inputs)
    shares = softmax(q @ k.swapped() * (1 / root(q.shape[-1])))
    return shares.mean(1)[:, 0] if averaged else shares


def _encoder_layer(x: Number, *parts: Number, norm_first: bool = True, evaluation: bool = False) -> Number:
    """Parts: four projections, weight and bias of two norms and of two linear layers."""
    attention, first, second, feed = parts[:4], parts[4:6], parts[6:8], parts[8:]

    def attended(y: Number) -> Number:
        return _many_heads(y, y, y, *attention)

    if norm_first:
        x = x + attended(layer_norm(x, *first))
        return x + two_layers(layer_norm(x, *second), *feed)
    x = layer_norm(x + attended(x), *first)
    return layer_norm(x + two_layers(x, *feed), *second)


def _decoder_layer(x: Number, memory: Number, *parts: Number, norm_first: bool = True) -> Number:
    """Parts: four projections of each attention, weight and bias of three norms and of two linear layers."""
    own, cross = parts[:4], parts[4:8]
    norms = [parts[8 + 2 * n : 10 + 2 * n] for n in range(3)]
    feed = parts[14:]

    steps: tuple[Callable[[Number], Number], ...] = (
        lambda y: _many_heads(y, y, y, *own, causal=True),
        lambda y: _many_heads(y, memory, memory, *cross),
        lambda y: two_layers(y, *feed),
    )
    for norm, step in zip(norms, steps, strict=True):
        x = x + step(layer_norm(x, *norm)) if norm_first else layer_norm(x + step(x), *norm)
    return x


def _operands(queries: int, keys: int, heads: int = _HEADS, **given: Argument) -> dict[str, Argument]:
    shapes = {
        "q": (_BATCH, _HEADS, queries, _DIMS),
        "k": (_BATCH, heads, keys, _DIMS),
        "v": (_BATCH, heads, keys, _DIMS),
    }
    return arrays({**shapes, **{name: of.shape for name, of in given.items()}}, {}, **given)


def _result(queries: int) -> tuple[int, ...]:
    return (_BATCH, _HEADS, queries, _DIMS)


_DIAGONAL = tuple(bool(v) for v in np.tri(_TIME, dtype=bool).reshape(-1))
_SEEN = Argument("values", (_TIME, _TIME), {"values": _DIAGONAL}, dtype="bool")
_SIZE = _HEADS * _TIME * _DIMS
_WILD = styled((2, _HEADS, _TIME, _DIMS), "v", [("special once", _SIZE), ("bell", _SIZE)])
_PROJECTIONS = dict.fromkeys(("query_proj", "key_proj", "value_proj", "out_proj"), (_MODEL, _MODEL))
_HALVED = dict.fromkeys((*_PROJECTIONS, *(f"cross_{name}" for name in _PROJECTIONS), "w1", "w2"), 0.5)
_FEED = {"w1": (_MLP, _MODEL), "b1": (_MLP,), "w2": (_MODEL, _MLP), "b2": (_MODEL,)}


def _norms(count: int) -> dict[str, tuple[int, ...]]:
    return {f"norm{n}_{part}": (_MODEL,) for n in range(1, count + 1) for part in ("weight", "bias")}


def _model(name: str, shapes: dict[str, tuple[int, ...]], time: int = _TIME, **options: Any) -> Sample:
    return whole(name, arrays(shapes, _HALVED), (_BATCH, time, _MODEL), **options)


_INPUTS = {"queries": (_BATCH, _TIME, _MODEL), "keys": (_BATCH, 7, _MODEL), "values": (_BATCH, 7, _MODEL)}
_BIASES = {f"{name}_bias": (_MODEL,) for name in _PROJECTIONS}


def _with_biases(inputs: Mapping[str, tuple[int, ...]], *sizes: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Inputs, the projections of these sizes in their order, and their biases."""
    weights = dict(zip(_PROJECTIONS, sizes, strict=False))
    return {**inputs, **weights, **{f"{name}_bias": (out,) for name, (out, _) in weights.items()}}


def _sized(
    name: str, of: str, value: Callable[..., Number], shapes: Mapping[str, tuple[int, ...]], *more: Sample
) -> Operation:
    """With and without biases; the result's last axis is as long as the output's projection has rows."""
    plain = {name: shape for name, shape in shapes.items() if not name.endswith("_bias")}
    result = (_BATCH, _TIME, shapes["out_proj"][0])
    samples = [whole("own", arrays(shapes, _HALVED), result), whole("without biases", arrays(plain, _HALVED), result)]
    return layer(name, of, value, *map(narrow, [*samples, *more]), page=PAGE.format("MultiHeadAttention"))


def _shares(name: str, biased: bool = True, heads: int = _MODEL_HEADS, **options: Any) -> Sample:
    inputs = {"queries": (_BATCH, _TIME, _MODEL), "keys": (_BATCH, 7, _MODEL)}
    shapes = _with_biases(inputs, (_MODEL, _MODEL), (_MODEL, _MODEL))
    held = {of: shape for of, shape in shapes.items() if biased or not of.endswith("_bias")}
    result = (_BATCH, _TIME, 7) if options.get("averaged") else (_BATCH, heads, _TIME, 7)
    return narrow(whole(name, arrays(held, _HALVED), result, **options))


_KEYS, _VALUES, _INNER, _OUT = 6, 10, 12, 5
"""Sizes of keys and of values as they are given, of projected values, and of the result, where they differ."""
_SQUARE = (_MODEL, _MODEL)
_QUERIES = {"queries": (_BATCH, _TIME, _MODEL)}
_APART = {**_QUERIES, "keys": (_BATCH, 7, _KEYS), "values": (_BATCH, 7, _VALUES)}
_EVERY = {"queries": (_BATCH, _TIME, 4), **{name: shape for name, shape in _APART.items() if name != "queries"}}
_MEMORY = {**_QUERIES, "memory": (_BATCH, 7, _KEYS)}
_OF_SIZES = (
    _sized(
        "MultiHeadAttention of sizes",
        "attention of projections by heads, projected; keys and values of their own sizes",
        _many_heads,
        _with_biases(_APART, _SQUARE, (_MODEL, _KEYS), (_MODEL, _VALUES), _SQUARE),
    ),
    _sized(
        "MultiHeadAttention of every size",
        "attention of projections by heads, projected; inputs, projected values and the result of their own sizes",
        _many_heads,
        _with_biases(_EVERY, (_MODEL, 4), (_MODEL, _KEYS), (_INNER, _VALUES), (_OUT, _INNER)),
    ),
    _sized(
        "MultiHeadAttention of a memory",
        "attention of projections by heads, projected; keys and values are one array",
        _of_memory,
        _with_biases(_MEMORY, _SQUARE, (_MODEL, _KEYS), (_MODEL, _KEYS), _SQUARE),
        _model("as wide as the queries", _with_biases({**_QUERIES, "memory": (_BATCH, 7, _MODEL)}, *[_SQUARE] * 4)),
    ),
    _sized(
        "MultiHeadAttention of itself",
        "attention of projections by heads, projected; queries, keys and values are one array",
        _of_itself,
        _with_biases({"x": (_BATCH, _TIME, _MODEL)}, *[_SQUARE] * 4),
        _model("evaluation", _with_biases({"x": (_BATCH, _TIME, _MODEL)}, *[_SQUARE] * 4), evaluation=True),
    ),
    layer(
        "weights of MultiHeadAttention",
        "softmax(q k' / sqrt(dims)) of projections by heads",
        _weights,
        _shares("own"),
        _shares("without biases", biased=False),
        _shares("four heads", heads=4, num_heads=4),
        _shares("averaged", averaged=True),
        page="https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html",
    ),
)
_ENCODER = {"x": (_BATCH, _TIME, _MODEL), **_PROJECTIONS, **_norms(2), **_FEED}
_DECODER = {
    "x": (_BATCH, _TIME, _MODEL),
    "memory": (_BATCH, 7, _MODEL),
    **_PROJECTIONS,
    **{f"cross_{name}": shape for name, shape in _PROJECTIONS.items()},
    **_norms(3),
    **_FEED,
}
ATTENTION: tuple[Operation, ...] = (
    layer(
        "scaled_dot_product_attention",
        "softmax(q k' / sqrt(dims)) v",
        _attention,
        whole("own", _operands(_TIME, 7), _result(_TIME)),
        by_entry("specials", _operands(_TIME, _TIME, v=_WILD), _result(_TIME), "NaN", "ordinary"),
        whole("heads that share keys", _operands(_TIME, 7, heads=2), _result(_TIME)),
        whole("causal", _operands(_TIME, _TIME), _result(_TIME), causal=True),
        whole("another scale", _operands(_TIME, 7), _result(_TIME), scale=0.25),
        whole("one query", _operands(1, 7), _result(1)),
        page=_ATTENTION_PAGE,
    ),
    layer(
        "attention where a mask is true",
        "softmax(q k' / sqrt(dims) where seen) v",
        _attention,
        whole("own", _operands(_TIME, _TIME, mask=_SEEN), _result(_TIME)),
        page=_ATTENTION_PAGE,
    ),
    layer(
        "attention with a mask added",
        "softmax(q k' / sqrt(dims) + mask) v",
        _attention,
        whole("own", _operands(_TIME, 7, mask=arrays({"mask": (_TIME, 7)})["mask"]), _result(_TIME)),
        page=_ATTENTION_PAGE,
    ),
    layer(
        "MultiHeadAttention",
        "attention of projections by heads, projected",
        _many_heads,
        _model("own", {**_INPUTS, **_PROJECTIONS}),
        _model("own keys", {**_INPUTS, "keys": _INPUTS["queries"], "values": _INPUTS["queries"], **_PROJECTIONS}),
        _model("four heads", {**_INPUTS, **_PROJECTIONS}, num_heads=4),
        _model("one head", {**_INPUTS, **_PROJECTIONS}, num_heads=1),
        _model("weights asked for", {**_INPUTS, **_PROJECTIONS}, need_weights=True),
        _model("weights by head asked for", {**_INPUTS, **_PROJECTIONS}, need_weights=True, by_head=True),
    ),
    layer(
        "MultiHeadAttention with biases",
        "attention of projections by heads, projected",
        _many_heads,
        _model("own", {**_INPUTS, **_PROJECTIONS, **_BIASES}),
        page=PAGE.format("MultiHeadAttention"),
    ),
    *_OF_SIZES,
    layer(
        "TransformerEncoderLayer",
        "x + attention(norm(x)), then x + linear(relu(linear(norm(x))))",
        _encoder_layer,
        _model("own", _ENCODER),
        _model("norm last", _ENCODER, norm_first=False),
        *(
            without_gradients(
                _model(f"evaluation, norm {of}", _ENCODER, norm_first=first, evaluation=True), "every row"
            )
            for of, first in (("first", True), ("last", False))
        ),
        page=PAGE.format("Transformer"),
    ),
    layer(
        "TransformerDecoderLayer",
        "causal attention, attention to memory, then the linear layers, each of norm(x) and added to x",
        _decoder_layer,
        _model("own", _DECODER),
        _model("norm last", _DECODER, norm_first=False),
        page=PAGE.format("Transformer"),
    ),
)
