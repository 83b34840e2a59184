"""Probes that ask again: repeated calls of one layer and of new ones, and calls after memory was filled with NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from touchstone.adapters.interface import Adapter, Packed
from touchstone.suites import probes

COPIES = 3
"""Blocks of each size that are filled: an allocator that keeps freed blocks hands them out again."""
SMALLEST = 256


def sizes_of(*values: Any) -> list[int]:
    """Bytes of every array among the values and the parts of packed ones."""
    arrays = [a for v in values for a in ((v.weight, v.scales, v.biases) if isinstance(v, Packed) else (v,))]
    return sorted({max(SMALLEST, array.nbytes) for array in arrays if array is not None})


def dirty(adapter: Adapter, sizes: Sequence[int]) -> None:
    """Place blocks of these many bytes, every float32 in them NaN, and give them back to the framework's allocator."""
    held = [
        adapter.layer("raw_lookup", np.full((max(1, size // 4), 1), np.nan, np.float32))
        for size in sizes
        for _ in range(COPIES)
    ]
    for layer in held:
        layer.parameters()
    held.clear()


def after_dirt(
    adapter: Adapter, sizes: Sequence[int], question: Callable[..., Any], arguments: Mapping[str, Any]
) -> np.ndarray:
    """The answer to another probe once freed blocks of these sizes hold NaN."""
    dirty(adapter, sizes)
    return question(adapter, **arguments)


def repeated(
    adapter: Adapter, times: int, layer: str, weight: Any, inputs: np.ndarray, bias: np.ndarray | None = None
) -> list[np.ndarray]:
    """The answers of one layer and of as many new ones, each after freed memory was filled with NaN."""
    kept, answers = adapter.layer(layer, weight, bias=bias), []
    for _ in range(times // 2):
        answers.append(kept(inputs))
        dirty(adapter, sizes_of(weight, inputs, answers[0]))
        answers.append(adapter.layer(layer, weight, bias=bias)(inputs))
    return answers


def repeated_vjp(
    adapter: Adapter, times: int, layer: str, weight: Any, inputs: np.ndarray, cotangent: np.ndarray
) -> list[dict[str, np.ndarray]]:
    """The same of gradients, by role."""
    kept, answers = adapter.layer(layer, weight), []
    for _ in range(times // 2):
        answers.append(probes.by_role(kept, kept.vjp(inputs, cotangent)))
        dirty(adapter, sizes_of(weight, inputs, cotangent))
        answers.append(probes.vjp(adapter, layer, weight, inputs, cotangent))
    return answers
