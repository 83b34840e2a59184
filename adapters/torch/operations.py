"""How PyTorch spells the operations of `touchstone.golden.operations`."""

from __future__ import annotations

from collections.abc import Mapping

from touchstone.adapters.calls import Call

_OTHERWISE = {"hard_tanh": "hardtanh", "log_sigmoid": "logsigmoid"}
OPERATIONS: Mapping[str, Call] = {
    **{
        name: Call(f"torch.nn.functional.{_OTHERWISE.get(name, name)}")
        for name in (
            *("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "softsign", "log_sigmoid", "softplus", "silu"),
            *("gelu", "elu", "celu", "selu", "mish"),
        )
    },
    "sigmoid": Call("torch.sigmoid"),
    "tanh": Call("torch.tanh"),
    "gelu_approx": Call("torch.nn.functional.gelu", {"approximate": "tanh"}),
}
