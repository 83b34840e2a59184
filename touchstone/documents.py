"""How the project's TOML files are read: as types, with errors that name the file, the table and the field."""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from touchstone.errors import InputError

T = TypeVar("T")
Tables = list[tuple[str, T]]
"""Of each table of a list where it stands, for messages ("torch.toml: pin 3 (EMB-1)"), and what it says."""

_CALLED = {
    "array": "a list",
    "bool": "true or false",
    "date": "a date such as 2026-11-21",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a string",
}
"""What msgspec calls a type -> what a reader of TOML does."""
_PYTHON = {"array": list, "bool": bool, "float": float, "int": int, "object": dict, "str": str}


def load(path: Path, error: type[InputError], origin: str = "") -> dict[str, Any]:
    """The file as TOML has it. Raises `error` where it is not there, not TOML or not UTF-8.

    origin: what messages begin with, by default the file.
    """
    try:
        return tomllib.loads(path.read_text())
    except OSError as reason:
        raise error(f"{origin or path}: cannot be read ({reason.strerror})") from reason
    except ValueError as reason:
        raise error(f"{origin or path}: cannot be read as TOML ({reason})") from reason


def tables(path: Path, error: type[InputError], kind: type[T], name: str, content: Mapping[str, Any]) -> Tables[T]:
    """The tables ``[[name]]`` of a file's content, each as a `kind`, a `msgspec.Struct` whose first field names it.

    Raises `error`.
    """
    entries = content.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise error(f"{path}: {name!r} must be a list of tables: write [[{name}]]")
    title = msgspec.structs.fields(kind)[0].encode_name  # type: ignore[arg-type]  # a Struct
    found = []
    for number, entry in enumerate(entries, 1):
        origin = f"{path}: {name} {number} ({entry.get(title, f'no {title}')})"
        found.append((origin, converted(entry, kind, origin, error)))
    return found


def lists(path: Path, error: type[InputError], **kinds: type[Any]) -> dict[str, Tables[Any]]:
    """The tables of a file that holds these lists of tables and nothing else. Raises `error`."""
    content = load(path, error)
    if unknown := sorted(content.keys() - kinds.keys()):
        raise error(f"{path}: unknown table {unknown[0]!r}; use {' and '.join(f'[[{name}]]' for name in kinds)}")
    return {name: tables(path, error, kind, name, content) for name, kind in kinds.items()}


def converted(raw: Any, kind: type[T], origin: str, error: type[InputError]) -> T:
    """A part of a document as a `kind`. Raises `error`, whose message begins with `origin`.

    >>> converted({"seen": 3}, Entry, "torch.toml: pin 3", KnownError)
    KnownError: torch.toml: pin 3: seen must be a string, not 3
    """
    try:
        return msgspec.convert(raw, kind, builtin_types=(date,))
    except msgspec.ValidationError as reason:
        said, _, at = str(reason).partition(" - at `$")
        if said and not said.startswith(("Object", "Expected", "Invalid")):  # of a Struct's own __post_init__
            raise error(f"{origin}: {said}") from reason
        raise error(f"{origin}: {_told(said, at.rstrip('`'), raw, kind)}") from reason


def _told(said: str, at: str, raw: Any, kind: Any) -> str:
    """What msgspec says, in the words of the file. at: its path, ".cases[0][...]"."""
    where = re.sub(r"\[.*?\]", "", at).removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", said):
        subject, _ = _found(raw, at, lambda value: missing[1] not in value)
        return f"{subject} lacks {missing[1]}".strip()
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", said):
        subject, _ = _found(raw, at, lambda value: unknown[1] in value)
        return f"{subject} has an unknown field {unknown[1]!r}; use {', '.join(_fields(kind, where))}".strip()
    wrong = re.fullmatch(r"Expected `(.*)`, got `.*`", said)
    wanted = [name for name in wrong[1].split(" | ") if name != "null"] if wrong else []
    types = tuple(_PYTHON[name] for name in wanted if name in _PYTHON)
    subject, value = _found(raw, at, lambda value: not types or type(value) not in types)
    return f"{subject or 'it'} must be {_form(said, wanted, kind, where)}, not {reprlib.repr(value)}"


def _form(said: str, wanted: list[str], kind: Any, where: str) -> str:
    """What a value has to be."""
    if wanted:
        return " or ".join(_CALLED.get(name, name) for name in wanted if name != "int" or "float" not in wanted)
    if said.startswith("Invalid enum value"):
        return f"one of {', '.join(filter(None, get_args(get_type_hints(kind)[where])))}"
    if limit := re.fullmatch(r"Expected `int` >= (.*)", said):
        return f"{limit[1]} or more"
    if short := re.fullmatch(r"Expected `(array|object|str)` of length >= 1", said):
        return f"{_CALLED[short[1]]} that is not empty"
    return said


def _fields(kind: Any, where: str) -> list[str]:
    """Names of the fields of the struct at a path."""
    for step in filter(None, where.split(".")):
        kind = get_type_hints(kind)[step]
        while get_args(kind):
            kind = get_args(kind)[-1]
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _found(raw: Any, at: str, is_wrong: Callable[[Any], bool]) -> tuple[str, Any]:
    """What to call what lies at a path, "cases 'dtype'" or "each of needs", and its value.

    Where the path does not say which key of a table it means, it is the first that leads to something wrong.
    """
    found = list(_lying_at(raw, re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", at), ""))
    return next((one for one in found if is_wrong(one[1])), found[0])


def _lying_at(raw: Any, steps: list[tuple[str, str]], called: str) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield called, raw
        return
    (name, step), *rest = steps
    if name:
        yield from _lying_at(raw[name], rest, f"{called}{' ' if chr(39) in called else '.' * bool(called)}{name}")
    elif step == "...":
        for key, value in raw.items():
            yield from _lying_at(value, rest, f"{called} {key!r}")
    else:
        yield from _lying_at(raw[int(step)], rest, called if rest else f"each of {called}")
