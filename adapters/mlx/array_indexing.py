"""How MLX spells taking elements by their place, and putting elements there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Composition, Spelling, alike
from touchstone.adapters.indexing import between_brackets


def _put(x: Any, i: Any, y: Any, axis: int | None = None) -> Any:
    import mlx.core as mx

    return mx.put_along_axis(x, i, y, axis)


def _at(name: str) -> Composition:
    def made(x: Any, i: Any, y: Any, axis: int = 0) -> Any:
        return getattr(x.at[(slice(None),) * axis + (i,)] if axis else x.at[i], name)(y)

    return Composition(made, ("axis",))


def _add_to(x: Any, y: Any, index: str) -> Any:
    return x.at[between_brackets(index)].add(y)


def _get(x: Any, index: str) -> Any:
    return x[between_brackets(index)]


def _get_by_arrays(x: Any, i: Any, j: Any, index: str) -> Any:
    return x[between_brackets(index, i=i, j=j)]


def _set(x: Any, y: Any, index: str) -> Any:
    """On a copy: assignment changes the array."""
    import mlx.core as mx

    made = mx.array(x)
    made[between_brackets(index)] = y
    return made


def _set_by_arrays(x: Any, i: Any, j: Any, y: Any, index: str) -> Any:
    import mlx.core as mx

    made = mx.array(x)
    made[between_brackets(index, i=i, j=j)] = y
    return made


def _set_by_mask(x: Any, m: Any, y: Any) -> Any:
    import mlx.core as mx

    made = mx.array(x)
    made[m] = y
    return made


INDEXING: Mapping[str, Spelling] = {
    **alike(
        "mlx.core",
        {
            "take": ("axis",),
            "take from the end": ("axis",),
            "take_along_axis": ("axis",),
            "slice": ("axes", "slice_size"),
            "slice_update": ("axes",),
            "as_strided": ("shape", "strides", "offset"),
        },
        {"take from the end": "take"},
    ),
    **dict.fromkeys(("put_along_axis", "put_along_axis by broadcasting"), Composition(_put, ("axis",))),
    "put_along_axis of all": Composition(_put),
    **{f"at {name}": _at(name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    "at add from the end": _at("add"),
    "at add to a slice": Composition(_add_to, ("index",)),
    **dict.fromkeys(("getitem", "getitem backwards"), Composition(_get, ("index",))),
    "getitem by arrays": Composition(_get_by_arrays, ("index",)),
    **dict.fromkeys(("setitem", "setitem backwards"), Composition(_set, ("index",))),
    "setitem by arrays": Composition(_set_by_arrays, ("index",)),
    "setitem by a mask": Composition(_set_by_mask),
}
ABSENT: Mapping[str, str] = {
    "operation:getitem by a mask": "MLX takes no boolean index: mx.where where the shape may stay as it is",
}
