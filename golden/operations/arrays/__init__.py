"""Operations of `mlx.core` that round."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.golden.operations.arrays.elementwise import ELEMENTWISE
from touchstone.golden.operations.arrays.reductions import REDUCTIONS
from touchstone.golden.operations.record import Operation

ARRAYS: Mapping[str, Operation] = {**ELEMENTWISE, **REDUCTIONS}
