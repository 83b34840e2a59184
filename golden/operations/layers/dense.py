"""Lookups and products: embedding, linear, both over packed parts, and what a Llama's gate is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import Number, most, numbers, sigmoid
from touchstone.golden.operations.layers.making import arrays, by_entry, layer, styled, whole
from touchstone.golden.operations.samples import Argument, Sample
from touchstone.golden.packing import AFFINE, Format, format_of, unpack

_ROWS, _IN, _OUT = 7, 24, 10
_COLUMNS = 128
_SHAZEER = "https://arxiv.org/abs/2002.05202"


def _lookup(ids: np.ndarray, weight: Number) -> Number:
    return weight[ids]


def linear(x: Number, weight: Number, bias: Number | None = None) -> Number:
    """``x [..., in]``, or a vector, and ``weight [out, in]``."""
    if len(x.shape) == 1:
        return linear(x.reshape(1, -1), weight, bias)[0]
    made = x @ weight.swapped()
    return made if bias is None else made + bias


def two_layers(x: Number, weight: Number, bias: Number, second_weight: Number, second_bias: Number) -> Number:
    """A linear layer, the larger of its result and zero, and another linear layer."""
    return linear(most(linear(x, weight, bias), 0), second_weight, second_bias)


def _gate(a: Number, b: Number) -> Number:
    return a * sigmoid(a) * b


def _weights(words: np.ndarray, scales: Number, biases: Number, form: Format) -> Number:
    """Scales times codes plus biases."""
    codes = unpack(words, form.bits).reshape(*scales.shape, form.group_size).astype(np.float64)
    made = scales.reshape(*scales.shape, 1) * numbers(codes, scales.precision) + biases.reshape(*biases.shape, 1)
    return made.reshape(scales.shape[0], -1)


def _form(options: dict[str, Any]) -> Format:
    return format_of("affine", options.get("bits", 4), options.get("group_size", 64))


def _quantized_lookup(ids: np.ndarray, weight: np.ndarray, scales: Number, biases: Number, **options: Any) -> Number:
    return _weights(weight, scales, biases, _form(options))[ids]


def _quantized_linear(
    x: Number, weight: np.ndarray, scales: Number, biases: Number, bias: Number | None = None, **options: Any
) -> Number:
    return linear(x, _weights(weight, scales, biases, _form(options)), bias)


def _ids(*shape: int) -> Argument:
    return Argument("integers", shape, {"low": 0, "high": _ROWS}, dtype="int32", apart="/ids")


def _packed(rows: int, form: Format) -> dict[str, Argument]:
    """Parts of a matrix of 128 columns: any codes, small scales, biases about their middle."""
    parts = (rows, _COLUMNS // form.group_size)
    return {
        "weight": Argument("words", (rows, _COLUMNS * form.bits // 32), dtype="uint32", apart="/weight"),
        "scales": Argument("bell", parts, {"scale": 2.0 ** (-form.bits)}, apart="/scales"),
        "biases": Argument("bell", parts, {"scale": 0.5}, apart="/biases"),
    }


_DEFAULT = format_of("affine", 4, 64)
_OTHERS = tuple(
    form for form in AFFINE if (form.bits, form.group_size) in ((2, 64), (3, 32), (6, 128), (8, 32), (8, 64))
)


def _packed_samples(first: dict[str, Argument], rows: int, result: tuple[int, ...]) -> list[Sample]:
    others = [
        whole(form.name, {**first, **_packed(rows, form)}, result, bits=form.bits, group_size=form.group_size)
        for form in _OTHERS
    ]
    return [whole("own", {**first, **_packed(rows, _DEFAULT)}, result), *others]


def _with_weights(x: Argument, *, bias: bool = True) -> dict[str, Argument]:
    shapes = {"x": x.shape, "weight": (_OUT, x.shape[-1]), **({"bias": (_OUT,)} if bias else {})}
    return arrays(shapes, {"weight": 0.5}, x=x)


def _plain(shape: tuple[int, ...]) -> Argument:
    return arrays({"x": shape})["x"]


_SPECIAL_X = styled((4, _IN), "x", [("special once", _IN), ("infinity once", _IN), ("bell", _IN), ("far", _IN)])
_REGIONS = ("NaN", "infinity", "ordinary", "far")
_INTEGERS = {
    name: Argument("wide integers", (rows, 512), {"phase": phase}, apart=f"/{name}")
    for name, rows, phase in (("x", 2, 0), ("weight", _OUT, 1))
}
_TWO = {
    "x": (4, _IN),
    "weight": (_OUT, _IN),
    "bias": (_OUT,),
    "second_weight": (5, _OUT),
    "second_bias": (5,),
}
DENSE = (
    layer(
        "Embedding",
        "weight[ids]",
        _lookup,
        replace(whole("own", {"ids": _ids(3, 4), **arrays({"weight": (_ROWS, _IN)})}, (3, 4, _IN)), exact=True),
        replace(whole("one id", {"ids": _ids(), **arrays({"weight": (_ROWS, _IN)})}, (_IN,)), exact=True),
    ),
    layer(
        "tied head of Embedding",
        "x W'",
        linear,
        whole("own", _with_weights(_plain((3, 5, _IN)), bias=False), (3, 5, _OUT)),
        by_entry("specials", _with_weights(_SPECIAL_X, bias=False), (4, _OUT), *_REGIONS),
    ),
    layer(
        "Linear",
        "x W' + b",
        linear,
        whole("own", _with_weights(_plain((3, 5, _IN))), (3, 5, _OUT)),
        by_entry("specials", _with_weights(_SPECIAL_X), (4, _OUT), *_REGIONS),
        whole("no bias", _with_weights(_plain((3, 5, _IN)), bias=False), (3, 5, _OUT)),
        whole("vector", _with_weights(_plain((_IN,))), (_OUT,)),
        whole("sum of 4096", _with_weights(_plain((2, 4096))), (2, _OUT)),
        replace(whole("integers", _INTEGERS, (2, _OUT)), exact=True, dtypes=("float32",)),
    ),
    layer(
        "QuantizedEmbedding",
        "(scales codes + biases)[ids]",
        _quantized_lookup,
        *_packed_samples({"ids": _ids(3, 4)}, _ROWS, (3, 4, _COLUMNS)),
        constant=("scales", "biases"),
    ),
    layer(
        "QuantizedLinear",
        "x (scales codes + biases)'",
        _quantized_linear,
        *_packed_samples({"x": _plain((3, 5, _COLUMNS))}, _OUT, (3, 5, _OUT)),
        constant=("scales", "biases"),
    ),
    layer(
        "Sequential",
        "W2 max(W1 x + b1, 0) + b2",
        two_layers,
        whole("own", arrays(_TWO, {"weight": 0.5, "second_weight": 0.5}), (4, 5)),
    ),
    layer(
        "SwiGLU",
        "a / (1 + exp(-a)) b",
        _gate,
        whole("own", arrays({"a": (4, _IN), "b": (4, _IN)}), (4, _IN)),
        page=_SHAZEER,
    ),
)
