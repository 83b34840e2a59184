"""Products as structure: which elements meet which. Operands are small whole numbers, whose products are exact.

How long sums of products round is asked of layers and of `matmul` beside them (LINEAR-*, SPELLING-1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from touchstone.golden.operations.plain.record import FLOATS, Plain
from touchstone.golden.operations.plain.samples import ALL
from touchstone.golden.operations.samples import Argument, Sample

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"


def small(name: str, *shapes: tuple[int, ...], dtypes: Sequence[str] = FLOATS) -> Sample:
    """Operands "x", "y", "z" of whole numbers from -3 to 3."""
    arguments = {
        argument: Argument("integers", shape, {"low": -3, "high": 4}, apart=f"/{argument}")
        for argument, shape in zip("xyz", shapes, strict=False)
    }
    return Sample(name, arguments, {ALL: slice(None)}, (), dtypes=tuple(dtypes))


def _one(*shapes: tuple[int, ...]) -> Sample:
    """In float32 alone, named by its shapes."""
    name = " and ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
    return small(name, *shapes, dtypes=("float32",))


def _of(name: str, value: Any, *samples: Sample, **more: Any) -> Plain:
    """The sign of a zero depends on the order of a sum."""
    return Plain(name, MLX.format(name.split(",")[0]), value, samples, signed_zeros=False, **more)


MATMULS = tuple(
    _one(*shapes)
    for shapes in (
        ((5,), (5,)),
        ((5,), (5, 3)),
        ((4, 5), (5,)),
        ((5,), (2, 5, 3)),
        ((2, 4, 5), (5,)),
        ((2, 4, 5), (2, 5, 3)),
        ((2, 4, 5), (5, 3)),
        ((4, 5), (2, 5, 3)),
        ((2, 1, 4, 5), (3, 5, 3)),
        ((1, 4, 5), (3, 5, 2)),
        ((4, 0), (0, 3)),
        ((0, 5), (5, 3)),
        ((1, 1), (1, 1)),
    )
)
EINSUMS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "ij,jk": ((3, 4), (4, 5)),
    "ij,kj->ki": ((3, 4), (5, 4)),
    "ij->ji": ((3, 4),),
    "ba": ((3, 4),),
    "ij->": ((3, 4),),
    "ij->j": ((3, 4),),
    "ii": ((4, 4),),
    "ii->i": ((4, 4),),
    "iij->j": ((3, 3, 4),),
    "i,i": ((4,), (4,)),
    "i,j->ij": ((3,), (4,)),
    "i,j->ji": ((3,), (4,)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "bij,bjk->ik": ((2, 3, 4), (2, 4, 5)),
    "bhid,bhjd->bhij": ((2, 2, 3, 4), (2, 2, 5, 4)),
    "ij,ij->": ((3, 4), (3, 4)),
    "ijk,jil->kl": ((3, 2, 4), (2, 3, 5)),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 2)),
    "ij,j->i": ((3, 4), (4,)),
    "...ij,...jk->...ik": ((2, 3, 4), (2, 4, 5)),
    "...i->...": ((2, 3, 4),),
}
TENSORDOTS: tuple[tuple[Sample, Mapping[str, Any]], ...] = (
    (_one((3, 4, 5), (4, 5, 2)), {"axes": 2}),
    (_one((3, 4), (4, 2)), {"axes": 1}),
    (_one((3,), (2,)), {"axes": 0}),
    (_one((3, 4, 5), (5, 3, 2)), {"axes": ((0, 2), (1, 0))}),
    (_one((3, 4, 5), (5, 3, 2)), {"axes": ((2, 0), (0, 1))}),
    (_one((3, 4, 5), (2, 4, 3)), {"axes": ((1,), (1,))}),
)
_CONVOLVED = tuple(
    (_one(*shapes), {"mode": mode})
    for shapes in (((7,), (3,)), ((7,), (4,)), ((3,), (5,)), ((1,), (1,)))
    for mode in ("full", "same", "valid")
)


def _addmm(c: np.ndarray, a: np.ndarray, b: np.ndarray, alpha: float = 1.0, beta: float = 1.0) -> np.ndarray:
    return alpha * (a @ b) + beta * c


def _tensordot(x: np.ndarray, y: np.ndarray, axes: Any) -> np.ndarray:
    return np.tensordot(x, y, axes)


def _hadamard(n: int) -> np.ndarray:
    """Of a power of two, by Sylvester's doubling."""
    found = np.ones((1, 1))
    while len(found) < n:
        found = np.block([[found, found], [found, -found]])
    return found


def _hadamard_transform(x: np.ndarray, scale: float | None = None) -> np.ndarray:
    n = x.shape[-1]
    return x @ _hadamard(n) * (1 / np.sqrt(n) if scale is None else scale)


def _blocks(mask: np.ndarray, size: int) -> np.ndarray:
    return np.repeat(np.repeat(mask, size, -2), size, -1)


def _block_masked(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blocks of 32 of the result whose mask is false are zero."""
    return np.where(_blocks(mask != 0, 32), x @ y, 0)


def _gathered(x: np.ndarray, y: np.ndarray, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    return x[lhs] @ y[rhs]


def _flipped_convolution(x: np.ndarray, w: np.ndarray, flip: bool = False, input_dilation: int = 1) -> np.ndarray:
    """[rows, places, channels] and [filters, width, channels], without padding."""
    wide = np.zeros((x.shape[0], (x.shape[1] - 1) * input_dilation + 1, x.shape[2]))
    wide[:, ::input_dilation] = x
    kernel = w[:, ::-1] if flip else w
    width = w.shape[1]
    windows = [wide[:, place : place + width] for place in range(wide.shape[1] - width + 1)]
    return np.stack([np.einsum("nwc,owc->no", window, kernel) for window in windows], 1)


_GATHERED = Sample(
    "matrices by index",
    {
        "x": Argument("integers", (3, 4, 5), {"low": -3, "high": 4}, apart="/x"),
        "y": Argument("integers", (2, 5, 3), {"low": -3, "high": 4}, apart="/y"),
        "lhs": Argument("values", (4,), {"values": (0, 2, 1, 2)}, dtype="uint32"),
        "rhs": Argument("values", (4,), {"values": (1, 0, 1, 1)}, dtype="uint32"),
    },
    {ALL: slice(None)},
    (),
    dtypes=FLOATS,
)
_MASKED = Sample(
    "matrices by blocks",
    {
        "x": Argument("integers", (64, 32), {"low": -3, "high": 4}, apart="/x"),
        "y": Argument("integers", (32, 96), {"low": -3, "high": 4}, apart="/y"),
        "mask": Argument("values", (2, 3), {"values": (1, 0, 1, 0, 1, 1)}, dtype="bool"),
    },
    {ALL: slice(None)},
    (),
    dtypes=FLOATS,
)
_CONVOLUTION = small("2x9x3 and 4x3x3", (2, 9, 3), (4, 3, 3))

PRODUCTS: Mapping[str, Plain] = {
    one.name: one
    for one in (
        _of("matmul", np.matmul, small("4x5 and 5x3", (4, 5), (5, 3)), *MATMULS),
        _of(
            "addmm",
            _addmm,
            small("4x3, 4x5 and 5x3", (4, 3), (4, 5), (5, 3)),
            variants=({"alpha": 2.0}, {"beta": 0.5}, {"alpha": -0.5, "beta": 0.0}),
            calls=((_one((3,), (4, 5), (5, 3)), {"beta": 2.0}),),
        ),
        _of("addmm, of batches", _addmm, _one((2, 1, 3), (2, 4, 5), (5, 3))),
        _of("inner", np.inner, small("2x5 and 3x5", (2, 5), (3, 5)), _one((5,), (5,)), _one((2, 3, 5), (4, 5))),
        _of("outer", np.outer, small("4 and 3", (4,), (3,)), _one((0,), (3,))),
        _of("outer, of matrices", np.outer, _one((2, 3), (4,))),
        _of(
            "kron",
            np.kron,
            small("2x3 and 3x2", (2, 3), (3, 2)),
            _one((3,), (2,)),
            _one((2,), (2, 3)),
            _one((2, 2, 2), (3,)),
        ),
        _of(
            "tensordot",
            _tensordot,
            small("3x4x5 and 4x5x2", (3, 4, 5), (4, 5, 2)),
            needs_options=True,
            calls=TENSORDOTS,
        ),
        _of(
            "einsum",
            lambda *operands, subscripts: np.einsum(subscripts, *operands),
            small("2x3x4 and 2x4x5", (2, 3, 4), (2, 4, 5)),
            needs_options=True,
            calls=tuple((_one(*shapes), {"subscripts": pattern}) for pattern, shapes in EINSUMS.items()),
        ),
        _of(
            "convolve",
            lambda x, y, mode="full": np.convolve(x, y, mode),
            small("9 and 4", (9,), (4,)),
            calls=_CONVOLVED,
        ),
        _of(
            "hadamard_transform",
            _hadamard_transform,
            small("3x16", (3, 16)),
            variants=({"scale": 1.0}, {"scale": -2.0}),
        ),
        _of("block_masked_mm", _block_masked, _MASKED),
        _of("gather_mm", _gathered, _GATHERED),
        _of(
            "conv_general",
            _flipped_convolution,
            _CONVOLUTION,
            variants=({"flip": True}, {"input_dilation": 2}, {"input_dilation": 3, "flip": True}),
        ),
    )
}
