"""Averages gradients over processes on this machine, by MLX's ring backend: what starts them, and each of them.

Run as a file, by its path, with the folder that `averaged` has filled: it imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

LIMIT = 60.0
"""Seconds that the processes may take."""


def _hosts(count: int) -> list[list[str]]:
    """Addresses on loopback that nobody listens at."""
    with ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [[f"127.0.0.1:{one.getsockname()[1]}"] for one in found]


def averaged(device: str, gradients: Sequence[dict[str, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
    """What each process gives out of its gradients, arrays by path; RuntimeError where one of them fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hosts.json").write_text(json.dumps(_hosts(len(gradients))))
        (folder / "given").write_bytes(pickle.dumps((device, list(gradients), options)))
        ring = {**os.environ, "MLX_HOSTFILE": str(folder / "hosts.json")}
        command = [sys.executable, "-P", __file__, name]
        running = [
            subprocess.Popen(command, env={**ring, "MLX_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
            for rank in range(len(gradients))
        ]
        try:
            said = [one.communicate(timeout=LIMIT)[1] for one in running]
        finally:
            for one in running:
                one.kill()
        if any(one.returncode for one in running):
            raise RuntimeError(f"a process of the ring failed: {' '.join(said).strip()[-500:]}")
        return [pickle.loads((folder / f"rank {rank}").read_bytes()) for rank in range(len(gradients))]


def _run(folder: Path) -> None:
    """One of the processes: its rank is in the environment."""
    import ml_dtypes
    import mlx.core as mx
    import mlx.nn as nn
    import numpy as np
    from mlx.utils import tree_flatten, tree_unflatten

    device, every, options = pickle.loads((folder / "given").read_bytes())
    mx.set_default_device({"gpu": mx.gpu, "cpu": mx.cpu}[device])
    group = mx.distributed.init(strict=True, backend="ring")
    given = tree_unflatten([(path, mx.array(value)) for path, value in every[group.rank()].items()])
    found = tree_flatten(nn.average_gradients(given, group, **options))

    def fetched(value: Any) -> np.ndarray:
        if value.dtype == mx.bfloat16:
            return np.array(value.view(mx.uint16)).view(ml_dtypes.bfloat16)
        return np.array(value)

    (folder / f"rank {group.rank()}").write_bytes(pickle.dumps({path: fetched(value) for path, value in found}))


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
