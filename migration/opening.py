"""Which format does a path hold? The content decides, and the name only where content cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from touchstone.migration.checkpoint import Checkpoint, CheckpointError
from touchstone.migration.formats import gguf, msgpack, npz, orbax, pytorch, safetensors, shards, zips
from touchstone.migration.formats.documents import config_beside, json_object
from touchstone.migration.formats.reading import DamagedError, FileBytes, file_bytes
from touchstone.migration.lora import CONFIG, FACTOR

INDEX = ".index.json"
_MODEL_PARALLEL = (
    "they are slices of one model for several devices; convert them with the model's own script, "
    "which knows along which axis each tensor was cut"
)
_SPLIT = "consolidated."
ADAPTERS = ("adapters.safetensors", "adapter_model.safetensors", "adapter_model.bin")
"""mlx-lm's and PEFT's files."""


def open_checkpoint(path: Path, key: str = "") -> Checkpoint:
    """The checkpoint at `path`, a file or a folder; its tensors' data is not read yet.

    key: of a PyTorch file that keeps the weights inside, where, levels parted by dots; others have no keys.

    Raises CheckpointError, which names the file and what to do, for anything that is not a whole checkpoint.
    """
    found = _opened(Path(path), key)
    if _is_adapter(found):
        raise CheckpointError(
            f"{path}: is a LoRA adapter, not a model; name its base, and the adapter by --lora {path}, "
            "to check what both were fused to"
        )
    return found


def open_adapter(path: Path) -> Checkpoint:
    """The LoRA adapter at `path`, a file or a folder. Raises CheckpointError for anything else."""
    path = Path(path)
    inside = next((path / name for name in ADAPTERS if (path / name).exists()), path)
    found = _opened(inside, "")
    if not _is_adapter(found):
        raise CheckpointError(f"--lora {path}: is no LoRA adapter: few of its tensors are called lora_a or lora_A")
    config = (inside if inside.is_dir() else inside.parent) / CONFIG
    if not config.exists():
        raise CheckpointError(f"--lora {path}: there is no {CONFIG} beside it, which says by what it is scaled")
    return replace(found, config=json_object(config), files=[*found.files, config])


def _is_adapter(found: Checkpoint) -> bool:
    return 2 * sum(bool(FACTOR.match(name)) for name in found.tensors) > len(found.tensors)


def _opened(path: Path, key: str) -> Checkpoint:
    try:
        if not path.exists():
            raise CheckpointError(f"{path}: does not exist; {_instead_of(str(path))}")
        found = _open_folder(path, key) if path.is_dir() else _open_file(path, key)
    except (OSError, ValueError) as error:  # permissions, a path with a null byte
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not found.tensors:
        raise CheckpointError(f"{path}: holds no tensors")
    folder = path if path.is_dir() else path.parent
    config, files = config_beside(folder)
    if found.config:
        return replace(found, path=path)
    return replace(found, path=path, config=config, files=[*found.files, *files])


def _instead_of(name: str) -> str:
    """What to do about a path that is not there; ``owner/name`` may be a hub's, unless there is a folder `owner`."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith(".") and not Path(name).parent.exists():
        return "a model of a hub is not fetched: download it, and name the folder that it is in"
    return "name a checkpoint's file or folder"


def _open_file(path: Path, key: str) -> Checkpoint:
    if path.name.endswith(INDEX):
        return _open_index(path)
    read = _reader(path)
    return pytorch.open_pytorch(path, key) if read is pytorch.open_pytorch else read(path)


def _reader(path: Path) -> Callable[[Path], Checkpoint]:
    """What reads the file. Raises CheckpointError where nothing does."""
    whole = file_bytes(path)
    try:
        head = whole.take(0, min(64, whole.size))
    except (DamagedError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if head.startswith(gguf.MAGIC) or path.suffix == gguf.SUFFIX:
        return gguf.open_gguf
    if head.startswith((zips.MAGIC, zips.EMPTY)):
        return _reader_of_zip(whole)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path}: is a git-lfs pointer, not the file that it stands for; run `git lfs pull` there"
        )
    if safetensors.recognises(head) or path.suffix == safetensors.SUFFIX:
        return safetensors.open_safetensors
    _refuse_known(path, head)
    if msgpack.recognises(head) or path.suffix == msgpack.SUFFIX:
        return msgpack.open_msgpack
    raise CheckpointError(
        f"{path}: is none of safetensors, .npz, PyTorch, Flax msgpack and GGUF; name a checkpoint's file or folder"
    )


def _reader_of_zip(whole: FileBytes) -> Callable[[Path], Checkpoint]:
    names = list(zips.members(whole))
    if pytorch.recognises(names):
        return pytorch.open_pytorch
    if npz.recognises(names):
        return npz.open_npz
    if not names:
        raise CheckpointError(f"{whole.path}: is an empty zip file: it holds no tensors")
    raise CheckpointError(f"{whole.path}: is a zip file, but neither .npz nor PyTorch's; it holds {names[0]!r}")


def _refuse_known(path: Path, head: bytes) -> None:
    """Raises CheckpointError for what is recognised, and not read."""
    if head.startswith(pytorch.LEGACY):
        raise pytorch.refuse_legacy(path)
    if head.startswith(b"\x93NUMPY"):
        raise CheckpointError(f"{path}: is one array (.npy) without a name; save it with numpy.savez(file, name=array)")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise pytorch.refuse_pickle(path)
    if path.suffix in (npz.SUFFIX, *pytorch.SUFFIXES) or head.startswith(b"\x80"):
        raise CheckpointError(
            f"{path}: is not the zip file that {'NumPy' if path.suffix == npz.SUFFIX else 'PyTorch'} writes; "
            "it is damaged or of another format: copy or convert it again"
        )


def _open_index(index: Path) -> Checkpoint:
    """Shards as the index lists them."""
    if index.name.endswith(f"{safetensors.SUFFIX}{INDEX}"):
        return shards.indexed(index, safetensors.open_safetensors, f"{safetensors.NAME} shards")
    return shards.indexed(index, pytorch.open_pytorch, pytorch.NAME)


def _open_folder(folder: Path, key: str) -> Checkpoint:
    """The model in a folder: the first kind of file that is there, of those that frameworks write."""
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if not names:
        raise CheckpointError(f"{folder}: is an empty folder")
    if "snapshots" in names and folder.name.startswith("models--"):
        inside = sorted(p.name for p in (folder / "snapshots").iterdir())
        which = f"snapshots/{inside[0]}" if len(inside) == 1 else f"one of its snapshots ({', '.join(inside[:5])})"
        raise CheckpointError(f"{folder}: is a hub's cache folder; name {which}, which holds the files")
    kinds: list[Callable[[Path, list[str]], Checkpoint | None]] = [
        partial(_indexed, suffix=safetensors.SUFFIX),
        _safetensors,
        _npz,
        partial(_indexed, suffix=".bin"),
        partial(_pytorch, key=key),
        partial(_single, suffix=msgpack.SUFFIX, open_one=msgpack.open_msgpack),
        _orbax,
        partial(_single, suffix=gguf.SUFFIX, open_one=gguf.open_gguf),
    ]
    for kind in kinds:
        if found := kind(folder, names):
            faults = _as_mlx_lm_loads(names, found)
            notes = [] if faults else _left_out(folder, names, found)
            return replace(found, notes=[*found.notes, *notes], faults=faults)
    raise CheckpointError(f"{folder}: holds no checkpoint: no *.safetensors, *.npz, *.bin, *.pt, *.pth, *.msgpack, "
                          "*.gguf and no Orbax _METADATA; name the folder that holds the tensors")  # fmt: skip


def _as_mlx_lm_loads(names: Iterable[str], found: Checkpoint) -> list[tuple[str, str]]:
    """What an index names and mlx-lm does not load, and the other way round: it reads ``model*.safetensors``."""
    if found.framework != "mlx":
        return []
    loaded = {n for n in names if n.startswith("model") and n.endswith(safetensors.SUFFIX)}
    read = {f.name for f in found.files}
    never = [
        (name, f"is in {tensor.file.name}, which mlx-lm does not load: it reads model*.safetensors, and no index")
        for name, tensor in found.tensors.items()
        if loaded and tensor.file.name not in loaded
    ]
    stray = [(n, "is no file of the index, and mlx-lm loads it with the others") for n in sorted(loaded - read)]
    return never + stray


def _left_out(folder: Path, names: Iterable[str], found: Checkpoint) -> list[str]:
    """A note on files of tensors in the folder that were not read."""
    suffixes = (safetensors.SUFFIX, npz.SUFFIX, *pytorch.SUFFIXES, msgpack.SUFFIX, gguf.SUFFIX)
    read = {f.name for f in found.files}
    left = [n for n in names if n.endswith(suffixes) and n not in read and n not in ("training_args.bin",)]
    return [f"also in the folder, and not read: {', '.join(left)}"] if left else []


def _indexed(folder: Path, names: list[str], suffix: str) -> Checkpoint | None:
    found = [n for n in names if n.endswith(f"{suffix}{INDEX}")]
    if len(found) > 1:
        raise CheckpointError(f"{folder}: has several indexes ({', '.join(found)}); name one of them")
    return _open_index(folder / found[0]) if found else None


def _safetensors(folder: Path, names: list[str]) -> Checkpoint | None:
    """``model*.safetensors`` as mlx-lm loads them, else ``weights*.safetensors``, else all."""
    every = [n for n in names if n.endswith(safetensors.SUFFIX)]
    chosen = _first(every, "model", "weights")
    if not chosen:
        return None
    if len(chosen) == 1:
        return safetensors.open_safetensors(folder / chosen[0])
    kind = f"{safetensors.NAME} shards"
    return shards.together(folder, [folder / n for n in chosen], safetensors.open_safetensors, kind)


def _npz(folder: Path, names: list[str]) -> Checkpoint | None:
    """``weights.npz``, ``weights.00.npz`` and so on, else all ``.npz``."""
    chosen = _first([n for n in names if n.endswith(npz.SUFFIX)], "weights")
    return shards.together(folder, [folder / n for n in chosen], npz.open_npz, npz.NAME) if chosen else None


def _pytorch(folder: Path, names: list[str], key: str) -> Checkpoint | None:
    """``consolidated.*.pth`` as Meta publishes them, ``pytorch_model*.bin``, else all files that PyTorch wrote."""
    every = [n for n in names if n.endswith(pytorch.SUFFIXES) and n != "training_args.bin"]
    chosen = _first(every, _SPLIT, "pytorch_model")
    why = _MODEL_PARALLEL if chosen and chosen[0].startswith(_SPLIT) else ""
    paths = [folder / n for n in chosen]
    return shards.together(folder, paths, partial(pytorch.open_pytorch, key=key), pytorch.NAME, why) if chosen else None


def _single(folder: Path, names: list[str], suffix: str, open_one: Callable[[Path], Checkpoint]) -> Checkpoint | None:
    found = [n for n in names if n.endswith(suffix)]
    if len(found) > 1:
        raise CheckpointError(f"{folder}: holds several checkpoints ({', '.join(found[:10])}); name one of them")
    return open_one(folder / found[0]) if found else None


def _orbax(folder: Path, names: list[str]) -> Checkpoint | None:
    found = orbax.find(folder)
    if found is None:
        return None
    opened = orbax.open_orbax(found)
    inside = [] if found == folder else [f"read from {found.relative_to(folder)}"]
    return replace(opened, notes=[*opened.notes, *inside])


def _first(names: list[str], *beginnings: str) -> list[str]:
    """The names with the first of the `beginnings` that any has, else all."""
    for beginning in beginnings:
        if chosen := [n for n in names if n.startswith(beginning)]:
            return chosen
    return names
