"""How MLX spells what changes shapes and dtypes, and what makes arrays: by its own names, with its own options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from touchstone.adapters.calls import Composition, Spelling, alike


def dtype_of(name: str) -> Any:
    """MLX's dtype of a name."""
    import mlx.core as mx

    return getattr(mx, "bool_" if name == "bool" else name)


def _positional(name: str, *takes: str, **defaults: Any) -> Composition:
    """A function that takes its options in this order after the array."""

    def made(x: Any, **options: Any) -> Any:
        import mlx.core as mx

        return getattr(mx, name)(x, *(options.get(option, defaults.get(option)) for option in takes))

    return Composition(made, takes)


def _of_several(name: str, *takes: str) -> Composition:
    """A function of a list of arrays."""

    def made(*arrays: Any, **options: Any) -> Any:
        import mlx.core as mx

        return getattr(mx, name)(list(arrays), **options)

    return Composition(made, takes)


def _concatenate_of_all(*arrays: Any) -> Any:
    import mlx.core as mx

    return mx.concatenate(list(arrays), None)


def _along(name: str, x: Any, axis: Any = None, axes: Any = None) -> Any:
    """Of one axis, or of several."""
    import mlx.core as mx

    return getattr(mx, name)(x, axis=axes if axis is None else axis)


def _pad(x: Any, mode: Any = "constant", **options: Any) -> Any:
    import mlx.core as mx

    return mx.pad(x, mode=mode, **options)


def _contiguous(x: Any, allow_col_major: bool = False) -> Any:
    import mlx.core as mx

    return mx.contiguous(mx.transpose(x), allow_col_major)


def _cast(name: str, x: Any, to: str) -> Any:
    import mlx.core as mx

    return getattr(mx, name)(x, dtype_of(to))


def _like(name: str, x: Any, to: str = "") -> Any:
    import mlx.core as mx

    return getattr(mx, name)(x, dtype=dtype_of(to) if to else None)


def _made(name: str, *takes: str) -> Composition:
    """A function of options alone."""

    def made(dtype: str = "", **options: Any) -> Any:
        import mlx.core as mx

        return getattr(mx, name)(**options, **({"dtype": dtype_of(dtype)} if dtype else {}))

    return Composition(made, (*takes, "dtype"))


def _arange(stop: float, start: float = 0, step: float = 1, dtype: str = "") -> Any:
    import mlx.core as mx

    return mx.arange(start, stop, step, **({"dtype": dtype_of(dtype)} if dtype else {}))


def _tri(n: int, m: int | None = None, k: int = 0, dtype: str = "") -> Any:
    import mlx.core as mx

    return mx.tri(n, m, k, **({"dtype": dtype_of(dtype)} if dtype else {}))


def _full_of_an_array(x: Any, shape: Any) -> Any:
    import mlx.core as mx

    return mx.full(shape, x)


def _named(function: Callable[..., Any], *names: str, takes: tuple[str, ...]) -> dict[str, Spelling]:
    return {name: Composition(partial(function, name), takes) for name in names}


SHAPES: Mapping[str, Spelling] = {
    **alike(
        "mlx.core",
        {
            "flatten": ("start_axis", "end_axis"),
            "transpose": ("axes",),
            "diagonal": ("offset", "axis1", "axis2"),
            "trace": ("offset", "axis1", "axis2"),
            "tril": ("k",),
            "triu": ("k",),
            "diag": ("k",),
            "diag of a vector": ("k",),
            "split": ("indices_or_sections", "axis"),
            "repeat": ("repeats", "axis"),
            "meshgrid": ("indexing", "sparse"),
            "broadcast_arrays": (),
            **{f"atleast_{n}d": () for n in (1, 2, 3)},
            **{f"atleast_{n}d of several": () for n in (1, 2, 3)},
            **dict.fromkeys(("real", "imag", "conj", "conjugate"), ()),
        },
        {"diag of a vector": "diag", **{f"atleast_{n}d of several": f"atleast_{n}d" for n in (1, 2, 3)}},
    ),
    "reshape": _positional("reshape", "shape"),
    "unflatten": _positional("unflatten", "axis", "shape"),
    "swapaxes": _positional("swapaxes", "axis1", "axis2"),
    "moveaxis": _positional("moveaxis", "source", "destination"),
    "broadcast_to": _positional("broadcast_to", "shape"),
    "tile": _positional("tile", "reps"),
    **dict.fromkeys(("roll", "roll of several axes by one shift"), _positional("roll", "shift", "axis")),
    "concatenate": _of_several("concatenate", "axis"),
    "concatenate of all": Composition(_concatenate_of_all),
    "stack": _of_several("stack", "axis"),
    "pad": Composition(_pad, ("pad_width", "constant_values")),
    **{
        f"pad {mode}": Composition(partial(_pad, mode=mode), ("pad_width",))
        for mode in ("edge", "reflect", "symmetric")
    },
    "contiguous of a transpose": Composition(_contiguous, ("allow_col_major",)),
    **_named(_along, "squeeze", "expand_dims", takes=("axis", "axes")),
    **_named(_cast, "view", "astype", takes=("to",)),
    **_named(_like, "zeros_like", "ones_like", takes=("to",)),
    "zeros": _made("zeros", "shape"),
    "ones": _made("ones", "shape"),
    "full": _made("full", "shape", "vals"),
    "full of a whole number": _made("full", "shape", "vals"),
    "full of an array": Composition(_full_of_an_array, ("shape",)),
    "eye": _made("eye", "n", "m", "k"),
    "identity": _made("identity", "n"),
    "tri": Composition(_tri, ("n", "m", "k", "dtype")),
    **dict.fromkeys(
        ("arange", "arange of whole numbers", "arange to before its start"),
        Composition(_arange, ("start", "stop", "step", "dtype")),
    ),
    **dict.fromkeys(("linspace", "linspace of tenths"), _made("linspace", "start", "stop", "num", "endpoint")),
}
