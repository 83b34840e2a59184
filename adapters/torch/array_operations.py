"""How PyTorch spells the operations of `mlx.core`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import Call, Composition, Spelling, alike
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


def _of_rank(name: str) -> Composition:
    """Reductions that take one axis or several, or none for all."""

    def made(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        import torch

        return getattr(torch, name)(x, tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims, **options)

    return Composition(made, ("axis", "keepdims"))


def _spread(name: str) -> Composition:
    """PyTorch divides by n - 1 by default: `correction`."""
    of = _of_rank(name)

    def made(x: Any, ddof: int = 0, **how: Any) -> Any:
        return of.made(x, correction=ddof, **how)

    return Composition(made, ("axis", "keepdims", "ddof"))


def _along_one(name: str, *takes: str, pick: str = "") -> Composition:
    """A function of one axis, or of all elements without one; pick: which of its results."""

    def made(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        import torch

        found = getattr(torch, name)(
            x, *([] if axis is None else [axis]), **({"keepdim": True} if keepdims else {}), **options
        )
        return getattr(found, pick) if pick and axis is not None else found

    return Composition(made, ("axis", *takes))


def _scan(name: str, pick: str = "") -> Composition:
    """Along an axis, which PyTorch needs: all elements are one row without it."""

    def made(x: Any, axis: int | None = None) -> Any:
        import torch

        found = getattr(torch, name)(x.flatten() if axis is None else x, axis or 0)
        return getattr(found, pick) if pick else found

    return Composition(made, ("axis",))


def _sorted(name: str, pick: str = "", **fixed: Any) -> Composition:
    """Along the last axis by default."""

    def made(x: Any, axis: int | None = -1, **options: Any) -> Any:
        import torch

        along, dim = (x.flatten(), 0) if axis is None else (x, axis)
        found = getattr(torch, name)(along, *options.values(), dim=dim, **fixed)
        return getattr(found, pick) if pick else found

    return Composition(made, ("axis", *(["k"] if name == "topk" else [])))


def _sum_in_float32(x: Any) -> Any:
    import torch

    return torch.sum(x, dtype=torch.float32)


_REDUCTIONS: Mapping[str, Spelling] = {
    "sum in float32": Composition(_sum_in_float32),
    **{name: _of_rank(name) for name in ("sum", "mean", "logsumexp", "all", "any")},
    "max": _of_rank("amax"),
    "min": _of_rank("amin"),
    **{name: _spread(name) for name in ("var", "std")},
    **{name: _along_one(name, "keepdims") for name in ("prod", "argmax", "argmin")},
    "median": _along_one("median", "keepdims", pick="values"),
    **{name: _scan(name) for name in ("cumsum", "cumprod")},
    **{name: _scan(name, "values") for name in ("cummax", "cummin")},
    "sort": _sorted("sort", "values"),
    "argsort": _sorted("argsort"),
    "stable argsort": _sorted("argsort", stable=True),
    "topk": _sorted("topk", "values"),
}

_ROWS: Mapping[str, Spelling] = {
    **{
        f"{name} of rows": Call(f"torch.{name}", {"dim": -1})
        for name in ("sum", "mean", "prod", "logsumexp", "cumsum", "cumprod", "logcumsumexp")
    },
    **{
        f"{name} of rows": Call(f"torch.{name}", {"dim": -1, "correction": 0}, {"ddof": "correction"})
        for name in ("var", "std")
    },
}


def _einsum(*operands: Any, subscripts: str) -> Any:
    import torch

    return torch.einsum(subscripts, *operands)


_PRODUCTS: Mapping[str, Spelling] = {
    **alike("torch", {**dict.fromkeys(("matmul", "inner", "outer", "kron"), ()), "addmm": ("alpha", "beta")}),
    "tensordot": Call("torch.tensordot", takes={"axes": "dims"}),
    "einsum": Composition(_einsum, ("subscripts",)),
}

OPERATIONS: Mapping[str, Spelling] = {
    **array_shapes.SHAPES,
    **array_indexing.INDEXING,
    **_REDUCTIONS,
    **_PRODUCTS,
    **_ROWS,
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
    **{
        f"option:{name} {option}": "PyTorch's cumulative functions go forwards, the element itself with them"
        for name in ("cumsum", "cumprod", "cummax", "cummin")
        for option in ("reverse", "inclusive")
    },
    "operation:partition": "torch has no partition: kthvalue gives one element, topk the largest ones",
    "operation:argpartition": "torch has no partition: kthvalue gives one element, topk the largest ones",
    "operation:softmax, precise": "torch.softmax has no such option: its dtype is that of the result too",
    "operation:addmm, of batches": "torch.addmm takes matrices, torch.baddbmm batches of one size",
    "operation:outer, of matrices": "torch.outer takes vectors",
    "operation:convolve": "torch.nn.functional.conv1d correlates: it flips no kernel",
    "operation:hadamard_transform": "torch has no Hadamard transform",
    "operation:block_masked_mm": "torch masks blocks of attention only",
    "operation:gather_qmm": "torch has no products of matrices in MLX's packed format",
    "operation:einsum_path": "torch.einsum finds its order by itself (torch.backends.opt_einsum)",
    "operation:issubdtype": "torch.dtype has is_floating_point and is_complex",
    "operation:gather_mm": "torch gathers matrices by indexing, before torch.bmm",
    "operation:conv_general": "torch's convolutions dilate their kernel only, and flip none",
    "option:array_equal equal_nan": "torch.equal has no option",
}
