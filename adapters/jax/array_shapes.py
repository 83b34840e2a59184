"""How JAX spells what changes shapes and dtypes, and what makes arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from touchstone.adapters.calls import Call, Composition, Spelling, alike


def _of_several(name: str) -> Composition:
    """A function of a list of arrays."""

    def made(*arrays: Any, axis: int = 0) -> Any:
        import jax.numpy as jnp

        return getattr(jnp, name)(arrays, axis)

    return Composition(made, ("axis",))


def _concatenate_of_all(*arrays: Any) -> Any:
    import jax.numpy as jnp

    return jnp.concatenate(arrays, None)


def _flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Any:
    """jax.lax.collapse leaves out the axis it ends at."""
    import jax

    end = end_axis + 1
    return jax.lax.collapse(x, start_axis, end if end or end_axis >= 0 else None)


def _along(name: str, x: Any, axis: Any = None, axes: Any = None) -> Any:
    """Of one axis, or of several."""
    import jax.numpy as jnp

    return getattr(jnp, name)(x, axes if axis is None else axis)


def _repeat_by_counts(x: Any, repeats: tuple[int, ...], axis: int) -> Any:
    import jax.numpy as jnp

    return jnp.repeat(x, np.array(repeats), axis)


def _roll(x: Any, shift: Any, axis: Any = None) -> Any:
    import jax.numpy as jnp

    return jnp.roll(x, shift, axis)


def _full_of_an_array(x: Any, shape: Any) -> Any:
    import jax.numpy as jnp

    return jnp.full(shape, x)


def _arange(stop: float, start: float = 0, step: float = 1, dtype: str | None = None) -> Any:
    import jax.numpy as jnp

    return jnp.arange(start, stop, step, dtype)


def _cast(x: Any, to: str) -> Any:
    import jax.numpy as jnp

    return jnp.astype(x, to)


def _renamed(name: str, **takes: str) -> Call:
    return Call(f"jax.numpy.{name}", takes=takes)


SHAPES: Mapping[str, Spelling] = {
    **alike(
        "jax.numpy",
        {
            "reshape": ("shape",),
            "transpose": ("axes",),
            "swapaxes": ("axis1", "axis2"),
            "moveaxis": ("source", "destination"),
            "broadcast_to": ("shape",),
            "split": ("indices_or_sections", "axis"),
            "repeat": ("repeats", "axis"),
            "split into uneven parts": ("indices_or_sections", "axis"),
            "tile": ("reps",),
            "pad": ("pad_width", "constant_values"),
            "meshgrid": ("indexing", "sparse"),
            "tril": ("k",),
            "triu": ("k",),
            "diag": ("k",),
            "diag of a vector": ("k",),
            "diagonal": ("offset", "axis1", "axis2"),
            "trace": ("offset", "axis1", "axis2"),
            "zeros": ("shape", "dtype"),
            "ones": ("shape", "dtype"),
            "identity": ("n", "dtype"),
            **dict.fromkeys(("linspace", "linspace of tenths"), ("start", "stop", "num", "endpoint", "dtype")),
            **{f"atleast_{n}d": () for n in (1, 2, 3)},
            **{f"atleast_{n}d of several": () for n in (1, 2, 3)},
            **dict.fromkeys(("broadcast_arrays", "real", "imag", "conj", "conjugate"), ()),
        },
        {
            "diag of a vector": "diag",
            "linspace of tenths": "linspace",
            "split into uneven parts": "array_split",
            **{f"atleast_{n}d of several": f"atleast_{n}d" for n in (1, 2, 3)},
        },
    ),
    "repeat by counts": Composition(_repeat_by_counts, ("repeats", "axis")),
    "flatten": Composition(_flatten, ("start_axis", "end_axis")),
    **{name: Composition(partial(_along, name), ("axis", "axes")) for name in ("squeeze", "expand_dims")},
    "concatenate": _of_several("concatenate"),
    "concatenate of all": Composition(_concatenate_of_all),
    "stack": _of_several("stack"),
    **dict.fromkeys(("roll", "roll of several axes by one shift"), Composition(_roll, ("shift", "axis"))),
    **{
        f"pad {mode}": Call("jax.numpy.pad", {"mode": mode}, {"pad_width": "pad_width"})
        for mode in ("edge", "reflect", "symmetric")
    },
    "view": Composition(lambda x, to: x.view(to), ("to",)),
    "astype": Composition(_cast, ("to",)),
    "zeros_like": _renamed("zeros_like", to="dtype"),
    "ones_like": _renamed("ones_like", to="dtype"),
    **dict.fromkeys(
        ("full", "full of a whole number"), _renamed("full", shape="shape", vals="fill_value", dtype="dtype")
    ),
    "full of an array": Composition(_full_of_an_array, ("shape",)),
    **{name: _renamed(name, n="N", m="M", k="k", dtype="dtype") for name in ("eye", "tri")},
    **dict.fromkeys(
        ("arange", "arange of whole numbers", "arange to before its start"),
        Composition(_arange, ("start", "stop", "step", "dtype")),
    ),
}
ABSENT: Mapping[str, str] = {
    "operation:unflatten": "jax.numpy has no unflatten: jnp.reshape with the whole shape",
    "operation:contiguous of a transpose": "JAX arrays have no strides that a caller sees: every one is dense",
}
