"""``python -m tools.benchmarks.checkpoints``: how fast is a check of checkpoints, and how much memory does it take?

Generates a source of ``--size`` GB in shards of 2 GB and a copy of it; of its first eighth 4-bit packed parts and a
float16 copy; then measures, each in a process of its own and in turns: reading and hashing (SHA-256) the files of the
first pair, checking it, and checking the other pairs. Memory is the peak of the resident set, file pages included,
above what it was after the imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tqdm import tqdm

from touchstone.adapters.discovery import registry
from touchstone.adapters.discovery.machine import threads
from touchstone.adapters.interface import Scheme
from touchstone.golden.streams import words
from touchstone.migration.check import Check

ROWS, COLUMNS = 4096, 4096
PER_SHARD = 32
"""Matrices of 64 MB in one shard."""
SCHEME = Scheme(4, 64)


def _matrix(number: int) -> np.ndarray:
    """``[ROWS, COLUMNS]`` float32 in [-1, 1): a permutation of the same raw integers for every number."""
    raw = words(f"checkpoint matrix {number}", ROWS)
    column = (words("checkpoint columns", COLUMNS) >> np.uint64(40)).astype(np.uint32)
    mixed = (raw >> np.uint64(40)).astype(np.uint32)[:, None] * np.uint32(2654435761) + column[None, :] * np.uint32(
        40503
    )
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def generate(folder: Path, size: int) -> dict[str, tuple[Path, Path]]:
    """Write the checkpoints into `folder`; the pairs by what is done to the target. size: GB (2**30) of the source."""
    names = ("source", "copy", "few", "float16", "quantized")
    paths = {name: folder / name for name in names}
    for path in paths.values():
        path.mkdir(parents=True)
    count = size * 1024 // 64
    adapter = registry.default("mlx").adapter
    for start in tqdm(range(0, count, PER_SHARD), desc="generating"):
        numbers = range(start, min(count, start + PER_SHARD))
        tensors = {f"layers.{n}.weight": _matrix(n) for n in numbers}
        shard = f"model-{start // PER_SHARD:05}.safetensors"
        save_file(tensors, paths["source"] / shard)
        shutil.copyfile(paths["source"] / shard, paths["copy"] / shard)
        few = {name: t for name, t in tensors.items() if int(name.split(".")[1]) < max(2, count // 8)}
        if not few:
            continue
        save_file(few, paths["few"] / shard)
        save_file({name: t.astype(np.float16) for name, t in few.items()}, paths["float16"] / shard)
        packed: dict[str, np.ndarray] = {}
        for name, t in few.items():
            parts = adapter.layer("quantized_linear", t, scheme=SCHEME).parameters()
            packed |= {f"{name.removesuffix('weight')}{part}": array for part, array in parts.items()}
        save_file(packed, paths["quantized"] / shard)
    settings = {"quantization": {"bits": SCHEME.bits, "group_size": SCHEME.group_size}}
    (paths["quantized"] / "config.json").write_text(json.dumps(settings))
    pairs = {"equal": ("source", "copy"), "rounded to float16": ("few", "float16"), str(SCHEME): ("few", "quantized")}
    return {what: (paths[a], paths[b]) for what, (a, b) in pairs.items()}


def _files(pair: Sequence[Path]) -> list[Path]:
    return [p for folder in pair for p in sorted(folder.glob("*.safetensors"))]


def _hash_files(pair: Sequence[Path]) -> None:
    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(digest, _files(pair)))


def _check(pair: Sequence[Path]) -> None:
    source, target = pair
    check = Check(source, target)
    check.start({(q.requirement, q.name) for q in check.questions}, threads(), None, "main")
    wrong = [q.name for q in check.questions if not check.finding(q).conforms]
    check.close()
    if wrong:
        raise SystemExit(f"error: {wrong[0]} does not conform")


WORK: dict[str, Callable[[Sequence[Path]], None]] = {"hash": _hash_files, "check": _check}


def _resident(field: str) -> int:
    """Bytes of VmRSS or VmHWM."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def _measured(work: str, pair: Sequence[Path]) -> Iterator[float]:
    """Seconds, and MB of memory above the imports, of one piece of work in a process of its own."""
    out = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks.checkpoints", "--work", work, *map(str, pair)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    yield from map(float, out.stdout.split())


def _work(work: str, pair: Sequence[Path]) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = _resident("VmRSS"), time.perf_counter()
    WORK[work](pair)
    print(time.perf_counter() - began, (_resident("VmHWM") - before) / 1e6)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the checkpoints, measure, print a table and remove them. Raises SystemExit where ``--folder`` exists."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.checkpoints", description=__doc__)
    parser.add_argument("--size", type=int, default=8, metavar="GB", help="of the source; twice that is written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("checkpoints.generated"), help="must not exist")
    parser.add_argument("--work", nargs=3, metavar=("WORK", "A", "B"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        _work(options.work[0], [Path(p) for p in options.work[1:]])
        return
    if options.folder.exists():
        raise SystemExit(f"error: --folder {options.folder}: is there already")
    try:
        pairs = generate(options.folder, options.size)
        rows = [("hash", "equal"), *(("check", what) for what in pairs)]
        times: dict[tuple[str, str], list[list[float]]] = {row: [] for row in rows}
        for _ in range(options.rounds):
            for row in rows:
                times[row].append(list(_measured(row[0], pairs[row[1]])))
        _show(times, pairs)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


def _show(times: dict[tuple[str, str], list[list[float]]], pairs: dict[str, tuple[Path, Path]]) -> None:
    reference = 0.0
    print(f"{'work':<28} {'GB':>6} {'s (median)':>11} {'GB/s':>6} {'of hashing':>11} {'MB above imports':>17}")
    for (work, what), rounds in times.items():
        size = sum(p.stat().st_size for p in _files(pairs[what])) / 1e9
        seconds = sorted(s for s, _ in rounds)[len(rounds) // 2]
        speed = size / seconds
        reference = reference or speed
        memory = max(m for _, m in rounds)
        name = f"{'read and hash' if work == 'hash' else 'check'}, {what}"
        print(f"{name:<28} {size:>6.1f} {seconds:>11.1f} {speed:>6.2f} {speed / reference:>11.2f} {memory:>17.0f}")


if __name__ == "__main__":
    main()
