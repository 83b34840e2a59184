"""In which order frameworks store the axes of a layer's arrays: what adapters and the checker of checkpoints go by.

>>> permutation("convolution", "mlx", "torch", 4)
(0, 3, 1, 2)
"""

from __future__ import annotations

from collections.abc import Mapping

AXES: Mapping[str, Mapping[str, str]] = {
    "data": {"mlx": "batch space channels", "torch": "batch channels space", "flax": "batch space channels"},
    "convolution": {"mlx": "out space in", "torch": "out in space", "flax": "space in out"},
    "transposed convolution": {"mlx": "out space in", "torch": "in out space", "flax": "space in out"},
}
"""Array -> framework -> its axes in order; space is as many as the kernel has. Flax's kernel of a transposed
convolution is also reversed along each axis of space (`flax.nnx.ConvTranspose`, transpose_kernel=False)."""


def permutation(array: str, source: str, target: str, count: int) -> tuple[int, ...]:
    """Axis i of the target's array is that axis of the source's; count: how many axes the array has.

    >>> permutation("transposed convolution", "torch", "mlx", 3)
    (1, 2, 0)
    """
    places: dict[str, tuple[int, ...]] = {}
    at = 0
    for axis in AXES[array][source].split():
        size = count - 2 if axis == "space" else 1
        places[axis] = tuple(range(at, at + size))
        at += size
    return tuple(place for axis in AXES[array][target].split() for place in places[axis])
