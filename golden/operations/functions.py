"""The functions of `mlx.nn`: activations, and softmax and its kin along an axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from touchstone.golden.operations.arithmetic import (
    Number,
    erf,
    exp,
    gaussian,
    least,
    log,
    most,
    sigmoid,
    softplus,
    tanh,
    where,
)
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.samples import HALVES, LONG_ROWS, NUMBERS, PER_FEATURE, ROWS

_MLX = "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary_functions/mlx.nn.{}.html"
_BELOW = (-inf,)
_ALPHA, _SCALE = "1.6732632423543772848170429916717", "1.0507009873554804934193349852946"
_CUBE, _ROOT = "0.044715", "0.79788456080286535587989211986876"
"""Of the two forms of GELU: Hendrycks and Gimpel, arXiv 1606.08415, section 2; the root is sqrt(2 / pi)."""
_HALF_ROOT = "0.70710678118654752440084436210485"


def _of(name: str, formula: str, value: Callable[..., Number], slope: Callable[..., Number], **more: Any) -> Operation:
    """A function of one number; slope: its derivative."""

    def gradient(cotangent: Number, x: Number, **options: Any) -> Number:
        return cotangent * slope(x, **options)

    return Operation(name, formula, _MLX.format(name), value, (NUMBERS,), {"x": gradient}, **more)


def _step_of(x: Number, *knots: float) -> Number:
    """1 between two numbers, or above one, and 0 elsewhere."""
    above = where(x > knots[0], 1, 0)
    return above if len(knots) == 1 else where(x < knots[1], above, 0)


def _below(x: Number, alpha: float | str) -> Number:
    """alpha (exp(x) - 1), of what is below zero."""
    return alpha * (exp(least(x, 0)) - 1)


def _softsign_slope(x: Number) -> Number:
    """By the rule for quotients."""
    size = 1 + abs(x)
    return 1 / size - abs(x) / (size * size)


def _normal(x: Number) -> Number:
    return (1 + erf(x * _HALF_ROOT)) / 2


def _inner(x: Number) -> Number:
    return _ROOT * (x + _CUBE * (x * x * x))


def _gelu_approx_slope(x: Number) -> Number:
    bent = tanh(_inner(x))
    return (1 + bent) / 2 + x * (1 - bent * bent) / 2 * (_ROOT * (1 + 3 * (_CUBE * (x * x))))


def _sigmoid_slope(x: Number) -> Number:
    y = sigmoid(x)
    return y * (1 - y)


def _silu_slope(x: Number) -> Number:
    y = sigmoid(x)
    return y + x * (y * (1 - y))


def _fast_slope(x: Number) -> Number:
    y = sigmoid("1.702" * x)
    return y + "1.702" * x * (y * (1 - y))


def _softplus(x: Number, beta: float = 1.0, threshold: float | None = None) -> Number:
    scaled = beta * x if beta != 1 else x
    bent = softplus(scaled) / beta if beta != 1 else softplus(x)
    return bent if threshold is None else where(scaled > threshold, x, bent)


def _softplus_slope(x: Number, beta: float = 1.0, threshold: float | None = None) -> Number:
    slope = sigmoid(beta * x if beta != 1 else x)
    return slope if threshold is None else where(beta * x > threshold, 1, slope)


def _mish_slope(x: Number) -> Number:
    bent = tanh(softplus(x))
    return bent + x * (1 - bent * bent) * sigmoid(x)


def _shrunk(x: Number, lambd: float = 0.5) -> Number:
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0))


def _outside(x: Number, lambd: float = 0.5) -> Number:
    return where(x > lambd, 1, where(x < -lambd, 1, 0))


def softmax(x: Number, axis: int = -1) -> Number:
    """Of each row, less its largest element."""
    e = exp(x - x.most(axis))
    return e / e.sum(axis)


def _log_softmax(x: Number, axis: int = -1) -> Number:
    moved = x - x.most(axis)
    return moved - log(exp(moved).sum(axis))


def _softmax_slope(cotangent: Number, x: Number, axis: int = -1) -> Number:
    y = softmax(x, axis)
    return y * (cotangent - (cotangent * y).sum(axis))


def _log_softmax_slope(cotangent: Number, x: Number, axis: int = -1) -> Number:
    return cotangent - softmax(x, axis) * cotangent.sum(axis)


def _glu(x: Number) -> Number:
    half = x.shape[-1] // 2
    return x[..., :half] * sigmoid(x[..., half:])


def _along_axis(name: str, formula: str, value: Callable[..., Number], slope: Callable[..., Number]) -> Operation:
    return Operation(name, formula, _MLX.format(name), value, (ROWS, LONG_ROWS), {"x": slope})


def _softmin(x: Number, axis: int = -1) -> Number:
    return softmax(-x, axis)


def _softmin_slope(cotangent: Number, x: Number, axis: int = -1) -> Number:
    return -_softmax_slope(cotangent, -x, axis)


FUNCTIONS: Mapping[str, Operation] = {
    one.name: one
    for one in (
        _of("relu", "max(x, 0)", lambda x: most(x, 0), lambda x: _step_of(x, 0), kinks=(0.0,)),
        _of(
            "relu6", "min(max(x, 0), 6)", lambda x: least(most(x, 0), 6), lambda x: _step_of(x, 0, 6), kinks=(0.0, 6.0)
        ),
        _of("relu2", "max(x, 0)**2", lambda x: most(x, 0) * most(x, 0), lambda x: 2 * most(x, 0), kinks=(0.0,)),
        _of(
            "leaky_relu",
            "max(negative_slope x, x)",
            lambda x, negative_slope="0.01": where(x > 0, x, negative_slope * x),
            lambda x, negative_slope="0.01": where(x > 0, 1, negative_slope),
            kinks=(0.0,),
            variants=({"negative_slope": 0.25}, {"negative_slope": 0.75}),
            beyond=({"negative_slope": -0.5}, {"negative_slope": 1.5}),
        ),
        _of(
            "hard_tanh",
            "max(min(x, 1), -1)",
            lambda x: most(least(x, 1), -1),
            lambda x: _step_of(x, -1, 1),
            kinks=(-1.0, 1.0),
        ),
        _of(
            "hardswish",
            "x min(max(x + 3, 0), 6) / 6",
            lambda x: x * least(most(x + 3, 0), 6) / 6,
            lambda x: where(x > 3, 1, where(x < -3, 0, (2 * x + 3) / 6)),
            kinks=(-3.0, 3.0),
            no_value_at=_BELOW,
        ),
        _of(
            "softsign",
            "x / (1 + |x|)",
            lambda x: x / (1 + abs(x)),
            _softsign_slope,
            no_value_at=(inf, -inf),
        ),
        _of("sigmoid", "1 / (1 + exp(-x))", sigmoid, _sigmoid_slope),
        _of("log_sigmoid", "-log(1 + exp(-x))", lambda x: -softplus(-x), lambda x: sigmoid(-x)),
        _of(
            "softplus",
            "log(1 + exp(beta x)) / beta, and x where beta x is above a threshold",
            _softplus,
            _softplus_slope,
            variants=({"beta": 2.0}, {"beta": 2.0, "threshold": 1.0}),
        ),
        _of("silu", "x / (1 + exp(-x))", lambda x: x * sigmoid(x), _silu_slope, no_value_at=_BELOW),
        _of("tanh", "tanh(x)", tanh, lambda x: 1 - tanh(x) * tanh(x)),
        _of(
            "gelu",
            "x (1 + erf(x / sqrt(2))) / 2",
            lambda x: x * _normal(x),
            lambda x: _normal(x) + x * gaussian(x),
            no_value_at=_BELOW,
        ),
        _of(
            "gelu_approx",
            "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2",
            lambda x: x * ((1 + tanh(_inner(x))) / 2),
            _gelu_approx_slope,
            no_value_at=_BELOW,
        ),
        _of(
            "gelu_fast_approx",
            "x / (1 + exp(-1.702 x))",
            lambda x: x * sigmoid("1.702" * x),
            _fast_slope,
            no_value_at=_BELOW,
        ),
        _of(
            "elu",
            "x if x > 0, else alpha (exp(x) - 1)",
            lambda x, alpha=1.0: where(x > 0, x, _below(x, alpha)),
            lambda x, alpha=1.0: where(x > 0, 1, alpha * exp(least(x, 0))),
            kinks=(0.0,),
            variants=({"alpha": 0.5}, {"alpha": 2.0}),
            beyond=({"alpha": -1.0},),
        ),
        _of(
            "celu",
            "max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)",
            lambda x, alpha=1.0: where(x > 0, x, _below(x / alpha, alpha)),
            lambda x, alpha=1.0: where(x > 0, 1, exp(least(x / alpha, 0))),
            kinks=(0.0,),
            variants=({"alpha": 0.5}, {"alpha": 2.0}),
        ),
        _of(
            "selu",
            "1.0507 x if x > 0, else 1.0507 * 1.67326 (exp(x) - 1)",
            lambda x: _SCALE * where(x > 0, x, _below(x, _ALPHA)),
            lambda x: _SCALE * where(x > 0, 1, _ALPHA * exp(least(x, 0))),
            kinks=(0.0,),
        ),
        _of("mish", "x tanh(log(1 + exp(x)))", lambda x: x * tanh(softplus(x)), _mish_slope, no_value_at=_BELOW),
        _of(
            "softshrink",
            "x - lambd if x > lambd, x + lambd if x < -lambd, else 0",
            _shrunk,
            _outside,
            kinks=(-0.5, 0.5),
            variants=({"lambd": 0.0}, {"lambd": 2.0}),
            beyond=({"lambd": -0.5},),
        ),
        _of(
            "hard_shrink",
            "x if |x| > lambd, else 0",
            lambda x, lambd=0.5: where(x > lambd, x, where(x < -lambd, x, 0)),
            _outside,
            kinks=(-0.5, 0.5),
            variants=({"lambd": 0.0}, {"lambd": 2.0}),
            beyond=({"lambd": -0.5},),
        ),
        Operation(
            "step",
            "1 if x >= threshold, else 0",
            _MLX.format("step"),
            lambda x, threshold=0.0: where(x >= threshold, 1, 0),
            (NUMBERS,),
            variants=({"threshold": 1.0},),
        ),
        Operation(
            "prelu",
            "x if x > 0, else alpha x",
            _MLX.format("prelu"),
            lambda x, alpha: where(x > 0, x, alpha * x),
            (PER_FEATURE,),
            {"x": lambda cotangent, x, alpha: cotangent * where(x > 0, 1, alpha)},
            kinks=(0.0,),
        ),
        Operation("glu", "a / (1 + exp(-b)), of the halves a and b", _MLX.format("glu"), _glu, (HALVES,)),
        _along_axis("softmax", "exp(x) / sum(exp(x))", softmax, _softmax_slope),
        Operation(
            "softmax_in_float32",
            "exp(x) / sum(exp(x)), of x in float32",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html",
            softmax,
            (ROWS,),
            inside="float32",
        ),
        Operation(
            "log_softmax_in_float32",
            "x - log(sum(exp(x))), of x in float32",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.log_softmax.html",
            _log_softmax,
            (ROWS,),
            inside="float32",
        ),
        _along_axis("softmin", "exp(-x) / sum(exp(-x))", _softmin, _softmin_slope),
        _along_axis("log_softmax", "x - log(sum(exp(x)))", _log_softmax, _log_softmax_slope),
    )
}


IN_PLACE = {
    f"{name} in place": name
    for name in ("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "elu", "celu", "selu", "silu", "mish")
}
"""What overwrites its operand -> which operation that is."""
BY_DEFAULT: Mapping[str, Mapping[str, str]] = {"gelu by default": {"with erf": "gelu", "with tanh": "gelu_approx"}}
"""A function as it is called without options -> what it may be by documentation, and which operation that is."""
