"""How JAX spells the operations of `mlx.core`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Call, Composition, Spelling, alike
from touchstone.adapters.jax import array_indexing, array_shapes

DTYPES = frozenset(["int8", "int16", "int32", "uint8", "uint16", "uint32", "bool", "complex64"])
"""Of arrays, beside those of floats."""
_OTHERWISE = {"integer power": "power"}
_WITHOUT_OPTIONS = (
    *("exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh"),
    *("arctanh", "log", "log1p", "log2", "log10", "sqrt", "degrees", "radians", "power"),
    *("arctan2", "logaddexp", "abs", "negative", "sign", "square", "ceil", "floor", "round", "reciprocal"),
    *("isfinite", "isinf", "isnan", "isneginf", "isposinf", "logical_not", "bitwise_invert", "integer power"),
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "remainder", "floor_divide", "divmod"),
    *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "where"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
)


def _clip(x: Any, a_min: float | None = None, a_max: float | None = None) -> Any:
    import jax.numpy as jnp

    return jnp.clip(x, a_min, a_max)


def _times_its_stopped_self(x: Any) -> Any:
    import jax

    return x * jax.lax.stop_gradient(x)


_ONE_WAY = ("axis",)
_AXES = ("axis", "keepdims")


def _scan(name: str, without_axis: bool) -> Composition:
    """jnp's scans go forwards; those of jax.lax go backwards too, along an axis that they need."""

    def made(x: Any, axis: int | None = None, reverse: bool = False) -> Any:
        import jax

        if without_axis and not reverse:
            return getattr(jax.numpy, name)(x, axis)
        return getattr(jax.lax, name)(x.reshape(-1) if axis is None else x, (axis or 0) % x.ndim, reverse)

    return Composition(made, ("axis", "reverse"))


def _topk(x: Any, k: int, axis: int = -1) -> Any:
    import jax

    return jax.lax.top_k(x, k, axis=axis)[0]


def _sum_in_float32(x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.sum(x, dtype=jnp.float32)


_REDUCTIONS: Mapping[str, Spelling] = {
    "sum in float32": Composition(_sum_in_float32),
    **alike(
        "jax.numpy",
        {
            **dict.fromkeys(("sum", "prod", "mean", "max", "min", "all", "any", "argmax", "argmin", "median"), _AXES),
            **dict.fromkeys(("var", "std"), (*_AXES, "ddof")),
            **dict.fromkeys(("sort", "argsort", "stable argsort"), _ONE_WAY),
            **dict.fromkeys(("partition", "argpartition"), ("kth", "axis")),
        },
        {"stable argsort": "argsort"},
    ),
    "logsumexp": Call("jax.nn.logsumexp", takes={"axis": "axis", "keepdims": "keepdims"}),
    **{name: _scan(name, True) for name in ("cumsum", "cumprod")},
    **{name: _scan(name, False) for name in ("cummax", "cummin")},
    "topk": Composition(_topk, ("k", "axis")),
}


def _logcumsumexp(x: Any) -> Any:
    import jax

    return jax.lax.cumlogsumexp(x, axis=x.ndim - 1)


_ROWS: Mapping[str, Spelling] = {
    **{
        f"{name} of rows": Call(f"jax.numpy.{name}", {"axis": -1}, {"ddof": "ddof"} if name in ("var", "std") else {})
        for name in ("sum", "mean", "var", "std", "prod", "cumsum", "cumprod")
    },
    "logsumexp of rows": Call("jax.nn.logsumexp", {"axis": -1}),
    "logcumsumexp of rows": Composition(_logcumsumexp),
}


def _einsum(*operands: Any, subscripts: str) -> Any:
    import jax.numpy as jnp

    return jnp.einsum(subscripts, *operands)


def _convolution(x: Any, w: Any, flip: bool = False, input_dilation: int = 1) -> Any:
    """A kernel is flipped along its places, which JAX leaves to the caller."""
    import jax

    kernel = jax.numpy.flip(w, 1) if flip else w
    numbers = ("NHC", "OHI", "NHC")
    return jax.lax.conv_general_dilated(x, kernel, (1,), [(0, 0)], (input_dilation,), dimension_numbers=numbers)


def _einsum_path(*operands: Any, subscripts: str) -> Any:
    import jax.numpy as jnp

    return jnp.array([step for step in jnp.einsum_path(subscripts, *operands)[0] if not isinstance(step, str)])


def _issubdtype(kind: str, category: str) -> Any:
    import jax.numpy as jnp

    return jnp.array(jnp.issubdtype(jnp.dtype(kind), getattr(jnp, category)))


_PRODUCTS: Mapping[str, Spelling] = {
    **alike(
        "jax.numpy",
        {
            **dict.fromkeys(("matmul", "inner", "outer", "kron"), ()),
            "tensordot": ("axes",),
            "convolve": ("mode",),
            "outer, of matrices": (),
        },
        {"outer, of matrices": "outer"},
    ),
    "einsum": Composition(_einsum, ("subscripts",)),
    "einsum_path": Composition(_einsum_path, ("subscripts",)),
    "issubdtype": Composition(_issubdtype, ("kind", "category")),
    "conv_general": Composition(_convolution, ("flip", "input_dilation")),
}

OPERATIONS: Mapping[str, Spelling] = {
    **array_shapes.SHAPES,
    **array_indexing.INDEXING,
    **_REDUCTIONS,
    **_PRODUCTS,
    **_ROWS,
    **alike("jax.numpy", dict.fromkeys(_WITHOUT_OPTIONS, ()), _OTHERWISE),
    **alike(
        "jax.numpy",
        {
            "nan_to_num": ("nan", "posinf", "neginf"),
            "isclose": ("rtol", "atol", "equal_nan"),
            "allclose": ("equal_nan",),
            "array_equal": ("equal_nan",),
        },
    ),
    "rsqrt": Call("jax.lax.rsqrt"),
    "erf": Call("jax.scipy.special.erf"),
    "erfinv": Call("jax.scipy.special.erfinv"),
    "stop_gradient": Call("jax.lax.stop_gradient"),
    "clip": Composition(_clip, ("a_min", "a_max")),
    "times its stopped self": Composition(_times_its_stopped_self),
}
_WIDE = "JAX has 64 bits only where jax_enable_x64 is set, for a whole process"
ABSENT: Mapping[str, str] = {
    **array_shapes.ABSENT,
    **array_indexing.ABSENT,
    **{f"array_dtype:{dtype}": _WIDE for dtype in ("int64", "uint64")},
    "operation:addmm, of batches": "jax.numpy has no such function: alpha * (a @ b) + beta * c",
    "operation:addmm": "jax.numpy has no such function: alpha * (a @ b) + beta * c",
    "operation:hadamard_transform": "jax.scipy.linalg.hadamard makes the matrix: there is no transform",
    "operation:block_masked_mm": "JAX masks blocks in Pallas kernels only",
    "operation:gather_qmm": "JAX has no products of matrices in MLX's packed format",
    "operation:gather_mm": "jax gathers matrices by indexing; jax.lax.ragged_dot takes rows in groups",
    "operation:softmax, precise": "jax.nn.softmax has no such option: cast x before",
    **{
        f"option:{name} inclusive": "JAX's cumulative functions take the element itself with them"
        for name in ("cumsum", "cumprod", "cummax", "cummin")
    },
}
