"""What documentation leaves open of a layer: its defaults, what a mask means, ties, and what it cannot compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
