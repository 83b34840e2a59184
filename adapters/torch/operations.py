"""How PyTorch spells the operations of `touchstone.golden.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from touchstone.adapters.calls import IN_PLACE, Call, Composition, Spelling, functions
from touchstone.adapters.torch import array_operations, layer_calls

_OTHERWISE = {"hard_tanh": "hardtanh", "log_sigmoid": "logsigmoid", "hard_shrink": "hardshrink"}


def _step(x: Any) -> Any:
    return x.heaviside(x.new_ones(()))


def _in_float32(name: str, x: Any) -> Any:
    import torch

    return getattr(torch.nn.functional, name)(x, dim=-1, dtype=torch.float32)


def _in_place(name: str) -> Composition:
    """What the operand holds after the call, whose result is the operand itself."""

    def made(x: Any) -> Any:
        from torch.nn import functional

        getattr(functional, name)(x, inplace=True)
        return x

    return Composition(made)


_FUNCTIONS: Mapping[str, Spelling] = {
    **functions(
        "torch.nn.functional",
        (
            *("relu", "relu6", "leaky_relu", "hard_tanh", "hardswish", "softsign", "log_sigmoid", "silu"),
            *("gelu", "elu", "celu", "selu", "mish", "softshrink", "hard_shrink", "prelu"),
        ),
        otherwise=_OTHERWISE,
    ),
    **{
        name: Call(f"torch.nn.functional.{name}", {"dim": -1}, {"axis": "dim"})
        for name in ("softmax", "softmin", "log_softmax", "glu")
    },
    "softmax_in_float32": Composition(lambda x: _in_float32("softmax", x)),
    "log_softmax_in_float32": Composition(lambda x: _in_float32("log_softmax", x)),
    "softplus": Call("torch.nn.functional.softplus", takes={"beta": "beta", "threshold": "threshold"}),
    "sigmoid": Call("torch.sigmoid"),
    "tanh": Call("torch.tanh"),
    "gelu_approx": Call("torch.nn.functional.gelu", {"approximate": "tanh"}),
    "step": Composition(_step),
    "relu2": Composition(lambda x: x.relu().square()),
}
_LOSSES = {
    "l1_loss": (),
    "mse_loss": (),
    "huber_loss": ("delta",),
    "smooth_l1_loss": ("beta",),
    "margin_ranking_loss": ("margin",),
    "binary_cross_entropy_with_logits": (),
    "binary_cross_entropy": (),
    "gaussian_nll_loss": ("full", "eps"),
    "cross_entropy": ("label_smoothing",),
    "nll_loss": (),
    "triplet_margin_loss": ("margin",),
}
_NAMED_OTHERWISE = {
    "binary_cross_entropy_with_logits": "binary_cross_entropy",
    "binary_cross_entropy": "binary_cross_entropy_of_probabilities",
}
_OF_CLASSES = ("cross_entropy", "nll_loss")


def _of_rows(name: str) -> Composition:
    """PyTorch's classes are along the second axis, and int64 alone; weights of classes come last."""

    def made(x: Any, target: Any, *weights: Any, axis: int = 1, **options: Any) -> Any:
        from torch.nn import functional

        shares = target.movedim(axis, 1) if target.is_floating_point() else target.long()
        return getattr(functional, name)(x.movedim(axis, 1), shares, *weights, **options)

    return Composition(made, ("reduction", "axis", *_LOSSES[name]))


def _reduced(each: Any, reduction: str) -> Any:
    """What PyTorch computes of rows, and reduces over elements or not at all."""
    return each if reduction == "none" else getattr(each, reduction)()


def _kl_div_loss(x: Any, target: Any, reduction: str = "none", axis: int = -1) -> Any:
    from torch.nn import functional

    return _reduced(functional.kl_div(x, target, reduction="none", log_target=True).sum(axis), reduction)


def _by_outcome(x: Any, target: Any, weights: Any, **options: Any) -> Any:
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(x, target, pos_weight=weights, **options)


def _cosine_similarity_loss(x: Any, y: Any, reduction: str = "none", axis: int = -1) -> Any:
    from torch.nn import functional

    return _reduced(functional.cosine_similarity(x, y, dim=axis), reduction)


def _loss(name: str) -> Call:
    takes = {option: option for option in ("reduction", *_LOSSES[name])}
    return Call(f"torch.nn.functional.{name}", takes=takes)


OPERATIONS: Mapping[str, Spelling] = {
    **layer_calls.LAYERS,
    **array_operations.OPERATIONS,
    **_FUNCTIONS,
    **{_NAMED_OTHERWISE.get(name, name): _loss(name) for name in _LOSSES},
    **{name: _of_rows(name) for name in _OF_CLASSES},
    **{f"{name}_by_class": _of_rows(name) for name in _OF_CLASSES},
    "cross_entropy_of_probabilities": _of_rows("cross_entropy"),
    "cross_entropy_of_probabilities_by_class": _of_rows("cross_entropy"),
    "binary_cross_entropy_by_outcome": Composition(_by_outcome, ("reduction",)),
    "weighted_binary_cross_entropy_of_probabilities": _loss("binary_cross_entropy"),
    "weighted_binary_cross_entropy": _loss("binary_cross_entropy_with_logits"),
    **{f"{name} in place": _in_place(_OTHERWISE.get(name, name)) for name in IN_PLACE},
    "gelu by default": Call("torch.nn.functional.gelu"),
    "cosine_similarity_loss by default": Call("torch.nn.functional.cosine_similarity"),
    "kl_div_loss": Composition(_kl_div_loss, ("reduction", "axis")),
    "cosine_similarity_loss": Composition(_cosine_similarity_loss, ("reduction", "axis")),
}
_ONE_DIM = "torch.nn.functional takes one dim"
ABSENT: Mapping[str, str] = {
    **layer_calls.ABSENT,
    **array_operations.ABSENT,
    "operation:gelu_fast_approx": "torch.nn.functional.gelu has two forms, and not this one",
    "option:softmax axes": _ONE_DIM,
    "option:softmin axes": _ONE_DIM,
    "option:log_softmax axes": _ONE_DIM,
    "option:step threshold": "torch.heaviside has its step at zero",
    "operation:weighted_cross_entropy": "PyTorch's weights are of classes, and its mean divides by their sum",
    "operation:hinge_loss": "PyTorch has hinge losses of another formula only",
    "operation:log_cosh_loss": "torch.nn.functional has no such loss",
    "operation:triplet_loss": "torch.nn.functional.triplet_margin_loss adds eps to each difference",
}
