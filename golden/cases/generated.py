"""What generated cases are drawn for: one entry per requirement, layer and dtype; operands, ids and schemes are drawn.

A dtype and a layer are never drawn, so that known deviations and the report can name them.
"""

from __future__ import annotations

from itertools import product

from touchstone.golden.cases.lookup import DENSE_LAYERS, FLOATS
from touchstone.golden.cases.quantized import LAYERS as QUANTIZED_LAYERS
from touchstone.golden.catalogue import Case

MARK = "fuzz"
_SCHEME = "scheme:affine4g32"
"""Whoever has one of MLX's schemes has this one."""


def _case(layer: str, dtype: str, *needs: str, named: bool = True) -> Case:
    params = {"layer": layer, "dtype": dtype} if named else {"dtype": dtype}
    return Case({**params, "operands": "generated"}, {}, (f"layer:{layer}", f"dtype:{dtype}", *needs), marks=(MARK,))


LOOKUP_CASES = [_case(layer, dtype) for layer, dtype in product(DENSE_LAYERS, FLOATS)]
CHECKED_CASES = [_case("embedding", "float32", "id_dtype:int64")]
LINEAR_CASES = [_case("linear", dtype, named=False) for dtype in FLOATS]
TIED_CASES = [_case("embedding", dtype, named=False) for dtype in FLOATS]
CAST_CASES = [
    _case(layer, dtype, *(f"dtype:{other}" for other in FLOATS))
    for layer, dtype in product(("embedding", "linear"), FLOATS)
]
TABLE_GRADIENT_CASES = [_case(layer, dtype, "gradients") for layer, dtype in product(DENSE_LAYERS, FLOATS)]
LINEAR_GRADIENT_CASES = [_case("linear", dtype, "gradients", named=False) for dtype in FLOATS]
QUANTIZE_CASES = [_case("quantized_embedding", dtype, _SCHEME, named=False) for dtype in FLOATS]
QUANTIZED_PRODUCT_CASES = [_case(layer, dtype, _SCHEME) for layer, dtype in product(QUANTIZED_LAYERS, FLOATS)]
QUANTIZED_GRADIENT_CASES = [
    _case(layer, dtype, _SCHEME, "gradients") for layer, dtype in product(QUANTIZED_LAYERS, FLOATS)
]
