"""How PyTorch spells what changes shapes and dtypes, and what makes arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from touchstone.adapters.calls import Call, Composition, Spelling, alike


def _positional(name: str, *takes: str) -> Composition:
    """A function that takes its options in this order after the array."""

    def made(x: Any, **options: Any) -> Any:
        import torch

        return getattr(torch, name)(x, *(options[option] for option in takes if option in options))

    return Composition(made, takes)


def _of_several(name: str) -> Composition:
    """A function of a list of arrays along one dim."""

    def made(*arrays: Any, axis: int = 0) -> Any:
        import torch

        return getattr(torch, name)(arrays, axis)

    return Composition(made, ("axis",))


def _transpose(x: Any, axes: Any = None) -> Any:
    """All of the dims: torch.transpose swaps two."""
    import torch

    return torch.permute(x, tuple(reversed(range(x.ndim))) if axes is None else axes)


def _squeeze(x: Any, axis: Any = None, axes: Any = None) -> Any:
    import torch

    dims = axes if axis is None else axis
    return torch.squeeze(x) if dims is None else torch.squeeze(x, dims)


def _split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """torch.split takes sizes."""
    import torch

    return torch.tensor_split(x, indices_or_sections, axis)


def _repeat_by_counts(x: Any, repeats: tuple[int, ...], axis: int) -> Any:
    import torch

    return torch.repeat_interleave(x, torch.tensor(repeats, device=x.device), axis)


def _repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Tensor.repeat tiles."""
    import torch

    return torch.repeat_interleave(x, repeats, axis)


def _tile(x: Any, reps: Any) -> Any:
    import torch

    return torch.tile(x, (reps,) if isinstance(reps, int) else reps)


def _roll(x: Any, shift: Any, axis: Any = None) -> Any:
    import torch

    return torch.roll(x, shift, axis)


def _pad(x: Any, pad_width: Any, constant_values: float = 0) -> Any:
    """Before and after the last dim, and so on to the first."""
    from torch.nn import functional

    pair = (pad_width, pad_width) if isinstance(pad_width, int) else pad_width
    each: Any = pair if isinstance(pair[0], tuple) else (pair,) * x.ndim
    return functional.pad(x, tuple(n for of in reversed(each) for n in of), value=constant_values)


def _pad_by(mode: str, x: Any, pad_width: Any) -> Any:
    """The last two dims alone."""
    from torch.nn import functional

    return functional.pad(x, tuple(n for of in reversed(pad_width[-2:]) for n in of), mode)


def _meshgrid(*arrays: Any, indexing: str = "xy") -> Any:
    import torch

    return torch.meshgrid(*arrays, indexing=indexing)


def _cast(x: Any, to: str) -> Any:
    import torch

    return x.to(getattr(torch, to))


def _view(x: Any, to: str) -> Any:
    import torch

    return x.view(getattr(torch, to))


def _like(name: str, x: Any, to: str = "") -> Any:
    import torch

    return getattr(torch, name)(x, dtype=getattr(torch, to) if to else None)


def _making(function: Callable[..., Any], *takes: str) -> Composition:
    """A function of options alone, the dtype among them."""

    def made(dtype: str = "", **options: Any) -> Any:
        import torch

        return function(torch, **options, **({"dtype": getattr(torch, dtype)} if dtype else {}))

    return Composition(made, (*takes, "dtype"))


def _shaped(name: str) -> Any:
    return lambda torch, shape, **more: getattr(torch, name)(shape, **more)


def _full(torch: Any, shape: Any, vals: Any, **more: Any) -> Any:
    return torch.full((shape,) if isinstance(shape, int) else shape, vals, **more)


def _eye(torch: Any, n: int, m: int | None = None, **more: Any) -> Any:
    return torch.eye(n, n if m is None else m, **more)


def _arange(torch: Any, stop: float, start: float = 0, step: float = 1, **more: Any) -> Any:
    return torch.arange(start, stop, step, **more)


def _linspace(torch: Any, start: float, stop: float, num: int = 50, **more: Any) -> Any:
    return torch.linspace(start, stop, num, **more)


SHAPES: Mapping[str, Spelling] = {
    **alike(
        "torch",
        {
            **{f"atleast_{n}d": () for n in (1, 2, 3)},
            **{f"atleast_{n}d of several": () for n in (1, 2, 3)},
            **dict.fromkeys(("broadcast_arrays", "trace", "real", "conj", "conjugate"), ()),
        },
        {
            "broadcast_arrays": "broadcast_tensors",
            "conjugate": "conj",
            **{f"atleast_{n}d of several": f"atleast_{n}d" for n in (1, 2, 3)},
        },
    ),
    "reshape": _positional("reshape", "shape"),
    "flatten": Call("torch.flatten", takes={"start_axis": "start_dim", "end_axis": "end_dim"}),
    "unflatten": _positional("unflatten", "axis", "shape"),
    "squeeze": Composition(_squeeze, ("axis", "axes")),
    "expand_dims": Call("torch.unsqueeze", takes={"axis": "dim"}),
    "transpose": Composition(_transpose, ("axes",)),
    "swapaxes": _positional("swapaxes", "axis1", "axis2"),
    "moveaxis": _positional("moveaxis", "source", "destination"),
    "broadcast_to": _positional("broadcast_to", "shape"),
    "contiguous of a transpose": Composition(lambda x: _transpose(x).contiguous()),
    "concatenate": _of_several("cat"),
    "stack": _of_several("stack"),
    "split": Composition(_split, ("indices_or_sections", "axis")),
    "split into uneven parts": Composition(_split, ("indices_or_sections", "axis")),
    "repeat": Composition(_repeat, ("repeats", "axis")),
    "repeat by counts": Composition(_repeat_by_counts, ("repeats", "axis")),
    "tile": Composition(_tile, ("reps",)),
    "roll": Composition(_roll, ("shift", "axis")),
    "pad": Composition(_pad, ("pad_width", "constant_values")),
    "pad edge": Composition(partial(_pad_by, "replicate"), ("pad_width",)),
    "pad reflect": Composition(partial(_pad_by, "reflect"), ("pad_width",)),
    "meshgrid": Composition(_meshgrid, ("indexing",)),
    "tril": Call("torch.tril", takes={"k": "diagonal"}),
    "triu": Call("torch.triu", takes={"k": "diagonal"}),
    **dict.fromkeys(("diag", "diag of a vector"), Call("torch.diag", takes={"k": "diagonal"})),
    "diagonal": Call("torch.diagonal", takes={"offset": "offset", "axis1": "dim1", "axis2": "dim2"}),
    "view": Composition(_view, ("to",)),
    "astype": Composition(_cast, ("to",)),
    **{name: Composition(partial(_like, name), ("to",)) for name in ("zeros_like", "ones_like")},
    "zeros": _making(_shaped("zeros"), "shape"),
    "ones": _making(_shaped("ones"), "shape"),
    **dict.fromkeys(("full", "full of a whole number"), _making(_full, "shape", "vals")),
    "eye": _making(_eye, "n", "m"),
    "identity": _making(_eye, "n"),
    **dict.fromkeys(("arange", "arange of whole numbers"), _making(_arange, "start", "stop", "step")),
    **dict.fromkeys(("linspace", "linspace of tenths"), _making(_linspace, "start", "stop", "num")),
}
_A_MATRIX = "torch.trace takes a matrix and its main diagonal: torch.diagonal, and the sum of its last dim"
ABSENT: Mapping[str, str] = {
    "operation:roll of several axes by one shift": "torch.roll takes a shift for each of its dims",
    "operation:imag": "torch.imag takes complex numbers alone: torch.zeros_like of real ones",
    "operation:concatenate of all": "torch.cat takes a dim: torch.cat of what torch.flatten gives",
    "operation:tri": "torch has no tri: torch.tril(torch.ones(n, m), k)",
    "operation:pad symmetric": "torch.nn.functional.pad repeats no edge in reflection: torch.cat with torch.flip",
    "operation:full of an array": "torch.full takes one number: torch.broadcast_to",
    "option:expand_dims axes": "torch.unsqueeze takes one dim: call it once for each",
    "option:contiguous of a transpose allow_col_major": "torch has no such option: Tensor.contiguous makes rows",
    "option:meshgrid sparse": "torch.meshgrid has no sparse grids: torch.reshape",
    "option:eye k": "torch.eye has no diagonal but the main one: torch.diag(torch.ones(n), k)",
    **{
        f"option:{name} endpoint": "torch.linspace holds both ends: torch.arange leaves out the last"
        for name in ("linspace", "linspace of tenths")
    },
    "operation:arange to before its start": "torch.arange refuses an end before its start: torch.empty(0)",
    **{f"option:trace {option}": _A_MATRIX for option in ("offset", "axis1", "axis2")},
}
