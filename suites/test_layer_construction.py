"""Freshly made layers: their parameters, those that begin with one number, how others are drawn, and the seed."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from touchstone.golden.cases import layer_construction
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement

STRAY = 6.0
"""Standard deviations of a measured standard deviation: beyond them one in 500 million."""


def _made(assay: Assay, seed: int = 0) -> dict[str, np.ndarray]:
    name = assay.params["operation"]
    outcome = assay.ask(probes.new_parameters, layer=name, sizes=layer_construction.SIZES[name], seed=seed)
    found: dict[str, np.ndarray] = assay.value(outcome)
    return {of: value for of, value in sorted(found.items()) if value.dtype.kind != "u"}


@requirement("LAYER-MADE-1", layer_construction.CASES)
def test_names_and_shapes(assay: Assay) -> None:
    made = _made(assay)
    assay.behaves(", ".join(f"{name} {'x'.join(map(str, value.shape)) or 'number'}" for name, value in made.items()))


@requirement("LAYER-MADE-2", layer_construction.CASES)
def test_finite_and_of_float32(assay: Assay) -> None:
    """And what is no weight begins with one number, or as weights do."""
    made = {name: value for name, value in _made(assay).items() if value.dtype.kind not in "iu"}
    faults = [
        f"{name} {value.dtype}" if value.dtype != np.float32 else f"{name} not finite"
        for name, value in made.items()
        if value.dtype != np.float32 or not np.isfinite(value).all()
    ]
    assay.behaves("; ".join(faults) or "finite float32", conforms=not faults)


def _drawn(value: np.ndarray, fan_in: float, fan_out: float, hidden: float) -> str:
    """The class of distribution that an array shows, of those the narrowest; one number where all are alike."""
    flat = value.reshape(-1).astype(np.float64)
    if (flat == flat[0]).all():
        return f"{flat[0]:g}"
    if value.ndim == 2 and _is_orthogonal(value):
        return "orthogonal"
    spread, largest, stray = flat.std(), np.abs(flat).max(), 1 + STRAY / sqrt(2 * flat.size)
    ends = {
        "U(1/sqrt(in))": 1 / sqrt(fan_in),
        "U(1/sqrt(hidden))": 1 / sqrt(hidden),
        "U(1/sqrt(out))": 1 / sqrt(fan_out),
        "U(sqrt(6/(in+out)))": sqrt(6 / (fan_in + fan_out)),
        "U(sqrt(6/(4 in)))": sqrt(6 / (4 * fan_in)),
    }
    for end, name in sorted((end, name) for name, end in ends.items()):
        if largest <= end * (1 + 1e-6) and 1 / stray < spread * sqrt(3) / end < stray:
            return name
    if 1 / stray < spread * sqrt(fan_in) < stray and largest <= 2 / 0.87 / sqrt(fan_in):
        return "truncated N(0, 1/in)"
    return "another distribution"


def _is_orthogonal(value: np.ndarray) -> bool:
    wide = value.astype(np.float64)
    rows = wide if wide.shape[0] <= wide.shape[1] else wide.T
    return bool(np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5))


def _fans(name: str) -> tuple[float, float, float]:
    """Inputs to one output, outputs of one input, and the width that recurrent layers are told."""
    sizes = layer_construction.SIZES[name]
    if name.startswith("Conv"):
        window = sizes[2] ** int(name[-2])
        return sizes[0] * window, sizes[1] * window, sizes[1]
    return (sizes[0], sizes[0], sizes[0]) if name == "MultiHeadAttention" else (sizes[0], sizes[1], sizes[1])


@requirement("LAYER-MADE-3", layer_construction.DRAWN_CASES)
def test_initial_values(assay: Assay) -> None:
    """Each parameter's distribution."""
    fans = _fans(assay.params["operation"])
    shown = {name: _drawn(value, *fans) for name, value in _made(assay).items()}
    assay.behaves(
        "; ".join(f"{name} {of}" for name, of in shown.items()), conforms="another distribution" not in shown.values()
    )


@requirement("LAYER-MADE-4", layer_construction.DRAWN_CASES)
def test_seeds(assay: Assay) -> None:
    """The same again for a seed, others for another, and no two parameters alike."""
    first, again, other = _made(assay), _made(assay), _made(assay, seed=1)
    drawn = [name for name, value in first.items() if prod(value.shape) > 1 and np.ptp(value)]
    faults = {
        "nothing drawn": not drawn,
        "others for the same seed": any((first[name] != again[name]).any() for name in drawn),
        "the same for another seed": any((first[name] == other[name]).all() for name in drawn),
        "two parameters alike": _has_twins([first[name].reshape(-1) for name in drawn]),
    }
    shown = next((name for name, is_so in faults.items() if is_so), "as documented")
    assay.behaves(shown, conforms=shown == "as documented")


def _has_twins(arrays: list[np.ndarray]) -> bool:
    """Whether two of them, or the beginnings of two, are the same or correlated."""
    for at, one in enumerate(arrays):
        for other in arrays[at + 1 :]:
            size = min(one.size, other.size)
            if size > 8 and abs(np.corrcoef(one[:size], other[:size])[0, 1]) > STRAY / sqrt(size):
                return True
    return False
