"""Construction: what does a freshly made layer hold, by which names, from which distribution?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import erf, sqrt
from typing import Any

import numpy as np

from touchstone.adapters.interface import Layer
from touchstone.golden.cases import construction
from touchstone.golden.operations.initializers import TRUNCATED_SCALE
from touchstone.golden.streams import SIGNIFICAND_BITS
from touchstone.suites import probes
from touchstone.suites.assay import Assay
from touchstone.suites.draws import acceptance, kolmogorov_distance
from touchstone.suites.requirements import requirement

FALSE_ALARM = 1e-7
"""Per comparison of one parameter with its true distribution; the seeds are fixed besides."""
DEVIATIONS = 6.0
"""Standard deviations that a correlation of independent values, or a count, may be off (false alarm 2e-9)."""
TAIL = 1 / 2000
"""Share of a normal distribution that is looked for at each end."""


def _construct(assay: Assay, sizes: tuple[int, int], seed: int = 7, **options: Any) -> Layer:
    return assay.adapter.construct(assay.params["layer"], sizes, seed, **options)


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
    inner = _normal(scale / TRUNCATED_SCALE)
    edge = 2 * scale / TRUNCATED_SCALE
    low, high = inner(np.array(-edge)), inner(np.array(edge))
    return lambda x: np.clip((inner(x) - low) / (high - low), 0, 1)


@dataclass(frozen=True)
class Distribution:
    """cdf, and the largest magnitude a value may have: exact where bounded, else one that 1e9 draws stay below."""

    cdf: Callable[[np.ndarray], np.ndarray]
    support: float


def _candidates(fan_in: int) -> dict[str, Distribution]:
    k = 1 / sqrt(fan_in)
    # Bounds carry one part in 10**6 for the float32 arithmetic that scales the draws.
    return {
        "U(-1/sqrt(in), 1/sqrt(in))": Distribution(lambda x: np.clip((x + k) / (2 * k), 0, 1), k * (1 + 1e-6)),
        "N(0, 1)": Distribution(_normal(1.0), 8.0),
        "N(0, 1/dims)": Distribution(_normal(k), 8.0 * k),
        "truncated N(0, 1/in)": Distribution(_truncated_normal(k), 2 * k / TRUNCATED_SCALE * (1 + 1e-6)),
    }


@requirement("INIT-DIST-1", [*construction.DISTRIBUTION_CASES, *construction.STORED_CASES])
def test_distributions(assay: Assay) -> None:
    """Every candidate but one must be rejected; adjacent values and the two halves must be uncorrelated as well."""
    first, second = construction.sizes(assay.case)
    stored = {"param_dtype": assay.params["dtype"]} if "dtype" in assay.params else {}
    layer = _construct(assay, (first, second), **stored)
    values = probes.by_role(layer, layer.parameters())[assay.params["parameter"]]
    if values.dtype.name != assay.params.get("dtype", "float32"):
        assay.behaves("another dtype", message=f"{values.dtype}")
        return
    if not values.any():
        assay.behaves("zeros")
        return
    fan_in = second if assay.params["layer"] == "embedding" else first
    flat = values.reshape(-1).astype(np.float64)
    # Rounded to p bits x moves by 2**-p |x| at most, and |x| times a density that is one of those is below 0.5.
    rounding = 2.0 ** -SIGNIFICAND_BITS[values.dtype.name]
    limit = acceptance(flat.size, FALSE_ALARM) + (rounding if "dtype" in assay.params else 0)
    distances = {name: kolmogorov_distance(flat, c.cdf) for name, c in _candidates(fan_in).items()}
    left = [
        name
        for name, d in distances.items()
        if d <= limit and np.abs(flat).max() <= _candidates(fan_in)[name].support * (1 + rounding)
    ]
    message = ", ".join(f"{name}: {d:.4f}" for name, d in distances.items()) + f"; accepted below {limit:.4f}"
    halves = flat[: flat.size // 2], flat[-(flat.size // 2) :]
    pairs = {"adjacent values": (flat[:-1], flat[1:]), "halves": halves}
    for name, (a, b) in pairs.items():
        deviations = abs(float(np.corrcoef(a, b)[0, 1])) * sqrt(a.size)
        if not deviations <= DEVIATIONS:
            assay.behaves(
                "correlated or not finite", message=f"{name} correlate at {deviations:.1f} standard deviations"
            )
            return
    told = " or ".join(left) or "none of those considered"
    if len(left) == 1 and left[0].startswith("N(") and (short := _short_tails(_candidates(fan_in)[left[0]].cdf(flat))):
        told, message = f"{told} without its tails", f"{short}; {message}"
    assay.behaves(told, message=message)


def _short_tails(ranks: np.ndarray) -> str:
    """Which of the two outermost parts of a normal distribution has too few values; empty where none has.

    A tenth of them may be elsewhere because of their rounding.
    """
    expected = ranks.size * TAIL
    found = {"lowest": int((ranks < TAIL).sum()), "highest": int((ranks > 1 - TAIL).sum())}
    few = {name: n for name, n in found.items() if n < 0.9 * expected - DEVIATIONS * sqrt(expected)}
    return ", ".join(f"{n} values among the {name} {TAIL:.2%}, {expected:.0f} are due" for name, n in few.items())


@requirement("INIT-ROWS-1", construction.ROW_CASES)
def test_rows_differ(assay: Assay) -> None:
    rows = probes.weight_of(_construct(assay, construction.sizes(assay.case)))
    different = len(np.unique(rows, axis=0))
    behaviour = "all differ" if different == len(rows) else "repeated rows"
    assay.behaves(behaviour, conforms=different == len(rows), message=f"{different} different rows of {len(rows)}")


@requirement("INIT-SEED-1", construction.SEED_CASES)
def test_seeds(assay: Assay) -> None:
    first, again, other = (probes.weight_of(_construct(assay, (7, 5), seed)) for seed in (7, 7, 8))
    repeats, differs = first.tobytes() == again.tobytes(), first.tobytes() != other.tobytes()
    behaviour = "repeats" if repeats and differs else "does not repeat" if differs else "ignores the seed"
    assay.behaves(behaviour, conforms=repeats and differs)


@requirement("INIT-SEED-2", construction.SEED_BITS_CASES)
def test_seeds_that_differ_in_one_high_bit(assay: Assay) -> None:
    low, high = (probes.weight_of(_construct(assay, (7, 5), seed)) for seed in (7, 7 + 2 ** assay.params["bits"]))
    differ = low.tobytes() != high.tobytes()
    assay.behaves("differ" if differ else "the same parameters", conforms=differ)


@requirement("INIT-SEED-3", construction.SEED_CASES)
def test_the_same_seed_in_a_new_process(assay: Assay) -> None:
    arguments = {"plan": [(assay.params["layer"], (7, 5))], "seed": 7}
    here = assay.value(assay.ask(probes.constructed, **arguments))
    there = assay.value(assay.ask_anew(probes.constructed, **arguments))
    repeats = _bytes(here) == _bytes(there)
    assay.behaves("repeats" if repeats else "does not repeat", conforms=repeats)


def _bytes(layers: list[dict[str, np.ndarray]]) -> list[dict[str, bytes]]:
    return [{role: value.tobytes() for role, value in layer.items()} for layer in layers]


@requirement("INIT-APART-1", [*construction.APART_CASES, *construction.DRAWN_CASES])
def test_layers_of_one_generator_are_independent(assay: Assay) -> None:
    """Two layers, and then two more of the same kinds, made one after the other."""
    plan = [(layer, (96, 96)) for layer in assay.params["layers"].split("+")] * 2
    options = {"init": assay.params["init"]} if "init" in assay.params else {}
    made = assay.value(assay.ask(probes.constructed, plan=plan, seed=7, **options))
    drawn = {
        f"{role} of layer {number}": value.astype(np.float64)
        for number, layer in enumerate(made, 1)
        for role, value in layer.items()
        if value.any()
    }
    for (one, a), (other, b) in combinations(drawn.items(), 2):
        for x, y in _alike(a, b):
            deviations = abs(float(np.corrcoef(x, y)[0, 1])) * sqrt(x.size)
            if not deviations <= DEVIATIONS:
                message = f"{one} and {other} correlate at {deviations:.1f} standard deviations ({x.size} values)"
                assay.behaves("correlated", conforms=False, message=message)
    assay.behaves("independent")


def _alike(one: np.ndarray, other: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts that the same random numbers may have gone to: of two matrices all, of a vector each row and column."""
    if one.ndim == other.ndim:
        return [(one.reshape(-1), other.reshape(-1)), (one.reshape(-1), other.T.reshape(-1))]
    matrix, vector = (one, other) if one.ndim == 2 else (other, one)
    return [(part, vector) for part in (*matrix, *matrix.T)]


@requirement("INIT-REPR-1", construction.REPR_CASES)
def test_repr(assay: Assay) -> None:
    sizes = construction.sizes(assay.case)
    arguments = {"layer": assay.params["layer"], "sizes": sizes, "seed": 7}
    name, text = assay.value(assay.ask(probes.described, **arguments))
    places = [found.start() for size in sizes if (found := re.search(rf"\b{size}\b", text))]
    told = name in text and len(places) == len(sizes) and places == sorted(places)
    assay.behaves("names class and sizes" if told else "incomplete", conforms=told, message=text[:300])


@requirement("INIT-REPR-2", construction.BIAS_REPR_CASES)
def test_repr_of_the_bias(assay: Assay) -> None:
    """Told apart by a word about the bias, or by its being listed as a parameter."""
    with_it, without = (
        assay.value(assay.ask(probes.described, layer="linear", sizes=(7, 5), seed=7, bias=bias))[1]
        for bias in (True, False)
    )
    told = "bias" in (with_it + without) and with_it != without
    text = with_it if assay.params["bias"] else without
    assay.behaves("tells" if told else "does not tell", conforms=told, message=text[:300])
