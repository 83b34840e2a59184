"""How a Llama's weights and modules are called: by Meta, by the MLX documentation's example, and in a Flax tree.

A convention maps Meta's path of a module, ``{n}`` standing for the layer, to its own, to what it calls the weight, and
to whether it stores the transpose. Modules without weights have no name of one. Which is which, in Meta's words:
w1 is the gate of SwiGLU, w3 is multiplied with it, w2 leads back; wo is attention's output.

    meta = torch.load("llama.pt", weights_only=True)
    flax = convert({name: value.numpy() for name, value in meta.items()}, "flax")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from touchstone.adapters.interface import Packed


@dataclass(frozen=True)
class Place:
    """Where a module lives, what its weight is called there ("" where it has none), and whether that is transposed."""

    path: str
    weight: str = "weight"
    transposed: bool = False


_ATTENTION, _FEED_FORWARD = "layers.{n}.attention", "layers.{n}.feed_forward"
_MODULES = (
    "tok_embeddings",
    "layers.{n}.attention_norm",
    *(f"{_ATTENTION}.{name}" for name in ("wq", "wk", "wv", "wo")),
    "layers.{n}.ffn_norm",
    *(f"{_FEED_FORWARD}.{name}" for name in ("w1", "w2", "w3")),
    "norm",
    "output",
)
_WEIGHTLESS = (
    *(f"{_ATTENTION}.rope", f"{_ATTENTION}.attend", f"{_FEED_FORWARD}.gate", "layers.{n}.add", "cross_entropy"),
    *("layers.{n}", _ATTENTION, _FEED_FORWARD),
)

META = {name: Place(name) for name in _MODULES} | {name: Place(name, "") for name in _WEIGHTLESS}
MLX = {
    **{name: place for name, place in META.items() if not place.weight and name != _FEED_FORWARD},
    "tok_embeddings": Place("embedding"),
    "layers.{n}.attention_norm": Place("layers.{n}.norm1"),
    f"{_ATTENTION}.wq": Place(f"{_ATTENTION}.query_proj"),
    f"{_ATTENTION}.wk": Place(f"{_ATTENTION}.key_proj"),
    f"{_ATTENTION}.wv": Place(f"{_ATTENTION}.value_proj"),
    f"{_ATTENTION}.wo": Place(f"{_ATTENTION}.out_proj"),
    "layers.{n}.ffn_norm": Place("layers.{n}.norm2"),
    f"{_FEED_FORWARD}.w1": Place("layers.{n}.linear1"),
    f"{_FEED_FORWARD}.w3": Place("layers.{n}.linear2"),
    f"{_FEED_FORWARD}.w2": Place("layers.{n}.linear3"),
    f"{_FEED_FORWARD}.gate": Place("layers.{n}.gate", ""),
    "norm": Place("norm"),
    "output": Place("out_proj"),
}
FLAX = {
    **{name: place for name, place in META.items() if not place.weight},
    "tok_embeddings": Place("embed", "embedding"),
    "layers.{n}.attention_norm": Place("layers.{n}.attention_norm", "scale"),
    f"{_ATTENTION}.wq": Place(f"{_ATTENTION}.query", "kernel", transposed=True),
    f"{_ATTENTION}.wk": Place(f"{_ATTENTION}.key", "kernel", transposed=True),
    f"{_ATTENTION}.wv": Place(f"{_ATTENTION}.value", "kernel", transposed=True),
    f"{_ATTENTION}.wo": Place(f"{_ATTENTION}.out", "kernel", transposed=True),
    "layers.{n}.ffn_norm": Place("layers.{n}.mlp_norm", "scale"),
    f"{_FEED_FORWARD}.w1": Place("layers.{n}.mlp.gate_proj", "kernel", transposed=True),
    f"{_FEED_FORWARD}.w3": Place("layers.{n}.mlp.up_proj", "kernel", transposed=True),
    f"{_FEED_FORWARD}.w2": Place("layers.{n}.mlp.down_proj", "kernel", transposed=True),
    f"{_FEED_FORWARD}.gate": Place("layers.{n}.mlp.gate", ""),
    _FEED_FORWARD: Place("layers.{n}.mlp", ""),
    "norm": Place("norm", "scale"),
    "output": Place("head", "kernel", transposed=True),
}
CONVENTIONS: Mapping[str, Mapping[str, Place]] = {"meta": META, "mlx": MLX, "flax": FLAX}
TIED_HEADS = {"meta": "output", "mlx": "embedding.as_linear", "flax": "embed.attend"}
"""What computes the logits where the head is the token table."""
PARTS = ("weight", "scales", "biases")
"""What a quantized matrix consists of, under the same three names in every convention, none transposed."""


def place(module: str, convention: str) -> Place:
    """Meta's path of a module, such as ``layers.3.attention.wq``, in another convention.

    A use after the first, spelled ``#2``, keeps its ending. KeyError for a path that Meta's Llama does not have, or an
    unknown convention.
    """
    path, mark, use = module.partition("#")
    parts = path.split(".")
    layer = parts[1] if parts[0] == "layers" and len(parts) > 1 and parts[1].isdigit() else ""
    if layer:
        parts[1] = "{n}"
    found = CONVENTIONS[convention].get(".".join(parts))
    if found is None:
        raise KeyError(f"{module!r} is no module of Meta's Llama, or has no place in {convention!r}")
    return Place(found.path.replace("{n}", layer) + mark + use, found.weight, found.transposed)


def operation(module: str, convention: str, *, tied: bool) -> str:
    """The path by which the convention's model carries out Meta's operation."""
    return TIED_HEADS[convention] if tied and module == "output" else place(module, convention).path


def between(source: str, target: str, layers: int, *, tied: bool = False) -> dict[str, str]:
    """Paths of operations in one convention -> in another, as `touchstone.migration.trace.compare` takes them."""
    paths = {p.replace("{n}", str(n)) for p in META for n in range(layers)}
    out = {}
    for path in paths:
        both = [operation(path, name, tied=tied) for name in (source, target) if _has(path, name)]
        if len(both) == 2:
            out[both[0]] = both[1]
    return out


def _has(path: str, convention: str) -> bool:
    try:
        place(path, convention)
    except KeyError:
        return False
    return True


Value = TypeVar("Value", np.ndarray, Packed, "np.ndarray | Packed")


def convert(weights: Mapping[str, Value], convention: str) -> dict[str, Value]:
    """Weights by Meta's names ``PATH.weight`` as the convention names and stores them.

    Parts of quantized matrices, or `Packed` ones under the name of their words, keep their layout. KeyError for a name
    that Meta's Llama does not have.
    """
    packed = {name.removesuffix(".scales") for name in weights if name.endswith(".scales")}
    out = {}
    for name, value in weights.items():
        path, _, part = name.rpartition(".")
        if part not in PARTS:
            raise KeyError(f"{name!r} is no weight of Meta's Llama")
        found = place(path, convention)
        if path in packed or isinstance(value, Packed):
            out[f"{found.path}.{part}"] = value
        else:
            out[f"{found.path}.{found.weight}"] = np.ascontiguousarray(value.T) if found.transposed else value
    return out


def restore(values: Mapping[str, np.ndarray], convention: str) -> dict[str, np.ndarray]:
    """The inverse of `convert`: a convention's parameters by Meta's names and in Meta's layout."""
    names = {}
    for path, found in _every(values, convention):
        names[f"{found.path}.{found.weight}"] = (f"{path}.weight", found.transposed)
        names |= {f"{found.path}.{part}": (f"{path}.{part}", False) for part in PARTS if found.weight != part}
    out = {}
    for name, value in values.items():
        if name not in names:
            raise KeyError(f"{name!r} is no parameter of a Llama as {convention!r} names it")
        meta, transposed = names[name]
        out[meta] = np.ascontiguousarray(value.T) if transposed else value
    return out


def _every(values: Iterable[str], convention: str) -> list[tuple[str, Place]]:
    """Meta's path and the convention's place of every module with a weight, for every layer that is there."""
    layers = sorted({int(name.split(".")[1]) for name in values if name.startswith("layers.")})
    paths = [p.replace("{n}", str(n)) for p in _MODULES for n in (layers if "{n}" in p else [0])]
    return [(path, place(path, convention)) for path in paths]
