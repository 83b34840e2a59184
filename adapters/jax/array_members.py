"""How `jax.Array` spells the members of MLX's array, and what it lacks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters import members

_AXES = {"axis": "axis", "axes": "axis", "keepdims": "keepdims"}
_METHODS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("all", "any", "max", "mean", "min", "prod", "sum"), _AXES),
    **{key: {"axis": "axis", "keepdims": "keepdims"} for key in ("argmax", "argmin")},
    **{key: {**_AXES, "ddof": "ddof", "correction": "correction"} for key in ("std", "var")},
    **{key: {"axis": "axis"} for key in ("cumprod", "cumsum")},
    "conj": {},
    "diagonal": {"offset": "offset", "axis1": "axis1", "axis2": "axis2"},
    "flatten": {},
    "reshape": {"shape": "", "spread": ""},
    "round": {"decimals": "decimals"},
    "squeeze": {"axis": "axis"},
    "swapaxes": {"axis1": "axis1", "axis2": "axis2"},
    "transpose": {"axes": "", "spread": ""},
}
_UPDATES = {"maximum": "max", "minimum": "min"}


def _dtype(adapter: Any, name: str) -> Any:
    return getattr(adapter.jnp, "bool_" if name == "bool" else name)


HOW = members.Members(
    module="jax.numpy",
    methods=_METHODS,
    make=lambda adapter, source: adapter.jnp.array(source),
    cast=lambda adapter, x, to: x.astype(_dtype(adapter, to)),
    view=lambda adapter, x, to: x.view(_dtype(adapter, to)),
    functions={"flatten": "jax.numpy.ravel"},
    updates={name: _UPDATES.get(name, name) for name in members.UPDATES},
)
_WITHOUT: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("abs", "cos", "exp", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sin"), ()),
    **dict.fromkeys(("sqrt", "square"), ()),
    **dict.fromkeys(("cummax", "cummin", "logcumsumexp"), ("axis", "reverse", "inclusive")),
    "logsumexp": ("axis", "axes", "keepdims"),
    "diag": ("k",),
    "moveaxis": ("source", "destination"),
    "split": ("indices_or_sections", "axis"),
}
"""Methods that it lacks, with the options that a case gives them."""
_NO_METHOD = "jax.Array has no method of this name: jax.numpy, jax.lax or jax.nn has the function"
ABSENT: Mapping[str, str] = {
    **{f"array:member {name}": _NO_METHOD for name in _WITHOUT},
    **{f"array:option {name} {option}": _NO_METHOD for name, options in _WITHOUT.items() for option in options},
    **{
        f"array:option {name} {option}": f"jax.Array.{name} has no such option"
        for name in ("cumprod", "cumsum")
        for option in ("reverse", "inclusive")
    },
    **{f"array:option flatten {option}": "jax.Array.flatten takes no axes" for option in ("start_axis", "end_axis")},
    "array:in place [1] =": "JAX arrays are immutable: x.at[1].set gives another",
}
ANSWERS = members.answers(HOW)
QUESTIONS = members.declared(HOW, [need.partition(":")[2] for need in ABSENT])
