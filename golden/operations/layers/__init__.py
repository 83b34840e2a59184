"""The layers of `mlx.nn`, as functions of their inputs and parameters in MLX's layouts."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.golden.operations.layers.attention import ATTENTION
from touchstone.golden.operations.layers.convolution import CONVOLUTIONS
from touchstone.golden.operations.layers.dense import DENSE
from touchstone.golden.operations.layers.norms import NORMS
from touchstone.golden.operations.layers.pooling import POOLS
from touchstone.golden.operations.layers.positions import POSITIONS
from touchstone.golden.operations.layers.recurrent import RECURRENT
from touchstone.golden.operations.layers.resizing import RESIZING
from touchstone.golden.operations.record import Operation

LAYERS: Mapping[str, Operation] = {
    one.name: one
    for group in (DENSE, CONVOLUTIONS, POOLS, NORMS, RECURRENT, ATTENTION, POSITIONS, RESIZING)
    for one in group
}
