"""Faults of converters, planted in the tensors of a converted model: in the first layer that has some, or in all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Arrays = Mapping[str, np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    tensors: whose names match; change: what becomes of each; twin: (part of the name, another's) of
    tensors that change places; names: behaviours, one of which the check must give to every tensor that differs.
    """

    name: str
    tensors: str
    names: tuple[str, ...]
    change: Change | None = None
    twin: tuple[str, str] = ("", "")

    def planted(self, arrays: Arrays, *, everywhere: bool) -> dict[str, np.ndarray]:
        """The arrays with the fault; as they were where the model has nothing that it could be planted in.

        Codes and scales of a packed tensor go together; what turns a matrix is not planted in codes.
        """
        found = [n for n in arrays if re.search(self.tensors, n)]
        out = dict(arrays)
        for name in found if everywhere else found[:1]:
            parts = [p for p in _parts(name) if p in arrays]
            if len(parts) > 1 and self.change is _turned:
                continue
            for part in parts:
                if self.change:
                    out[part] = np.ascontiguousarray(self.change(arrays[part]))
                    continue
                other = part.replace(*self.twin)
                if other in arrays and arrays[other].shape == arrays[part].shape:
                    out[part], out[other] = arrays[other], arrays[part]
        return out


def _parts(name: str) -> list[str]:
    """Names of what may hold one matrix."""
    stem = name.removesuffix(".weight")
    return [name] if stem == name else [f"{stem}.{part}" for part in ("weight", "scales", "biases")]


def touched(before: Arrays, after: Arrays) -> Iterator[str]:
    """Names of tensors that differ."""
    for name, t in before.items():
        if name not in after or after[name].shape != t.shape or after[name].tobytes() != t.tobytes():
            yield name


def _first_two(a: np.ndarray) -> np.ndarray:
    return a[[1, 0, *range(2, len(a))]]


def _first_twice(a: np.ndarray) -> np.ndarray:
    return a[[*range(len(a) - 1), 0]]


def _turned(a: np.ndarray) -> np.ndarray:
    return a.swapaxes(-1, -2).reshape(a.shape)


def _trained_on(a: np.ndarray) -> np.ndarray:
    return a + (0.2 * a.std() * np.random.default_rng(0).standard_normal(a.shape)).astype(a.dtype)


def _blocks(count: int) -> Change:
    def change(a: np.ndarray) -> np.ndarray:
        return _first_two(a.reshape(count, -1, *a.shape[1:])).reshape(a.shape)

    return change


def _channels_first(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(a, -1, 1).reshape(a.shape)


PROJECTORS = r"(multi_modal_projector|merger|connector)\."
EXPERTS = r"\.(switch_mlp|experts)\.(gate|up|down)_proj\.weight$"
CONVOLUTIONS = r"conv.*\.weight$"
NORMS = r"layers\.\d+\.input_layernorm\.weight$"
FAULTS = (
    Fault("experts 0 and 1 exchanged", EXPERTS, ("experts exchanged",), _first_two),
    Fault("order of experts reversed", EXPERTS, ("experts reversed",), lambda a: a[::-1]),
    Fault("expert written twice", EXPERTS, ("experts duplicated",), _first_twice),
    Fault("expert lost", EXPERTS, ("expert lost", "tensor truncated", "missing"), lambda a: a[:-1]),
    Fault("experts turned twice", EXPERTS, ("axes in another order", "memory order"), _turned),
    Fault("gate and up exchanged", r"gate_proj\.weight$", ("gate and up exchanged",), twin=("gate_proj", "up_proj")),
    Fault("q and o exchanged", r"q_proj\.weight$", ("swapped",), twin=("q_proj", "o_proj")),
    Fault("query and key exchanged", r"query\.weight$", ("swapped",), twin=("query", "key")),
    Fault("heads of q exchanged", r"q_proj\.weight$", ("heads exchanged",), _blocks(4)),
    Fault(
        "q and k exchanged in a fused matrix",
        r"(qkv_proj|query_key_value|c_attn)\.weight$",
        ("q and k exchanged", "heads exchanged", "blocks exchanged"),
        _blocks(3),
    ),
    Fault("taps reversed", CONVOLUTIONS, ("taps reversed", "columns reversed"), lambda a: a[:, ::-1]),
    Fault("channels exchanged", CONVOLUTIONS, ("output channels exchanged", "rows swapped"), _first_two),
    Fault("heads of latent attention reversed", r"embed_q\.weight$", ("heads reversed",), lambda a: a[::-1]),
    Fault("latent attention turned twice", r"embed_q\.weight$", ("axes in another order", "memory order"), _turned),
    Fault("one less in norms", NORMS, ("1 forgotten", "offset"), lambda a: (a - 1).astype(a.dtype)),
    Fault("one more in norms", NORMS, ("1 added twice", "offset"), lambda a: (a + 1).astype(a.dtype)),
    Fault("rows of the router exchanged", r"\.(gate|router)(\.layer)?\.weight$", ("rows swapped",), _first_two),
    Fault(
        "tower of another training step",
        r"(vision_tower|vision_model)\..*(fc1|linear_fc1)\.weight$",
        ("stale",),
        _trained_on,
    ),
    Fault("projector of another training step", f"{PROJECTORS}.*\\.weight$", ("stale",), _trained_on),
    Fault(
        "kernel of patches turned twice",
        r"patch_embed\w*(\.proj)?\.weight$",
        ("axes in another order", "memory order", "input channels"),
        _channels_first,
    ),
    Fault(
        "table of another training step",
        r"(embed_tokens|word_embeddings|tok_embeddings)\.weight$",
        ("stale",),
        _trained_on,
    ),
    Fault(
        "table at half its size",
        r"(embed_tokens|word_embeddings|tok_embeddings)\.weight$",
        ("scaled",),
        lambda a: (a / 2).astype(a.dtype),
    ),
)
