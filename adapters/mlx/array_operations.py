"""How MLX spells the operations of `mlx.core`: by their own names, and with their own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Call, Composition, Spelling, alike
from touchstone.adapters.mlx import array_indexing, array_shapes

DTYPES = frozenset(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "complex64"])
"""Of arrays, beside those of floats."""
_WITHOUT_OPTIONS = (
    *("exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh"),
    *("arctanh", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "erf", "erfinv", "degrees", "radians", "power"),
    *("arctan2", "logaddexp", "abs", "negative", "sign", "square", "ceil", "floor", "round", "reciprocal"),
    *("isfinite", "isinf", "isnan", "isneginf", "isposinf", "logical_not", "stop_gradient", "bitwise_invert"),
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "remainder", "floor_divide", "divmod"),
    *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "where"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
)


def _clip(x: Any, a_min: float | None = None, a_max: float | None = None) -> Any:
    """Both ends are positional, and may be None."""
    import mlx.core as mx

    return mx.clip(x, a_min, a_max)


def _times_its_stopped_self(x: Any) -> Any:
    import mlx.core as mx

    return x * mx.stop_gradient(x)


_AXIS = ("axis",)
_AXES = ("axis", "keepdims")
_ALONG = ("axis", "reverse", "inclusive")
_REDUCTIONS: Mapping[str, Spelling] = alike(
    "mlx.core",
    {
        **dict.fromkeys(("sum", "prod", "mean", "logsumexp", "max", "min", "all", "any", "argmax", "argmin"), _AXES),
        **dict.fromkeys(("var", "std"), (*_AXES, "ddof")),
        "median": _AXES,
        **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin"), _ALONG),
        **dict.fromkeys(("sort", "argsort", "stable argsort"), _AXIS),
        "topk": ("k", "axis"),
        **dict.fromkeys(("partition", "argpartition"), ("kth", "axis")),
    },
    {"stable argsort": "argsort"},
)

_ROWS: Mapping[str, Spelling] = {
    f"{name} of rows": Call(f"mlx.core.{name}", {"axis": -1}, {"ddof": "ddof"} if name in ("var", "std") else {})
    for name in ("sum", "mean", "var", "std", "prod", "logsumexp", "cumsum", "cumprod", "logcumsumexp")
}


def _einsum(*operands: Any, subscripts: str) -> Any:
    import mlx.core as mx

    return mx.einsum(subscripts, *operands)


def _tensordot(x: Any, y: Any, axes: Any) -> Any:
    import mlx.core as mx

    return mx.tensordot(x, y, axes if isinstance(axes, int) else [list(one) for one in axes])


def _block_masked(x: Any, y: Any, mask: Any) -> Any:
    import mlx.core as mx

    return mx.block_masked_mm(x, y, 32, mask)


def _einsum_path(*operands: Any, subscripts: str) -> Any:
    import mlx.core as mx

    return mx.array([list(step) for step in mx.einsum_path(subscripts, *operands)[0]])


def _gather_qmm(x: Any, w: Any, i: Any) -> Any:
    import mlx.core as mx

    parts = mx.quantize(w, group_size=32, bits=4)
    return mx.gather_qmm(x, *parts, rhs_indices=i, transpose=True, group_size=32, bits=4)


def _issubdtype(kind: str, category: str) -> Any:
    import mlx.core as mx

    return mx.array(mx.issubdtype(getattr(mx, "bool_" if kind == "bool" else kind), getattr(mx, category)))


_PRODUCTS: Mapping[str, Spelling] = {
    **alike(
        "mlx.core",
        {
            **dict.fromkeys(("matmul", "inner", "outer", "kron", "gather_mm"), ()),
            "addmm": ("alpha", "beta"),
            "convolve": ("mode",),
            "hadamard_transform": ("scale",),
            "conv_general": ("flip", "input_dilation"),
            "addmm, of batches": (),
            "outer, of matrices": (),
        },
        {"addmm, of batches": "addmm", "outer, of matrices": "outer"},
    ),
    "einsum": Composition(_einsum, ("subscripts",)),
    "tensordot": Composition(_tensordot, ("axes",)),
    "block_masked_mm": Composition(_block_masked),
    "einsum_path": Composition(_einsum_path, ("subscripts",)),
    "gather_qmm": Composition(_gather_qmm),
    "issubdtype": Composition(_issubdtype, ("kind", "category")),
}

OPERATIONS: Mapping[str, Spelling] = {
    **array_shapes.SHAPES,
    **array_indexing.INDEXING,
    **_REDUCTIONS,
    **_PRODUCTS,
    **_ROWS,
    "softmax, precise": Call("mlx.core.softmax", {"axis": -1, "precise": True}),
    **alike("mlx.core", dict.fromkeys(_WITHOUT_OPTIONS, ())),
    **alike(
        "mlx.core",
        {
            "nan_to_num": ("nan", "posinf", "neginf"),
            "isclose": ("rtol", "atol", "equal_nan"),
            "allclose": ("equal_nan",),
            "array_equal": ("equal_nan",),
        },
    ),
    **alike("mlx.core", {"integer power": ()}, {"integer power": "power"}),
    "clip": Composition(_clip, ("a_min", "a_max")),
    "times its stopped self": Composition(_times_its_stopped_self),
}
ABSENT: Mapping[str, str] = {
    **array_indexing.ABSENT,
    "operation:sum in float32": "mx.sum has no dtype: cast x before",
    "operation:repeat by counts": "mx.repeat takes one count for all",
    "operation:split into uneven parts": "mx.split takes a number of sections that divides the axis: give split points",
}
