"""How JAX spells the operations of `touchstone.golden.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import IN_PLACE, WEIGHTED_BY_CLASS, Call, Composition, Spelling, functions
from touchstone.adapters.jax import array_operations, layer_calls

_AXES = {"axis": "axis", "axes": "axis"}
_TAKES = {"glu": {"axis": "axis"}, "softmax": _AXES, "log_softmax": _AXES}


def _step(x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.heaviside(x, 1)


def _relu2(x: Any) -> Any:
    import jax

    return jax.numpy.square(jax.nn.relu(x))


_FUNCTIONS: Mapping[str, Spelling] = {
    **functions(
        "jax.nn",
        (
            *("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "softsign", "sigmoid", "log_sigmoid"),
            *("softplus", "silu", "elu", "celu", "selu", "mish", "glu", "softmax", "log_softmax"),
        ),
        _TAKES,
        {"hardswish": "hard_swish", "softsign": "soft_sign"},
    ),
    "tanh": Call("jax.numpy.tanh"),
    "gelu": Call("jax.nn.gelu", {"approximate": False}),
    "gelu_approx": Call("jax.nn.gelu", {"approximate": True}),
    "step": Composition(_step),
    "relu2": Composition(_relu2),
}


def _loss(name: str, takes: tuple[str, ...] = (), **fixed: Any) -> Composition:
    """A loss of optax, whose losses are of each element or row: the mean and the sum are the caller's."""

    def made(*operands: Any, reduction: str = "none", **options: Any) -> Any:
        import optax
        from jax import numpy as jnp

        each = getattr(optax.losses, name)(*operands, **fixed, **options)
        return each if reduction == "none" else getattr(jnp, reduction)(each)

    return Composition(made, ("reduction", *takes))


def _smoothed(logits: Any, shares: Any, reduction: str = "none", label_smoothing: float = 0.0, axis: int = -1) -> Any:
    """As the page of optax.smooth_labels has it."""
    import optax

    shares = optax.losses.smooth_labels(shares, label_smoothing) if label_smoothing else shares
    return _loss("softmax_cross_entropy").made(logits, shares, reduction=reduction, axis=axis)


OPERATIONS: Mapping[str, Spelling] = {
    **layer_calls.LAYERS,
    **array_operations.OPERATIONS,
    **_FUNCTIONS,
    "gelu by default": Call("jax.nn.gelu"),
    "cosine_similarity_loss by default": Call("optax.losses.cosine_similarity"),
    "mse_loss": _loss("squared_error"),
    "huber_loss": _loss("huber_loss", ("delta",)),
    "log_cosh_loss": _loss("log_cosh"),
    "hinge_loss": _loss("hinge_loss"),
    "binary_cross_entropy": _loss("sigmoid_binary_cross_entropy"),
    "cross_entropy": _loss("softmax_cross_entropy_with_integer_labels", ("axis",)),
    "cross_entropy_of_probabilities": Composition(_smoothed, ("reduction", "label_smoothing", "axis")),
    "kl_div_loss": _loss("kl_divergence_with_log_targets", ("axis",)),
    "cosine_similarity_loss": _loss("cosine_similarity", ("axis",), epsilon=1e-8),
    "triplet_loss": _loss("triplet_margin_loss", ("margin", "axis")),
}
_NO_DTYPE = "jax.nn has no such option: cast x before"
ABSENT: Mapping[str, str] = {
    **layer_calls.ABSENT,
    **array_operations.ABSENT,
    **dict.fromkeys((f"operation:{name} in place" for name in IN_PLACE), "JAX arrays are immutable"),
    "operation:softmax_in_float32": _NO_DTYPE,
    "operation:log_softmax_in_float32": _NO_DTYPE,
    "operation:gelu_fast_approx": "jax.nn.gelu has two forms, and not this one",
    "operation:softshrink": "jax.nn has no soft shrinkage",
    "operation:hard_shrink": "jax.nn has no hard shrinkage",
    "operation:prelu": "jax.nn has no function with a slope for each feature",
    "operation:softmin": "jax.nn has no softmin: softmax of -x",
    **dict.fromkeys((f"option:softplus {name}" for name in ("beta", "threshold")), "jax.nn.softplus has no option"),
    "option:step threshold": "jax.numpy.heaviside has its step at zero",
    "operation:weighted_binary_cross_entropy": "optax leaves weights to the caller",
    "operation:weighted_binary_cross_entropy_of_probabilities": "optax leaves weights to the caller",
    "operation:weighted_cross_entropy": "optax leaves weights to the caller",
    **dict.fromkeys((f"operation:{name}" for name in WEIGHTED_BY_CLASS), "optax leaves weights to the caller"),
    "operation:l1_loss": "optax has no absolute error",
    "operation:smooth_l1_loss": "optax.huber_loss divided by beta is this: the same function",
    "operation:margin_ranking_loss": "optax has losses of whole rankings only",
    "operation:binary_cross_entropy_of_probabilities": "optax takes logits, and no probabilities",
    "operation:gaussian_nll_loss": "optax has no likelihood of a normal distribution",
    "operation:nll_loss": "optax has no loss of logarithms: jnp.take_along_axis is this",
    "operation:triplet_margin_loss": "optax.losses.triplet_margin_loss adds eps to the sum of squares",
    "option:cross_entropy label_smoothing": "optax smooths labels that are probabilities, not classes",
}
