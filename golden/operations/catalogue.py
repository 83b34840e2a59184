"""Every operation by its name."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.golden.operations.arrays import ARRAYS
from touchstone.golden.operations.functions import FUNCTIONS
from touchstone.golden.operations.layers import LAYERS
from touchstone.golden.operations.losses import LOSSES
from touchstone.golden.operations.record import Operation

OPERATIONS: Mapping[str, Operation] = {**FUNCTIONS, **LOSSES, **LAYERS, **ARRAYS}
