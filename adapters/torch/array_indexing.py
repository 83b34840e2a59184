"""How PyTorch spells taking elements by their place, and putting elements there: its indices are int64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Composition, Spelling
from touchstone.adapters.indexing import between_brackets


def _take(x: Any, i: Any, axis: int | None = None) -> Any:
    """torch.take is of all elements in their order; torch.index_select takes one row of indices along a dim."""
    import torch

    if axis is None:
        return torch.take(x, i.long())
    if i.ndim == 1:
        return torch.index_select(x, axis, i)
    return x[(slice(None),) * (axis % x.ndim) + (i,)]


def _take_along_axis(x: Any, i: Any, axis: int | None = -1) -> Any:
    import torch

    return torch.take_along_dim(x, i.long(), axis)


def _put(x: Any, i: Any, y: Any, axis: int) -> Any:
    import torch

    return torch.scatter(x, axis, i.long(), y)


def _put_of_all(x: Any, i: Any, y: Any) -> Any:
    import torch

    return torch.put(x, i.long(), y)


def _as_strided(x: Any, shape: Any, strides: Any, offset: int = 0) -> Any:
    import torch

    return torch.as_strided(x, shape, strides, offset)


def _add(x: Any, i: Any, y: Any, axis: int = 0, alpha: int = 1) -> Any:
    import torch

    return torch.index_add(x, axis, i, y, alpha=alpha)


def _subtract(x: Any, i: Any, y: Any, axis: int = 0) -> Any:
    return _add(x, i, y, axis, -1)


def _reduce(how: str) -> Composition:
    def made(x: Any, i: Any, y: Any, axis: int = 0) -> Any:
        import torch

        return torch.index_reduce(x, axis, i, y, how)

    return Composition(made, ("axis",))


def _get(x: Any, index: str) -> Any:
    return x[between_brackets(index)]


def _get_by_arrays(x: Any, i: Any, j: Any, index: str) -> Any:
    return x[between_brackets(index, i=i, j=j)]


def _set(x: Any, y: Any, index: str) -> Any:
    """On a copy: assignment changes the tensor."""
    made = x.clone()
    made[between_brackets(index)] = y
    return made


def _set_by_arrays(x: Any, i: Any, j: Any, y: Any, index: str) -> Any:
    made = x.clone()
    made[between_brackets(index, i=i, j=j)] = y
    return made


def _set_by_mask(x: Any, m: Any, y: Any) -> Any:
    made = x.clone()
    made[m] = y
    return made


INDEXING: Mapping[str, Spelling] = {
    "take": Composition(_take, ("axis",)),
    "take from the end": Composition(_take),
    "take_along_axis": Composition(_take_along_axis, ("axis",)),
    "put_along_axis": Composition(_put, ("axis",)),
    "put_along_axis of all": Composition(_put_of_all),
    "as_strided": Composition(_as_strided, ("shape", "strides", "offset")),
    "at add": Composition(_add, ("axis",)),
    "at subtract": Composition(_subtract, ("axis",)),
    "at multiply": _reduce("prod"),
    "at maximum": _reduce("amax"),
    "at minimum": _reduce("amin"),
    "getitem": Composition(_get, ("index",)),
    "getitem by arrays": Composition(_get_by_arrays, ("index",)),
    "getitem by a mask": Composition(lambda x, m: x[m]),
    "setitem": Composition(_set, ("index",)),
    "setitem by arrays": Composition(_set_by_arrays, ("index",)),
    "setitem by a mask": Composition(_set_by_mask),
}
_NO_STEP_BACK = "torch takes no negative step: torch.flip"
ABSENT: Mapping[str, str] = {
    "option:take from the end axis": "torch.index_select takes no index from the end: add the size of the dim",
    "operation:put_along_axis by broadcasting": "torch.scatter broadcasts nothing: torch.broadcast_to before it",
    "operation:slice": "torch has no function of several starts: x[a:b, c:d], or torch.narrow for each dim",
    "operation:slice_update": "torch has no function of several starts: torch.slice_scatter for each dim",
    "operation:at add from the end": "torch.index_add takes no index from the end: add the size of the dim",
    "operation:at divide": "torch.index_reduce has no quotient: multiply by reciprocals",
    "operation:at add to a slice": "torch.index_add takes indices alone: x[...] += y on a clone",
    "operation:getitem backwards": _NO_STEP_BACK,
    "operation:setitem backwards": _NO_STEP_BACK,
}
