"""How JAX spells taking elements by their place, and putting elements there: in a new array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Composition, Spelling, alike
from touchstone.adapters.indexing import between_brackets


def _put(x: Any, i: Any, y: Any, axis: int | None = None) -> Any:
    import jax.numpy as jnp

    return jnp.put_along_axis(x, i, y, axis, inplace=False)


def _starts(rank: int, i: Any, axes: Any) -> list[Any]:
    """One for each axis, as jax.lax takes them: 0 where none is given."""
    of = {axis % rank: n for n, axis in enumerate(axes)}
    return [i[of[n]] if n in of else 0 for n in range(rank)]


def _slice(x: Any, i: Any, axes: Any, slice_size: Any) -> Any:
    import jax

    return jax.lax.dynamic_slice(x, _starts(x.ndim, i, axes), slice_size)


def _slice_update(x: Any, y: Any, i: Any, axes: Any) -> Any:
    import jax

    return jax.lax.dynamic_update_slice(x, y, _starts(x.ndim, i, axes))


def _at(name: str) -> Composition:
    def made(x: Any, i: Any, y: Any, axis: int = 0) -> Any:
        return getattr(x.at[(slice(None),) * axis + (i,)], name)(y)

    return Composition(made, ("axis",))


def _add_to(x: Any, y: Any, index: str) -> Any:
    return x.at[between_brackets(index)].add(y)


def _get(x: Any, index: str) -> Any:
    return x[between_brackets(index)]


def _get_by_arrays(x: Any, i: Any, j: Any, index: str) -> Any:
    return x[between_brackets(index, i=i, j=j)]


def _set(x: Any, y: Any, index: str) -> Any:
    return x.at[between_brackets(index)].set(y)


def _set_by_arrays(x: Any, i: Any, j: Any, y: Any, index: str) -> Any:
    return x.at[between_brackets(index, i=i, j=j)].set(y)


INDEXING: Mapping[str, Spelling] = {
    **alike(
        "jax.numpy",
        {"take": ("axis",), "take from the end": ("axis",), "take_along_axis": ("axis",)},
        {"take from the end": "take"},
    ),
    **dict.fromkeys(("put_along_axis", "put_along_axis by broadcasting"), Composition(_put, ("axis",))),
    "put_along_axis of all": Composition(_put),
    "slice": Composition(_slice, ("axes", "slice_size")),
    "slice_update": Composition(_slice_update, ("axes",)),
    **{
        f"at {name}": _at(of)
        for name, of in (
            *((same, same) for same in ("add", "subtract", "multiply", "divide")),
            ("maximum", "max"),
            ("minimum", "min"),
        )
    },
    "at add from the end": _at("add"),
    "at add to a slice": Composition(_add_to, ("index",)),
    **dict.fromkeys(("getitem", "getitem backwards"), Composition(_get, ("index",))),
    "getitem by arrays": Composition(_get_by_arrays, ("index",)),
    **dict.fromkeys(("setitem", "setitem backwards"), Composition(_set, ("index",))),
    "setitem by arrays": Composition(_set_by_arrays, ("index",)),
}
ABSENT: Mapping[str, str] = {
    "operation:as_strided": "JAX arrays have no strides: jax.lax.slice and jax.lax.gather take windows",
    "operation:getitem by a mask": "under jax.jit no shape depends on a mask: jnp.where, or jnp.nonzero with a size",
    "operation:setitem by a mask": "under jax.jit no array is indexed by a mask: jnp.where",
}
