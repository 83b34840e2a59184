"""Nested trees of arrays as dotted names: ``{"params": {"dense": {"kernel": k}}}`` is ``params.dense.kernel``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from touchstone.migration.checkpoint import CheckpointError

MOST_LEVELS = 64
MOST_NODES = 300_000
_NAMED = 5

Leaf = tuple[tuple[str, ...], Any]


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """(path of keys, leaf) of nested mappings, in their order; the reader bounds their depth and number."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, tree


def without_value(found: Iterable[Leaf]) -> list[Leaf]:
    """The leaves without a trailing key ``value`` that has no sibling: how a saved ``nnx.State`` holds each array."""
    found = list(found)
    siblings = Counter(path[:-1] for path, _ in found)
    above = {path[:n] for path, _ in found for n in range(1, len(path))}
    return [
        (
            path[:-1]
            if len(path) > 1 and path[-1] == "value" and siblings[path[:-1]] == 1 and path not in above
            else path,
            leaf,
        )
        for path, leaf in found
    ]


def named(found: Iterable[Leaf], file: Path, make: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Dotted name -> ``make(name, leaf)``. Raises CheckpointError where a name is empty, unprintable or there twice."""
    out: dict[str, Any] = {}
    for path, leaf in found:
        name = ".".join(path)
        check_name(name, file)
        if name in out:
            raise CheckpointError(f"{file}: two arrays are named {name!r} once their keys are joined; rename one")
        out[name] = make(name, leaf)
    return out


def check_name(name: str, file: Path) -> None:
    """Raises CheckpointError for a name that cannot be printed, or is none."""
    if not name:
        raise CheckpointError(f"{file}: holds an array without a name; save a mapping of names to arrays")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"{file}: the name {name!r} is not valid Unicode; rename the tensor") from error


def passed_over(names: Iterable[str], what: str) -> list[str]:
    """A note on values that are no arrays; nothing where there are none."""
    names = list(names)
    if not names:
        return []
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return [f"not read, because {what}: {', '.join(names[:_NAMED])}{more}"]
