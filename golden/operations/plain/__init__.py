"""Operations of `mlx.core` that round nothing, or once."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.golden.operations.plain.creation import CREATION
from touchstone.golden.operations.plain.elementwise import ELEMENTWISE
from touchstone.golden.operations.plain.indexing import INDEXING
from touchstone.golden.operations.plain.others import OTHERS
from touchstone.golden.operations.plain.products import PRODUCTS
from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.reductions import REDUCTIONS
from touchstone.golden.operations.plain.shapes import SHAPES

PLAIN: Mapping[str, Plain] = {**ELEMENTWISE, **REDUCTIONS, **PRODUCTS, **SHAPES, **INDEXING, **CREATION, **OTHERS}
