"""Operations that are neither of elements nor of shapes: kinds of dtypes, orders of contraction, quantized products."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from touchstone.golden.operations.plain.creation import NO_OPERAND
from touchstone.golden.operations.plain.products import small
from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.samples import ALL
from touchstone.golden.operations.samples import Argument, Sample

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
KINDS: Mapping[str, tuple[str, ...]] = {
    "signedinteger": ("int8", "int16", "int32", "int64"),
    "unsignedinteger": ("uint8", "uint16", "uint32", "uint64"),
    "floating": ("float32", "float16", "bfloat16"),
    "complexfloating": ("complex64",),
}
"""Category of `mlx.core.DtypeCategory` -> the dtypes in it that have no category below."""
ABOVE: Mapping[str, tuple[str, ...]] = {
    "integer": ("signedinteger", "unsignedinteger"),
    "inexact": ("floating", "complexfloating"),
    "number": ("signedinteger", "unsignedinteger", "floating", "complexfloating"),
    "generic": ("signedinteger", "unsignedinteger", "floating", "complexfloating"),
}
_ASKED = ("int8", "int64", "uint8", "uint32", "float32", "bfloat16", "complex64", "bool")


def is_of(dtype: str, category: str) -> bool:
    """Whether a dtype is of a category: bool is generic alone."""
    below = ABOVE.get(category, (category,))
    return category == "generic" or any(dtype in KINDS[one] for one in below)


def _contracted(count: int, steps: np.ndarray) -> np.ndarray:
    """How many operands are left where each step takes two of them, by their places, and puts one at the end."""
    left = count
    for one, other in steps:
        if not (0 <= one < left and 0 <= other < left and one != other):
            return np.array(-1)
        left -= 1
    return np.array(left)


def _gathered(x: np.ndarray, w: np.ndarray, i: np.ndarray) -> np.ndarray:
    """Each row block of x times the transpose of the matrix that its index names."""
    return np.stack([one @ w[at].T for one, at in zip(x, i, strict=True)])


_CHAIN = small("3x8, 8x2 and 2x9", (3, 8), (8, 2), (2, 9), dtypes=("float32",))
_CODES = Sample(
    "matrices of codes by index",
    {
        "x": Argument("integers", (4, 3, 64), {"low": -2, "high": 3}, apart="/x"),
        "w": Argument("code rows", (2, 16, 64)),
        "i": Argument("values", (4,), {"values": (1, 0, 0, 1)}, dtype="uint32"),
    },
    {ALL: slice(None)},
    (),
    dtypes=("float32", "float16", "bfloat16"),
)

OTHERS: Mapping[str, Plain] = {
    one.name: one
    for one in (
        Plain(
            "issubdtype",
            MLX.format("issubdtype"),
            lambda kind, category: np.array(is_of(kind, category)),
            (NO_OPERAND,),
            tuple({"kind": kind, "category": category} for kind, category in product(_ASKED, (*KINDS, *ABOVE))),
            needs_options=True,
        ),
        Plain(
            "einsum_path",
            MLX.format("einsum_path"),
            lambda *operands, subscripts: np.array([(0, 1), (0, 1)]),
            (_CHAIN,),
            ({"subscripts": "ij,jk,kl->il"},),
            needs_options=True,
            its_own_integers=True,
            in_order=lambda steps, *operands, subscripts: _contracted(len(operands), steps),
        ),
        Plain("gather_qmm", MLX.format("gather_qmm"), _gathered, (_CODES,), signed_zeros=False),
    )
}
