"""What documentation leaves open of a layer: its defaults, what a mask means, ties, and what it cannot compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil, floor, prod

import numpy as np

from touchstone.golden.cases import layer_choices
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

CLOSE = 1e-4
"""Relative: far above the rounding of float32, far below what tells one default from another."""
_EPSILONS = {"1e-5": 1e-5, "1e-6": 1e-6, "that of the dtype": 2.0**-23}


def _ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape)) * 7 % 31 - 15).astype(np.float32).reshape(shape)


def _show(assay: Assay, got: np.ndarray, choices: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Which class of right answers this is one of."""
    for shown, right in choices.items():
        if any(got.shape == one.shape and np.allclose(got, one, CLOSE, CLOSE, equal_nan=True) for one in right):
            assay.behaves(shown)
            return
    assay.behaves("something else", conforms=False, message=f"shape {got.shape}: {got.reshape(-1)[:4]} …")


def _asked(assay: Assay, *operands: np.ndarray, **options: object) -> np.ndarray:
    """What the case's operation gives."""
    outcome = assay.ask(probes.operation, name=assay.params["operation"], operands=list(operands), **options)
    return np.asarray(assay.value(outcome), np.float64)


def _normal(x: np.ndarray, axes: int | tuple[int, ...], eps: float, *, centred: bool = True) -> np.ndarray:
    apart = x - x.mean(axes, keepdims=True) if centred else x
    return apart / np.sqrt((apart**2).mean(axes, keepdims=True) + eps)


def _in_groups(x: np.ndarray, eps: float, *, interleaved: bool) -> np.ndarray:
    """Two groups of ``x [batch, space, 8]``: every other channel, or neighbours."""
    shape, axes = ((4, 2), (1, 2)) if interleaved else ((2, 4), (1, 3))
    return _normal(x.reshape(*x.shape[:2], *shape), axes, eps).reshape(x.shape)


def _by_default(name: str, x: np.ndarray, eps: float) -> list[np.ndarray]:
    if name == "GroupNorm":
        return [_in_groups(x, eps, interleaved=one) for one in (True, False)]
    if name == "InstanceNorm":
        return [_normal(x, 1, eps)]
    return [_normal(x, -1, eps, centred=name == "LayerNorm")]


@requirement("LAYER-EPSILON-1", layer_choices.EPSILON_CASES)
def test_epsilon(assay: Assay) -> None:
    """Of numbers whose variance is about as large."""
    x = _ramp(2, 5, 8) * np.float32(2.0**-12)
    name = assay.params["operation"].split()[0]
    wide = x.astype(np.float64)
    _show(assay, _asked(assay, x), {shown: _by_default(name, wide, eps) for shown, eps in _EPSILONS.items()})


@requirement("LAYER-GROUPS-1", layer_choices.GROUPING_CASES)
def test_grouping(assay: Assay) -> None:
    x = _ramp(2, 5, 8)
    kinds = {"every other channel": True, "neighbouring channels": False}
    found = {shown: [_in_groups(x.astype(np.float64), 1e-5, interleaved=one)] for shown, one in kinds.items()}
    _show(assay, _asked(assay, x), found)


@requirement("LAYER-PADDING-1", layer_choices.PADDING_CASES)
def test_padding(assay: Assay) -> None:
    """A kernel of three over nine elements."""
    shape = _asked(assay, _ramp(1, 9, 8)).shape
    shown = {(1, 7, 2): "none", (1, 9, 2): "to the same size"}.get(shape, f"shape {shape}")
    assay.behaves(shown, conforms=not shown.startswith("shape"))


@requirement("LAYER-MOMENTUM-1", layer_choices.MOMENTUM_CASES)
def test_momentum(assay: Assay) -> None:
    """The share of the new in what was zero before."""
    got = _asked(assay, np.ones((4, 3), np.float32), np.zeros(3, np.float32))
    _show(assay, got, {f"{share} of the new": [np.full(3, share)] for share in (0.1, 0.01)})


@requirement("LAYER-STATISTICS-1", layer_choices.VARIANCE_CASES)
def test_running_variance(assay: Assay) -> None:
    """Of two rows, whose unbiased variance is twice the biased one."""
    x = np.array([[0.0, 0.0], [2.0, 4.0]], np.float32)
    got = _asked(assay, x, np.zeros(2, np.float32))
    ratio = got / x.astype(np.float64).var(0)
    kinds = {"unbiased": 2.0, "biased": 1.0}
    _show(assay, ratio, {shown: [np.full(2, of * share) for share in (0.1, 0.01)] for shown, of in kinds.items()})


@requirement("LAYER-ORDER-1", layer_choices.ORDER_CASES)
def test_place_of_norms(assay: Assay) -> None:
    """Whether the result's rows are normal, or hold what was added to x."""
    got = _asked(assay, 100 * _ramp(2, 5, 8))
    is_normal = bool(np.allclose(got.mean(-1), 0, atol=0.01) and np.allclose(got.std(-1), 1, atol=0.01))
    assay.behaves("norms last" if is_normal else "norms first")


def _uniform(sees: np.ndarray) -> np.ndarray:
    """Attention of queries of zeros to values that are rows of the identity."""
    return sees / sees.sum(-1, keepdims=True)


@requirement("LAYER-CAUSAL-1", layer_choices.CAUSAL_CASES)
def test_causal_mask_of_fewer_queries(assay: Assay) -> None:
    q, v = np.zeros((1, 1, 3, 6), np.float32), np.eye(6, dtype=np.float32)[None, None]
    got = _asked(assay, q, v, v, causal=True)[0, 0]
    _show(
        assay,
        got,
        {
            "aligned at the last": [_uniform(np.tri(3, 6, 3))],
            "aligned at the first": [_uniform(np.tri(3, 6))],
        },
    )


@requirement("LAYER-MASK-1", layer_choices.MASK_CASES)
def test_what_true_means(assay: Assay) -> None:
    """Of a mask in which every query has keys of both kinds."""
    mask = np.array([[True, False, False, True], [False, True, False, False], [True, True, False, True]] * 2)[:4]
    got = _asked(assay, np.eye(4, dtype=np.float32)[None], mask)[0]
    _show(assay, got, {"true is seen": [_uniform(mask)], "true is left out": [_uniform(~mask)]})


@requirement("LAYER-UNSEEN-1", layer_choices.UNSEEN_CASES)
def test_a_query_that_sees_nothing(assay: Assay) -> None:
    q, v = np.zeros((1, 1, 3, 3), np.float32), np.eye(3, dtype=np.float32)[None, None]
    sees = np.array([[True, True, False], [False] * 3, [True] * 3])
    mask = sees if "true" in assay.params["operation"] else np.where(sees, np.float32(0), np.float32(-np.inf))
    got = _asked(assay, q, v, v, mask)[0, 0]
    others = np.delete(got, 1, 0)
    if not np.allclose(others, _uniform(np.delete(sees, 1, 0)), CLOSE, CLOSE):
        assay.behaves("other queries differ", conforms=False, message=f"{others.reshape(-1)}")
        return
    rows = {"zero": np.zeros(3), "the mean of all values": np.full(3, 1 / 3), "NaN": np.full(3, np.nan)}
    _show(assay, got[1], {shown: [row] for shown, row in rows.items()})


_SIZES: Mapping[str, Callable[[float], int]] = {"rounded down": floor, "rounded": round, "rounded up": ceil}


@requirement("LAYER-SIZE-1", layer_choices.SIZE_CASES)
def test_size_of_a_fraction(assay: Assay) -> None:
    """Of 10 by 0.25 and 1.27, of 100 by 0.29, which is below 29 as a product of float64, and of 3 by 1.9."""
    asked = ((10, 0.25), (10, 1.27), (100, 0.29), (3, 1.9))
    got = [_asked(assay, np.zeros((1, n, 1), np.float32), scale_factor=scale).shape[1] for n, scale in asked]
    shown = [name for name, size in _SIZES.items() if got == [size(n * scale) for n, scale in asked]]
    assay.behaves(shown[0] if shown else f"sizes {got}", conforms=bool(shown))


def _grids(n: int, scale: float) -> dict[str, np.ndarray]:
    """Where among n elements each element of the result lies."""
    count = int(n * scale)
    at = np.arange(count)
    return {
        "by the factor": (at + 0.5) / scale - 0.5,
        "by the sizes": (at + 0.5) * n / count - 0.5,
        "by the factor, centred": (at - (count - 1) / 2) / scale + (n - 1) / 2,
    }


def _triangle(d: np.ndarray) -> np.ndarray:
    return np.maximum(1 - d, 0)


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, (((d - 5) * d + 8) * d - 4) * a
    return np.where(d <= 1, near, np.where(d <= 2, far, 0))


def _taken(at: np.ndarray, n: int, kernel: Callable[[np.ndarray], np.ndarray], *, repeated: bool = True) -> np.ndarray:
    """``[places, n]``: what each takes of each element; repeated: the edges behind themselves, or else nothing."""
    reach = np.arange(-2, n + 2)
    found = kernel(np.abs(at[:, None] - reach))
    inner = found[:, 2:-2].copy()
    if not repeated:
        return np.asarray(inner / inner.sum(1, keepdims=True))
    inner[:, 0] += found[:, :2].sum(1)
    inner[:, -1] += found[:, -2:].sum(1)
    return inner


def _resized(assay: Assay, columns: np.ndarray, **options: object) -> np.ndarray:
    """Each of ``columns [n, channels]`` along the first of two axes, along the other of which it does not change."""
    n, channels = columns.shape
    x = np.broadcast_to(columns[None, :, None].astype(np.float32), (1, n, n, channels))
    return _asked(assay, np.ascontiguousarray(x), **options)[0, :, 0]


@requirement("LAYER-GRID-1", layer_choices.GRID_CASES)
def test_places_of_a_fraction(assay: Assay) -> None:
    """Each element apart from all others."""
    (n, scale), mode = layer_choices.FRACTION, assay.params["mode"]
    options = {"mode": "linear"} if mode == "linear" else {}
    kernel = _triangle if mode == "linear" else partial(_cubic, a=-0.75)
    got = _resized(assay, np.eye(n), scale_factor=scale, **options)
    _show(assay, got, {shown: [_taken(at, n, kernel)] for shown, at in _grids(n, scale).items()})


@requirement("LAYER-GRID-2", layer_choices.NEAREST_CASES)
def test_nearest_of_a_fraction(assay: Assay) -> None:
    n, scale = layer_choices.FRACTION if assay.params["of"] == "larger" else (11, 0.3)
    at, steps = np.arange(int(n * scale)), {"by the factor": 1 / scale, "by the sizes": n / int(n * scale)}
    places = {
        f"{what}, {how}": np.floor((at + more) * step).astype(int)
        for what, more in {"the one before": 0.0, "the closest": 0.5}.items()
        for how, step in steps.items()
    }
    got = _resized(assay, np.arange(n)[:, None], scale_factor=scale, mode="nearest")[:, 0]
    _show(assay, got, {shown: [at_most.astype(np.float64)] for shown, at_most in places.items()})


_CUBICS = {"-0.5": -0.5, "-0.75": -0.75}


@requirement("LAYER-CUBIC-1", layer_choices.CUBIC_CASES)
def test_coefficient_of_cubics(assay: Assay) -> None:
    """Twice as large: what elements far from an edge take of the middle one."""
    n, at = 9, _grids(9, 2)["by the factor"]
    got = _resized(assay, np.eye(n))[6:12]
    _show(assay, got, {shown: [_taken(at, n, partial(_cubic, a=a))[6:12]] for shown, a in _CUBICS.items()})


@requirement("LAYER-CUBIC-2", layer_choices.CUBIC_CASES)
def test_edges_of_cubics(assay: Assay) -> None:
    """Twice as large: what the elements at the edges take."""
    n, at = 9, _grids(9, 2)["by the factor"]
    rules = {"the edge again": True, "nothing": False}
    ends = [0, 1, 2, -3, -2, -1]
    found = {
        shown: [_taken(at, n, partial(_cubic, a=a), repeated=repeated)[ends] for a in _CUBICS.values()]
        for shown, repeated in rules.items()
    }
    _show(assay, _resized(assay, np.eye(n))[ends], found)


@requirement("LAYER-DROPOUT-3", layer_choices.UNBATCHED_CASES)
def test_channels_without_a_batch(assay: Assay) -> None:
    """Along which axes one draw holds for all."""
    shape = layer_choices.UNBATCHED[assay.params["operation"]]
    got = _asked(assay, np.ones(shape, np.float32), p=0.5, seed=1, training=True)
    kept = got != 0
    drawn = tuple(axis for axis in range(kept.ndim) if (kept != kept.take([0], axis)).any())
    names = {(0,): "the first axis", (kept.ndim - 1,): "the last axis", (0, 1): "the first two axes"}
    away = abs(kept.mean() - 0.5) * np.sqrt(prod(shape[axis] for axis in drawn)) / 0.5
    faults = {
        "axes that are no channels": drawn not in names,
        "another share dropped": away > FALSE_ALARM,
        "another scale": bool((got[kept] != 2).any()),
    }
    shown = next((name for name, is_so in faults.items() if is_so), "")
    assay.behaves(shown or names[drawn], conforms=not shown, message=f"axes {drawn}")


@requirement("LAYER-TIES-1", layer_choices.TIE_CASES)
def test_gradient_of_equal_elements(assay: Assay) -> None:
    """Of one window of ones."""
    dims = int(assay.params["operation"][-2])
    x, cotangent = np.ones((1, *(2,) * dims, 1), np.float32), np.ones((1, *(1,) * dims, 1), np.float32)
    asked = {"name": assay.params["operation"], "operands": [x], "place": 0, "cotangent": cotangent}
    got = np.asarray(assay.value(assay.ask(probes.operation_gradient, **asked)), np.float64).reshape(-1)
    first = np.eye(1, got.size)[0]
    kinds = {"to the first": first, "to the last": first[::-1], "shared": np.full(got.size, 1 / got.size)}
    _show(assay, got, {shown: [right] for shown, right in kinds.items()})


def _dropped(assay: Assay, seed: int, p: float, *, training: bool = True) -> np.ndarray:
    return _asked(assay, assay.golden("x"), p=p, seed=seed, training=training)


def _channels(kept: np.ndarray) -> np.ndarray:
    """Whether each channel of each entry is kept, where one answer holds for all of it; else an empty array."""
    flat = kept.reshape(kept.shape[0], -1, kept.shape[-1])
    return flat[:, 0] if (flat == flat[:, :1]).all() else np.zeros((0, 0), bool)


FALSE_ALARM = 6.0
"""Standard deviations of a share: beyond them one in 500 million."""


@requirement("LAYER-DROPOUT-1", layer_choices.DROPOUT_CASES)
def test_dropout(assay: Assay) -> None:
    """The share that is dropped, the scale of what is kept, whole channels, another seed, and the same again."""
    x, p = assay.golden("x"), assay.params["p"]
    got, other, again = (_dropped(assay, seed, p) for seed in (1, 2, 1))
    kept = got != 0
    right = np.where(kept, x.astype(np.float64) / (1 - p), 0)
    assay.within(got.astype(np.float32), right, 2.0**-22 * np.abs(right), "float32")
    drawn = kept if assay.params["operation"] == "Dropout" else _channels(kept)
    spread = np.sqrt(p * (1 - p) / max(drawn.size, 1))
    faults = {
        "parts of channels dropped": drawn.size == 0,
        "another share dropped": abs(1 - drawn.mean() - p) > FALSE_ALARM * spread if drawn.size else False,
        "the same for another seed": bool(((other != 0) == kept).all()),
        "another draw for the same seed": not bool((again == got).all()),
    }
    shown = next((name for name, is_so in faults.items() if is_so), "as documented")
    assay.behaves(shown, conforms=shown == "as documented")


@requirement("LAYER-DROPOUT-2", layer_choices.IDENTITY_CASES)
def test_dropout_that_drops_nothing(assay: Assay) -> None:
    in_evaluation = assay.params["of"] == "evaluation"
    got = _dropped(assay, 1, 0.5 if in_evaluation else 0.0, training=not in_evaluation)
    assay.within(got.astype(np.float32), assay.golden("x").astype(np.float64), np.zeros(got.shape), "float32")


def _operands(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    return [_ramp(*shape) / np.float32(8) for shape in shapes]


@requirement("LAYER-EMPTY-1", layer_choices.EMPTY_CASES)
def test_a_batch_of_nothing(assay: Assay) -> None:
    got = _asked(assay, *_operands(layer_choices.EMPTY[assay.params["operation"]]))
    is_right = got.size == 0 and got.shape[0] == 0
    assay.behaves("empty" if is_right else f"shape {got.shape}", conforms=is_right)


@requirement("LAYER-EMPTY-2", layer_choices.IMPOSSIBLE_CASES)
def test_what_cannot_be_computed(assay: Assay) -> None:
    """An exception, or a result without a number that was made up: never the end of the process."""
    shapes = layer_choices.IMPOSSIBLE[assay.params["operation"], assay.params["given"]]
    outcome = assay.ask(probes.operation, name=assay.params["operation"], operands=_operands(shapes))
    if outcome.kind in ("value", "raised"):
        shown = "a result" if outcome.kind == "value" else "an exception"
        told = f"shape {outcome.value.shape}" if outcome.kind == "value" else outcome.message
        if "do not match" in assay.params["given"] and outcome.kind == "value":
            assay.behaves("a result of shapes that do not match", conforms=False, message=told)
        else:
            assay.behaves("goes on", message=f"{shown}: {told}")
        return
    assay.value(outcome)
