"""Are values a draw from a distribution? Statistics whose false alarms are bounded for samples of any size.

A comparison of a right draw fails with probability `FALSE_ALARM` at most. A run on ten targets makes fewer than 10**5
comparisons: it is red by chance with probability 1e-6 at most, and the seeds are fixed besides. Every bound holds for
normal, truncated normal and uniform values alike; none is asymptotic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log, log2, sqrt
from typing import Any

import numpy as np

from touchstone.adapters.interface import Adapter
from touchstone.golden.operations.initializers import Law
from touchstone.golden.streams import SIGNIFICAND_BITS

FALSE_ALARM = 1e-11
"""Per comparison."""
FAR = 8.5
"""Standard deviations that no value of a normal sample is away from its mean: 2e-17 for one value."""
TAIL = 1 / 500
"""Share of a normal distribution that is looked for at each end."""
ROUNDINGS = 4
"""Of a value on its way: the uniform number, its scale, their product and a sum."""
COARSE = 2.0
"""How many times as wide as the spacing of the dtype a gap among ordinary values may be."""
_EXPONENT = log(2 / FALSE_ALARM)


def initialized(
    adapter: Adapter, name: str, shapes: Sequence[tuple[int, ...]], dtype: str | None, seed: int, options: Any
) -> list[np.ndarray]:
    """A probe: weights of an initializer, as `Adapter.initialize` makes them."""
    return adapter.initialize(name, shapes, dtype, seed, **options)


@dataclass(frozen=True)
class Departure:
    """What a sample shows that its distribution does not: a class of behaviour, and the numbers."""

    behaviour: str
    message: str


def departures(values: np.ndarray, law: Law) -> list[Departure]:
    """How a sample of any float dtype departs from a distribution; nothing where it does not."""
    if not np.isfinite(values.astype(np.float64)).all():
        return [Departure("not finite", f"{int((~np.isfinite(values.astype(np.float64))).sum())} values")]
    x = values.reshape(-1).astype(np.float64)
    found = (check(x, law, values.dtype.name) for check in (_range, _mean, _variance, _distance, _tails, _fineness))
    return [one for one in found if one is not None]


def _moved(law: Law, dtype: str) -> float:
    """How far rounding moves a value of ordinary size, in standard deviations."""
    return ROUNDINGS * 2.0 ** -SIGNIFICAND_BITS[dtype] * (1 + abs(law.mean) / law.std)


def _range(x: np.ndarray, law: Law, dtype: str) -> Departure | None:
    """Nothing lies beyond the ends of the distribution, by more than what rounding adds to the largest value."""
    width = min(law.half_width, FAR * law.std)
    limit = width + ROUNDINGS * 2.0 ** -SIGNIFICAND_BITS[dtype] * (abs(law.mean) + width)
    low, high = float(x.min()), float(x.max())
    if max(law.mean - low, high - law.mean) <= limit:
        return None
    message = f"values from {low:.6g} to {high:.6g}, of {law} they lie within {limit:.6g} of the mean"
    return Departure("outside its range", message)


def _mean(x: np.ndarray, law: Law, dtype: str) -> Departure | None:
    """P(|mean - m| > z s / sqrt(n)) <= 2 exp(-z**2 / 2).

    Normal, symmetric truncated normal and uniform values are sub-Gaussian with their own variance (Arbel, Marchal and
    Nguyen, "On strict sub-Gaussianity, optimal proxy variance and symmetry for bounded random variables", 2020).
    """
    limit = sqrt(2 * _EXPONENT / x.size) + _moved(law, dtype)
    off = abs(float(x.mean()) - law.mean) / law.std
    return (
        None if off <= limit else Departure("another mean", f"off by {off:.4f} deviations of {law}, up to {limit:.4f}")
    )


def _variance(x: np.ndarray, law: Law, dtype: str) -> Departure | None:
    """P(|v / s**2 - 1| > 2 sqrt(t / n) + 2 t / n) <= 2 exp(-t), v about the known mean.

    For normal values by Laurent and Massart (Annals of Statistics 28(5), 2000, lemma 1); squares of the others have a
    smaller variance and are at most 5.2 s**2, for which Bernstein's inequality gives less.
    """
    t = _EXPONENT / x.size
    limit = 2 * sqrt(t) + 2 * t + (1 + _moved(law, dtype)) ** 2 - 1
    ratio = float(((x - law.mean) ** 2).mean()) / law.std**2
    message = f"variance is {ratio:.4f} of that of {law}, 1 +- {limit:.4f} is accepted"
    return None if abs(ratio - 1) <= limit else Departure("another variance", message)


def kolmogorov_distance(sample: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """sup |F_n - F| over every 64th order statistic: never more than over all, and less by at most 64 / n."""
    ordered = np.sort(sample.reshape(-1).astype(np.float64))
    rank = np.arange(0, ordered.size, 64)
    expected = cdf(ordered[rank])
    below, upto = rank / ordered.size, (rank + 1) / ordered.size
    return float(max(np.abs(expected - below).max(), np.abs(expected - upto).max()))


def acceptance(count: int, false_alarm: float = FALSE_ALARM) -> float:
    """The distance that a true distribution exceeds with probability `false_alarm`.

    Dvoretzky-Kiefer-Wolfowitz with Massart's constant (Annals of Probability 18(3), 1990):
    P(sup |F_n - F| > e) <= 2 exp(-2 n e**2).
    """
    return sqrt(log(2 / false_alarm) / (2 * count))


def _distance(x: np.ndarray, law: Law, dtype: str) -> Departure | None:
    """Kolmogorov and Smirnov's. The density of each form times a standard deviation is below 1/2."""
    limit = acceptance(x.size) + 0.5 * _moved(law, dtype)
    distance = kolmogorov_distance(x, law.cdf)
    message = f"distance {distance:.4f} from {law}, up to {limit:.4f}"
    return None if distance <= limit else Departure("another distribution", message)


def _tails(x: np.ndarray, law: Law, dtype: str) -> Departure | None:
    """Each end of a normal sample has its share: P(count < E - t) <= exp(-t**2 / (2 E)), Chernoff's bound.

    Values are moved outwards by what rounding may have moved them inwards.
    """
    if law.form != "normal":
        return None
    expected = x.size * TAIL
    least = expected - sqrt(2 * expected * _EXPONENT)
    outer = x[np.abs(x - law.mean) > 2 * law.std]
    moved = outer + np.sign(outer - law.mean) * ROUNDINGS * 2.0 ** -SIGNIFICAND_BITS[dtype] * np.abs(outer)
    rank = law.cdf(moved)
    ends = {"lowest": int((rank < TAIL).sum()), "highest": int((rank > 1 - TAIL).sum())}
    short = [f"{count} values among the {end} {TAIL:.1%}" for end, count in ends.items() if count < least]
    return Departure("without its tails", f"{', '.join(short)}, {expected:.0f} are due") if short else None


def _fineness(x: np.ndarray, law: Law, dtype: str) -> Departure | None:
    """Among ordinary values there is no gap of twice the spacing that the dtype has at two standard deviations.

    Cells of that width are counted that lie within the distribution and are due log(cells / `FALSE_ALARM`) values or
    more: P(one of them is empty) <= cells exp(-due). In float32 there are none.
    """
    inside = min(law.half_width, 2 * law.std)
    width = COARSE * 2.0 ** (ceil(log2(abs(law.mean) + inside)) - SIGNIFICAND_BITS[dtype])
    reach = ceil((abs(law.mean) + 2 * inside) / width)
    if reach > x.size:
        return None
    centers = np.arange(-reach, reach + 1) * width
    due = x.size * (law.cdf(centers + width / 2) - law.cdf(centers - width / 2))
    counted = (due >= log(centers.size / FALSE_ALARM)) & (np.abs(centers - law.mean) + width <= law.half_width)
    place = np.floor(x / width + 0.5).astype(np.int64) + reach
    counts = np.bincount(place[(place >= 0) & (place < centers.size)], minlength=centers.size)
    empty = int((counted & (counts == 0)).sum())
    message = (
        f"{np.unique(x).size:,} different values: {empty:,} of {counted.sum():,} cells of {width:.3g}, "
        f"twice the spacing of {dtype}, have none"
    )
    return Departure("coarser than its dtype", message) if empty else None


def correlation(a: np.ndarray, b: np.ndarray, law: Law) -> float:
    """The correlation of two samples in standard deviations of that of independent ones.

    Given b, the sum of a b is sub-Gaussian as `_mean` says: P(|it| > z) <= 2 exp(-z**2 / 2).
    """
    x, y = ((values.reshape(-1).astype(np.float64) - law.mean) / law.std for values in (a, b))
    return abs(float(x @ y)) / sqrt(float(y @ y))


UNCORRELATED = sqrt(2 * _EXPONENT)
"""What `correlation` is at most; rounding to float32 adds nothing that could be seen."""


def alike(first: np.ndarray, second: np.ndarray, law: Law) -> list[Departure]:
    """How two draws of a matrix depend on each other, or one of them on itself: each pair of values is used once."""
    rows = first[: len(first) // 2 * 2]
    flat = first.reshape(-1)
    flat = flat[: flat.size // 2 * 2]
    pairs = {
        "two draws": (first, second),
        "the halves of a draw": (flat[: flat.size // 2], flat[flat.size // 2 :]),
        "neighbouring values": (flat[::2], flat[1::2]),
        "neighbouring rows": (rows[::2], rows[1::2]),
    }
    found = [Departure("the same draw twice", "every bit agrees")] if first.tobytes() == second.tobytes() else []
    different = len(np.unique(first, axis=0))
    if different != len(first):
        found.append(Departure("repeated rows", f"{different} different rows of {len(first)}"))
    for name, (a, b) in pairs.items():
        z = correlation(a, b, law)
        if not z <= UNCORRELATED:
            message = f"{name} correlate at {z:.1f} standard deviations, up to {UNCORRELATED:.1f} are accepted"
            found.append(Departure("correlated", message))
    return found


def nearest(values: np.ndarray, laws: Sequence[Law]) -> list[Departure]:
    """The departures from the distribution that fits best: none where one fits."""
    return min((departures(values, law) for law in laws), key=len)
