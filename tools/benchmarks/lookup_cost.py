"""What one lookup costs: peak memory in a process of its own, and times of calls that take turns.

``python -m tools.benchmarks.lookup_cost TARGET LAYER ROWS`` prints the growth of the process's peak resident memory, in
bytes, during one lookup of one id, after a first one that compiles.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.benchmarks.calls import jitted, native_call, packed, synchronised
from tools.benchmarks.workloads import scheme_of
from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Adapter

ROOT = Path(__file__).parents[2]
COLUMNS = 384
TABLE_SIZES = (4_096, 256_000)
LAYERS = ("embedding", "raw_lookup", "affine4g64", "mxfp4", "mxfp8", "nvfp4")
FLAX_CAST = "nnx.Embed(dtype=bfloat16, param_dtype=float32)"
"""The one dense layer of the three frameworks that can compute in another dtype than its table's."""
PEAK_LIMIT = 4 * 2**20
"""Largest growth of the peak, in bytes. One row is 1.5 kB and an allocator's page is 4; a copy of the smallest table
measured, 4-bit codes of 256,000 rows, is 49 MB."""


def lookup(adapter: Adapter, layer: str, rows: int, ids: int) -> Callable[[], Any]:
    """A synchronised lookup of `ids` ids, spread over the table."""
    chosen = np.linspace(0, rows - 1, ids).astype(np.int32)
    if layer.endswith(FLAX_CAST):
        from flax import nnx
        from jax import numpy as jnp

        module = nnx.Embed(rows, COLUMNS, dtype=jnp.bfloat16, param_dtype=jnp.float32, rngs=nnx.Rngs(0))
        return synchronised(adapter, jitted(module) if layer.startswith("jit ") else module, chosen)
    if layer in ("embedding", "raw_lookup"):
        native = adapter.layer(layer, np.ones((rows, COLUMNS), np.float32))
    else:
        native = adapter.layer("quantized_embedding", packed(rows, COLUMNS, scheme_of(layer)))
    return synchronised(adapter, native_call(native), chosen)


def peak_bytes_of_lookup(target: str, layer: str, rows: int) -> int:
    """Growth of a fresh process's peak resident memory during one lookup of one id in a table of `rows` rows."""
    command = [sys.executable, "-m", "tools.benchmarks.lookup_cost", target, layer, str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
    return int(done.stdout.split()[-1])


def peak_growth(call: Callable[[], Any]) -> int:
    """Bytes by which `call` raises the peak of resident memory.

    On Linux the kernel's high-water mark is reset first (proc(5), clear_refs); elsewhere the growth is that over the
    highest mark so far, which a process that needed more before may hide.
    """
    status, marks = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not marks.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit

    def high_water() -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024

    marks.write_text("5")
    before = high_water()
    call()
    return max(0, high_water() - before)  # the kernel counts pages in batches per thread


def taking_turns(
    calls: Mapping[str, Callable[[], Any]], rounds: int = 31, of: Callable[[Sequence[float]], float] = statistics.median
) -> dict[str, float]:
    """Seconds of each call, by default the median; they take turns, so that what else the machine does strikes all.

    of: `min` for calls of tens of milliseconds, of which a busy machine interrupts every one, and those with many
    parallel parts most.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_ >= 3:
                times[name].append(time.perf_counter() - start)
    return {name: of(found) for name, found in times.items()}


def main(target: str, layer: str, rows: str) -> int:
    """Print by how many bytes a second lookup of one id raises this process's peak; the exit status is 0."""
    adapter = registry.resolve([target])[0].adapter
    if adapter.name == "mlx":
        import mlx.core as mx

        mx.set_cache_limit(0)  # a buffer kept from the first call would hide the second's
    call = lookup(adapter, layer, int(rows), 1)
    call()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what the first call freed is not to be used by the second
    print(peak_growth(call))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
