"""Files that a framework's own functions write of arrays, and read: their bytes, whatever the format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.adapters.isolation.outcome import ended

Save = Callable[[Any, Any, Sequence[Any], Mapping[str, Any], Mapping[str, Any]], object]
"""(adapter, path or file, arrays without a name, arrays by name, metadata)."""
Load = Callable[[Any, Any], tuple[Any, Any]]
"""(adapter, path or file) -> (an array, or arrays by name; metadata, None where the format has none)."""
LAYOUTS: Mapping[str, Callable[[Any, np.ndarray], Any]] = {
    "dense": lambda adapter, x: adapter.place(np.array(x, order="C")),
    "transposed": lambda adapter, x: adapter.place(np.array(x.T, order="C")).T,
    "strided": lambda adapter, x: adapter.place(np.repeat(x, 2, -1))[..., ::2],
    "offset": lambda adapter, x: adapter.place(np.concatenate([x[:1], x]))[1:],
    "reversed": lambda adapter, x: adapter.place(np.array(x[::-1]))[::-1],
}
"""How an array that is saved lies in memory: whole, or as a view of another."""
THROUGH = ("a text", "a path", "a file")
"""What a function is given to write to or to read from."""
LOADS = 8
"""How often a file is loaded of which values are asked for again: what is read by another thread may come late."""


def _with_file(form: str, through: str, use: Callable[[Any], Any], mode: str, path: Path) -> Any:
    if through == "a file":
        with path.open(mode) as file:
            return use(file)
    return use(path if through == "a path" else str(path))


def saving(form: str, save: Save) -> Callable[..., bytes]:
    """The answer about writing a file of a format."""

    def answer(
        adapter: Any,
        arrays: Sequence[np.ndarray] = (),
        named: Mapping[str, np.ndarray] = {},
        metadata: Mapping[str, Any] = {},
        layout: str = "dense",
        through: str = "a text",
    ) -> bytes:
        """The bytes of the file."""
        made = partial(LAYOUTS[layout], adapter)
        given = [made(x) for x in arrays], {name: made(x) for name, x in named.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"arrays.{form}"
            _with_file(form, through, lambda to: save(adapter, to, *given, metadata), "wb", path)
            return path.read_bytes()

    return answer


def loading(form: str, load: Load) -> Callable[..., dict[str, Any]]:
    """The answer about reading a file of a format."""

    def answer(adapter: Any, file: bytes, through: str = "a text") -> dict[str, Any]:
        """Arrays by name, "" of one without, and the metadata."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"arrays.{form}"
            path.write_bytes(file)
            found, metadata = _with_file(form, through, lambda source: load(adapter, source), "rb", path)
            held = found if isinstance(found, Mapping) else {"": found}
            return {
                "arrays": {name: _plain(adapter, one) for name, one in held.items()},
                "metadata": {name: _plain(adapter, one) for name, one in (metadata or {}).items()},
            }

    return answer


def asking_again(form: str, load: Load) -> Callable[..., list[str]]:
    """The answer about an array whose values are read from the file only when they are asked for."""

    def answer(adapter: Any, file: bytes) -> list[str]:
        """How loading, a first and later lists of an array's values ended, of the load of which most went well."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"arrays.{form}"
            path.write_bytes(file)
            return min((_asked(adapter, load, path) for _ in range(LOADS)), key=lambda found: sum(map(bool, found)))

    return answer


def _asked(adapter: Any, load: Load, path: Path) -> list[str]:
    """How loading, and lists of values one after the other, ended; empty where they did not."""
    kept = list[Any]()
    loaded = ended(lambda: kept.append(load(adapter, str(path))[0]))
    held = [one for made in kept for one in (made.values() if isinstance(made, Mapping) else [made])]
    return [loaded, *(ended(lambda: held[0].tolist()) for _ in range(4 if held else 0))]


def _plain(adapter: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "dtype"):
        return value
    return np.array(adapter.fetch(value))


def answers(
    save: Mapping[str, Save], load: Mapping[str, Load], again: Mapping[str, Load]
) -> dict[str, Callable[..., Any]]:
    """Question -> its answer, for a framework with these functions: format -> function.

    again: as `load`, without having any value read.
    """
    return {
        **{f"ask {form} again": asking_again(form, function) for form, function in again.items()},
        **{f"save {form}": saving(_ending(form), function) for form, function in save.items()},
        **{f"load {form}": loading(form, function) for form, function in load.items()},
    }


def _ending(form: str) -> str:
    return form.partition(" ")[0]
