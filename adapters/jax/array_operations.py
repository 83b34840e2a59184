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


OPERATIONS: Mapping[str, Spelling] = {
    **array_shapes.SHAPES,
    **array_indexing.INDEXING,
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
}
