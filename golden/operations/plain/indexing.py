"""Operations that take elements by their place, and put elements there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.golden.catalogue import spell_shape
from touchstone.golden.operations.plain.record import Plain
from touchstone.golden.operations.plain.samples import (
    EVERY_DTYPE,
    INTEGER_DTYPES,
    SIGNED,
    integer,
    integers,
    numbered,
    sample,
    values,
)
from touchstone.golden.operations.plain.shapes import CUBE, NOTHING
from touchstone.golden.operations.samples import Argument, Sample
from touchstone.golden.streams import SIGNIFICAND_BITS

MLX = "https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.{}.html"
INDEXED = "https://ml-explore.github.io/mlx/build/html/usage/indexing.html"
AT = MLX.format("array.at")
NUMBERS = (*SIGNIFICAND_BITS, *INTEGER_DTYPES)
ONE = ("float32",)
_GRID, _CUBE = numbered((4, 5)), numbered((3, 4, 5))
_NEW = numbered((4, 2), 60)
PUT_PLACES = integers([0, 4], [3, 2], [2, 1], [4, 0])

ROWS = sample("4x5 by indices", EVERY_DTYPE, x=_GRID, i=integers(3, 0, 0, 2))
BY_ONE = sample("4x5 by one index", ONE, x=_GRID, i=integer(2))
BY_SQUARE = sample("4x5 by 2x3 indices", ONE, x=_GRID, i=integers([1, 0, 3], [3, 3, 2]))
BY_NONE = sample("4x5 by no index", ONE, x=_GRID, i=Argument("values", (0,), {"values": ()}, dtype="int32"))
FROM_THE_END = sample("4x5 from the end", EVERY_DTYPE, x=_GRID, i=integers(-1, -4, 2, -2))
ALONG = sample("4x5 along rows", EVERY_DTYPE, x=_GRID, i=integers([0, 4], [3, 3], [2, 1], [4, 0]))
ALONG_COLUMNS = sample("4x5 along columns", ONE, x=_GRID, i=integers([0, 1, 2, 3, 0], [3, 3, 1, 0, 2]))
ALONG_BY_ONE = sample("4x5 by one row of indices", ONE, x=_GRID, i=integers([0, 4, 2]))
ALONG_ALL = sample("4x5 by places", ONE, x=_GRID, i=integers(19, 0, 7, 7))
ALONG_BACK = sample("4x5 along rows from the end", ONE, x=_GRID, i=integers([-1, 0], [-5, 3], [2, -1], [-2, 0]))
BY_OTHERS = tuple(
    sample(f"4x5 by {dtype} indices", ONE, x=_GRID, i=replace(integers(19, 0, 7, 7), dtype=dtype))
    for dtype in ("uint8", "int8", "uint32", "int64")
)
PUT_ROW = sample("a row of 2 into 4x5", ONE, x=_GRID, i=PUT_PLACES, y=numbered((2,), 60))
PUT_ONE = sample("a number into 4x5", ONE, x=_GRID, i=PUT_PLACES, y=numbered((), 60))
PUT_EACH = sample("a row of 2 into 4x5 by one row of indices", ONE, x=_GRID, i=integers([3, 0]), y=numbered((1, 2), 60))
PUT = sample("4x2 into 4x5", EVERY_DTYPE, x=_GRID, i=PUT_PLACES, y=_NEW)
PUT_COLUMNS = sample("2x5 into 4x5", ONE, x=_GRID, i=integers([0, 1, 2, 3, 0], [3, 2, 1, 0, 2]), y=numbered((2, 5), 60))
PUT_FLAT = sample("4 into 4x5", EVERY_DTYPE, x=_GRID, i=integers(19, 0, 7, 8), y=numbered((4,), 60))
STARTS = sample("3x4x5 from 1, 2", EVERY_DTYPE, x=_CUBE, i=integers(1, 2))
START = sample("3x4x5 from 1", ONE, x=_CUBE, i=integers(1))
STARTS_OF_ALL = sample("3x4x5 from 0, 2, 1", ONE, x=_CUBE, i=integers(0, 2, 1))
NOTHING_AT = sample("0x3 from 0", ONE, x=numbered((0, 3)), i=integers(0))
UPDATED = sample("1x2x5 into 3x4x5 from 1, 2", EVERY_DTYPE, x=_CUBE, y=numbered((1, 2, 5), 60), i=integers(1, 2))
UPDATED_LAST = sample("3x4x2 into 3x4x5 from 3", ONE, x=_CUBE, y=numbered((3, 4, 2), 60), i=integers(3))
UPDATED_BY_NOTHING = sample("3x0x5 into 3x4x5 from 1", ONE, x=_CUBE, y=numbered((3, 0, 5), 60), i=integers(1))
NEW_ROWS = sample(
    "4x5 by indices and 4x5", NUMBERS, "ordinary", x=_GRID, i=integers(3, 0, 0, 2), y=numbered((4, 5), 20)
)
SIGNED_ROWS = sample(
    "4x5 by indices and 4x5 of signed numbers",
    (*SIGNIFICAND_BITS, *SIGNED),
    "ordinary",
    x=_GRID,
    i=integers(3, 0, 0, 2),
    y=numbered((4, 5), 20),
)
NEW_COLUMNS = sample("4x5 by indices and 4x3", ONE, x=_GRID, i=integers(4, 1, 4), y=numbered((4, 3), 20))
NEW_BACK = sample("4x5 from the end and 3x5", ONE, x=_GRID, i=integers(-1, 0, -1), y=numbered((3, 5), 20))
NEW_NOTHING = sample(
    "4x5 by no index and 0x5",
    ONE,
    x=_GRID,
    i=Argument("values", (0,), {"values": ()}, dtype="int32"),
    y=numbered((0, 5)),
)
POWERS = sample(
    "4x2 by indices and powers of two",
    NUMBERS,
    x=values((4, 2), *(0, 1, 2, 3, 4, 5, 6, 7)),
    i=integers(3, 0, 0, 2),
    y=values((4, 2), *(2, 4, 1, 2, 4, 2, 8, 4)),
)
POWERS_OF_FLOATS = replace(POWERS, name="4x2 by indices and powers of two, of floats", dtypes=tuple(SIGNIFICAND_BITS))
MIXED = sample(
    "4x2 by indices and others",
    NUMBERS,
    "ordinary",
    x=values((4, 2), *(9, 1, 12, 30, 4, 50, 6, 70)),
    i=integers(3, 0, 0, 2),
    y=values((4, 2), *(60, 40, 10, 2, 7, 0, 5, 100)),
)
NUMBER = sample("3x4x5 and a number", EVERY_DTYPE, x=_CUBE, y=numbered((), 60))
ADDED = sample("3x4x5 and a number to add", NUMBERS, x=_CUBE, y=numbered((), 60))
COLUMNS = sample("3x4x5 by two arrays", EVERY_DTYPE, x=_CUBE, i=integers(2, 0, 0, 1), j=integers(3, 1, 0, 3))
SQUARES = sample("3x4x5 by two 2x2 arrays", ONE, x=_CUBE, i=integers([2, 0], [0, 1]), j=integers([3, 1], [0, 3]))
CROSSED = sample("3x4x5 by a column and a row", ONE, x=_CUBE, i=integers([2], [0]), j=integers(3, 1, 0))
BACK = sample("3x4x5 by two arrays from the end", ONE, x=_CUBE, i=integers(-1, 0, -3), j=integers(-4, -1, 2))
PLACED = sample(
    "3x4x5 by two arrays, and a number",
    EVERY_DTYPE,
    x=_CUBE,
    i=integers(2, 0, 1),
    j=integers(3, 1, 0),
    y=numbered((), 60),
)
"""No place is there twice: the gradient of what is put there is not documented."""
BLOCKS = {
    shape: sample(f"3x4x5 and {spell_shape(shape)}", ONE, x=_CUBE, y=numbered(shape, 60))
    for shape in ((2, 2, 5), (2, 1, 5), (3, 4), (5,), (3, 4, 5), (1, 3, 4, 5), (3, 4, 3))
}
BLOCKS_PLACED = {
    shape: sample(
        f"3x4x5 by two arrays, and {spell_shape(shape)}",
        ONE,
        x=_CUBE,
        i=integers(2, 0, 1),
        j=integers(3, 1, 0),
        y=numbered(shape, 60),
    )
    for shape in ((3, 5), (5,), (3, 1), (3, 2, 5), (2, 5), (3, 3, 5), (3, 4))
}
CHOSEN = Argument("numbered", (3, 4, 5), {"start": 0}, dtype="bool")
MASKED = sample("3x4x5 by a mask", EVERY_DTYPE, x=_CUBE, m=CHOSEN)
MASKED_ROWS = sample(
    "3x4x5 by a mask of rows", ONE, x=_CUBE, m=Argument("values", (3,), {"values": (1, 0, 1)}, dtype="bool")
)
MASKED_BY = sample("3x4x5 by a mask, and a number", EVERY_DTYPE, x=_CUBE, m=CHOSEN, y=numbered((), 60))

SLICES: Mapping[str, Any] = {
    "1": np.s_[1],
    "-1": np.s_[-1],
    "...,0": np.s_[..., 0],
    "None": np.s_[None],
    ":,None,1": np.s_[:, None, 1],
    "1:3,::2": np.s_[1:3, ::2],
    "-2:,...,-1": np.s_[-2:, ..., -1],
    "2:1": np.s_[2:1],
    ":,1:100": np.s_[:, 1:100],
    "...": np.s_[...],
}
"""What stands between the brackets, as Python takes it."""
BACKWARDS: Mapping[str, Any] = {
    "::-1": np.s_[::-1],
    ":,::-2": np.s_[:, ::-2],
    "...,3:0:-1": np.s_[..., 3:0:-1],
    "::-1,1,::-1": np.s_[::-1, 1, ::-1],
}


_OF_BLOCKS = (
    (BLOCKS[2, 2, 5], "1:3,::2"),
    (BLOCKS[2, 1, 5], "1:3,::2"),
    (BLOCKS[3, 4], "...,0"),
    (BLOCKS[5,], "1"),
    (BLOCKS[1, 3, 4, 5], "None"),
)
_OF_BLOCKS_BACKWARDS = ((BLOCKS[3, 4, 5], "::-1"), (BLOCKS[3, 4, 3], "...,3:0:-1"))


def _of(name: str, samples: Any, value: Any, *variants: Mapping[str, Any], page: str = "", **more: Any) -> Plain:
    several = samples if isinstance(samples, tuple) else (samples,)
    return Plain(name, page or MLX.format(name), value, several, variants, **more)


def _by(*indices: str) -> tuple[Mapping[str, Any], ...]:
    return tuple({"index": index} for index in indices)


def _with(pairs: Any) -> tuple[tuple[Sample, Mapping[str, Any]], ...]:
    return tuple((of, {"index": index}) for of, index in pairs)


def _take(x: np.ndarray, i: np.ndarray, axis: int | None = None) -> np.ndarray:
    return np.take(x, i, axis)


def _along(x: np.ndarray, i: np.ndarray, axis: int | None = -1) -> np.ndarray:
    return np.take_along_axis(x, i, axis)


def _put(x: np.ndarray, i: np.ndarray, y: np.ndarray, axis: int | None = None) -> np.ndarray:
    made = x.copy()
    np.put_along_axis(made, i, y, axis)
    return made


def _window(starts: np.ndarray, axes: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    """Of all axes: from a start, which is 0 where none is given, so many elements."""
    first = dict.fromkeys(range(len(sizes)), 0)
    first.update({axis % len(sizes): int(start) for axis, start in zip(axes, starts, strict=True)})
    return tuple(slice(first[n], first[n] + size) for n, size in enumerate(sizes))


def _slice(x: np.ndarray, i: np.ndarray, axes: Sequence[int], slice_size: Sequence[int]) -> np.ndarray:
    return x[_window(i, axes, slice_size)]


def _slice_update(x: np.ndarray, y: np.ndarray, i: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    made = x.copy()
    made[_window(i, axes, y.shape)] = y
    return made


def _as_strided(x: np.ndarray, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> np.ndarray:
    places = offset + sum(np.indices(shape)[n] * step for n, step in enumerate(strides))
    return x.reshape(-1)[places]


def _at(how: np.ufunc) -> Any:
    """Each update is applied, also where an index is there twice."""

    def value(x: np.ndarray, i: np.ndarray, y: np.ndarray, axis: int = 0) -> np.ndarray:
        made = x.copy()
        where: Any = (slice(None),) * axis + (i,)
        how.at(made, where, y)
        return made

    return value


def _share_of_kept(how: np.ufunc) -> Any:
    """An element gets the cotangent where it is the largest, or the smallest, itself; none is there twice."""
    return lambda g, x, i, y: np.where(_at(how)(x, i, y) == x, g, 0)


def _share_of_new(how: np.ufunc) -> Any:
    return lambda g, x, i, y: np.where(_at(how)(x, i, y)[i] == y, g[i], 0)


def _add_to(x: np.ndarray, y: np.ndarray, index: str) -> np.ndarray:
    made = x.copy()
    made[{**SLICES, **BACKWARDS}[index]] += y
    return made


def _getitem(x: np.ndarray, index: str) -> np.ndarray:
    return x[{**SLICES, **BACKWARDS}[index]]


def _setitem(x: np.ndarray, y: np.ndarray, index: str) -> np.ndarray:
    made = x.copy()
    made[{**SLICES, **BACKWARDS}[index]] = y
    return made


def _arrays(index: str, i: np.ndarray, j: np.ndarray) -> Any:
    return {
        "i": (i,),
        "i,j": (i, j),
        ":,i": (slice(None), i),
        ":,j": (slice(None), j),
        "...,j": (..., j),
        ":,i,j": (slice(None), i, j),
        "i,1:3": (i, slice(1, 3)),
        "i,2": (i, 2),
        "i,None,j": (i, None, j),
        "i,:,j": (i, slice(None), j),
    }[index]


def _by_arrays(x: np.ndarray, i: np.ndarray, j: np.ndarray, index: str) -> np.ndarray:
    return x[_arrays(index, i, j)]


def _set_by_arrays(x: np.ndarray, i: np.ndarray, j: np.ndarray, y: np.ndarray, index: str) -> np.ndarray:
    made = x.copy()
    made[_arrays(index, i, j)] = y
    return made


def _set_by_mask(x: np.ndarray, m: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(m, y, x)


_WINDOWS: tuple[Mapping[str, Any], ...] = (
    {"shape": (3, 4), "strides": (5, 2), "offset": 1},
    {"shape": (28, 3), "strides": (2, 1)},
    {"shape": (60,), "strides": (1,)},
    {"shape": (4, 5, 3), "strides": (5, 1, 20)},
    {"shape": (2, 3), "strides": (0, 1), "offset": 57},
    {"shape": (0, 3), "strides": (3, 1)},
)
_TAKEN = (
    _of(
        "take",
        (ROWS, BY_ONE, BY_SQUARE, BY_NONE, *BY_OTHERS),
        _take,
        {"axis": 0},
        {"axis": 1},
        {"axis": -1},
        calls=tuple((of, {"axis": 1}) for of in (BY_ONE, BY_SQUARE, BY_NONE)),
        moves=True,
    ),
    _of("take from the end", FROM_THE_END, _take, {"axis": 0}, {"axis": -1}, page=MLX.format("take"), moves=True),
    _of(
        "take_along_axis",
        (ALONG, ALONG_BACK),
        _along,
        {"axis": 1},
        calls=((ALONG_COLUMNS, {"axis": 0}), (ALONG_BY_ONE, {"axis": 1}), (ALONG_ALL, {"axis": None})),
        moves=True,
    ),
    _of(
        "put_along_axis",
        PUT,
        _put,
        {"axis": 1},
        {"axis": -1},
        calls=((PUT_COLUMNS, {"axis": 0}),),
        moves=True,
        moves_too=("y",),
        needs_options=True,
    ),
    _of(
        "put_along_axis by broadcasting",
        (PUT_ROW, PUT_ONE, PUT_EACH),
        _put,
        {"axis": 1},
        calls=((PUT_ONE, {"axis": 1}), (PUT_EACH, {"axis": 1})),
        page=MLX.format("put_along_axis"),
        moves=True,
        moves_too=("y",),
        needs_options=True,
    ),
    _of("put_along_axis of all", PUT_FLAT, _put, page=MLX.format("put_along_axis"), moves=True, moves_too=("y",)),
    _of(
        "slice",
        STARTS,
        _slice,
        {"axes": (0, 1), "slice_size": (2, 2, 5)},
        {"axes": (1, 2), "slice_size": (3, 2, 1)},
        {"axes": (-1, 0), "slice_size": (1, 4, 4)},
        calls=(
            (START, {"axes": (1,), "slice_size": (3, 3, 5)}),
            (START, {"axes": (2,), "slice_size": (3, 4, 0)}),
            (STARTS_OF_ALL, {"axes": (0, 1, 2), "slice_size": (3, 2, 4)}),
            (NOTHING_AT, {"axes": (1,), "slice_size": (0, 2)}),
        ),
        moves=True,
        needs_options=True,
    ),
    _of(
        "slice_update",
        UPDATED,
        _slice_update,
        {"axes": (0, 1)},
        calls=((UPDATED_LAST, {"axes": (2,)}), (UPDATED_LAST, {"axes": (-1,)}), (UPDATED_BY_NOTHING, {"axes": (1,)})),
        moves=True,
        moves_too=("y",),
        needs_options=True,
    ),
    _of("as_strided", CUBE, _as_strided, *_WINDOWS, moves=True, needs_options=True),
)
_CHANGED = (
    _of(
        "at add",
        NEW_ROWS,
        _at(np.add),
        page=AT,
        calls=((NEW_COLUMNS, {"axis": 1}), (NEW_NOTHING, {"axis": 0})),
        slopes={"x": lambda g, x, i, y: g, "y": lambda g, x, i, y: g[i]},
    ),
    _of("at add from the end", NEW_BACK, _at(np.add), page=AT),
    _of(
        "at subtract",
        SIGNED_ROWS,
        _at(np.subtract),
        page=AT,
        calls=((NEW_COLUMNS, {"axis": 1}),),
        slopes={"x": lambda g, x, i, y: g, "y": lambda g, x, i, y: -g[i]},
    ),
    _of("at multiply", POWERS, _at(np.multiply), page=AT, calls=((NEW_COLUMNS, {"axis": 1}),)),
    _of("at divide", POWERS_OF_FLOATS, _at(np.divide), page=AT),
    *(
        _of(
            f"at {how.__name__}",
            MIXED,
            _at(how),
            page=AT,
            calls=((NEW_COLUMNS, {"axis": 1}),),
            slopes={"x": _share_of_kept(how), "y": _share_of_new(how)},
        )
        for how in (np.maximum, np.minimum)
    ),
    _of(
        "at add to a slice",
        ADDED,
        _add_to,
        *_by("1:3,::2", "1", "...,0", "2:1", "...", "None", "::-1", "...,3:0:-1"),
        calls=_with((*_OF_BLOCKS, *_OF_BLOCKS_BACKWARDS)),
        page=AT,
        needs_options=True,
    ),
)
_BRACKETS = (
    _of(
        "getitem",
        CUBE,
        _getitem,
        *_by(*SLICES),
        page=INDEXED,
        calls=((NOTHING, {"index": "1:3,::2"}),),
        moves=True,
        needs_options=True,
    ),
    _of("getitem backwards", CUBE, _getitem, *_by(*BACKWARDS), page=INDEXED, moves=True, needs_options=True),
    _of(
        "getitem by arrays",
        COLUMNS,
        _by_arrays,
        *_by("i", "i,j", ":,i", "...,j", ":,i,j", "i,1:3", "i,2", "i,None,j", "i,:,j"),
        calls=_with(
            (
                *((SQUARES, index) for index in ("i", "i,j", ":,j", "i,:,j")),
                *((CROSSED, index) for index in ("i,j", "...,j", "i,:,j")),
                *((BACK, index) for index in ("i,j", ":,i", "i,1:3")),
            )
        ),
        page=INDEXED,
        moves=True,
        needs_options=True,
    ),
    _of("getitem by a mask", (MASKED, MASKED_ROWS), lambda x, m: x[m.astype(bool)], page=INDEXED, moves=True),
    _of(
        "setitem",
        NUMBER,
        _setitem,
        *_by("1:3,::2", "1", "-1", "...,0", "None", "-2:,...,-1", "2:1", "..."),
        calls=_with(_OF_BLOCKS),
        page=INDEXED,
        moves=True,
        moves_too=("y",),
        needs_options=True,
    ),
    _of(
        "setitem backwards",
        NUMBER,
        _setitem,
        *_by(*BACKWARDS),
        calls=_with(_OF_BLOCKS_BACKWARDS),
        page=INDEXED,
        moves=True,
        moves_too=("y",),
        needs_options=True,
    ),
    _of(
        "setitem by arrays",
        PLACED,
        _set_by_arrays,
        *_by("i,j", "i", ":,i", "i,1:3", "i,:,j"),
        calls=_with(
            (
                (BLOCKS_PLACED[3, 5], "i,j"),
                (BLOCKS_PLACED[5,], "i,j"),
                (BLOCKS_PLACED[3, 1], "i,j"),
                (BLOCKS_PLACED[3, 2, 5], "i,1:3"),
                (BLOCKS_PLACED[2, 5], "i,1:3"),
                (BLOCKS_PLACED[3, 3, 5], ":,i"),
                (BLOCKS_PLACED[3, 4], "i,:,j"),
            )
        ),
        page=INDEXED,
        moves=True,
        moves_too=("y",),
        needs_options=True,
    ),
    _of("setitem by a mask", MASKED_BY, _set_by_mask, page=INDEXED, moves=True, moves_too=("y",)),
)
INDEXING: Mapping[str, Plain] = {one.name: one for one in (*_TAKEN, *_CHANGED, *_BRACKETS)}
