"""A checkpoint as tensors whose rows are read on demand: what every file format is turned into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.errors import InputError

Rows = Callable[[int, int], np.ndarray]
"""Rows [start, stop) of the first axis, as a new C-contiguous array; safe to call from several threads."""


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message names the file, the tensor or key, and what to do."""


@dataclass(frozen=True)
class Tensor:
    """One stored array.

    dtype: NumPy's or ml_dtypes' name. shape: as the format's own framework shows it. rows: see `Rows`; of an array
    without axes, ``rows(0, 1)`` is its one element with shape ``(1,)``.
    encoding: "" for plain arrays, else the name of the block quantization that the file holds ("Q4_1"), dtype being
    that of the dequantized rows; step: then the distance between neighbouring codes, ``[rows, blocks]`` float32, None
    where no bound can be derived for the encoding. blocks: of MXFP4, as they are stored.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    rows: Rows = field(repr=False, compare=False)
    encoding: str = ""
    step: Rows | None = field(default=None, repr=False, compare=False)
    blocks: Rows | None = field(default=None, repr=False, compare=False)

    @property
    def length(self) -> int:
        """The size of the first axis; 1 without axes."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True)
class Checkpoint:
    """What one path holds.

    format: "safetensors", "safetensors shards", "npz", "pytorch", "msgpack", "orbax" or "gguf".
    config: config.json or params.json beside the tensors, or a GGUF file's metadata; empty where there is none.
    files: every file that was, or will be, read: their size and time tell whether a check can be resumed.
    notes: what a reader should know of how the file was understood.
    faults: what the loader that it is for would not load, or would load though the index does not name it: (tensor or
    file, a sentence).
    framework: whose layers the tensors are for, as the file itself says ("mlx", "pt"), "" where it does not.
    """

    path: Path
    format: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    files: Sequence[Path]
    notes: Sequence[str] = ()
    framework: str = ""
    faults: Sequence[tuple[str, str]] = ()
