"""How `mlx.core.array` spells its members, and what it lacks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters import members

_AXES = {"axis": "axis", "axes": "axis", "keepdims": "keepdims"}
_ARG = {"axis": "axis", "keepdims": "keepdims"}
_SPREAD = {**_AXES, "ddof": "ddof", "correction": "correction"}
_ALONG = {"axis": "axis", "reverse": "reverse", "inclusive": "inclusive"}
_METHODS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("all", "any", "logsumexp", "max", "mean", "min", "prod", "sum"), _AXES),
    **dict.fromkeys(("argmax", "argmin"), _ARG),
    **dict.fromkeys(("std", "var"), _SPREAD),
    **dict.fromkeys(("cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"), _ALONG),
    **{key: {} for key in ("abs", "conj", "cos", "exp", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt")},
    **{key: {} for key in ("sin", "sqrt", "square")},
    "diag": {"k": "k"},
    "diagonal": {"offset": "offset", "axis1": "axis1", "axis2": "axis2"},
    "flatten": {"start_axis": "start_axis", "end_axis": "end_axis"},
    "moveaxis": {"source": "source", "destination": "destination"},
    "reshape": {"shape": "", "spread": ""},
    "round": {"decimals": "decimals"},
    "split": {"indices_or_sections": "", "axis": "axis"},
    "squeeze": {"axis": "axis"},
    "swapaxes": {"axis1": "axis1", "axis2": "axis2"},
    "transpose": {"axes": "", "spread": ""},
}


def _dtype(adapter: Any, name: str) -> Any:
    return getattr(adapter.mx, "bool_" if name == "bool" else name)


HOW = members.Members(
    module="mlx.core",
    methods=_METHODS,
    make=lambda adapter, source: adapter.mx.array(source),
    cast=lambda adapter, x, to: x.astype(_dtype(adapter, to)),
    view=lambda adapter, x, to: x.view(_dtype(adapter, to)),
    updates={name: name for name in members.UPDATES},
)
_NO_REFLECTED = "mlx.core.array has no operator of bits for a Python scalar on its left"
ABSENT: Mapping[str, str] = {
    f"array:operator {name} after a scalar": _NO_REFLECTED for name in ("&", "|", "^", "<<", ">>")
}
ANSWERS = members.answers(HOW)
QUESTIONS = members.declared(HOW, [need.partition(":")[2] for need in ABSENT])
