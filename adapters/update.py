"""``python -m adapters update DIR``: bring the files of known deviations in line with a run.

Adds candidates for red cases that nothing is registered for; they keep the run red until a person has written
cause, reproduction and advice, or cited the page of a pin. Removes deviations of which every case that ran conforms.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from adapters import known, registry

UNDEFINED = frozenset({"foreign memory", "crashed", "timed out", "zeros", "unchecked write"})
"""What undefined behaviour may show, by the state of the heap; registered together."""

FIELDS = {"id", "target", "spec", "versions", "requirement", "params", "verdict", "missing", "behaviour", "headroom"}
"""What a record of a finished case must hold."""

Params = Mapping[str, Any]


class UpdateError(Exception):
    """The run cannot be used; the message names the file."""


def update(report: Path) -> str:
    """Edit the files of every target in the run; a line per change."""
    by_target: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in _records(report / "results.jsonl"):
        by_target[record["target"]].append(record)
    lines = []
    for target, records in sorted(by_target.items()):
        spec = records[0]["spec"]
        path = known.path_for(registry.adapter_class(spec), spec)
        stale, changes = _stale(_document(path), records)
        document = tomlkit.parse(_without(path.read_text(), stale)) if stale else _document(path)
        changes += _add_candidates(document, target, records)
        if changes:
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_suffix(".partial")
            temporary.write_text(tomlkit.dumps(document))
            os.replace(temporary, path)
        lines += [f"{path.name}: {change}" for change in changes]
    return "\n".join(lines) or "nothing to change"


def _document(path: Path) -> Any:
    try:
        return tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
    except ValueError as error:  # not TOML, or not UTF-8
        raise UpdateError(f"{path}: {error}") from error


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise UpdateError(
            f"{path}: cannot be read ({error.strerror}); run pytest suites/ --report DIR first"
        ) from error
    except ValueError as error:
        raise UpdateError(f"{path}: not a report ({error})") from error
    ended = [line for line in lines if isinstance(line, dict) and line.get("event") == "end"]
    if lines and not (isinstance(lines[0], dict) and all(record.keys() >= FIELDS for record in ended)):
        raise UpdateError(f"{path}: not a report of this version")
    if not ended:
        raise UpdateError(f"{path}: holds no finished case")
    return [r for r in ended if r["verdict"] not in ("unsupported", "not run")]


def _add_candidates(document: Any, target: str, records: Sequence[dict[str, Any]]) -> list[str]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record["missing"]:
            merge = record["missing"] == "deviation" and record["behaviour"] in UNDEFINED
            behaviour = "undefined" if merge else record["behaviour"]
            groups[record["requirement"], record["missing"], behaviour].append(record)
    changes = []
    for (requirement, kind, behaviour), found in groups.items():
        table = tomlkit.table()
        table["requirement"], table["target"] = requirement, target
        main = next(iter(found[0]["versions"].values()))
        table["versions"] = f">={main.partition('+')[0]}"
        everything = [r["params"] for r in records if r["requirement"] == requirement]
        table["cases"] = _cases(induce([r["params"] for r in found], everything))
        if kind == "pin":
            table["class"], table["page"] = behaviour, ""
        else:
            table["observed"] = sorted(UNDEFINED if behaviour == "undefined" else {behaviour})
            headrooms = [r["headroom"] for r in found if r["headroom"] and r["headroom"] != float("inf")]
            if headrooms:
                table["headroom_at_most"] = float(f"{2 * max(headrooms):.1g}")
            table["seen"] = date.today()
            for name in known.WRITTEN_BY_HAND:
                table[name] = ""
        document.setdefault(kind, tomlkit.aot()).append(table)
        changes.append(f"added a candidate {kind}: {requirement} {behaviour} ({len(found)} cases)")
    return changes


def _stale(document: Any, records: Sequence[dict[str, Any]]) -> tuple[set[int], list[str]]:
    """Positions of the deviations of which every case that ran conforms, and a line per change."""
    stale, changes = set(), []
    for number, entry in enumerate(document.get("deviation", ())):
        ran = [r for r in records if _covers(entry, r)]
        conforming = [r for r in ran if r["verdict"] == "stale deviation"]
        if ran and len(conforming) == len(ran):
            changes.append(f"removed a stale deviation: {entry['requirement']}, seen {entry['seen']}")
            stale.add(number)
            continue
        if conforming:
            ids = ", ".join(r["id"].rpartition("[")[2].rstrip("]") for r in conforming[:3])
            changes.append(f"narrow by hand: {entry['requirement']}, seen {entry['seen']}, holds no longer for {ids}")
    return stale, changes


def _without(text: str, stale: Collection[int]) -> str:
    """The text without these deviations; comments above the entry that follows one of them stay."""
    number, kept = -1, []
    for part in re.split(r"(?m)^(?=\[\[)", text):
        number += part.startswith("[[deviation]]")
        if part.startswith("[[deviation]]") and number in stale:
            lines = part.splitlines(keepends=True)
            above_next = takewhile(lambda line: not line.strip() or line.startswith("#"), reversed(lines))
            part = "".join(reversed(list(above_next)))
        kept.append(part)
    return "".join(kept)


def _covers(entry: Table, record: dict[str, Any]) -> bool:
    return (
        entry["requirement"] == record["requirement"]
        and entry["target"] == record["target"]
        and any(known.matches({k: tuple(v) for k, v in p.items()}, record["params"]) for p in entry["cases"])
    )


def _cases(patterns: Sequence[known.Pattern]) -> Any:
    out = tomlkit.array()
    for pattern in patterns:
        inline = tomlkit.inline_table()
        for name, values in pattern.items():
            inline[name] = list(values)
        out.append(inline)
    return out.multiline(len(patterns) > 1)


def induce(wanted: Sequence[Params], everything: Sequence[Params]) -> list[dict[str, tuple[Any, ...]]]:
    """Few short patterns that match each of `wanted` and nothing else of `everything`."""
    others = [p for p in everything if p not in wanted]
    names = [n for n in wanted[0] if all(n in p for p in wanted)]
    pattern = {n: tuple(dict.fromkeys(p[n] for p in wanted)) for n in names}
    if any(known.matches(pattern, p) for p in others):
        options = []
        for name in names:
            if len(pattern[name]) > 1:
                parts = [[p for p in wanted if p[name] == value] for value in pattern[name]]
                options.append([q for part in parts for q in induce(part, everything)])
        return min(options, key=len)
    for name in names:
        shorter = {n: v for n, v in pattern.items() if n != name}
        if not any(known.matches(shorter, p) for p in others):
            pattern = shorter
    return [pattern]
