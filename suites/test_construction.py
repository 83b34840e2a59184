"""Construction: what does a freshly made layer hold, by which names, from which distribution?"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, log, sqrt
from typing import Any

import numpy as np

from adapters.interface import Layer
from golden.cases import construction
from suites import probes
from suites.assay import Assay
from suites.requirements import requirement

FALSE_ALARM = 1e-7
"""Per comparison of one parameter with its true distribution; the seeds are fixed besides."""


def _construct(assay: Assay, sizes: tuple[int, int], seed: int = 7, **options: Any) -> Layer:
    return assay.target.adapter.construct(assay.params["layer"], sizes, seed, **options)


def _options(assay: Assay) -> dict[str, Any]:
    return {"bias": assay.params["bias"]} if assay.params["layer"] == "linear" else {}


@requirement("INIT-PARAM-1", construction.SHAPE_CASES)
def test_parameters(assay: Assay) -> None:
    first, second = construction.sizes(assay.case)
    layer = _construct(assay, (first, second), **_options(assay))
    got = {role: (a.shape, a.dtype.name) for role, a in probes.by_role(layer, layer.parameters()).items()}
    shape = (first, second) if assay.params["layer"] == "embedding" else (second, first)
    want: dict[str, Any] = {"weight": (shape, "float32")}
    if assay.params["bias"]:
        want["bias"] = ((second,), "float32")
    trainable = len(layer.trainable()) == len(want)
    behaviour = "as documented" if got == want and trainable else "other parameters"
    assay.behaves(behaviour, conforms=got == want and trainable, message=f"got {got}, want {want}")


@requirement("INIT-NAME-1", construction.SHAPE_CASES)
def test_names(assay: Assay) -> None:
    layer = _construct(assay, construction.sizes(assay.case), **_options(assay))
    assay.behaves(", ".join(sorted(layer.parameters())))


def _normal(scale: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: 0.5 * (1 + np.vectorize(erf)(x / (scale * sqrt(2))))


def _truncated_normal(scale: float) -> Callable[[np.ndarray], np.ndarray]:
    """Standard deviation `scale` after truncation at two deviations (jax.nn.initializers.variance_scaling)."""
    inner = _normal(scale / 0.87962566103423978)
    edge = 2 * scale / 0.87962566103423978
    low, high = inner(np.array(-edge)), inner(np.array(edge))
    return lambda x: np.clip((inner(x) - low) / (high - low), 0, 1)


def _candidates(fan_in: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    k = 1 / sqrt(fan_in)
    return {
        "U(-1/sqrt(in), 1/sqrt(in))": lambda x: np.clip((x + k) / (2 * k), 0, 1),
        "N(0, 1)": _normal(1.0),
        "N(0, 1/dims)": _normal(k),
        "truncated N(0, 1/in)": _truncated_normal(k),
    }


def kolmogorov_distance(sample: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """sup |F_n - F| over every 64th order statistic: never more than over all, and less by at most 64 / n."""
    ordered = np.sort(sample.reshape(-1).astype(np.float64))
    rank = np.arange(0, ordered.size, 64)
    expected = cdf(ordered[rank])
    below, upto = rank / ordered.size, (rank + 1) / ordered.size
    return float(max(np.abs(expected - below).max(), np.abs(expected - upto).max()))


def acceptance(count: int) -> float:
    """The distance that a true distribution exceeds with probability `FALSE_ALARM`.

    Dvoretzky-Kiefer-Wolfowitz with Massart's constant (Annals of Probability 18(3), 1990):
    P(sup |F_n - F| > e) <= 2 exp(-2 n e**2).
    """
    return sqrt(log(2 / FALSE_ALARM) / (2 * count))


@requirement("INIT-DIST-1", construction.DISTRIBUTION_CASES)
def test_distributions(assay: Assay) -> None:
    """Every candidate but one must be rejected; adjacent values must be uncorrelated as well."""
    first, second = construction.sizes(assay.case)
    layer = _construct(assay, (first, second))
    values = probes.by_role(layer, layer.parameters())[assay.params["parameter"]]
    if not values.any():
        assay.behaves("zeros")
        return
    fan_in = second if assay.params["layer"] == "embedding" else first
    distances = {name: kolmogorov_distance(values, cdf) for name, cdf in _candidates(fan_in).items()}
    limit = acceptance(values.size)
    left = [name for name, distance in distances.items() if distance <= limit]
    flat = values.reshape(-1).astype(np.float64)
    correlation = abs(float(np.corrcoef(flat[:-1], flat[1:])[0, 1])) * sqrt(flat.size)
    message = ", ".join(f"{name}: {d:.4f}" for name, d in distances.items()) + f"; accepted below {limit:.4f}"
    if correlation > 6:
        assay.behaves("correlated", message=f"adjacent values correlate at {correlation:.1f} standard deviations")
    else:
        assay.behaves(" or ".join(left) or "none of those considered", message=message)


@requirement("INIT-SEED-1", construction.SEED_CASES)
def test_seeds(assay: Assay) -> None:
    first, again, other = (probes.weight_of(_construct(assay, (7, 5), seed)) for seed in (7, 7, 8))
    repeats, differs = first.tobytes() == again.tobytes(), first.tobytes() != other.tobytes()
    behaviour = "repeats" if repeats and differs else "does not repeat" if differs else "ignores the seed"
    assay.behaves(behaviour, conforms=repeats and differs)


@requirement("INIT-REPR-1", construction.REPR_CASES)
def test_repr(assay: Assay) -> None:
    sizes = construction.sizes(assay.case)
    native = _construct(assay, sizes).native
    text = repr(native)
    told = type(native).__name__ in text and all(str(size) in text for size in sizes)
    assay.behaves("names class and sizes" if told else "incomplete", conforms=told, message=text[:300])
