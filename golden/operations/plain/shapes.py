"""Operations that change shapes: each element of a result is one of an operand, or a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.samples import EVERY_DTYPE, grid

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
CUBE = grid("3x4x5", (3, 4, 5), dtypes=EVERY_DTYPE)
NOTHING = grid("0x3", (0, 3), dtypes=("float32",))


def _moves(name: str, value: Any, *variants: Mapping[str, Any], calls: Any = (), **more: Any) -> Plain:
    return Plain(name, MLX.format(name), value, (CUBE,), variants, calls, moves=True, **more)


SHAPES: Mapping[str, Plain] = {
    one.name: one
    for one in (
        _moves(
            "roll",
            np.roll,
            {"shift": 2},
            {"shift": -7, "axis": 1},
            {"shift": 13, "axis": -1},
            {"shift": (1, -2), "axis": (0, 2)},
            {"shift": (1, 1), "axis": (1, 1)},
            calls=((NOTHING, {"shift": 1, "axis": 1}),),
            needs_options=True,
        ),
    )
}
