"""Which benchmarks became slower or faster between nights, beyond what noise explains, on one machine.

Times are compared as logarithms of ratios, so that twice as long and half as long are as far from no change.

*What the machine did.* A line carries the copy bandwidth and the matmul peak that its target reached in the same run.
A change that either of them, changed alike since the earlier night, would explain is none: of the ratio, the ratio over
that of the bandwidths and the ratio over that of the peaks, the one nearest to 1 counts, and 1 where they lie on both
sides of it. The limits themselves, operations "copy" and "matmul", are held against the same limit of the machine's
other targets, so that a framework whose product became slower shows; without another target they are not judged.

*The band* is the largest of
- `FLOOR`, or `FIRST` where just one earlier night is known and nothing of how nights differ;
- the distance at which the middle halves of the rounds, tonight's and the median of the earlier nights', still touch;
- `NIGHTLY` times the spread of the earlier nights: 1.4826 times their median absolute deviation, which estimates a
  standard deviation;
- `SCATTER` times the spread of the ratios of all benchmarks of that machine, estimated alike: where it was busy with
  something else, in bursts, they scatter. More than three, because bursts have long tails.

A change counts where the median's ratio to the earlier nights and that of the fastest rounds, which what else a machine
does disturbs least, are both beyond the band, and where no more than one earlier night in three was within the floor of
tonight. So a change is named until a third of the nights looked at show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, log
from statistics import median
from typing import Literal, NamedTuple

import msgspec

from touchstone.reports.history import Night
from touchstone.reports.records import BenchmarkLine

FLOOR, FIRST = 1.25, 1.5
NIGHTLY, SCATTER = 3.0, 4.0
FEWEST = 8
"""Benchmarks of a machine from which their scatter is estimated."""
NIGHTS = 10
"""Most earlier nights that are looked at."""
LIMITS = ("copy", "matmul")


class Key(NamedTuple):
    """What must be the same for two lines to be compared."""

    machine: str
    target: str
    operation: str
    scheme: str
    dtype: str
    workload: str
    sizes: tuple[tuple[str, int], ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark that is slower ("regression") or faster ("improvement") than noise explains.

    ratio: tonight's time over the earlier nights', what the machine did taken out. raw: the same, not taken out.
    band: the ratio that noise would explain, above 1. earlier, median: seconds. nights: how many were looked at.
    """

    kind: Literal["regression", "improvement"]
    machine: str
    target: str
    operation: str
    scheme: str
    dtype: str
    workload: str
    ratio: float
    raw: float
    band: float
    earlier: float
    median: float
    nights: int
    earlier_versions: dict[str, str]
    versions: dict[str, str]

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.operation, self.scheme, self.dtype, self.workload)))
        factor, how = (self.ratio, "as long") if self.ratio > 1 else (1 / self.ratio, "as fast")
        moved = "".join(
            f"; {n} {self.earlier_versions.get(n, 'absent')} to {v}"
            for n, v in self.versions.items()
            if v != self.earlier_versions.get(n)
        )
        nights = f"{self.nights} earlier night{'s' * (self.nights > 1)}"
        times = f"{1e3 * self.earlier:.3g} to {1e3 * self.median:.3g} ms"
        return f"{self.target} {what}: {factor:.2f} times {how} as in {nights}, {times}; noise: {self.band:.2f}{moved}"


def key(line: BenchmarkLine) -> Key:
    """What a line shares with those of other nights that it is compared with; sizes in the order of their names."""
    return Key(
        line.machine,
        line.target,
        line.operation,
        line.scheme,
        line.dtype,
        line.workload,
        tuple(sorted(line.sizes.items())),
    )


def between(nights: Iterable[Night], tonight: Night) -> list[Change]:
    """Changes since the nights of a history, oldest first, that ran the same benchmarks."""
    earlier = [_lines(n) for n in nights if n.benchmark_hash == tonight.benchmark_hash and n.run != tonight.run]
    return find(earlier, _lines(tonight))


def _lines(night: Night) -> list[BenchmarkLine]:
    return [line for column in night.columns.values() for line in column.benchmarks]


def find(earlier: Sequence[Iterable[BenchmarkLine]], tonight: Iterable[BenchmarkLine]) -> list[Change]:
    """Changes of `tonight` against nights of the same benchmarks, oldest first; the largest regression first.

    A line without a like among the earlier ones (another machine, other sizes) is compared with nothing.
    """
    nights = [{key(line): line for line in night} for night in earlier]
    now = {key(line): line for line in tonight}
    like = {name: found[-NIGHTS:] for name in now if (found := [night for night in nights if name in night])}
    scatter = _scatter(now, like)
    changes = (_change(now[name], name, past, now, scatter[name.machine]) for name, past in like.items())
    return sorted(filter(None, changes), key=lambda c: -c.ratio)


def _deviation(values: Sequence[float]) -> float:
    """A standard deviation by the median absolute deviation, which a minority of odd values does not move."""
    middle = median(values)
    return 1.4826 * median(abs(v - middle) for v in values)


def _scatter(now: dict[Key, BenchmarkLine], like: dict[Key, list[dict[Key, BenchmarkLine]]]) -> dict[str, float]:
    """Machine -> the spread of its benchmarks' ratios to the median of their earlier nights."""
    ratios: dict[str, list[float]] = {}
    for name, past in like.items():
        usual = median(night[name].median for night in past)
        ratios.setdefault(name.machine, []).append(log(now[name].median / usual))
    return {machine: _deviation(found) if len(found) >= FEWEST else 0.0 for machine, found in ratios.items()}


def _change(
    line: BenchmarkLine,
    name: Key,
    past: Sequence[dict[Key, BenchmarkLine]],
    now: dict[Key, BenchmarkLine],
    scatter: float,
) -> Change | None:
    before = [night[name] for night in past]
    machine = [_machine(line, night, now) for night in past]
    if line.operation in LIMITS and not all(machine):
        return None
    ratios = [_nearest(log(line.median / b.median), m) for b, m in zip(before, machine, strict=True)]
    fastest = median(_nearest(log(line.minimum / b.minimum), m) for b, m in zip(before, machine, strict=True))
    ratio = median(ratios)
    floor = log(FLOOR if len(past) > 1 else FIRST)
    if ratio > 0:
        halves = log(line.median / line.q1) + median(log(b.q3 / b.median) for b in before)
    else:
        halves = log(line.q3 / line.median) + median(log(b.median / b.q1) for b in before)
    band = max(floor, halves, NIGHTLY * _deviation(ratios), SCATTER * scatter)
    alike = sum(r * ratio <= 0 or abs(r) <= floor for r in ratios)
    if abs(ratio) <= band or abs(fastest) <= band or ratio * fastest < 0 or alike > len(past) // 3:
        return None
    usual = median(b.median for b in before)
    return Change(
        kind="regression" if ratio > 0 else "improvement",
        machine=line.machine,
        target=line.target,
        operation=line.operation,
        scheme=line.scheme,
        dtype=line.dtype,
        workload=line.workload,
        ratio=exp(ratio),
        raw=line.median / usual,
        band=exp(band),
        earlier=usual,
        median=line.median,
        nights=len(past),
        earlier_versions=before[-1].versions,
        versions=line.versions,
    )


def _machine(line: BenchmarkLine, night: dict[Key, BenchmarkLine], now: dict[Key, BenchmarkLine]) -> list[float]:
    """Logarithms of how many times as long the machine took tonight, each by another measure."""
    name = key(line)
    if line.operation not in LIMITS:
        before = night[name]
        return [log(before.copy_bandwidth / line.copy_bandwidth), log(before.matmul_peak / line.matmul_peak)]
    others = [
        other
        for other in now
        if (other.machine, other.operation) == (name.machine, name.operation) and other.target != name.target
    ]
    moved = [log(now[other].median / night[other].median) for other in others if other in night]
    return [median(moved)] if moved else []


def _nearest(ratio: float, machine: Iterable[float]) -> float:
    """What is left of `ratio` after the explanation that leaves least; 0 where explanations differ in sign."""
    left = [ratio, *(ratio - m for m in machine)]
    if min(left) <= 0 <= max(left):
        return 0.0
    return min(left, key=abs)
