"""How JAX spells the operations of `touchstone.golden.operations`."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.adapters.calls import Call

_OTHERWISE = {"hardswish": "hard_swish", "softsign": "soft_sign"}
OPERATIONS: Mapping[str, Call] = {
    **{
        name: Call(f"jax.nn.{_OTHERWISE.get(name, name)}")
        for name in (
            *("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "softsign", "sigmoid", "log_sigmoid"),
            *("softplus", "silu", "elu", "celu", "selu", "mish"),
        )
    },
    "tanh": Call("jax.numpy.tanh"),
    "gelu": Call("jax.nn.gelu", {"approximate": False}),
    "gelu_approx": Call("jax.nn.gelu", {"approximate": True}),
}
