"""What a suite may ask of a whole language model, built by an adapter from its framework's own layers."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.adapters.interface import Adapter, Packed, Scheme

Weights = Mapping[str, "np.ndarray | Packed"]
"""Parameters by the model's own names; of a quantized matrix, `Packed` under the name its words have."""


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama. `dims` divides by `heads` into heads of even size; tied: the head is the token table."""

    vocabulary: int
    dims: int
    layers: int
    heads: int
    mlp_dims: int
    tied: bool
    eps: float = 1e-5
    base: float = 10000.0


class LanguageModel(abc.ABC):
    """One model on the target's device. NumPy arrays go in and come out; ids are int32 ``[batch, length]``."""

    native: Any
    """The framework's own module."""

    @abc.abstractmethod
    def forward(self, ids: np.ndarray, cache: Any = None) -> tuple[np.ndarray, Any]:
        """Logits ``[batch, length, vocabulary]`` of ids that follow those in the cache, and the cache with them in it.

        cache: what an earlier call returned, None before the first.
        """

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Logits of whole sequences, each position seeing those before it."""
        return self.forward(ids)[0]

    def chunked(self, ids: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """The same, the sequence given in pieces of these lengths to a key-value cache."""
        cache, start, found = None, 0, []
        for length in lengths:
            out, cache = self.forward(ids[:, start : start + length], cache)
            found.append(out)
            start += length
        return np.concatenate(found, 1)

    def generate(self, prompt: np.ndarray, count: int, *, cache: bool) -> np.ndarray:
        """``prompt [batch, length]`` followed by `count` ids, each the likeliest next one.

        cache: whether one id at a time is given to a key-value cache, or the whole sequence without one each time.
        """
        ids, given, kept = prompt, prompt, None
        for _ in range(count):
            out, kept = self.forward(given, kept)
            following = out[:, -1:].argmax(-1).astype(prompt.dtype)
            ids = np.concatenate([ids, following], 1)
            given, kept = (following, kept) if cache else (ids, None)
        return ids

    @abc.abstractmethod
    def apply(self, operation: str, *inputs: np.ndarray, **settings: Any) -> np.ndarray:
        """One operation on given inputs: the dotted path of a submodule or method of `native`.

        settings: ``offset=p`` for RoPE.
        """

    @abc.abstractmethod
    def parameters(self) -> dict[str, np.ndarray]:
        """Every stored array under the framework's own dotted name; one that is used twice is listed once."""

    @abc.abstractmethod
    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Replace parameters by the framework's own names."""

    @abc.abstractmethod
    def loss_and_gradients(self, ids: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The mean cross-entropy of each id given those before it, and its gradients by parameter name."""

    @abc.abstractmethod
    def sgd_step(self, learning_rate: float) -> None:
        """One step of the framework's own plain SGD with the gradients of the last `loss_and_gradients`."""

    @abc.abstractmethod
    def quantized(self, scheme: Scheme) -> LanguageModel:
        """A copy whose matrices are quantized by the framework's own means, or this project's where it has none."""

    @abc.abstractmethod
    def compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        """`logits` by the framework's own compiler at its cheapest setting."""

    @abc.abstractmethod
    def save(self, path: Path) -> None:
        """Write the parameters in the framework's own format to `path`, whose suffix the framework may set."""

    @abc.abstractmethod
    def load(self, path: Path) -> None:
        """Read back what `save` wrote there."""

    def __str__(self) -> str:
        """The module as the framework prints it."""
        return str(self.native)


def resolve(root: Any, path: str) -> Any:
    """The submodule, list element or method at a dotted path."""
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root


def split_packed(weights: Weights) -> tuple[dict[str, np.ndarray], dict[str, Packed]]:
    """Arrays by name, and packed matrices by the path of their module."""
    arrays = {name: value for name, value in weights.items() if not isinstance(value, Packed)}
    packed = {n.rpartition(".")[0]: value for n, value in weights.items() if isinstance(value, Packed)}
    return arrays, packed


def check_names(given: Collection[str], wanted: Collection[str]) -> None:
    """Raises KeyError, naming them, where parameters are missing or unknown."""
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or unknown:
        raise KeyError(f"missing parameters: {missing or 'none'}; unknown parameters: {unknown or 'none'}")


def pack(adapter: Adapter, weight: np.ndarray, scheme: Scheme) -> Packed:
    """``weight [rows, columns]`` quantized by the adapter."""
    parts = adapter.layer("quantized_linear", weight, scheme=scheme).parameters()
    return Packed(parts["weight"], parts["scales"], parts.get("biases"), scheme)
