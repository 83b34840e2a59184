"""What PyTorch's layers hold after a step of SGD, and do in training and in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters import kept
from touchstone.adapters.torch.operations import OPERATIONS

if TYPE_CHECKING:
    from touchstone.adapters.torch.adapter import TorchAdapter


def _arrays(adapter: TorchAdapter, module: Any) -> dict[str, np.ndarray]:
    """Copies: on the CPU what is fetched shares its memory with the parameter."""
    return {name: np.array(adapter.fetch(value)) for name, value in module.state_dict().items()}


def step(
    adapter: TorchAdapter, name: str, operands: Sequence[np.ndarray], cotangent: np.ndarray, rate: float
) -> kept.Parted:
    """Parameters after one step, in the places of the operands that they were."""
    function, placed = OPERATIONS[name].function(), [*map(adapter.place, operands)]
    module = kept.made(function, *placed)
    kept.run(function, module, *placed).backward(adapter.place(cotangent))
    adapter.torch.optim.SGD(module.parameters(), lr=rate).step()
    places = kept.made(function, *map(adapter.place, kept.numbered(operands)))
    return kept.by_operand(operands, _arrays(adapter, places), _arrays(adapter, module))


def modes(adapter: TorchAdapter, name: str, operands: Sequence[np.ndarray], **options: Any) -> list[dict[str, Any]]:
    """What the layer holds and gives in evaluation, in training, and in evaluation again."""
    function, placed = OPERATIONS[name].function(**options), [*map(adapter.place, operands)]
    module = kept.made(function, *placed)

    def call() -> np.ndarray:
        """Without gradients in evaluation, where PyTorch has other kernels for its Transformer."""
        with adapter.torch.set_grad_enabled(module.training):
            return np.array(adapter.fetch(kept.run(function, module, *placed)))

    with adapter.torch.random.fork_rng():
        adapter.torch.manual_seed(7)
        return kept.in_modes(module, call, lambda: _arrays(adapter, module))


def parameters(adapter: TorchAdapter, name: str, operands: Sequence[np.ndarray]) -> list[str]:
    """Names of what the layer trains."""
    module = kept.made(OPERATIONS[name].function(), *map(adapter.place, operands))
    return [path for path, value in module.named_parameters() if value.requires_grad]
