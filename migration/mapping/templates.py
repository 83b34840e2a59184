"""Names of tensors with their numbers taken out: what is alike in every layer, and for every expert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from touchstone.migration.parameters import Parameter

Index = tuple[int, ...]
Family = Mapping[Index, Parameter]
"""The tensors that one template names, by their numbers."""

_NUMBER = re.compile(r"(?:(?<=[./])|^)(?:(?P<kind>layers|h|blk|blocks|block|layer)_)?(?P<n>\d+)(?=[./]|$)")
_LETTERS = "neijk"
_CONTAINERS = {
    "h": "layers",
    "blocks": "layers",
    "blk": "layers",
    "layer": "layers",
    "switch_mlp": "experts",
    "switch_glu": "experts",
    "block_sparse_moe": "mlp",
    "moe": "mlp",
    "feed_forward": "mlp",
    "ffn": "mlp",
    "visual": "vision_tower",
    "vision_model": "vision_tower",
}
"""Modules that ecosystems call differently."""
_EXPERTS = {
    "fc1": "up_proj",
    "fc2": "down_proj",
    "w1": "gate_proj",
    "w2": "down_proj",
    "w3": "up_proj",
    "output_linear": "down_proj",
    "v1": "up_proj",
}
_OUTER = ("model", "language_model", "transformer", "gpt_neox", "backbone", "text_model", "params", "module", "bert")
"""Modules around a whole model, which converters add, drop and rename."""
_LEAVES = ("weight", "bias", "scales", "biases", "mean", "var")
_OTHER_LEAVES = {
    **{"kernel": "weight", "scale": "weight", "embedding": "weight"},
    **{"running_mean": "mean", "running_var": "var"},
}
"""Leaves that Flax, or PyTorch, calls otherwise."""


def template(name: str) -> tuple[str, Index]:
    """The name with ``{}`` for each number that is a part of its path, and those numbers; of numbers alone the name.

    >>> template("layers.3.experts.11.up_proj.weight")
    ('layers.{}.experts.{}.up_proj.weight', (3, 11))
    """
    if all(part.isdigit() for part in path_of(name)):
        return name, ()
    numbers = tuple(int(m["n"]) for m in _NUMBER.finditer(name))
    return _NUMBER.sub(lambda m: f"{m['kind']}_{{}}" if m["kind"] else "{}", name), numbers


def filled(text: str, numbers: Iterable[object]) -> str:
    """A template with these numbers, or other words, in their places."""
    for number in numbers:
        text = text.replace("{}", str(number), 1)
    return text


def example(text: str) -> str:
    """A name that a template stands for."""
    return text.replace("{}", "0")


def path_of(name: str) -> list[str]:
    """The parts of a name, whichever way its ecosystem parts them."""
    return re.split(r"[./]", name)


def spelled(text: str) -> str:
    """A template as a person reads it: ``{n}`` for layers, ``{e}`` for experts."""
    return filled(text, (f"\x00{letter}\x01" for letter in _LETTERS)).replace("\x00", "{").replace("\x01", "}")


def families(parameters: Iterable[Parameter]) -> dict[str, dict[Index, Parameter]]:
    """The parameters by template, then by number, in the order in which they come."""
    out: dict[str, dict[Index, Parameter]] = {}
    for parameter in parameters:
        text, index = template(parameter.name)
        out.setdefault(text, {})[index] = parameter
    return out


@cache
def canonical(text: str) -> tuple[str, ...]:
    """The parts of a template that say what it is, as all ecosystems would call them.

    >>> canonical("model.layers.{}.block_sparse_moe.experts.{}.w1.weight")
    ('layers', 'mlp', 'experts', 'gate_proj', 'weight')
    >>> canonical("model.layers.{}.mlp.switch_mlp.gate_proj.weight")
    ('layers', 'mlp', 'experts', 'gate_proj', 'weight')
    """
    parts = [_CONTAINERS.get(p, p) for p in path_of(text) if p != "{}"]
    while len(parts) > 1 and parts[0] in _OUTER:
        parts = parts[1:]
    if "experts" in parts or "mlp" in parts:
        parts = [_EXPERTS.get(p, p) for p in parts]
    parts[-1] = _OTHER_LEAVES.get(parts[-1], parts[-1])
    if parts[-1].endswith("_bias") and parts[-1] not in _LEAVES:
        parts[-1:] = [parts[-1].removesuffix("_bias"), "bias"]
    if parts[-1] not in _LEAVES and "experts" in parts:
        parts.append("weight")
    return tuple(p for i, p in enumerate(parts) if not (p == "mlp" and parts[i - 1 : i] in (["experts"], ["mlp"])))


def kinship(a: str, b: str) -> float:
    """How alike the words are that two templates do not share, from 0 to 1: ``q_conv1d`` and ``q_conv.conv``."""
    words = [{w.rstrip("0123456789") for part in canonical(t) for w in re.split(r"[_.]", part)} for t in (a, b)]
    return len(words[0] & words[1]) / max(1, len(words[0] | words[1]))


def likeness(a: str, b: str) -> float:
    """How much two templates have in common, from 0 to 1: the end counts twice, as it says what a tensor is."""
    left, right = canonical(a), canonical(b)
    last = 0
    while last < min(len(left), len(right)) and left[-1 - last] == right[-1 - last]:
        last += 1
    common = len(set(left) & set(right))
    return (2 * last + common) / (2 * max(len(left), len(right)) + len(set(left) | set(right)))
