"""Several files of one format as one checkpoint: with an index that maps names to files, or simply together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from touchstone.migration.checkpoint import Checkpoint, CheckpointError, Tensor
from touchstone.migration.formats.documents import json_object
from touchstone.migration.formats.names import passed_over

Open = Callable[[Path], Checkpoint]


def indexed(index: Path, open_one: Open, name: str) -> Checkpoint:
    """What an index such as ``model.safetensors.index.json`` lists.

    Raises CheckpointError where it is malformed, names a file outside of its folder or one that is missing, or a
    tensor that is not in the file it names.
    """
    mapping = _weight_map(index)
    opened = {shard: open_one(_inside(index, shard)) for shard in sorted(set(mapping.values()))}
    tensors: dict[str, Tensor] = {}
    for key, shard in mapping.items():
        if key not in opened[shard].tensors:
            raise CheckpointError(
                f"{index}: says that {key!r} is in {shard}, which does not hold it; restore the index"
            )
        tensors[key] = opened[shard].tensors[key]
    unlisted: list[str] = []
    for shard, one in opened.items():
        for key in one.tensors:
            if key not in mapping:
                unlisted.append(f"{key} in {shard}")
            elif mapping[key] != shard:
                raise _twice(key, index.parent / shard, index.parent / mapping[key])
    notes = [*(n for one in opened.values() for n in one.notes), *passed_over(unlisted, "the index does not list it")]
    files = [index, *(f for one in opened.values() for f in one.files)]
    return Checkpoint(index.parent, name, tensors, {}, files, notes, _framework(opened.values()))


def together(folder: Path, files: Sequence[Path], open_one: Open, name: str, twice: str = "") -> Checkpoint:
    """The tensors of all `files`; `twice` explains what it means where two hold the same name, an error."""
    opened = [open_one(file) for file in files]
    tensors: dict[str, Tensor] = {}
    for one in opened:
        for key, tensor in one.tensors.items():
            if key in tensors:
                raise _twice(key, tensors[key].file, tensor.file, twice)
            tensors[key] = tensor
    notes = [n for one in opened for n in one.notes]
    files = [f for one in opened for f in one.files]
    return Checkpoint(folder, name, tensors, {}, files, notes, _framework(opened))


def _framework(opened: Iterable[Checkpoint]) -> str:
    """What all files say of whose layers they are for."""
    said = {one.framework for one in opened}
    return said.pop() if len(said) == 1 else ""


def _twice(key: str, one: Path, other: Path, why: str = "") -> CheckpointError:
    what_to_do = why or "remove the file that does not belong to the model"
    return CheckpointError(f"{one.parent}: both {one.name} and {other.name} hold {key!r}; {what_to_do}")


def _weight_map(index: Path) -> Mapping[str, str]:
    mapping = json_object(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{index}: has no object weight_map that maps tensor names to files; restore the index")
    for key, shard in mapping.items():
        if not isinstance(shard, str) or not shard:
            raise CheckpointError(f"{index}: weight_map gives {shard!r} for {key!r}, not a file name")
    return mapping


def _inside(index: Path, shard: str) -> Path:
    """The shard's path. Raises CheckpointError where it is missing, or a name or link that leads out of the folder.

    Hugging Face's cache is the one accepted exception: a folder ``snapshots/<revision>`` of links into ``blobs`` beside
    ``snapshots`` (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
    """
    if shard in (".", "..") or any(c in shard for c in "/\\:\0"):
        raise CheckpointError(f"{index}: names the file {shard!r}; only files in the index's own folder are read")
    path = index.parent / shard
    home = index.parent.resolve()
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: is named by {index.name} but missing; download or copy it again") from error
    cached = home.parent.name == "snapshots" and target.parent == home.parent.parent / "blobs"
    if target.parent != home and not cached:
        raise CheckpointError(f"{path}: is a link to {target}, outside of the folder; put the file itself there")
    return path
