"""The small JSON files beside the tensors: config.json, an index of shards, a tree's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from touchstone.migration.checkpoint import CheckpointError
from touchstone.migration.formats.reading import file_bytes

CONFIGS = ("config.json", "params.json")
"""transformers' and mlx-lm's configuration, and Meta's."""
_MOST = 256 * 2**20


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object that the file holds. Raises CheckpointError."""
    content = file_bytes(path)
    if content.size > _MOST:
        raise CheckpointError(f"{path}: {content.size:,} bytes are too many for a JSON file of this kind")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not JSON ({error}); restore it or convert the model again") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: holds {_kind(found)}, not a JSON object; restore it or convert the model again")
    return found


def config_beside(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """(the folder's configuration, its path), or nothing where there is none; of two the first of `CONFIGS`."""
    path = next((folder / name for name in CONFIGS if (folder / name).exists()), None)
    return (json_object(path), [path]) if path else ({}, [])


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a truth value"}
    return kinds.get(type(value), "null")
