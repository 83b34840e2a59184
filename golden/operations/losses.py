"""The losses of `mlx.nn.losses`: of each element or row, and their mean and sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from touchstone.golden.operations.arithmetic import (
    Number,
    chosen,
    exp,
    least,
    limited,
    log,
    log_of_sum,
    most,
    one_hot,
    sigmoid,
    sign,
    softplus,
    sqrt,
    where,
)
from touchstone.golden.operations.record import Operation
from touchstone.golden.operations.reverse import Gradient
from touchstone.golden.operations.samples import (
    Sample,
    elements,
    vectors,
    with_class_weights,
    with_classes,
    with_weights,
)

_TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.nn.{}.html"
_MLX = "https://ml-explore.github.io/mlx/build/html/python/nn/_autosummary_functions/mlx.nn.losses.{}.html"
REDUCTIONS = ("mean", "sum")
WITHOUT_OPTIONS = ("cosine_similarity_loss by default",)
"""Losses as they are called without options, where one of those has no default that all share."""
_HALF_LOG_OF_TWO_PI, _LOG_OF_TWO = "0.91893853320467274178032973640562", "0.69314718055994530941723212145818"
MANY = 4096
"""Elements of a mean: more than sums in float16 and bfloat16 can count."""

_SIZES = {"ordinary": 192, "near": 96, "equal": 32, "far": 96, "special": 16}
_FIRST = ("bell", "bell", "bell", "far", "special")
_SECOND = ("other bell", "close", "bell", "other bell", "other special")
PAIRS = elements("pairs", _SIZES, predictions=_FIRST, targets=_SECOND)
MANY_PAIRS = elements("many pairs", {"ordinary": MANY}, predictions=("tens",), targets=("other bell",))
_SIGN_SIZES = {"ordinary": 192, "far": 64, "special": 4}
SIGNS = elements("pairs and signs", _SIGN_SIZES, predictions=("bell", "far", "special once"), targets=("signs",) * 3)
MANY_SIGNS = elements("many pairs and signs", {"ordinary": MANY}, predictions=("bell",), targets=("signs",))
_RANKED = {
    "predictions": ("bell", "far", "special once"),
    "others": ("other bell",) * 3,
    "targets": ("signs",) * 3,
}
RANKED = elements("ranked pairs", _SIGN_SIZES, **_RANKED)
MANY_RANKED = elements("many ranked pairs", {"ordinary": MANY}, **{name: of[:1] for name, of in _RANKED.items()})
_LOGIT_SIZES = {"ordinary": 192, "soft": 96, "sure": 96, "special": 4}
LOGITS = elements(
    "logits",
    _LOGIT_SIZES,
    logits=("bell", "logits", "sides", "special once"),
    targets=("bits", "unit", "bits", "bits"),
)
MANY_LOGITS = elements("many logits", {"ordinary": MANY}, logits=("bell",), targets=("bits",))
_CHANCE_SIZES = {"ordinary": 192, "soft": 96, "certain": 16, "impossible": 16}
_CHANCES, _OUTCOMES = ("unit", "unit", "bits", "zeros"), ("bits", "quarters", "ones", "bits")
CHANCES = elements(
    "probabilities",
    _CHANCE_SIZES,
    without_slope=("certain", "impossible"),
    probabilities=_CHANCES,
    targets=_OUTCOMES,
)
MANY_CHANCES = elements("many probabilities", {"ordinary": MANY}, probabilities=("unit",), targets=("bits",))
_VARIANCES = {
    "predictions": ("bell", "bell", "bell", "special once"),
    "targets": ("other bell", "close", "bell", "other bell"),
    "variances": ("positive", "positive", "zeros", "positive"),
}
_VARIANCE_SIZES = {"ordinary": 192, "near": 96, "no variance": 16, "special": 4}
VARIANCES = elements("pairs and variances", _VARIANCE_SIZES, **_VARIANCES)
MANY_VARIANCES = elements(
    "many pairs and variances", {"ordinary": MANY}, **{name: of[:1] for name, of in _VARIANCES.items()}
)
_ROW_SIZES = {"ordinary": 24, "wide": 8, "equal": 4, "far": 8, "minus infinity": 4, "special": 1}
_ROW_STYLES = ("bell", "wide", "equal", "sides", "minus infinity at times", "special once")
ROWS_OF_LOGITS = vectors("rows of logits", 24, _ROW_SIZES, logits=_ROW_STYLES)
CLASSES = with_classes(ROWS_OF_LOGITS, "logits and classes")
MANY_CLASSES = with_classes(vectors("many rows", 4, {"ordinary": MANY}, logits=("bell",)), "many logits and classes")
MANY_KINDS = with_classes(
    vectors("rows of 4096 logits", MANY, {"ordinary": 3, "equal": 1}, logits=("bell", "equal")),
    "logits of 4096 classes",
)
MANY_LOG_KINDS = with_classes(
    vectors("rows of 4096 logs", MANY, {"ordinary": 4}, predictions=("log probabilities",)),
    "logarithms of 4096 classes",
)
WEIGHTED_CLASSES = with_weights(
    with_classes(vectors("weighted rows", 24, {"ordinary": 24}, logits=("bell",)), "weighted logits and classes")
)
WEIGHTED_LOGITS = elements(
    "weighted logits", {"ordinary": 192}, logits=("bell",), targets=("bits",), weights=("positive",)
)
WEIGHTED_CHANCES = elements(
    "weighted probabilities", {"ordinary": 192}, probabilities=("unit",), targets=("bits",), weights=("positive",)
)
MANY_WEIGHTED_CHANCES = elements(
    "many weighted probabilities", {"ordinary": MANY}, probabilities=("unit",), targets=("bits",), weights=("unit",)
)
MANY_WEIGHTED_LOGITS = elements(
    "many weighted logits", {"ordinary": MANY}, logits=("bell",), targets=("bits",), weights=("unit",)
)
_SHARED = {"logits": ("bell", "wide", "sides", "special once"), "targets": ("shares", "sharp", "sharp", "sharp")}
SHARES = vectors("logits and probabilities", 4, {"ordinary": 24, "wide": 8, "far": 8, "special": 1}, **_SHARED)
MANY_SHARES = vectors("many logits and probabilities", 4, {"ordinary": 512}, logits=("bell",), targets=("shares",))
CLASS_WEIGHTS = with_class_weights(CLASSES, "logits, classes and their weights")
MANY_CLASS_WEIGHTS = with_class_weights(MANY_CLASSES, "many logits, classes and their weights")
SHARE_WEIGHTS = with_class_weights(SHARES, "logits, probabilities and weights of classes")
MANY_SHARE_WEIGHTS = with_class_weights(MANY_SHARES, "many logits, probabilities and weights of classes")
_LOGS = {
    "predictions": ("log probabilities", "log probabilities", "special once"),
    "targets": ("quarter logs", "far log probabilities", "quarter logs"),
}
LOGS = vectors("logarithms", 16, {"ordinary": 24, "far": 8, "special": 1}, **_LOGS)
MANY_LOGS = vectors(
    "many logarithms", 4, {"ordinary": 512}, predictions=("log probabilities",), targets=("quarter logs",)
)
LOG_CLASSES = with_classes(
    vectors("logs", 16, {"ordinary": 24, "far": 8}, predictions=("log probabilities", "far log probabilities")),
    "logarithms and classes",
)
MANY_LOG_CLASSES = with_classes(
    vectors("many logs", 4, {"ordinary": MANY}, predictions=("log probabilities",)), "many logarithms and classes"
)
LOG_CLASS_WEIGHTS = with_class_weights(LOG_CLASSES, "logarithms, classes and their weights")
MANY_LOG_CLASS_WEIGHTS = with_class_weights(MANY_LOG_CLASSES, "many logarithms, classes and their weights")
_DIRECTION_SIZES = {"ordinary": 24, "near": 8, "zero": 2, "special": 1}
_DIRECTIONS = {
    "predictions": ("bell", "bell", "zeros", "special once"),
    "targets": ("other bell", "close", "bell", "bell"),
}
DIRECTIONS = vectors("directions", 16, _DIRECTION_SIZES, without_slope=("zero", "special"), **_DIRECTIONS)
LARGE_DIRECTIONS = vectors("large directions", 64, {"large": 4}, predictions=("hundreds",), targets=("other hundreds",))
_TRIPLETS = {
    "anchors": ("bell", "bell", "bell", "special once"),
    "positives": ("close", "bell", "third bell", "third bell"),
    "negatives": ("other bell", "other bell", "close", "close"),
}
TRIPLETS = vectors("triplets", 16, {"ordinary": 24, "equal": 8, "wrong": 8, "special": 1}, **_TRIPLETS)
MANY_TRIPLETS = vectors("many triplets", 4, {"ordinary": 512}, **{name: of[:1] for name, of in _TRIPLETS.items()})


def _reduced(each: Number, reduction: str, parts: Number | None = None) -> Number:
    """parts: what a mean divides by the sum of, one of each row where it is not given."""
    if reduction == "none":
        return each
    if reduction == "mean" and parts is not None:
        return each.sum(None) / parts.sum(None)
    return each.mean(None) if reduction == "mean" else each.sum(None)


def _loss(
    name: str,
    formula: str,
    each: Callable[..., Number],
    samples: tuple[Sample, ...],
    slope: Callable[..., Number] | None = None,
    *,
    others: Mapping[str, Callable[..., Number]] | None = None,
    by: Sequence[str] = (),
    parts: Callable[..., Number] | None = None,
    variants: Sequence[Mapping[str, Any]] = (),
    beyond: Sequence[Mapping[str, Any]] = (),
    page: str = "",
) -> Operation:
    """each: of every element or row. slope: the derivative by the first operand; others: by others, of their names.

    by: operands whose derivative is that of the steps of `each`. parts: of the operands, what each row counts for in
    the mean.
    """

    def value(*operands: Any, reduction: str = "none", **options: Any) -> Number:
        return _reduced(each(*operands, **options), reduction, parts(*operands) if parts else None)

    def gradient(of: Callable[..., Number]) -> Callable[..., Number]:
        def made(cotangent: Number, *operands: Any, reduction: str = "none", **options: Any) -> Number:
            by_row = cotangent[:, None] if len(operands[0].shape) == 2 else cotangent
            return by_row * of(*operands, **options)

        return made

    first = next(iter(samples[0].arguments))
    derivatives = {**({first: slope} if slope else {}), **(others or {})}
    places = {argument: place for place, argument in enumerate(samples[0].arguments)}
    slopes: dict[str, Callable[..., Number]] = {argument: gradient(of) for argument, of in derivatives.items()}
    slopes |= {argument: Gradient(value, places[argument]) for argument in by}
    options = tuple({"reduction": "none", **one} for one in ({}, *variants))
    reduced = tuple({"reduction": one, **options} for options in ({}, *variants) for one in REDUCTIONS)
    outside = tuple({"reduction": "none", **one} for one in beyond)
    found = page or _MLX.format(name)
    return Operation(name, formula, found, value, samples, slopes, variants=(*options, *reduced), beyond=outside)


def _huber(x: Number, y: Number, delta: float = 1.0) -> Number:
    apart = x - y
    return where(abs(apart) <= delta, apart * apart / 2, delta * (abs(apart) - delta / 2))


def _huber_slope(x: Number, y: Number, delta: float = 1.0) -> Number:
    """Of min(|x - y|, delta)**2 / 2 + delta (|x - y| - min(|x - y|, delta)), as MLX and optax have it."""
    apart = x - y
    return sign(apart) * (least(abs(apart), delta) + delta - delta)


def _smooth(x: Number, y: Number, beta: float = 1.0) -> Number:
    apart = x - y
    return where(abs(apart) < beta, apart * apart / 2 / beta, abs(apart) - beta / 2)


def _log_cosh(x: Number, y: Number) -> Number:
    apart = x - y
    return abs(apart) + softplus(-2 * abs(apart)) - _LOG_OF_TWO


def _log_cosh_slope(x: Number, y: Number) -> Number:
    """Of log(exp(x - y) + exp(y - x)) - log(2)."""
    return sigmoid(2 * (x - y)) - sigmoid(2 * (y - x))


def _logits(x: Number, t: Number) -> Number:
    return x - x * t + most(-x, 0) + log(1 + exp(-abs(x)))


def _cross_entropy(logits: Number, classes: np.ndarray, label_smoothing: float = 0.0) -> Number:
    total = log_of_sum(logits)
    loss = total - chosen(logits, classes)
    if not label_smoothing:
        return loss
    return (1 - label_smoothing) * loss + label_smoothing * (total - logits.mean()[..., 0])


def _cross_entropy_slope(logits: Number, classes: np.ndarray, label_smoothing: float = 0.0) -> Number:
    chances = exp(logits - logits.most())
    wanted = one_hot(logits, classes)
    if label_smoothing:
        wanted = (1 - label_smoothing) * wanted + label_smoothing / logits.shape[-1]
    return chances / chances.sum() - wanted


def _shared_cross_entropy(logits: Number, shares: Number, label_smoothing: float = 0.0) -> Number:
    loss = log_of_sum(logits) - (logits * shares).sum()[..., 0]
    if not label_smoothing:
        return loss
    return (1 - label_smoothing) * loss + label_smoothing * (log_of_sum(logits) - logits.mean()[..., 0])


def _cross_entropy_by_class(
    logits: Number, classes: np.ndarray, weights: Number, label_smoothing: float = 0.0
) -> Number:
    surprises = log_of_sum(logits)[:, None] - logits
    loss = weights[classes] * chosen(surprises, classes)
    if not label_smoothing:
        return loss
    every = (weights * surprises).sum()[..., 0]
    return (1 - label_smoothing) * loss + label_smoothing / logits.shape[-1] * every


def _shared_cross_entropy_by_class(logits: Number, shares: Number, weights: Number) -> Number:
    return (weights * shares * (log_of_sum(logits)[:, None] - logits)).sum()[..., 0]


def _logits_by_outcome(x: Number, t: Number, weights: Number) -> Number:
    return (1 - t) * x + (1 + (weights - 1) * t) * softplus(-x)


def _likelihood(x: Number, y: Number, variance: Number, full: bool = False, eps: float = 1e-6) -> Number:
    floor = most(variance, eps)
    loss = (log(floor) + (y - x) * (y - x) / floor) / 2
    return loss + _HALF_LOG_OF_TWO_PI if full else loss


def _likelihood_by_variance(x: Number, y: Number, v: Number) -> Number:
    return (1 / v - (y - x) * (y - x) / v / v) / 2


def _of_chances(p: Number, t: Number) -> Number:
    return -(t * most(log(p), -100) + (1 - t) * most(log(1 - p), -100))


def _cosine(x: Number, y: Number) -> Number:
    sizes = sqrt((x * x).sum()) * sqrt((y * y).sum())
    return ((x * y).sum() / most(sizes, 1e-8))[..., 0]


def _cosine_slope(x: Number, y: Number) -> Number:
    squares = (x * x).sum()
    sizes = sqrt(squares) * sqrt((y * y).sum())
    return y / sizes - (x * y).sum() / sizes * (x / squares)


def _distance(x: Number, y: Number, eps: float) -> Number:
    return sqrt(((x - y) * (x - y)).sum() + eps)


def _triplet(a: Number, p: Number, n: Number, margin: float = 1.0) -> Number:
    return most(_distance(a, p, 1e-6) - _distance(a, n, 1e-6) + margin, 0)[..., 0]


def _triplet_slope(a: Number, p: Number, n: Number, margin: float = 1.0) -> Number:
    near, far = _distance(a, p, 1e-6), _distance(a, n, 1e-6)
    return where(near - far + margin > 0, (a - p) / near - (a - n) / far, 0)


def _triplet_by_positive(a: Number, p: Number, n: Number, margin: float = 1.0) -> Number:
    near, far = _distance(a, p, 1e-6), _distance(a, n, 1e-6)
    return where(near - far + margin > 0, (p - a) / near, 0)


def _triplet_by_negative(a: Number, p: Number, n: Number, margin: float = 1.0) -> Number:
    near, far = _distance(a, p, 1e-6), _distance(a, n, 1e-6)
    return where(near - far + margin > 0, (a - n) / far, 0)


def _apart(x: Number, y: Number) -> Number:
    moved = x - y + 1e-6
    return sqrt((moved * moved).sum())


def _triplet_by_difference(a: Number, p: Number, n: Number, margin: float = 1.0) -> Number:
    return most(_apart(a, p) - _apart(a, n) + margin, 0)[..., 0]


LOSSES: Mapping[str, Operation] = {
    one.name: one
    for one in (
        _loss("l1_loss", "|x - y|", lambda x, y: abs(x - y), (PAIRS, MANY_PAIRS), lambda x, y: sign(x - y)),
        _loss(
            "mse_loss",
            "(x - y)**2",
            lambda x, y: (x - y) * (x - y),
            (PAIRS, MANY_PAIRS),
            lambda x, y: 2 * (x - y),
            others={"targets": lambda x, y: 2 * (y - x)},
        ),
        _loss(
            "huber_loss",
            "(x - y)**2 / 2 if |x - y| <= delta, else delta (|x - y| - delta / 2)",
            _huber,
            (PAIRS, MANY_PAIRS),
            _huber_slope,
            others={"targets": lambda x, y: _huber_slope(y, x)},
            variants=({"delta": 0.5}, {"delta": 2.0}),
            beyond=({"delta": 0.0}, {"delta": -1.0}),
        ),
        _loss(
            "smooth_l1_loss",
            "(x - y)**2 / (2 beta) if |x - y| < beta, else |x - y| - beta / 2",
            _smooth,
            (PAIRS, MANY_PAIRS),
            lambda x, y, beta=1.0: limited((x - y) / beta, -1, 1),
            variants=({"beta": 0.5}, {"beta": 2.0}),
            beyond=({"beta": -1.0},),
        ),
        _loss("log_cosh_loss", "log(cosh(x - y))", _log_cosh, (PAIRS, MANY_PAIRS), _log_cosh_slope),
        _loss(
            "hinge_loss",
            "max(1 - x y, 0)",
            lambda x, y: most(1 - x * y, 0),
            (SIGNS, MANY_SIGNS),
            lambda x, y: where(x * y < 1, -y, 0),
        ),
        _loss(
            "margin_ranking_loss",
            "max(-y (x1 - x2) + margin, 0)",
            lambda x, other, y, margin=0.0: most(-y * (x - other) + margin, 0),
            (RANKED, MANY_RANKED),
            lambda x, other, y, margin=0.0: where(-y * (x - other) + margin > 0, -y, 0),
            others={"others": lambda x, other, y, margin=0.0: where(-y * (x - other) + margin > 0, y, 0)},
            variants=({"margin": 0.25},),
            beyond=({"margin": -0.5},),
        ),
        _loss(
            "binary_cross_entropy",
            "log(1 + exp(x)) - x t",
            _logits,
            (LOGITS, MANY_LOGITS),
            lambda x, t: sigmoid(x) - t,
        ),
        _loss(
            "weighted_binary_cross_entropy",
            "w (log(1 + exp(x)) - x t)",
            lambda x, t, w: w * _logits(x, t),
            (WEIGHTED_LOGITS, MANY_WEIGHTED_LOGITS),
            by=("logits",),
            page=_MLX.format("binary_cross_entropy"),
        ),
        _loss(
            "binary_cross_entropy_of_probabilities",
            "-(t max(log(p), -100) + (1 - t) max(log(1 - p), -100))",
            _of_chances,
            (CHANCES, MANY_CHANCES),
            by=("probabilities",),
            page=_MLX.format("binary_cross_entropy"),
        ),
        _loss(
            "weighted_binary_cross_entropy_of_probabilities",
            "-w (t max(log(p), -100) + (1 - t) max(log(1 - p), -100))",
            lambda p, t, w: w * _of_chances(p, t),
            (WEIGHTED_CHANCES, MANY_WEIGHTED_CHANCES),
            by=("probabilities",),
            page=_MLX.format("binary_cross_entropy"),
        ),
        _loss(
            "gaussian_nll_loss",
            "(log(max(v, eps)) + (y - x)**2 / max(v, eps)) / 2",
            _likelihood,
            (VARIANCES, MANY_VARIANCES),
            lambda x, y, v, full=False, eps=1e-6: (x - y) / most(v, eps),
            others={"targets": lambda x, y, v: (y - x) / most(v, 1e-6), "variances": _likelihood_by_variance},
            variants=({"full": True}, {"eps": 0.125}),
            beyond=({"eps": 0.0}, {"eps": -1.0}),
        ),
        _loss(
            "cross_entropy",
            "log(sum(exp(x))) - x[class]",
            _cross_entropy,
            (CLASSES, MANY_KINDS, MANY_CLASSES),
            _cross_entropy_slope,
            variants=({"label_smoothing": 0.125},),
            beyond=({"label_smoothing": 1.0}, {"label_smoothing": 1.5}, {"label_smoothing": -0.5}),
        ),
        _loss(
            "weighted_cross_entropy",
            "w (log(sum(exp(x))) - x[class])",
            lambda x, classes, w: w * _cross_entropy(x, classes),
            (WEIGHTED_CLASSES,),
            by=("logits",),
            page=_MLX.format("cross_entropy"),
        ),
        _loss(
            "cross_entropy_by_class",
            "w[class] (log(sum(exp(x))) - x[class])",
            _cross_entropy_by_class,
            (CLASS_WEIGHTS, MANY_CLASS_WEIGHTS),
            by=("logits",),
            parts=lambda x, classes, w: w[classes],
            variants=({"label_smoothing": 0.125},),
            page=_TORCH.format("CrossEntropyLoss"),
        ),
        _loss(
            "cross_entropy_of_probabilities_by_class",
            "sum(w p (log(sum(exp(x))) - x))",
            _shared_cross_entropy_by_class,
            (SHARE_WEIGHTS, MANY_SHARE_WEIGHTS),
            by=("logits",),
            page=_TORCH.format("CrossEntropyLoss"),
        ),
        _loss(
            "binary_cross_entropy_by_outcome",
            "(1 - t) x + (1 + (w - 1) t) log(1 + exp(-x))",
            _logits_by_outcome,
            (WEIGHTED_LOGITS, MANY_WEIGHTED_LOGITS),
            lambda x, t, w: (1 + (w - 1) * t) * sigmoid(x) - t * w,
            page=_TORCH.format("BCEWithLogitsLoss"),
        ),
        _loss(
            "cross_entropy_of_probabilities",
            "log(sum(exp(x))) - sum(p x)",
            _shared_cross_entropy,
            (SHARES, MANY_SHARES),
            by=("logits",),
            variants=({"label_smoothing": 0.125},),
            page=_MLX.format("cross_entropy"),
        ),
        _loss(
            "nll_loss",
            "-x[class]",
            lambda x, classes: -chosen(x, classes),
            (LOG_CLASSES, MANY_LOG_KINDS, MANY_LOG_CLASSES),
            lambda x, classes: -one_hot(x, classes),
        ),
        _loss(
            "nll_loss_by_class",
            "-w[class] x[class]",
            lambda x, classes, w: -(w[classes] * chosen(x, classes)),
            (LOG_CLASS_WEIGHTS, MANY_LOG_CLASS_WEIGHTS),
            by=("predictions",),
            parts=lambda x, classes, w: w[classes],
            page=_TORCH.format("NLLLoss"),
        ),
        _loss(
            "kl_div_loss",
            "sum(exp(t) (t - x))",
            lambda x, t: (exp(t) * (t - x)).sum()[..., 0],
            (LOGS, MANY_LOGS),
            lambda x, t: -exp(t),
            others={"targets": lambda x, t: exp(t) * (t - x) + exp(t)},
        ),
        _loss(
            "cosine_similarity_loss",
            "sum(x y) / max(|x| |y|, eps)",
            _cosine,
            (DIRECTIONS, LARGE_DIRECTIONS),
            _cosine_slope,
        ),
        _loss(
            "triplet_loss",
            "max(sqrt(sum((a - p)**2) + eps) - sqrt(sum((a - n)**2) + eps) + margin, 0)",
            _triplet,
            (TRIPLETS, MANY_TRIPLETS),
            _triplet_slope,
            others={"positives": _triplet_by_positive, "negatives": _triplet_by_negative},
            variants=({"margin": 0.25},),
            beyond=({"margin": -0.5},),
        ),
        _loss(
            "triplet_margin_loss",
            "max(|a - p + eps| - |a - n + eps| + margin, 0)",
            _triplet_by_difference,
            (TRIPLETS, MANY_TRIPLETS),
            by=("anchors", "positives", "negatives"),
            variants=({"margin": 0.25},),
            beyond=({"margin": -0.5},),
            page="https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_loss.html",
        ),
    )
}
