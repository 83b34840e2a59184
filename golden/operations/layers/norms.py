"""Normalisation: a mean and a variance over some axes, and a weight and a bias by feature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from touchstone.golden.operations.arithmetic import Number, either, sqrt
from touchstone.golden.operations.layers.making import PAGE, arrays, by_entry, layer, narrow, styled, whole
from touchstone.golden.operations.record import NO_OPTIONS, Operation
from touchstone.golden.operations.samples import Argument, Sample

_FEATURES = 24
_KINDS = ("bell", "positive", "equal", "far", "hundreds", "special once", "infinity once")
_REGIONS = ("ordinary", "positive", "equal", "far", "large mean", "NaN", "infinity")
"""Of entries: constant ones, up to 8,192, whose squares float16 does not hold, and around 150 with a small variance."""


def _normal(x: Number, axis: int, eps: float) -> Number:
    centred = x - x.mean(axis)
    return centred / sqrt((centred * centred).mean(axis) + eps)


def _scaled(x: Number, weight: Number | None, bias: Number | None) -> Number:
    out = x if weight is None else x * weight
    return out if bias is None else out + bias


def layer_norm(x: Number, weight: Number | None = None, bias: Number | None = None, *, eps: float = 1e-5) -> Number:
    """Over the last axis."""
    return _scaled(_normal(x, -1, eps), weight, bias)


def _rms_norm(x: Number, weight: Number, eps: float = 1e-5) -> Number:
    return x / sqrt((x * x).mean(-1) + eps) * weight


def _over_space(x: Number, groups: int, eps: float, *, interleaved: bool = False) -> Number:
    """Statistics of each entry over its space and a group's channels: neighbours, or every groups-th of them."""
    batch, channels = x.shape[0], x.shape[-1]
    wide = channels // groups
    axes, split = ((0, 2, 1, 3), (groups, wide)) if not interleaved else ((0, 3, 1, 2), (wide, groups))
    parts = x.reshape(batch, -1, *split)
    moved = parts.transpose(*axes)
    normal = _normal(moved.reshape(batch, groups, -1), -1, eps).reshape(*moved.shape)
    back = (0, 2, 1, 3) if not interleaved else (0, 2, 3, 1)
    return normal.transpose(*back).reshape(*x.shape[:-1], channels)


def _group_norm(
    x: Number,
    weight: Number | None = None,
    bias: Number | None = None,
    num_groups: int = 3,
    eps: float = 1e-5,
) -> Number:
    return _scaled(_over_space(x, num_groups, eps, interleaved=True), weight, bias)


def _neighbours(
    x: Number, weight: Number | None = None, bias: Number | None = None, num_groups: int = 3, eps: float = 1e-5
) -> Number:
    return _scaled(_over_space(x, num_groups, eps), weight, bias)


def _instance_norm(
    x: Number, weight: Number | None = None, bias: Number | None = None, eps: float = 1e-5, tracked: bool = False
) -> Number:
    """In training; tracked: whether running statistics are kept, which does not change the result."""
    return _scaled(_over_space(x, x.shape[-1], eps), weight, bias)


def _batch_norm(
    x: Number,
    weight: Number,
    bias: Number,
    running_mean: Number,
    running_var: Number,
    eps: float = 1e-5,
    cumulative: bool = False,
) -> Number:
    """As it is written, or as one product and one sum by feature, which is what frameworks fold it into."""
    scale = weight / sqrt(running_var + eps)
    written = (x - running_mean) / sqrt(running_var + eps) * weight + bias
    return either(written, x * scale + (bias - running_mean * scale))


def _flat(x: Number) -> Number:
    return x.reshape(-1, x.shape[-1])


def _batch_norm_in_training(
    x: Number, weight: Number, bias: Number, eps: float = 1e-5, cumulative: bool = False
) -> Number:
    """cumulative: whether running statistics are means of all batches, which does not change the result."""
    return (_normal(_flat(x), 0, eps) * weight + bias).reshape(*x.shape)


def _running_mean(x: Number, running_mean: Number, momentum: float = 0.1) -> Number:
    return (1 - momentum) * running_mean + momentum * _flat(x).mean(0)[0]


def _running_var(x: Number, running_var: Number, momentum: float = 0.1) -> Number:
    flat = _flat(x)
    centred = flat - flat.mean(0)
    variance = (centred * centred).sum(0)[0] / (flat.shape[0] - 1)
    return (1 - momentum) * running_var + momentum * variance


def _in_turn(statistic: Callable[..., Number]) -> Callable[..., Number]:
    """The mean of a statistic of batches ``x [batches, ...]``, in steps of one over their number; before is lost."""

    def value(x: Number, before: Number) -> Number:
        for number in range(x.shape[0]):
            before = statistic(x[number], before, momentum=1 / (number + 1))
        return before

    return value


def _by_instance(statistic: Callable[..., Number]) -> Callable[..., Number]:
    """The share of the mean, over the entries, of a statistic of the space of each."""

    def value(x: Number, before: Number, momentum: float = 0.1) -> Number:
        entries = [statistic(x[n], before, momentum=1.0) for n in range(x.shape[0])]
        mean = sum(entries[1:], entries[0]) / len(entries)
        return (1 - momentum) * before + momentum * mean

    return value


def _running_var_of_all(x: Number, running_var: Number, momentum: float = 0.1) -> Number:
    centred = _flat(x) - _flat(x).mean(0)
    return (1 - momentum) * running_var + momentum * (centred * centred).mean(0)[0]


def _sample(name: str, x: tuple[int, ...], parts: Sequence[str] = ("weight", "bias"), **options: Any) -> Sample:
    return whole(name, arrays({"x": x, **dict.fromkeys(parts, x[-1:])}), x, **options)


def _entries(shape: tuple[int, ...], parts: Sequence[str] = ("weight", "bias")) -> Sample:
    """Entries of a style each."""
    x = styled((len(_KINDS), *shape), "x", [(kind, prod(shape)) for kind in _KINDS])
    return by_entry("kinds", arrays({"x": x.shape, **dict.fromkeys(parts, shape[-1:])}, x=x), x.shape, *_REGIONS)


def _by_token(name: str, formula: str, value: Any, *parts: str) -> Operation:
    samples = [
        _sample("own", (3, 5, _FEATURES), parts),
        _entries((_FEATURES,), parts),
        _sample("one row", (_FEATURES,), parts),
        _sample("one feature", (4, 1), parts),
        _sample("4096 features", (2, 4096), parts),
        _sample("large epsilon", (3, _FEATURES), parts, eps=0.5),
    ]
    return layer(name, formula, value, *samples)


def _by_channel(
    name: str, formula: str, value: Any, *, has_groups: bool = False, is_tracked: bool = False, page: str = ""
) -> Operation:
    """has_groups: whether it is asked with other numbers of groups, which are one, some, and one a channel.

    is_tracked: whether it is asked to keep running statistics.
    """
    groups = {"one group": 1, "eight groups": 8, "a group a channel": _FEATURES} if has_groups else {}
    samples = [
        _sample("own", (2, 7, _FEATURES)),
        _entries((5, _FEATURES)),
        _sample("two axes", (2, 3, 4, _FEATURES)),
        _sample("not affine", (2, 7, _FEATURES), ()),
        _sample("large epsilon", (2, 7, _FEATURES), eps=0.5),
        *(_sample(of, (2, 7, _FEATURES), num_groups=count) for of, count in groups.items()),
        *([_sample("tracked", (2, 7, _FEATURES), tracked=True)] if is_tracked else []),
    ]
    return layer(name, formula, value, *samples, page=page)


def _statistics(shape: tuple[int, ...], *parts: str) -> dict[str, Argument]:
    shapes = {"x": shape, **dict.fromkeys(parts, shape[-1:])}
    return arrays(shapes, running_var=styled(shape[-1:], "running_var", [("positive", shape[-1])]))


_RUNNING = ("running_mean", "running_var")
_NORMAL = "(x - mean(x)) / sqrt(mean((x - mean(x))**2) + eps) w + b"
_BATCH_PAGE = PAGE.format("BatchNorm")
_FLAX_PAGE = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/normalization.html"


def _batch(name: str, formula: str, value: Any, *parts: str, **more: Any) -> Operation:
    """In three ranks, with another epsilon, and with statistics kept as means of all batches."""
    shapes = {"own": (6, _FEATURES), "one axis": (3, 5, _FEATURES), "two axes": (2, 3, 4, _FEATURES)}
    samples = [whole(of, _statistics(shape, *parts), shape) for of, shape in shapes.items()]
    samples.append(whole("large epsilon", _statistics((6, _FEATURES), *parts), (6, _FEATURES), eps=0.5))
    samples.append(whole("cumulative", _statistics((6, _FEATURES), *parts), (6, _FEATURES), cumulative=True))
    many = styled((4096, 2), "x", [("tens", 8192)])
    samples.append(whole("many rows", {**_statistics((4096, 2), *parts), "x": many}, (4096, 2)))
    return layer(name, formula, value, *samples, page=_BATCH_PAGE, **more)


def _kept(part: str, own: tuple[int, ...]) -> list[Sample]:
    """Of arrays of these shapes, the first one of them with another momentum too."""
    found = {"own": own, "two axes": (2, 3, 4, _FEATURES)}
    samples = [whole(of, _statistics(shape, part), (_FEATURES,)) for of, shape in found.items()]
    return [*samples, whole("another momentum", _statistics(own, part), (_FEATURES,), momentum=0.25)]


def _statistic(name: str, formula: str, value: Any, part: str, page: str = _BATCH_PAGE) -> Operation:
    samples = _kept(part, (6, _FEATURES))
    return layer(name, formula, value, *samples, page=page, constant=("x", part))


_TORCH_PAGE = "https://docs.pytorch.org/docs/stable/generated/torch.nn.{}.html"
_BATCHES = {"own": (3, 6, _FEATURES), "one batch": (1, 6, _FEATURES), "two axes": (3, 2, 3, 4, _FEATURES)}


def _other_statistics(name: str, part: str, value: Callable[..., Number]) -> tuple[Operation, ...]:
    """Of all batches, and of instances."""
    batches = [narrow(whole(of, _statistics(shape, part), (_FEATURES,))) for of, shape in _BATCHES.items()]
    instances = map(narrow, _kept(part, (3, 5, _FEATURES)))
    return (
        layer(
            f"cumulative {name} of BatchNorm",
            f"the mean of the {name}s of all batches",
            _in_turn(value),
            *batches,
            page=_TORCH_PAGE.format("BatchNorm1d"),
            constant=("x", part),
        ),
        layer(
            f"running {name} of InstanceNorm",
            f"(1 - m) before + m times the mean of the {name}s of the entries",
            _by_instance(value),
            *instances,
            page=_TORCH_PAGE.format("InstanceNorm1d"),
            constant=("x", part),
        ),
    )


_OTHER_STATISTICS = (
    *_other_statistics("mean", "running_mean", _running_mean),
    *_other_statistics("variance", "running_var", _running_var),
    layer(
        "InstanceNorm with statistics",
        "(x - running mean) / sqrt(running variance + eps) w + b",
        _batch_norm,
        *(
            narrow(whole(of, _statistics(shape, "weight", "bias", *_RUNNING), shape, **options))
            for of, shape, options in (
                ("own", (2, 7, _FEATURES), NO_OPTIONS),
                ("two axes", (2, 3, 4, _FEATURES), NO_OPTIONS),
                ("large epsilon", (2, 7, _FEATURES), {"eps": 0.5}),
            )
        ),
        page=_TORCH_PAGE.format("InstanceNorm1d"),
        constant=_RUNNING,
    ),
)
NORMS = (
    _by_token("LayerNorm", _NORMAL, layer_norm, "weight", "bias"),
    _by_token("RMSNorm", "x / sqrt(mean(x**2) + eps) w", _rms_norm, "weight"),
    _by_channel("GroupNorm", f"{_NORMAL} over space and every groups-th channel", _group_norm, has_groups=True),
    _by_channel(
        "GroupNorm of neighbours",
        f"{_NORMAL} over space and a group of neighbouring channels",
        _neighbours,
        has_groups=True,
        page=PAGE.format("GroupNorm"),
    ),
    _by_channel("InstanceNorm", f"{_NORMAL} over space", _instance_norm, is_tracked=True),
    _batch(
        "BatchNorm",
        "(x - running mean) / sqrt(running variance + eps) w + b",
        _batch_norm,
        "weight",
        "bias",
        *_RUNNING,
        constant=_RUNNING,
    ),
    _batch("BatchNorm in training", f"{_NORMAL} over all but features", _batch_norm_in_training, "weight", "bias"),
    _statistic("running mean of BatchNorm", "(1 - m) mean' + m mean(x)", _running_mean, "running_mean"),
    _statistic(
        "running variance of BatchNorm",
        "(1 - m) variance' + m sum((x - mean(x))**2) / (n - 1)",
        _running_var,
        "running_var",
    ),
    _statistic(
        "running biased variance of BatchNorm",
        "(1 - m) variance' + m mean((x - mean(x))**2)",
        _running_var_of_all,
        "running_var",
        _FLAX_PAGE,
    ),
    *_OTHER_STATISTICS,
)
