"""The functions of `mlx.nn` that need no parameter, or have one with the same default in every framework."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from touchstone.golden.operations.record import Operation

_MLX = "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary_functions/mlx.nn.{}.html"


_BELOW = (-inf,)


def _of(name: str, formula: str, roundings: int, no_value_at: tuple[float, ...] = ()) -> Operation:
    return Operation(name, formula, roundings, _MLX.format(name), no_value_at)


FUNCTIONS: Mapping[str, Operation] = {
    one.name: one
    for one in (
        _of("relu", "max(x, 0)", 0),
        _of("relu6", "min(max(x, 0), 6)", 0),
        _of("leaky_relu", "max(0.01 x, x)", 2),
        _of("hard_tanh", "max(min(x, 1), -1)", 0),
        _of("hardswish", "x min(max(x + 3, 0), 6) / 6", 3, _BELOW),
        _of("softsign", "x / (1 + |x|)", 2, (inf, -inf)),
        _of("sigmoid", "1 / (1 + exp(-x))", 4),
        _of("log_sigmoid", "-log(1 + exp(-x))", 5),
        _of("softplus", "log(1 + exp(x))", 5),
        _of("silu", "x / (1 + exp(-x))", 5, _BELOW),
        _of("tanh", "tanh(x)", 2),
        _of("gelu", "x (1 + erf(x / sqrt(2))) / 2", 6, _BELOW),
        _of("gelu_approx", "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2", 10, _BELOW),
        _of("elu", "x if x > 0, else exp(x) - 1", 3),
        _of("celu", "x if x > 0, else exp(x) - 1", 3),
        _of("selu", "1.0507 x if x > 0, else 1.0507 * 1.67326 (exp(x) - 1)", 5),
        _of("mish", "x tanh(log(1 + exp(x)))", 8, _BELOW),
    )
}
