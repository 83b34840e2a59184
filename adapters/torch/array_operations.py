"""How PyTorch spells the operations of `mlx.core`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Composition, Spelling, alike
from touchstone.adapters.torch import array_indexing, array_shapes

DTYPES = frozenset(["int8", "int16", "int32", "int64", "uint8", "bool", "complex64"])
"""Of arrays, beside those of floats."""
_OTHERWISE = {
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "power": "pow",
    "integer power": "pow",
    "negative": "neg",
    "bitwise_invert": "bitwise_not",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "equal": "eq",
    "not_equal": "ne",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
}
_WITHOUT_OPTIONS = (
    *("exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh"),
    *("arctanh", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "erf", "erfinv", "degrees", "radians", "power"),
    *("arctan2", "logaddexp", "abs", "negative", "sign", "square", "ceil", "floor", "round", "reciprocal"),
    *("isfinite", "isinf", "isnan", "isneginf", "isposinf", "logical_not", "bitwise_invert", "integer power"),
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "remainder", "floor_divide"),
    *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "where"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
)


def _clip(x: Any, a_min: float | None = None, a_max: float | None = None) -> Any:
    import torch

    return torch.clip(x, a_min, a_max)


def _allclose(a: Any, b: Any, equal_nan: bool = False) -> Any:
    """A Python bool there, and an array here."""
    import torch

    return torch.tensor(torch.allclose(a, b, equal_nan=equal_nan))


def _array_equal(a: Any, b: Any) -> Any:
    import torch

    return torch.tensor(torch.equal(a, b))


def _times_its_stopped_self(x: Any) -> Any:
    return x * x.detach()


OPERATIONS: Mapping[str, Spelling] = {
    **array_shapes.SHAPES,
    **array_indexing.INDEXING,
    **alike("torch", dict.fromkeys(_WITHOUT_OPTIONS, ()), _OTHERWISE),
    **alike("torch", {"nan_to_num": ("nan", "posinf", "neginf"), "isclose": ("rtol", "atol", "equal_nan")}),
    "allclose": Composition(_allclose, ("equal_nan",)),
    "array_equal": Composition(_array_equal),
    "stop_gradient": Composition(lambda x: x.detach()),
    "clip": Composition(_clip, ("a_min", "a_max")),
    "times its stopped self": Composition(_times_its_stopped_self),
}
_NARROW = "torch has this dtype for storage: few of its operations take it (torch.Tensor, data types)"
ABSENT: Mapping[str, str] = {
    **array_shapes.ABSENT,
    **array_indexing.ABSENT,
    **{f"array_dtype:{dtype}": _NARROW for dtype in ("uint16", "uint32", "uint64")},
    "operation:divmod": "torch has no divmod: floor_divide and remainder",
    "option:array_equal equal_nan": "torch.equal has no option",
}
