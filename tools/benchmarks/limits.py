"""What this device can do: bytes per second of a copy, and flops per second of a large product.

Measured with the target's own framework, in the run whose shares they are the base of.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.benchmarks.calls import DTYPES, synchronised
from touchstone.adapters.interface import Adapter

COPY_BYTES = 256 * 2**20
"""Eight times the last cache (32 MiB) of the processor this was written on; an M-series Ultra has 96 MiB."""
LARGEST_PRODUCT = 4_096
PRODUCT_SECONDS = 0.25
"""A product twice as large takes eight times as long; the largest that stays below this is measured."""
ROUNDS = 9


@dataclass(frozen=True)
class Limit:
    """One operation timed in `ROUNDS` rounds: seconds of each, and what one of them moves or computes.

    name: its size, which on a slow device is smaller; only the same sizes compare.
    """

    seconds: tuple[float, ...]
    bytes: int
    flops: int
    sizes: dict[str, int]
    name: str

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.bytes / self.median

    @property
    def peak(self) -> float:
        """Flops per second."""
        return self.flops / self.median


def copy(adapter: Adapter) -> Limit:
    """Negation of 256 MiB of float32 in place: every element is read once and written once.

    In place, because a fresh output costs a page fault per 4 KiB on CPUs (5 GB/s instead of 60 where this was
    written). MLX reuses the buffer of an input that nobody else holds, JAX that of a donated argument.
    """
    elements = COPY_BYTES // 4
    held: list[Any] = [adapter.place(np.ones(elements, np.float32))]  # type: ignore[attr-defined]
    negate: Callable[[Any], Any]
    if adapter.name == "jax":
        import jax

        negate = jax.jit(lambda x: -x, donate_argnums=0)
    elif adapter.name == "torch":
        import torch

        negate = torch.Tensor.neg_
    else:
        negate = lambda x: -x  # noqa: E731

    def call() -> None:
        held.append(synchronised(adapter, lambda _: negate(held.pop()), None)())

    return Limit(_rounds(call), 2 * COPY_BYTES, 0, {"elements": elements}, f"{COPY_BYTES // 2**20} MiB")


def matmul(adapter: Adapter, dtype: str) -> Limit:
    """The largest square product, of sizes doubled from 256, that takes at most `PRODUCT_SECONDS`: 2 n³ flops.

    Of ``x @ w`` and ``x @ w.T``, which is how linear layers store weights, the faster one: PyTorch's float16 on CPU
    does 2 Gflop/s one way and 27 the other.
    """
    size = 256
    while True:
        ways = [_product(adapter, dtype, size, transposed=t) for t in (True, False)]
        took = [min(_rounds(way, 2)) for way in ways]
        if 8 * min(took) > PRODUCT_SECONDS or size == LARGEST_PRODUCT:
            break
        size *= 2
    moved = 3 * size * size * DTYPES[dtype].itemsize
    sizes = {"m": size, "rows": size, "columns": size}
    return Limit(_rounds(ways[took.index(min(took))]), moved, 2 * size**3, sizes, f"n = {size}")


def _product(adapter: Adapter, dtype: str, size: int, *, transposed: bool) -> Callable[[], Any]:
    values = (np.random.default_rng(0).standard_normal((size, size), np.float32) * 0.05).astype(DTYPES[dtype])
    other = adapter.place(values)  # type: ignore[attr-defined]
    function: Callable[[Any], Any] = lambda x: x @ (other.T if transposed else other)  # noqa: E731
    if adapter.name == "jax":
        import jax

        function = jax.jit(function)
    return synchronised(adapter, function, values)


def _rounds(call: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, ...]:
    """Seconds of each of `rounds` calls, after one that compiles and warms."""
    call()
    out = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        out.append(time.perf_counter() - start)
    return tuple(out)
