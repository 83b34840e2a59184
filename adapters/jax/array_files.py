"""How `jax.numpy` writes and reads files of arrays: npy and npz, by NumPy's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from touchstone.adapters import array_files
from touchstone.adapters.array_files import Load, Save

_SAVE: Mapping[str, Save] = {
    "npy": lambda adapter, to, arrays, named, metadata: adapter.jnp.save(to, *arrays),
    "npz": lambda adapter, to, arrays, named, metadata: adapter.jnp.savez(to, *arrays, **named),
}


def _load_npz(adapter: Any, source: Any) -> tuple[dict[str, Any], None]:
    with adapter.jnp.load(source) as found:
        return dict(found), None


_LOAD: Mapping[str, Load] = {
    "npy": lambda adapter, source: (adapter.jnp.load(source), None),
    "npz": _load_npz,
}
_NO_FORMAT = "jax.numpy reads and writes .npy and .npz"
ANSWERS: Mapping[str, Callable[..., Any]] = array_files.answers(_SAVE, _LOAD, {"npy": _LOAD["npy"]})
ABSENT: Mapping[str, str] = {
    "array:save npz compressed": "jax.numpy has savez, and nothing that compresses",
    **{f"array:{verb} {form}": _NO_FORMAT for verb in ("save", "load") for form in ("safetensors", "gguf")},
}
