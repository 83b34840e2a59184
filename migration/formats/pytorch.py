"""What `torch.save` wrote: a zip of one pickle and one member of raw bytes per storage.

Only ``torch.load(weights_only=True)`` ever sees the pickle, and it sees it under FakeTensorMode, so that no data is
read; each fake storage then tells where its bytes lie in the file
(https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats.names import MOST_LEVELS, check_name, passed_over
from touchstone.migration.formats.reading import FileBytes, file_bytes, library, numpy_dtype, stored
from touchstone.migration.formats.zips import Member, content, members

NAME = "pytorch"
SUFFIXES = (".pt", ".pth", ".bin")
PICKLE = "data.pkl"
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that PyTorch wrote before 1.6: a pickle of its magic number."""
NESTED = ("state_dict", "model", "model_state_dict", "module")
"""Keys under which training scripts keep the model's state dict."""
_ADVICE = "Weights only load failed."
_MOST_PICKLE = 256 * 2**20
_MOST_EXPANDED = 64 * 2**20


def recognises(names: list[str]) -> bool:
    """Whether a zip file with these members is one."""
    return any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in names)


def open_pytorch(path: Path) -> Checkpoint:
    """The tensors of a state dict. Raises CheckpointError; nothing that the pickle asks for is ever run."""
    whole = file_bytes(path)
    found = members(whole)
    _check_members(path, found)
    state, notes = _state_dict(path, _load(path))
    tensors: dict[str, Tensor] = {}
    others = []
    places = {m.where.start: m.where for m in found.values()}
    for name, value in state.items():
        if _is_tensor(value):
            check_name(str(name), path)
            tensors[str(name)] = _tensor(path, str(name), value, places)
        else:
            others.append(f"{name} ({type(value).__name__})")
    return Checkpoint(path, NAME, tensors, {}, [path], [*notes, *passed_over(others, "not a tensor")])


def refuse_legacy(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: was written in the format that PyTorch used before 1.6, which mixes data into a pickle; "
        "load it with weights_only=True and save it again with torch.save"
    )


def refuse_pickle(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: is a bare pickle, which can run anything when it is read; save the arrays as safetensors"
    )


def _check_members(path: Path, found: Mapping[str, Member]) -> None:
    """What torch.load would misread, or read into memory whole."""
    base = next(name for name in found if name == PICKLE or name.endswith(f"/{PICKLE}")).removesuffix(PICKLE)
    if f"{base}constants.pkl" in found:
        raise CheckpointError(
            f"{path}: is a TorchScript archive, which holds code; save the model's state_dict() with torch.save"
        )
    if packed := next((name for name, member in found.items() if not member.plain), None):
        raise CheckpointError(f"{path}: member {packed!r} is compressed, which torch.save never does; save it again")
    for name, member in found.items():
        if not name.startswith(f"{base}data/") and member.content.size > _MOST_PICKLE:
            raise CheckpointError(
                f"{path}: member {name!r} has {member.content.size:,} bytes; save the state_dict() alone"
            )
    if order := found.get(f"{base}byteorder"):
        written = content(order, 64).decode("ascii", "replace")
        if written != sys.byteorder:
            raise CheckpointError(f"{path}: was written on a {written}-endian machine; save it again on this one")


def _load(path: Path) -> Any:
    """The object in the file, its tensors fake. Raises CheckpointError."""

    def torch_imports() -> Any:
        import torch
        from torch._subclasses import FakeTensorMode

        return torch, FakeTensorMode

    torch, fake = library("PyTorch files", "torch", path, torch_imports)
    unsafe: list[str] = []
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if not unsafe:
            with warnings.catch_warnings(), fake():
                warnings.simplefilter("ignore")
                return torch.load(path, weights_only=True)
    except Exception as error:  # a damaged pickle surfaces as anything, and torch documents no list
        wanted = _wanted(str(error))
        if wanted is None:
            raise CheckpointError(
                f"{path}: PyTorch cannot load it with weights_only=True "
                f"({type(error).__name__}: {_first_line(error)}); "
                "copy the file again, or save the model's state_dict() with torch.save"
            ) from error
        unsafe = [wanted]
    raise CheckpointError(
        f"{path}: refused, nothing was run: its pickle asks for {', '.join(sorted(unsafe))}, and a pickle can run "
        "anything it asks for; save the model's state_dict(), which holds tensors alone"
    )


def _wanted(message: str) -> str | None:
    """The global that the weights-only unpickler refused, where that is what its message says."""
    found = re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", message)
    return found[1] if found else None


def _first_line(error: Exception) -> str:
    """The sentence that says what happened; torch puts advice about weights_only before it."""
    text = str(error).split("WeightsUnpickler error:")[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_ADVICE)]
    return (lines or [str(error)])[0].split(". ")[0][:300]


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _state_dict(path: Path, loaded: Any) -> tuple[Mapping[Any, Any], list[str]]:
    """(the mapping that holds tensors, a note where it was not the outermost one)."""
    keys: list[str] = []
    while isinstance(loaded, Mapping) and len(keys) < MOST_LEVELS:
        if any(map(_is_tensor, loaded.values())):
            where = "".join(f"[{key!r}]" for key in keys)
            return loaded, [f"read from {where}"] if keys else []
        key = next((k for k in NESTED if isinstance(loaded.get(k), Mapping)), None)
        if key is None:
            break
        keys.append(key)
        loaded = loaded[key]
    if isinstance(loaded, Mapping):
        listed = ", ".join(str(key) for key in list(loaded)[:10])
        holds = f"a mapping without tensors (keys: {listed})" if listed else "an empty mapping: no tensors"
    else:
        holds = "one tensor without a name" if _is_tensor(loaded) else f"a {type(loaded).__name__}"
    raise CheckpointError(f"{path}: holds {holds}, not a state dict; save model.state_dict() with torch.save")


def _tensor(path: Path, name: str, value: Any, places: Mapping[int, FileBytes]) -> Tensor:
    import torch

    if value.layout is not torch.strided or value.is_quantized or value.is_nested:
        raise CheckpointError(f"{path}: tensor {name!r} is sparse, quantized or nested; save it as a plain tensor")
    dtype = numpy_dtype(str(value.dtype).removeprefix("torch."))
    if dtype is None or value.is_conj() or value.is_neg():
        raise CheckpointError(
            f"{path}: tensor {name!r} has dtype {value.dtype}, which NumPy and ml_dtypes cannot hold as it is stored; "
            "convert it to another dtype"
        )
    storage = value.untyped_storage()
    at = getattr(storage, "_checkpoint_offset", None)
    source = places.get(at) if at is not None else None
    if source is None or source.size != storage.nbytes():
        there = "is missing" if source is None else f"has {source.size:,} bytes, the pickle says {storage.nbytes():,}"
        raise CheckpointError(f"{path}: tensor {name!r}: its storage {there}; the file is damaged: copy it again")
    if value.numel() * dtype.itemsize > source.size + _MOST_EXPANDED:
        raise CheckpointError(
            f"{path}: tensor {name!r} repeats {source.size:,} bytes to {value.numel() * dtype.itemsize:,}; "
            "save it as a tensor of its own"
        )
    return stored(name, dtype, value.shape, source, path, value.stride(), value.storage_offset())
