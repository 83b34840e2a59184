"""Cases for a small Llama, its head tied to the token table or not: weights by Meta's names, ids, packed weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import Case, add
from touchstone.golden.llama import Config, shapes
from touchstone.golden.recipes import Recipe

UNTIED = Config(vocabulary=80, dims=64, layers=2, heads=4, mlp_dims=96, tied=False)
"""No two sizes are equal but those of the attention's square matrices, whose transposes only values can tell."""
CONFIGS = {False: UNTIED, True: replace(UNTIED, tied=True)}
BITS, GROUP_SIZE = 4, 32
PARTS = ("weight", "scales", "biases")
LEARNING_RATE = 0.5


def config_of(case: Case) -> Config:
    """Sizes of the case's model, of which its parameter "tied" says whether the head is the token table."""
    return CONFIGS[case.params["tied"]]


def _scale(name: str) -> float:
    """Weights of a size that keeps activations near one: 1 for the table and norms, 1/4 for matrices."""
    return 1.0 if name == "tok_embeddings.weight" or "norm" in name else 0.25


def _weights() -> dict[str, str]:
    return {
        name: add(f"llama/{name}", Recipe("uniform", "float32", shape, {"scale": _scale(name)}))
        for name, shape in shapes(UNTIED).items()
    }


def _packed() -> dict[str, str]:
    """Words, scales and biases of every matrix, and the norms as they are."""
    out = {}
    for name, shape in shapes(UNTIED).items():
        if len(shape) == 1:
            out[name] = f"llama/{name}"
            continue
        rows, groups, stem = shape[0], shape[1] // GROUP_SIZE, name.removesuffix(".weight")
        recipes = (
            Recipe("words", "uint32", (rows, shape[1] * BITS // 32)),
            Recipe("uniform", "float32", (rows, groups), {"scale": 2.0**-5}),
            Recipe("uniform", "float32", (rows, groups), {"scale": 2.0**-2}),
        )
        for part, recipe in zip(PARTS, recipes, strict=True):
            out[f"{stem}.{part}"] = add(f"llama/packed/{stem}.{part}", recipe)
    return out


WEIGHTS, PACKED = _weights(), _packed()
IDS = add("llama/ids", Recipe("integers", "int32", (2, 8), {"low": 0, "high": UNTIED.vocabulary}))
PROMPT = add("llama/prompt", Recipe("integers", "int32", (2, 5), {"low": 0, "high": UNTIED.vocabulary}))
GENERATED = 4
"""Tokens to generate after the prompt."""


def _case(ids: str, needs: Sequence[str] = (), weights: dict[str, str] = WEIGHTS, **params: Any) -> Case:
    config = CONFIGS[params["tied"]]
    arrays = {name: key for name, key in weights.items() if not (config.tied and name.startswith("output."))}
    return Case(params, {**arrays, "ids": ids}, ("model:llama", "dtype:float32", *needs))


def _both(ids: str = IDS, needs: Sequence[str] = (), weights: dict[str, str] = WEIGHTS) -> list[Case]:
    return [_case(ids, needs, weights, tied=tied) for tied in (False, True)]


_BLOCK = f"layers.{UNTIED.layers - 1}"
EMBEDDING = ("tok_embeddings",)
SUMS = (f"{_BLOCK}.add", f"{_BLOCK}.add#2")
LINEARS = (
    *(f"{_BLOCK}.attention.{m}" for m in ("wq", "wk", "wv", "wo")),
    *(f"{_BLOCK}.feed_forward.{m}" for m in ("w1", "w3", "w2")),
)
BOUNDED = (
    *LINEARS,
    *(f"{_BLOCK}.{name}" for name in ("attention_norm", "ffn_norm")),
    *(f"{_BLOCK}.attention.{name}" for name in ("rope", "rope#2", "attend")),
    f"{_BLOCK}.feed_forward.gate",
    "norm",
    "output",
)


def _operations(names: Sequence[str]) -> list[Case]:
    return [
        _case(IDS, (f"dtype:{dtype}",), operation=name, dtype=dtype, tied=tied)
        for name, dtype, tied in product(names, FLOATS, (False, True))
        if not tied or name == "output"
    ]


EXACT_CASES = _operations((*EMBEDDING, *SUMS))
BOUNDED_CASES = _operations(BOUNDED)
OFFSET_CASES = [
    _case(IDS, (f"dtype:{dtype}",), operation=f"{_BLOCK}.attention.rope", dtype=dtype, offset=offset, tied=False)
    for dtype, offset in product(FLOATS, (1, 5, 100))
]
LOSS_CASES = [_case(IDS, operation="cross_entropy", dtype="float32", tied=False)]
LOGIT_CASES = _both()
COMPILED_CASES = _both(needs=("compiler:default",))
GREEDY_CASES = [_case(PROMPT, cache=cache, tied=tied) for cache, tied in product((False, True), (False, True))]
CHUNK_CASES = [
    _case(IDS, chunks=chunks, tied=tied)
    for chunks, tied in product(("1,1,1,1,1,1,1,1", "5,1,1,1", "5,3"), (False, True))
]
TREE_CASES = _both()
GRADIENT_CASES = _both(needs=("gradients",))
STEP_CASES = _both(needs=("gradients", "optimizer"))
SAVE_CASES = _both(needs=("persistence",))
CONVERT_CASES = [
    _case(IDS, (f"dtype:{dtype}", "module:save npz"), tied=tied, dtype=dtype)
    for tied, dtype in product((False, True), FLOATS)
]
TINY = 2.0**-20
"""Its square is far below every epsilon, so that a norm of nothing else shows what was added."""
DEFAULT_CASES = [
    Case(
        {"layer": "rms_norm"},
        {"x": add("llama/tiny", Recipe("constant", "float32", (2, 8), {"value": TINY}))},
        ("model:llama", "construction"),
    )
]
_SCHEME = f"scheme:affine{BITS}g{GROUP_SIZE}"
QUANTIZE_CASES = _both(needs=(_SCHEME,))
PACKED_CASES = _both(needs=(_SCHEME,), weights=PACKED)
