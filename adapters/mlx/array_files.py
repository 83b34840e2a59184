"""How `mlx.core` writes and reads files of arrays: npy, npz, safetensors and gguf."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from touchstone.adapters import array_files
from touchstone.adapters.array_files import Load, Save


def _metadata(adapter: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: adapter.place(one) if isinstance(one, np.ndarray) else one for name, one in metadata.items()}


_SAVE: Mapping[str, Save] = {
    "npy": lambda adapter, to, arrays, named, metadata: adapter.mx.save(to, *arrays),
    "npz": lambda adapter, to, arrays, named, metadata: adapter.mx.savez(to, *arrays, **named),
    "npz compressed": lambda adapter, to, arrays, named, metadata: adapter.mx.savez_compressed(to, *arrays, **named),
    "safetensors": lambda adapter, to, arrays, named, metadata: adapter.mx.save_safetensors(
        to, named, metadata or None
    ),
    "gguf": lambda adapter, to, arrays, named, metadata: adapter.mx.save_gguf(to, named, _metadata(adapter, metadata)),
}


def _read(adapter: Any, found: Any) -> Any:
    """The same, with every value read from the file: MLX reads when it is asked, and numpy.array hides an error."""
    adapter.mx.eval(found)
    return found


def _with_metadata(adapter: Any, source: Any) -> tuple[Any, Any]:
    found, metadata = adapter.mx.load(source, return_metadata=True)
    return _read(adapter, found), metadata


_LOAD: Mapping[str, Load] = {
    **dict.fromkeys(("npy", "npz"), lambda adapter, source: (_read(adapter, adapter.mx.load(source)), None)),
    **dict.fromkeys(("safetensors", "gguf"), _with_metadata),
}
_AGAIN: Mapping[str, Load] = {"npy": lambda adapter, source: (adapter.mx.load(source), None)}
ANSWERS: Mapping[str, Callable[..., Any]] = array_files.answers(_SAVE, _LOAD, _AGAIN)
ABSENT: Mapping[str, str] = {}
