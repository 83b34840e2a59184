"""What MLX's layers hold after a step of SGD, and do in training and in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters import kept
from touchstone.adapters.mlx.operations import OPERATIONS

if TYPE_CHECKING:
    from touchstone.adapters.mlx.adapter import MLXAdapter


def _arrays(adapter: MLXAdapter, module: Any) -> dict[str, np.ndarray]:
    return {name: adapter.fetch(value) for name, value in adapter.tree_flatten(module.parameters())}


def step(
    adapter: MLXAdapter, name: str, operands: Sequence[np.ndarray], cotangent: np.ndarray, rate: float
) -> kept.Parted:
    """Parameters after one step, in the places of the operands that they were."""
    function, placed, seed = OPERATIONS[name].function(), [*map(adapter.place, operands)], adapter.place(cotangent)
    module = kept.made(function, *placed)
    loss = adapter.nn.value_and_grad(module, lambda: (kept.run(function, module, *placed) * seed).sum())
    adapter.optimizers.SGD(rate).update(module, loss()[1])
    places = kept.made(function, *map(adapter.place, kept.numbered(operands)))
    return kept.by_operand(operands, _arrays(adapter, places), _arrays(adapter, module))


def modes(adapter: MLXAdapter, name: str, operands: Sequence[np.ndarray], **options: Any) -> list[dict[str, Any]]:
    """What the layer holds and gives in evaluation, in training, and in evaluation again."""
    function, placed = OPERATIONS[name].function(**options), [*map(adapter.place, operands)]
    module = kept.made(function, *placed)
    adapter.mx.random.seed(7)
    return kept.in_modes(
        module, lambda: adapter.fetch(kept.run(function, module, *placed)), lambda: _arrays(adapter, module)
    )


def parameters(adapter: MLXAdapter, name: str, operands: Sequence[np.ndarray]) -> list[str]:
    """Names of what the layer trains."""
    module = kept.made(OPERATIONS[name].function(), *map(adapter.place, operands))
    return [path for path, _ in adapter.tree_flatten(module.trainable_parameters())]
