"""How `torch.Tensor` spells the members of MLX's array, and what it lacks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters import members

_AXES = {"axis": "dim", "axes": "dim", "keepdims": "keepdim"}
_AXIS = {"axis": "dim", "keepdims": "keepdim"}
_METHODS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("all", "any", "logsumexp", "mean", "sum"), _AXES),
    **dict.fromkeys(("argmax", "argmin", "max", "min", "prod"), _AXIS),
    **{key: {**_AXES, "ddof": "correction", "correction": "correction"} for key in ("std", "var")},
    **{key: {"axis": "dim"} for key in ("cummax", "cummin", "cumprod", "cumsum", "logcumsumexp")},
    **{key: {} for key in ("abs", "conj", "cos", "exp", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt")},
    **{key: {} for key in ("sin", "sqrt", "square")},
    "diag": {"k": "diagonal"},
    "diagonal": {"offset": "offset", "axis1": "dim1", "axis2": "dim2"},
    "flatten": {"start_axis": "start_dim", "end_axis": "end_dim"},
    "moveaxis": {"source": "source", "destination": "destination"},
    "reshape": {"shape": "", "spread": ""},
    "round": {"decimals": "decimals"},
    "split": {"indices_or_sections": "", "axis": "dim"},
    "squeeze": {"axis": "dim"},
    "swapaxes": {"axis1": "axis0", "axis2": "axis1"},
    "transpose": {"axes": "", "spread": ""},
}
_CALLED = {"transpose": "permute", "split": "tensor_split"}
_FUNCTIONS = {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "power": "pow",
    "negative": "neg",
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "bitwise_invert": "bitwise_not",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
}


def _dtype(adapter: Any, name: str) -> Any:
    return getattr(adapter.torch, name)


HOW = members.Members(
    module="torch",
    methods=_METHODS,
    make=lambda adapter, source: adapter.torch.tensor(source, device=adapter.device),
    cast=lambda adapter, x, to: x.to(_dtype(adapter, to)),
    view=lambda adapter, x, to: x.view(_dtype(adapter, to)),
    called=_CALLED,
    functions={name: f"torch.{own}" for name, own in _FUNCTIONS.items()},
    always={key: {"correction": 0} for key in ("std", "var")},
    lifted=lambda adapter, value: adapter.torch.tensor(value, device=adapter.device),
)
_ONE_AXIS = ("cummax", "cummin", "cumprod", "cumsum", "logcumsumexp", "logsumexp")
ABSENT: Mapping[str, str] = {
    **{f"array:member {name}": f"torch.Tensor.{name} takes an axis always" for name in _ONE_AXIS},
    "array:member transpose": "torch.Tensor.permute takes its axes always",
    **{
        f"array:option {name} {option}": f"torch.Tensor.{name} has no such option"
        for name in _ONE_AXIS[:-1]
        for option in ("reverse", "inclusive")
    },
    **{f"array:option {name} axes": f"torch.Tensor.{name} takes one axis" for name in ("max", "min", "prod")},
    **{
        f"array:at {name}": "torch.Tensor has no attribute `at`: see index_add and index_put"
        for name in members.UPDATES
    },
}
ANSWERS = members.answers(HOW)
QUESTIONS = members.declared(HOW, [need.partition(":")[2] for need in ABSENT])
