"""How PyTorch spells the initializers of `touchstone.golden.operations`: a function that fills a tensor in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

NAMES: Mapping[str, str] = {
    "constant": "constant_",
    "normal": "normal_",
    "uniform": "uniform_",
    "identity": "eye_",
    "glorot_normal": "xavier_normal_",
    "glorot_uniform": "xavier_uniform_",
    "he_normal": "kaiming_normal_",
    "he_uniform": "kaiming_uniform_",
}
"""Functions of `torch.nn.init`."""
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "normal": ("mean", "std", "generator"),
    "uniform": ("low", "high", "generator"),
    "identity": (),
    "glorot_normal": ("gain", "generator"),
    "glorot_uniform": ("gain", "generator"),
    "he_normal": ("gain", "mode", "generator"),
    "he_uniform": ("gain", "mode", "generator"),
}
DECLARED = frozenset([*OPTIONS, *(f"{name} {option}" for name, found in OPTIONS.items() for option in found)])
"""`Capabilities.initializers`."""
_OTHERWISE = {"value": "val", "low": "a", "high": "b"}


def _given(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by PyTorch's names.

    He's gain follows from the negative slope of a rectifier, a: it is sqrt(2 / (1 + a**2)), and at most sqrt(2)
    (`torch.nn.init.calculate_gain`).
    """
    given = {_OTHERWISE.get(option, option): value for option, value in options.items()}
    if name.startswith("he") and "gain" in given:
        given["a"] = sqrt(2 / given.pop("gain") ** 2 - 1)
    return given


def drawing(adapter: Any, name: str, dtype: str | None, options: Mapping[str, Any]) -> Callable[[Sequence[int]], Any]:
    """What gives weights (out, in, *kernel), as PyTorch stores them, of a new tensor's dtype where none is given."""
    torch, fill = adapter.torch, getattr(adapter.torch.nn.init, NAMES[name])
    given = _given(name, options)

    def draw(shape: Sequence[int]) -> Any:
        tensor = torch.empty(tuple(shape), dtype=adapter.dtypes.get(dtype), device=adapter.device)
        return fill(tensor, **given)

    return draw
