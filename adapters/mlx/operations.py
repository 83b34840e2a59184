"""How MLX spells the operations of `touchstone.golden.operations`."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.adapters.calls import Call

OPERATIONS: Mapping[str, Call] = {
    name: Call(f"mlx.nn.{name}")
    for name in (
        *("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "softsign", "sigmoid", "log_sigmoid", "softplus"),
        *("silu", "tanh", "gelu", "gelu_approx", "elu", "celu", "selu", "mish"),
    )
}
