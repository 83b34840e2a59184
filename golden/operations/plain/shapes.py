"""Operations that change shapes: each element of a result is one of an operand, or a constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.samples import EVERY_DTYPE, INTEGER_DTYPES, grid, numbered, sample, values
from touchstone.golden.operations.samples import EXACT_NUMBERS, Sample
from touchstone.golden.rounding import to_dtype
from touchstone.golden.streams import DTYPES, SIGNIFICAND_BITS

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
CUBE = grid("3x4x5", (3, 4, 5), dtypes=EVERY_DTYPE)
CUBE_OF_NUMBERS = grid("3x4x5 of numbers", (3, 4, 5), dtypes=(*SIGNIFICAND_BITS, *INTEGER_DTYPES))
NOTHING = grid("0x3", (0, 3), dtypes=("float32",))
SCALAR = grid("0-d", (), dtypes=("float32",))
VECTOR = grid("5", (5,), dtypes=EVERY_DTYPE)
MATRIX = grid("4x5", (4, 5), dtypes=(*SIGNIFICAND_BITS, *INTEGER_DTYPES))
ANY_MATRIX = grid("4x5 of any dtype", (4, 5), dtypes=EVERY_DTYPE)
TALL = grid("5x3", (5, 3), dtypes=("float32",))
WITH_ONES = grid("1x3x1x4", (1, 3, 1, 4), dtypes=EVERY_DTYPE)
COLUMN = grid("3x1", (3, 1), dtypes=EVERY_DTYPE)
EIGHTS = grid("3x8", (3, 8), dtypes=EVERY_DTYPE)
BLOCKS = grid("3x4x5 and 3x2x5", (3, 4, 5), (3, 2, 5), dtypes=EVERY_DTYPE)
SAME = grid("3x4 twice", (3, 4), (3, 4), dtypes=EVERY_DTYPE)
NOTHING_TWICE = grid("0x3 twice", (0, 3), (0, 3), dtypes=("float32",))
THREE = grid("2x3, 0x3 and 1x3", (2, 3), (0, 3), (1, 3), dtypes=("float32",))
CROSSED = grid("3x1 and 4", (3, 1), (4,), dtypes=EVERY_DTYPE)
OF_NOTHING = grid("1x3 and 0x1", (1, 3), (0, 1), dtypes=("float32",))
AXES = grid("3, 4 and 2", (3,), (4,), (2,), dtypes=EVERY_DTYPE)
AXES_OF_NOTHING = grid("3 and 0", (3,), (0,), dtypes=("float32",))
LOW = grid("0-d and 3", (), (3,), dtypes=("float32",))
PARTS = sample("numbers with parts", ("float32",), x=values((8,), -2.5, -1.5, -1, -0.5, 0, 0.75, 1.5, 100.25))
POSITIVE = sample("positive numbers", ("float32",), x=values((6,), 0, 0.5, 1, 1.5, 100.75, 255))
HALF, BRAIN = (replace(EXACT_NUMBERS, name=f"numbers in {dtype}", dtypes=(dtype,)) for dtype in ("float16", "bfloat16"))
SIGNED = {n: sample(f"signed {n}", (n,), x=values((5,), -100, -1, 0, 1, 100)) for n in ("int8", "int32")}
BYTES = {n: sample(f"24 of {n}", (n,), x=numbered((3, 8))) for n in ("uint8", "int16", "bool")}


def _of(name: str, samples: Any, value: Any, *variants: Mapping[str, Any], calls: Any = (), **more: Any) -> Plain:
    page = MLX.format(more.pop("page", name))
    return Plain(name, page, value, samples if isinstance(samples, tuple) else (samples,), variants, calls, **more)


def _moves(name: str, samples: Any, value: Any, *variants: Mapping[str, Any], **more: Any) -> Plain:
    return _of(name, samples, value, *variants, moves=True, **more)


def _flatten(x: np.ndarray, start_axis: int = 0, end_axis: int = -1) -> np.ndarray:
    """Axes from the first to the last, inclusive, become one; a number becomes a vector of one."""
    rank = max(x.ndim, 1)
    start, end = start_axis % rank, end_axis % rank
    return x.reshape(*x.shape[:start], prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def _unflatten(x: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    before, after = x.shape[: axis % x.ndim], x.shape[axis % x.ndim + 1 :]
    known = prod(n for n in shape if n != -1)
    return x.reshape(*before, *(x.shape[axis] // known if n == -1 else n for n in shape), *after)


def _expand_dims(x: np.ndarray, axis: Any = None, axes: Any = None) -> np.ndarray:
    return np.expand_dims(x, axes if axis is None else axis)


def _squeeze(x: np.ndarray, axis: Any = None, axes: Any = None) -> np.ndarray:
    return np.squeeze(x, axes if axis is None else axis)


def _split(x: np.ndarray, indices_or_sections: Any, axis: int = 0) -> Any:
    return np.split(x, indices_or_sections, axis)


def _padded(mode: Any) -> Any:
    def value(x: np.ndarray, pad_width: Any, constant_values: float | None = None) -> np.ndarray:
        given: Any = {} if constant_values is None else {"constant_values": constant_values}
        return np.pad(x, pad_width, mode, **given)

    return value


def _contiguous(x: np.ndarray, allow_col_major: bool = False) -> np.ndarray:
    return x.T


def _itself(x: np.ndarray) -> np.ndarray:
    """The conjugate of a real number, or a bool, which NumPy makes an int8."""
    return x


def _view(x: np.ndarray, to: str) -> np.ndarray:
    return x.view(DTYPES[to])


def _filled(number: int) -> Any:
    def value(x: np.ndarray, to: str = "") -> np.ndarray:
        return np.full(x.shape, number, DTYPES[to] if to else x.dtype)

    return value


def _astype(x: np.ndarray, to: str) -> np.ndarray:
    """Rounded to the nearest float, ties to even; towards zero to an integer; of a bool whether it is not zero."""
    return to_dtype(x.astype(np.float64), to) if to in SIGNIFICAND_BITS else x.astype(DTYPES[to])


def _to(of: Sample, *dtypes: str) -> tuple[tuple[Sample, Mapping[str, Any]], ...]:
    return tuple((of, {"to": dtype}) for dtype in dtypes)


_PADS: tuple[Mapping[str, Any], ...] = (
    {"pad_width": ((0, 0), (1, 2), (2, 1))},
    {"pad_width": ((0, 0), (0, 3), (0, 0))},
    {"pad_width": ((0, 0), (0, 0), (0, 0))},
    {"pad_width": ((0, 0), (3, 0), (0, 4))},
)
"""Within the limits of reflection, and of the last two axes, which are those that PyTorch pads so."""
_OFFSETS: tuple[Mapping[str, Any], ...] = tuple({"offset": k} for k in (1, -2, 4, 9))
_DIAGONALS: tuple[Mapping[str, Any], ...] = ({"k": 1}, {"k": -2}, {"k": 9}, {"k": -9})
_BY_AXES: tuple[Mapping[str, Any], ...] = (
    {"axis1": 1, "axis2": 2},
    {"axis1": -1, "axis2": 0},
    {"offset": 2, "axis1": 0, "axis2": -1},
    {"offset": -1, "axis1": 2, "axis2": 1},
)
_RESHAPED = (
    _moves(
        "reshape",
        CUBE,
        lambda x, shape: np.reshape(x, shape),
        {"shape": (5, 12)},
        {"shape": (60,)},
        {"shape": (-1,)},
        {"shape": (2, -1, 3)},
        {"shape": (1, 60, 1)},
        calls=((NOTHING, {"shape": (3, 0, 2)}), (SCALAR, {"shape": (1, 1)}), (SCALAR, {"shape": ()})),
        needs_options=True,
    ),
    _moves(
        "flatten",
        (CUBE, NOTHING, SCALAR),
        _flatten,
        {"start_axis": 1},
        {"end_axis": 1},
        {"start_axis": -2, "end_axis": -1},
        {"start_axis": 1, "end_axis": 1},
        {"start_axis": 0, "end_axis": -2},
    ),
    _moves(
        "unflatten",
        CUBE,
        _unflatten,
        {"axis": 1, "shape": (2, 2)},
        {"axis": -1, "shape": (5, 1)},
        {"axis": 1, "shape": (-1, 2)},
        {"axis": 0, "shape": (1, 3, 1)},
        calls=((NOTHING, {"axis": 0, "shape": (0, 4)}),),
        needs_options=True,
    ),
    _moves(
        "squeeze",
        (WITH_ONES, CUBE, NOTHING, SCALAR),
        _squeeze,
        {"axis": 0},
        {"axis": -2},
        {"axes": (0, 2)},
        {"axes": (-2, -4)},
    ),
    _moves(
        "expand_dims",
        CUBE,
        _expand_dims,
        {"axis": 1},
        {"axis": -1},
        {"axis": 0},
        {"axis": 3},
        {"axes": (0, 2)},
        {"axes": (-1, 0)},
        calls=((SCALAR, {"axis": 0}), (NOTHING, {"axis": 1})),
        needs_options=True,
    ),
    _moves(
        "transpose",
        (CUBE, MATRIX, NOTHING, SCALAR),
        lambda x, axes=None: np.transpose(x, axes),
        {"axes": (0, 2, 1)},
        {"axes": (1, 2, 0)},
        {"axes": (-1, 0, -2)},
        {"axes": (0, 1, 2)},
    ),
    _moves(
        "swapaxes",
        CUBE,
        lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2),
        {"axis1": 0, "axis2": 2},
        {"axis1": -1, "axis2": 1},
        {"axis1": 1, "axis2": 1},
        calls=((NOTHING, {"axis1": 0, "axis2": 1}),),
        needs_options=True,
    ),
    _moves(
        "moveaxis",
        CUBE,
        lambda x, source, destination: np.moveaxis(x, source, destination),
        {"source": 0, "destination": 2},
        {"source": -1, "destination": 0},
        {"source": 1, "destination": -1},
        {"source": 2, "destination": 2},
        calls=((NOTHING, {"source": 0, "destination": -1}),),
        needs_options=True,
    ),
    _moves(
        "broadcast_to",
        COLUMN,
        lambda x, shape: np.broadcast_to(x, shape),
        {"shape": (3, 4)},
        {"shape": (2, 3, 1)},
        {"shape": (2, 3, 5)},
        {"shape": (3, 1)},
        {"shape": (0, 3, 2)},
        calls=((SCALAR, {"shape": (2, 3)}), (SCALAR, {"shape": (0,)}), (NOTHING, {"shape": (2, 0, 3)})),
        needs_options=True,
    ),
    _of("broadcast_arrays", (CROSSED, OF_NOTHING, LOW), lambda *arrays: np.broadcast_arrays(*arrays)),
    *(
        _moves(name, (VECTOR, CUBE, NOTHING, SCALAR, ANY_MATRIX), value)
        for name, value in (("atleast_1d", np.atleast_1d), ("atleast_2d", np.atleast_2d), ("atleast_3d", np.atleast_3d))
    ),
    *(
        _of(f"{name} of several", (LOW, BLOCKS, AXES), value, page=name)
        for name, value in (("atleast_1d", np.atleast_1d), ("atleast_2d", np.atleast_2d), ("atleast_3d", np.atleast_3d))
    ),
    _moves("contiguous of a transpose", CUBE, _contiguous, {"allow_col_major": True}, page="contiguous"),
)
_JOINED = (
    _moves(
        "concatenate",
        (SAME, THREE),
        lambda *arrays, axis=0: np.concatenate(arrays, axis),
        {"axis": 1},
        {"axis": -2},
        calls=((BLOCKS, {"axis": 1}), (BLOCKS, {"axis": -2}), (NOTHING_TWICE, {"axis": 1})),
        moves_too=("y", "z"),
    ),
    _moves(
        "concatenate of all",
        (BLOCKS, SAME, LOW),
        lambda *arrays: np.concatenate(arrays, None),
        page="concatenate",
        moves_too=("y", "z"),
    ),
    _moves(
        "stack",
        (SAME, NOTHING_TWICE),
        lambda *arrays, axis=0: np.stack(arrays, axis),
        {"axis": 1},
        {"axis": 2},
        {"axis": -1},
        {"axis": -3},
        moves_too=("y", "z"),
    ),
    _of(
        "split",
        CUBE,
        _split,
        {"indices_or_sections": 3},
        {"indices_or_sections": 2, "axis": 1},
        {"indices_or_sections": 1, "axis": -1},
        {"indices_or_sections": (1, 3), "axis": 1},
        {"indices_or_sections": (2, 2, 4), "axis": -1},
        {"indices_or_sections": (0, 5), "axis": 2},
        {"indices_or_sections": (2, 7), "axis": 1},
        {"indices_or_sections": (3, 1), "axis": 1},
        {"indices_or_sections": (-3, -1), "axis": 1},
        calls=((NOTHING, {"indices_or_sections": 3, "axis": 1}), (NOTHING, {"indices_or_sections": (0,)})),
        needs_options=True,
    ),
    _of(
        "split into uneven parts",
        CUBE,
        np.array_split,
        {"indices_or_sections": 3, "axis": 1},
        {"indices_or_sections": 4, "axis": 2},
        {"indices_or_sections": 5, "axis": 0},
        page="split",
        needs_options=True,
    ),
    _moves(
        "repeat",
        CUBE,
        lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
        {"repeats": 2},
        {"repeats": 3, "axis": 1},
        {"repeats": 2, "axis": -1},
        {"repeats": 1, "axis": 0},
        {"repeats": 0, "axis": 1},
        {"repeats": 0},
        calls=((SCALAR, {"repeats": 3}), (NOTHING, {"repeats": 2, "axis": 1})),
        needs_options=True,
    ),
    _moves(
        "repeat by counts",
        CUBE,
        lambda x, repeats, axis: np.repeat(x, repeats, axis),
        {"repeats": (0, 2, 1), "axis": 0},
        {"repeats": (2, 0, 0, 3), "axis": 1},
        page="repeat",
        needs_options=True,
    ),
    _moves(
        "tile",
        CUBE,
        lambda x, reps: np.tile(x, reps),
        {"reps": (2, 1, 3)},
        {"reps": 2},
        {"reps": (2, 3)},
        {"reps": (2, 1, 1, 2)},
        {"reps": (1, 0, 2)},
        {"reps": (1, 1, 1)},
        calls=((SCALAR, {"reps": (2, 3)}), (NOTHING, {"reps": (2, 2)})),
        needs_options=True,
    ),
    _moves(
        "roll",
        CUBE,
        np.roll,
        {"shift": 2},
        {"shift": -7, "axis": 1},
        {"shift": 13, "axis": -1},
        {"shift": (1, -2), "axis": (0, 2)},
        {"shift": (1, 1), "axis": (1, 1)},
        calls=((NOTHING, {"shift": 1, "axis": 1}), (SCALAR, {"shift": 1})),
        needs_options=True,
    ),
    _moves(
        "roll of several axes by one shift",
        CUBE,
        np.roll,
        {"shift": 2, "axis": (0, 2)},
        {"shift": -1, "axis": (-1, 1)},
        page="roll",
        needs_options=True,
    ),
    _moves(
        "pad",
        CUBE,
        _padded("constant"),
        {"pad_width": ((1, 2), (0, 3), (2, 0))},
        {"pad_width": 1},
        {"pad_width": (1, 2)},
        {"pad_width": ((0, 0), (0, 0), (0, 0))},
        {"pad_width": ((1, 2), (0, 3), (2, 0)), "constant_values": 7},
        {"pad_width": 2, "constant_values": -0.5},
        calls=((NOTHING, {"pad_width": ((2, 1), (0, 1))}), (VECTOR, {"pad_width": (3, 0)})),
        needs_options=True,
    ),
    *(
        _moves(f"pad {mode}", of, _padded(mode), *_PADS, page="pad", needs_options=True)
        for mode, of in (("edge", CUBE_OF_NUMBERS), ("reflect", CUBE_OF_NUMBERS), ("symmetric", CUBE))
    ),
    _of(
        "meshgrid",
        (AXES, AXES_OF_NOTHING, VECTOR),
        lambda *arrays, indexing="xy", sparse=False: np.meshgrid(*arrays, indexing=indexing, sparse=sparse),
        {"indexing": "ij"},
        {"sparse": True},
        {"indexing": "ij", "sparse": True},
        calls=((VECTOR, {"indexing": "ij"}),),
    ),
)
_OF_DIAGONALS = (
    *(
        _moves(
            name,
            (ANY_MATRIX, CUBE, TALL, NOTHING),
            value,
            *_DIAGONALS,
            calls=((CUBE, {"k": 1}), (TALL, {"k": -1}), (NOTHING, {"k": 1})),
        )
        for name, value in (("tril", lambda x, k=0: np.tril(x, k)), ("triu", lambda x, k=0: np.triu(x, k)))
    ),
    _moves("diag", (ANY_MATRIX, TALL, NOTHING), lambda x, k=0: np.diag(x, k), *_DIAGONALS),
    _moves(
        "diag of a vector",
        VECTOR,
        lambda x, k=0: np.diag(x, k),
        *_DIAGONALS,
        page="diag",
        calls=((grid("0", (0,), dtypes=("float32",)), {"k": 2}),),
    ),
    _moves(
        "diagonal",
        (ANY_MATRIX, TALL, NOTHING, CUBE),
        lambda x, offset=0, axis1=0, axis2=1: np.diagonal(x, offset, axis1, axis2),
        *_OFFSETS,
        calls=tuple((CUBE, options) for options in _BY_AXES),
    ),
    _of(
        "trace",
        (MATRIX, TALL, NOTHING),
        lambda x, offset=0, axis1=0, axis2=1: np.trace(x, offset, axis1, axis2),
        *_OFFSETS,
        calls=((CUBE, {"axis1": 1, "axis2": 2}), (CUBE, {"offset": 1, "axis1": 0, "axis2": -1})),
        its_own_integers=True,
    ),
)
_TYPED = (
    _of(
        "view",
        EIGHTS,
        _view,
        {"to": "int32"},
        {"to": "uint32"},
        {"to": "int16"},
        {"to": "float16"},
        {"to": "uint8"},
        calls=(
            *_to(BYTES["uint8"], "int8", "bfloat16", "float32", "int32", "int64"),
            *_to(BYTES["int16"], "float16", "bfloat16", "uint8", "int32"),
            *_to(BYTES["bool"], "uint8", "int8"),
        ),
        native=True,
        needs_options=True,
    ),
    *(
        _of(
            name,
            (CUBE, NOTHING, SCALAR),
            _filled(number),
            *({"to": dtype} for dtype in ("float16", "bfloat16", "int32", "uint8", "int64", "bool")),
        )
        for name, number in (("zeros_like", 0), ("ones_like", 1))
    ),
    _moves("real", (CUBE, NOTHING), np.real),
    _of("imag", (CUBE, NOTHING), np.imag),
    _moves("conj", (CUBE, NOTHING), _itself),
    _moves("conjugate", (CUBE, NOTHING), _itself),
    _of(
        "astype",
        PARTS,
        _astype,
        *({"to": dtype} for dtype in ("int32", "int8", "int16", "int64", "bool", "float16", "bfloat16", "float32")),
        calls=(
            *_to(POSITIVE, "uint8", "uint16", "uint32", "uint64"),
            *_to(EXACT_NUMBERS, "float16", "bfloat16", "bool"),
            *_to(HALF, "float32", "bfloat16"),
            *_to(BRAIN, "float32", "float16"),
            *_to(SIGNED["int8"], "int32", "float16", "bfloat16", "bool"),
            *_to(SIGNED["int32"], "int8", "int64", "float32"),
            *_to(BYTES["bool"], "int32", "float32", "uint8"),
            *_to(BYTES["uint8"], "int8", "float16", "bool"),
        ),
        needs_options=True,
    ),
)
SHAPES: Mapping[str, Plain] = {one.name: one for one in (*_RESHAPED, *_JOINED, *_OF_DIAGONALS, *_TYPED)}
