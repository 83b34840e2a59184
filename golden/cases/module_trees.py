"""Nested models of small integers, as trees that `touchstone.adapters.interface.Adapter.module_answer` builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from touchstone.golden.streams import DTYPES

Tree = tuple[str, Any]
"""(kind, content): the kinds are those that the interface names."""


def integers(shape: tuple[int, ...], phase: int, dtype: str = "float32") -> np.ndarray:
    """Integers from -2 to 2, none of whose rows and columns are alike."""
    flat = np.arange(int(np.prod(shape)))
    return ((flat * flat + 3 * flat + phase) % 5 - 2).reshape(shape).astype(DTYPES[dtype])


def linear(columns: int, rows: int, phase: int, bias: bool = True, dtype: str = "float32") -> Tree:
    """A linear layer of these sizes in and out."""
    parts = {"weight": integers((rows, columns), phase, dtype)}
    return "linear", parts | ({"bias": integers((rows,), phase + 1, dtype)} if bias else {})


def _nested(phase: int = 0, dtype: str = "float32") -> Tree:
    """Layers in a module, in a list, in a dictionary, in a module within, and in a list within that."""
    block = {"proj": linear(3, 4, phase + 5, dtype=dtype), "rest": ("list", [linear(4, 5, phase + 6, dtype=dtype)])}
    return "module", {
        "layers": ("list", [linear(3, 4, phase + 1, dtype=dtype), linear(4, 3, phase + 2, False, dtype)]),
        "parts": (
            "dictionary",
            {"left": linear(3, 2, phase + 3, dtype=dtype), "right": linear(2, 3, phase + 4, False, dtype)},
        ),
        "block": ("module", block),
        "head": linear(5, 2, phase + 7, dtype=dtype),
    }


def _with_own(phase: int = 0, dtype: str = "float32") -> Tree:
    """Parameters of a module's own, beside layers."""
    inner = {"table": ("parameter", integers((2, 3), phase, dtype)), "proj": linear(3, 2, phase + 1, dtype=dtype)}
    return "module", {"gain": ("parameter", integers((3,), phase + 2, dtype)), "inner": ("module", inner)}


def _mixed(phase: int = 0, dtype: str = "float32") -> Tree:
    """Parameters of several dtypes."""
    held = {f"of_{name}": ("parameter", integers((2, 3), phase, name)) for name in ("int32", "float16", "bfloat16")}
    return "module", {**held, "head": linear(2, 3, phase)}


def _floats(phase: int = 0, dtype: str = "float32") -> Tree:
    """Parameters of several floating dtypes."""
    _, held = _mixed(phase, dtype)
    return "module", {name: value for name, value in held.items() if name != "of_int32"}


_SPECIALS = {
    "float32": ("uint32", (0x80000000, 0x7F800001, 0xFFC01234, 0x7F800000, 0x00000001, 0x807FFFFF, 0x7F7FFFFF)),
    "float16": ("uint16", (0x8000, 0x7C01, 0xFE12, 0x7C00, 0x0001, 0x83FF, 0x7BFF)),
    "bfloat16": ("uint16", (0x8000, 0x7F81, 0xFFC1, 0x7F80, 0x0001, 0x807F, 0x7F7F)),
}
"""Minus zero, two NaN, infinity, two subnormal numbers and the largest number, by their bits."""


def _specials(phase: int = 0, dtype: str = "float32") -> Tree:
    """Values whose bits are lost easily; another phase is their opposite."""
    words, bits = _SPECIALS[dtype]
    high = np.array(1 << (8 * np.dtype(words).itemsize - 1), words)
    values = np.array(bits, words) ^ (high if phase else np.array(0, words))
    return "module", {"held": ("parameters", [values.view(DTYPES[dtype])])}


def _with_arrays(phase: int = 0, dtype: str = "float32") -> Tree:
    """The same with a list of parameters."""
    _, held = _with_own(phase, dtype)
    return "module", {
        **held,
        "tables": ("parameters", [integers((2, 2), phase + 3, dtype), integers((4,), phase, dtype)]),
    }


def _long(phase: int = 0, dtype: str = "float32") -> Tree:
    """A list of more than ten layers, whose names do not sort as their numbers."""
    return "module", {"layers": ("list", [linear(3, 3, phase + n, n % 2 == 0, dtype) for n in range(12)])}


def _lists(phase: int = 0, dtype: str = "float32") -> Tree:
    """A list of lists, and a dictionary of lists."""
    grid = [("list", [linear(2, 3, phase + 2 * n + m, dtype=dtype) for m in range(2)]) for n in range(2)]
    named = {
        "odd": ("list", [linear(3, 2, phase + 5, dtype=dtype)]),
        "even": ("list", [linear(2, 2, phase + 6, dtype=dtype)]),
    }
    return "module", {"grid": ("list", grid), "named": ("dictionary", named)}


def _with_empty(phase: int = 0, dtype: str = "float32") -> Tree:
    """A list, a dictionary and a module that hold nothing."""
    nothing: dict[str, Tree] = {"none": ("list", []), "nobody": ("dictionary", {}), "nothing": ("module", {})}
    return "module", {**nothing, "head": linear(2, 3, phase, dtype=dtype)}


def _shared(phase: int = 0, dtype: str = "float32") -> Tree:
    """One layer in two places."""
    return "module", {
        "first": linear(3, 3, phase, dtype=dtype),
        "again": ("shared", "first"),
        "head": linear(3, 2, phase + 1, dtype=dtype),
    }


def _keyed(*keys: str) -> Any:
    def made(phase: int = 0, dtype: str = "float32") -> Tree:
        layers = {key: linear(2, 3, phase + place, dtype=dtype) for place, key in enumerate(keys)}
        return "module", {"parts": ("dictionary", layers)}

    return made


def _norms(phase: int = 0, dtype: str = "float32") -> Tree:
    """Layers that know whether they are trained: in the module, in a list, and in a module within a dictionary."""
    inner = {"drop": ("dropout", 0.5), "norm": ("batch_norm", 3), "proj": linear(3, 3, phase)}
    return "module", {
        "drop": ("dropout", 0.5),
        "layers": ("list", [("dropout", 0.5), ("batch_norm", 3)]),
        "parts": ("dictionary", {"inner": ("module", inner)}),
    }


def _norm(phase: int = 0, dtype: str = "float32") -> Tree:
    """One layer and no model around it."""
    return "batch_norm", 3


MLP_SIZES = ((2, 128), (128, 128), (128, 10))
"""Inputs and outputs of the layers of the documentation's example."""


def _mlp(phase: int = 0, dtype: str = "float32") -> Tree:
    """Its biases are no multiples of what the products are, so that no sum is zero, where a maximum has no slope."""
    layers = []
    for number, (columns, rows) in enumerate(MLP_SIZES):
        kind, held = linear(columns, rows, phase + number, dtype=dtype)
        layers.append((kind, {**held, "bias": held["bias"] + np.asarray(0.5 ** (number + 1), DTYPES[dtype])}))
    return "module", {"layers": ("list", layers)}


def _projections(phase: int = 0, dtype: str = "float32") -> Tree:
    """Two layers of the same sizes."""
    return "module", {"proj": linear(3, 3, phase, False, dtype), "head": linear(3, 3, phase + 1, False, dtype)}


def _hidden(phase: int = 0, dtype: str = "float32") -> Tree:
    """Members whose name begins with an underscore."""
    return "module", {
        "_array": ("parameter", integers((2, 3), phase, dtype)),
        "_layer": linear(2, 2, phase + 1, dtype=dtype),
        "head": linear(2, 3, phase + 2, dtype=dtype),
    }


def _plain(kind: str) -> Any:
    def made(phase: int = 0, dtype: str = "float32") -> Tree:
        inner = [linear(2, 3, phase, dtype=dtype), linear(3, 2, phase + 1, dtype=dtype)]
        held = {"a": inner[0], "b": inner[1]} if kind == "dictionary" else inner
        return "module", {"held": (f"plain {kind}", held), "head": linear(2, 2, phase + 2, dtype=dtype)}

    return made


def _reserved(name: str) -> Any:
    """A parameter called as a method that modules have."""
    return lambda phase=0, dtype="float32": ("module", {name: ("parameter", integers((2, 3), phase, dtype))})


RESERVED = ("values", "update", "train", "half")
MODELS = {
    "nested": _nested,
    "own arrays": _with_own,
    "arrays": _with_arrays,
    "mixed dtypes": _mixed,
    "mixed floats": _floats,
    "specials": _specials,
    "long list": _long,
    "lists of lists": _lists,
    "empty": _with_empty,
    "shared": _shared,
    "norms": _norms,
    "norm alone": _norm,
    "MLP": _mlp,
    "digits as keys": _keyed("0", "1"),
    "dots in keys": _keyed("a.b", "a.c"),
    "spaces in keys": _keyed("a b", "c/d"),
    "projections": _projections,
    "hidden": _hidden,
    **{f"called {name}": _reserved(name) for name in RESERVED},
    **{f"plain {kind}": _plain(kind) for kind in ("list", "tuple", "dictionary")},
}
"""Name of a model -> what makes its tree, of (phase, dtype); another phase is another model of the same form."""


def arrays(node: Tree, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of a tree by its path; none of a shared layer's second place."""
    kind, content = node
    if kind == "parameter":
        yield path, content
    elif kind == "parameters":
        yield from ((f"{path}.{number}", value) for number, value in enumerate(content))
    elif kind == "linear":
        yield from ((f"{path}.{name}", value) for name, value in content.items())
    for name, inner in inside(node):
        yield from arrays(inner, f"{path}.{name}" if path else name)


def inside(node: Tree) -> Iterator[tuple[str, Tree]]:
    """What a module, a list or a dictionary holds, by name."""
    kind, content = node
    if kind in ("module", "dictionary", "plain dictionary"):
        yield from content.items()
    elif kind in ("list", "plain list", "plain tuple"):
        yield from ((str(number), inner) for number, inner in enumerate(content))


def layers(node: Tree, path: str = "") -> Iterator[str]:
    """The path of every layer of a tree."""
    if node[0] in ("linear", "dropout", "batch_norm"):
        yield path
    for name, inner in inside(node):
        yield from layers(inner, f"{path}.{name}" if path else name)


def containers(node: Tree, path: str = "") -> Iterator[str]:
    """The path of every list and dictionary of a tree."""
    if node[0] in ("list", "dictionary", "parameters"):
        yield path
    for name, inner in inside(node):
        yield from containers(inner, f"{path}.{name}" if path else name)


def moded(node: Tree) -> list[str]:
    """The path of every layer that behaves otherwise while it is trained."""
    return [path for path in layers(node) if path.split(".")[-1] != "proj"]


def modules(node: Tree, path: str = "") -> Iterator[str]:
    """The path of every module and layer of a tree, lists and dictionaries left out; "" for the whole."""
    if node[0] in ("module", "linear", "dropout", "batch_norm"):
        yield path
    for name, inner in inside(node):
        yield from modules(inner, f"{path}.{name}" if path else name)


MISFITS = (
    *(
        "a layer missing",
        "a bias missing",
        "a layer of a list missing",
        "a name too many",
        "a layer of a list too many",
    ),
    *("another shape", "another shape in a list", "a transposed weight"),
)


def misfit(values: Mapping[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    """The parameters of the nested model as a file has them that does not fit it."""
    absent = {"a layer missing": "block.proj.", "a bias missing": "head.bias", "a layer of a list missing": "layers.1."}
    out = {name: value for name, value in values.items() if not name.startswith(absent.get(what, "-"))}
    changed = {
        "a name too many": ("head.gain", integers((2,), 0)),
        "a layer of a list too many": ("layers.2.weight", integers((3, 3), 0)),
        "another shape": ("block.proj.weight", integers((7, 3), 0)),
        "another shape in a list": ("layers.0.weight", integers((4, 5), 0)),
        "a transposed weight": ("parts.left.weight", integers((3, 2), 0)),
    }
    return out | dict([changed[what]] if what in changed else [])
