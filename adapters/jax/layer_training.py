"""What Flax's layers hold after a step of SGD, and do in training and in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from touchstone.adapters import kept
from touchstone.adapters.jax.operations import OPERATIONS

if TYPE_CHECKING:
    from touchstone.adapters.jax.adapter import JaxAdapter


_STATISTICS = {"mean": "running_mean", "var": "running_var"}


def _state(module: Any) -> dict[str, Any]:
    """Arrays by path; keys of random numbers as their words."""
    import jax
    from flax import nnx
    from flax.traverse_util import flatten_dict

    def words(value: Any) -> Any:
        return jax.random.key_data(value) if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key) else value

    flat = {
        ".".join(map(str, path)): value for path, value in flatten_dict(nnx.to_pure_dict(nnx.state(module))).items()
    }
    return {_STATISTICS.get(path, path): words(value) for path, value in flat.items()}


@cache
def _compiled_step(name: str, rate: float) -> Callable[..., Any]:
    """(cotangent, operands, numbered operands) -> the parameters after a step, and the numbers in their places."""
    import jax
    import optax
    from flax import nnx

    from touchstone.adapters.jax import releases

    function = OPERATIONS[name].function()

    def step(cotangent: Any, operands: Sequence[Any], numbers: Sequence[Any]) -> Any:
        module = kept.made(function, *operands)
        optimizer = nnx.Optimizer(module, optax.sgd(rate), wrt=nnx.Param)
        found = nnx.grad(lambda module: (kept.run(function, module, *operands) * cotangent).sum())(module)
        releases.update(optimizer, module, found)
        return _state(module), _state(kept.made(function, *numbers))

    return jax.jit(step)


def step(
    adapter: JaxAdapter, name: str, operands: Sequence[np.ndarray], cotangent: np.ndarray, rate: float
) -> kept.Parted:
    """Parameters after one step, in the places of the operands that they were."""
    numbers = [*map(adapter.place, kept.numbered(operands))]
    held = _compiled_step(name, rate)(adapter.place(cotangent), [*map(adapter.place, operands)], numbers)
    values, places = ({path: adapter.fetch(value) for path, value in one.items()} for one in held)
    return kept.by_operand(operands, places, values)


def modes(adapter: JaxAdapter, name: str, operands: Sequence[np.ndarray], **options: Any) -> list[dict[str, Any]]:
    """What the layer holds and gives in evaluation, in training, and in evaluation again."""
    function, placed = OPERATIONS[name].function(**options), [*map(adapter.place, operands)]
    module = kept.made(function, *placed)
    call = adapter.nnx.jit(lambda module: kept.run(function, module, *placed))
    return kept.in_modes(
        module,
        lambda: adapter.fetch(call(module)),
        lambda: {path: np.array(adapter.fetch(value)) for path, value in _state(module).items()},
    )


def parameters(adapter: JaxAdapter, name: str, operands: Sequence[np.ndarray]) -> list[str]:
    """Names of what the layer trains."""
    nnx = adapter.nnx
    module = kept.made(OPERATIONS[name].function(), *map(adapter.place, operands))
    return [".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(module, nnx.Param))]
