"""How MLX spells the operations of `touchstone.golden.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import IN_PLACE, WEIGHTED_BY_CLASS, Call, Spelling, functions
from touchstone.adapters.mlx import array_operations, layer_calls

_AXES = {"axis": "axis", "axes": "axis"}
_TAKES = {
    "glu": {"axis": "axis"},
    "step": {"threshold": "threshold"},
    **dict.fromkeys(("softmax", "softmin", "log_softmax"), _AXES),
}
_FUNCTIONS = functions(
    "mlx.nn",
    (
        *(
            "relu",
            "relu2",
            "relu6",
            "leaky_relu",
            "hard_tanh",
            "hardswish",
            "softsign",
            "sigmoid",
            "log_sigmoid",
            "softplus",
        ),
        *("silu", "tanh", "gelu", "gelu_approx", "gelu_fast_approx", "elu", "celu", "selu", "mish", "softshrink"),
        *("hard_shrink", "step", "prelu", "glu", "softmax", "softmin", "log_softmax"),
    ),
    _TAKES,
)
_LOSSES = {
    "l1_loss": (),
    "mse_loss": (),
    "huber_loss": ("delta",),
    "smooth_l1_loss": ("beta",),
    "log_cosh_loss": (),
    "hinge_loss": (),
    "margin_ranking_loss": ("margin",),
    "binary_cross_entropy": (),
    "gaussian_nll_loss": ("full", "eps"),
    "cross_entropy": ("label_smoothing", "axis"),
    "nll_loss": ("axis",),
    "kl_div_loss": ("axis",),
    "cosine_similarity_loss": ("axis",),
    "triplet_loss": ("margin", "axis"),
}


def _loss(name: str, takes: tuple[str, ...], **options: Any) -> Call:
    return Call(f"mlx.nn.losses.{name}", options, {option: option for option in ("reduction", *takes)})


OPERATIONS: Mapping[str, Spelling] = {
    **layer_calls.LAYERS,
    **array_operations.OPERATIONS,
    **_FUNCTIONS,
    **{name: _loss(name, takes) for name, takes in _LOSSES.items()},
    "binary_cross_entropy_of_probabilities": _loss("binary_cross_entropy", (), with_logits=False),
    "cross_entropy_of_probabilities": _loss("cross_entropy", ("label_smoothing", "axis")),
    "weighted_binary_cross_entropy_of_probabilities": _loss("binary_cross_entropy", (), with_logits=False),
    "weighted_binary_cross_entropy": _loss("binary_cross_entropy", ()),
    "weighted_cross_entropy": _loss("cross_entropy", ("axis",)),
    "gelu by default": Call("mlx.nn.gelu"),
    "cosine_similarity_loss by default": Call("mlx.nn.losses.cosine_similarity_loss"),
}
_NO_DTYPE = "MLX has softmax(x, precise=True) instead, whose result has the dtype of x"
ABSENT: Mapping[str, str] = {
    **layer_calls.ABSENT,
    **array_operations.ABSENT,
    **dict.fromkeys(
        (f"operation:{name} in place" for name in IN_PLACE), "MLX has no function that overwrites its operand"
    ),
    "operation:softmax_in_float32": _NO_DTYPE,
    "operation:log_softmax_in_float32": _NO_DTYPE,
    **dict.fromkeys((f"operation:{name}" for name in WEIGHTED_BY_CLASS), "MLX's weights are of rows or elements"),
    **dict.fromkeys((f"option:softplus {name}" for name in ("beta", "threshold")), "mlx.nn.softplus has no option"),
    "operation:triplet_margin_loss": "mlx.nn.losses.triplet_loss adds eps to the sum of squares",
}
