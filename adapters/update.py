"""``touchstone expectations update DIR``: bring the files of known deviations in line with a run.

Adds candidates for red cases that nothing is registered for; they keep the run red until a person has written
cause, reproduction and advice, or cited the page of a pin. A candidate speaks of the device of the run alone. Removes
deviations that hold where the run was and of which every case that ran conforms. Names the device in `seen_on` of the
entries that were assumed on it, and that every case that ran confirms. Says which entries show another class
of behaviour now, or hold where they were not seen before, and leaves them, and every requirement of which only a part
ran, as they are.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

import tomlkit
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from tomlkit.items import Table

from touchstone import documents, files
from touchstone.adapters import conditions, known
from touchstone.adapters.conditions import ConditionError, Placed
from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Adapter
from touchstone.errors import InputError
from touchstone.verdict import expectation
from touchstone.verdict.expectation import Place, Scope

UNDEFINED = frozenset({"foreign memory", "crashed", "timed out", "zeros"})
"""What undefined behaviour may show, by the state of the heap; registered together."""

FIELDS = {
    "id",
    "target",
    "spec",
    "device",
    "versions",
    "requirement",
    "params",
    "verdict",
    "missing",
    "assumed",
    "note",
    "behaviour",
    "headroom",
    "cases",
    "marked",
}
"""What a record of a finished case must hold."""

Params = Mapping[str, Any]


class UpdateError(InputError):
    """The run cannot be used; the message names the file, or the cases that no entry could tell apart."""


def update(report: Path, folder: Path | None = None) -> str:
    """Edit the files of every target in the run; a line per change, and per change left to a person.

    folder: of the files, where they are not those beside the adapters. Raises UpdateError.
    """
    by_target: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in _records(report / "results.jsonl"):
        by_target[record["target"]].append(record)
    lines = []
    for target, records in sorted(by_target.items()):
        cls = registry.adapter_class(records[0]["spec"])
        path = known.path_for(cls, folder)
        complete, told = _complete(target, records)
        document = _document(path)
        covered = {kind: _covered(kind, document.get(kind, ()), complete, path, cls) for kind in ("deviation", "pin")}
        confirmed = _confirm(target, covered)
        stale, changes = _stale(covered["deviation"])
        document = tomlkit.parse(_without(tomlkit.dumps(document), stale)) if stale else document
        added = _add_candidates(document, target, complete)
        if stale or added or confirmed:
            files.write(path, tomlkit.dumps(document))
        lines += [f"{path.name}: {line}" for line in (*told, *changes, *confirmed, *added, *_by_hand(target, complete))]
    return "\n".join(lines) or "nothing to change"


def specs(report: Path) -> set[str]:
    """The adapters whose cases the report holds, as ``--adapter`` named them. Raises UpdateError."""
    return {record["spec"] for record in _records(report / "results.jsonl")}


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
    if any("key" in record["params"] for record in ended):
        raise UpdateError(f"{path}: a run on a user's own arrays says nothing about the registered cases")
    return ended


def _complete(target: str, records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Answered records of the requirements of which every unmarked case ended, and a line per other requirement."""
    ended: dict[str, set[str]] = defaultdict(set)
    cases: dict[str, int] = {}
    for record in records:
        cases[record["requirement"]] = record["cases"]
        if not record["marked"]:
            ended[record["requirement"]].add(record["id"])
    partial = {name: count for name, count in cases.items() if len(ended[name]) < count}
    told = [
        f"{name} on {target}: only {len(ended[name])} of {count} cases ran; run the whole requirement first"
        for name, count in partial.items()
    ]
    answered = [r for r in records if r["verdict"] not in ("unsupported", "not run")]
    return [r for r in answered if r["requirement"] not in partial], told


def _by_hand(target: str, records: Sequence[dict[str, Any]]) -> list[str]:
    """What is left to a person, a line each.

    Requirements and classes that an entry covers without naming them; entries that are to hold in more places, or in
    fewer.
    """
    seen = Counter((r["requirement"], r["behaviour"]) for r in records if r["missing"] == "changed")
    lines = [f"edit by hand: {name} on {target} now shows {shown} ({n} cases)" for (name, shown), n in seen.items()]
    for how in ("widen", "narrow"):
        notes = Counter((r["requirement"], r["note"]) for r in records if r["missing"] == how)
        lines += [f"{how} by hand: {name} on {target}: {note} ({n} cases)" for (name, note), n in notes.items()]
    return lines


def _add_candidates(document: Any, target: str, records: Sequence[dict[str, Any]]) -> list[str]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record["missing"] in ("deviation", "pin"):
            merge = record["missing"] == "deviation" and record["behaviour"] in UNDEFINED
            behaviour = "undefined" if merge else record["behaviour"]
            groups[record["requirement"], record["missing"], behaviour].append(record)
    changes = []
    for (requirement, kind, behaviour), found in groups.items():
        table = tomlkit.table()
        framework, _, device = target.partition("@")
        table["requirement"], table["framework"], table["device"] = requirement, framework, device
        main = next(iter(found[0]["versions"].values()))
        table["versions"] = f">={main.partition('+')[0]}"
        everything = [r["params"] for r in records if r["requirement"] == requirement]
        try:
            table["cases"] = _cases(induce([r["params"] for r in found], everything))
        except UpdateError as error:
            raise UpdateError(f"{requirement} on {target}: {error}") from error
        table["seen_on"] = [device]
        if kind == "pin":
            table["class"], table["page"] = behaviour, ""
        else:
            table["observed"] = sorted(UNDEFINED if behaviour == "undefined" else {behaviour})
            headrooms = [r["headroom"] for r in found if isinstance(r["headroom"], float) and r["headroom"] > 0]
            if headrooms:
                table["headroom_at_most"] = float(f"{2 * max(headrooms):.1g}")
            table["seen"] = date.today()
            for name in expectation.WRITTEN_BY_HAND:
                table[name] = ""
        document.setdefault(kind, tomlkit.aot()).append(table)
        changes.append(f"added a candidate {kind}: {requirement} {behaviour} ({len(found)} cases)")
    return changes


@dataclass
class _Covered:
    """An entry that holds in the run's place, the number it has in its file, and the cases it applies to there."""

    number: int
    entry: Table
    scope: Scope
    place: Place
    records: list[dict[str, Any]] = field(default_factory=list)


def _covered(
    kind: str, entries: Iterable[Table], records: Sequence[dict[str, Any]], path: Path, cls: type[Adapter]
) -> list[_Covered]:
    """The entries that hold where the records were made; each case belongs to the narrowest. Raises UpdateError."""
    if not records:
        return []
    framework, _, device = records[0]["target"].partition("@")
    version = next(iter(records[0]["versions"].values()), "0")
    place = Place(framework, device, records[0]["device"].get("facts", {}))
    found = []
    for number, entry in enumerate(entries):
        origin = f"{path}: {kind} {number + 1}"
        try:
            placed = documents.converted(entry.unwrap(), Placed, origin, UpdateError)
            scope = conditions.scope(placed, cls, [device])
            current = SpecifierSet(entry["versions"]).contains(version, prereleases=True)
        except (ConditionError, KeyError, InvalidSpecifier) as error:
            raise UpdateError(f"{origin}: {error}") from error
        if scope.holds(place) and current:
            found.append(_Covered(number, entry, scope, place))
    for record in records:
        covering = [one for one in found if _covers(one.entry, record)]
        if covering:
            max(covering, key=lambda one: one.scope.narrowness).records.append(record)
    return found


def _covers(entry: Table, record: dict[str, Any]) -> bool:
    return entry["requirement"] == record["requirement"] and any(
        expectation.matches({k: tuple(v) for k, v in p.items()}, record["params"]) for p in entry["cases"]
    )


def _confirm(target: str, covered: Mapping[str, Iterable[_Covered]]) -> list[str]:
    """Name the place in `seen_on` of the entries that were assumed there and that it shows; a line that says so."""
    count = 0
    for kind, entries in covered.items():
        wanted = "conforms" if kind == "pin" else "known deviation"
        for one in entries:
            shown = [r for r in one.records if r["assumed"] and r["verdict"] == wanted]
            rest = [r for r in one.records if r not in shown]
            sometimes = one.entry.get("some_conform", False) and all(r["verdict"] == "conforms" for r in rest)
            if not shown or one.scope.was_seen(one.place) or (rest and not sometimes):
                continue
            facts = {name: one.place.facts[name] for name in one.scope.where}
            one.entry["seen_on"].append({"device": one.place.device, **facts} if facts else one.place.device)
            count += 1
    return [f"seen on {target} now, where they were assumed: {count} entries"] if count else []


def _stale(covered: Iterable[_Covered]) -> tuple[set[int], list[str]]:
    """Positions of the deviations of which every case that ran conforms, one unmarked at least; a line per change."""
    stale, changes = set(), []
    for one in covered:
        entry, ran = one.entry, one.records
        if not ran or not one.scope.was_seen(one.place):
            continue
        sometimes = entry.get("some_conform", False)
        conforming = [r for r in ran if r["verdict"] == ("conforms" if sometimes else "stale deviation")]
        if len(conforming) == len(ran) and not all(r["marked"] for r in ran):
            changes.append(f"removed a stale deviation: {entry['requirement']}, seen {entry['seen']}")
            stale.add(one.number)
            continue
        if conforming and not sometimes:
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


def _cases(patterns: Sequence[expectation.Pattern]) -> Any:
    out = tomlkit.array()
    for pattern in patterns:
        inline = tomlkit.inline_table()
        for name, values in pattern.items():
            inline[name] = list(values)
        out.append(inline)
    return out.multiline(len(patterns) > 1)


def induce(wanted: Sequence[Params], everything: Sequence[Params]) -> list[dict[str, tuple[Any, ...]]]:
    """Few short patterns that match each of `wanted` and nothing else of `everything`.

    Raises UpdateError where one of the others has every parameter of a wanted case.
    """
    return _induce(wanted, [p for p in everything if p not in wanted])


def _induce(wanted: Sequence[Params], others: Sequence[Params]) -> list[dict[str, tuple[Any, ...]]]:
    names = [n for n in wanted[0] if all(n in p for p in wanted)]
    pattern = {n: tuple(dict.fromkeys(p[n] for p in wanted)) for n in names}
    if other := next((p for p in others if expectation.matches(pattern, p)), None):
        ways = [_split(wanted, itemgetter(name)) for name in names]
        ways = [parts for parts in (*ways, _split(wanted, frozenset)) if len(parts) > 1]
        if not ways:
            raise UpdateError(f"no pattern tells the case {_spell(wanted[0])} from {_spell(other)}")
        return min((_unique(q for part in parts for q in _induce(part, others)) for parts in ways), key=len)
    for name in names:
        shorter = {n: v for n, v in pattern.items() if n != name}
        if not any(expectation.matches(shorter, p) for p in others):
            pattern = shorter
    return [pattern]


def _unique(patterns: Iterable[dict[str, tuple[Any, ...]]]) -> list[dict[str, tuple[Any, ...]]]:
    kept: list[dict[str, tuple[Any, ...]]] = []
    for pattern in patterns:
        if pattern not in kept:
            kept.append(pattern)
    return kept


def _split(cases: Sequence[Params], by: Callable[[Params], Any]) -> list[list[Params]]:
    parts: dict[Any, list[Params]] = defaultdict(list)
    for case in cases:
        parts[by(case)].append(case)
    return list(parts.values())


def _spell(params: Params) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items()) or "without parameters"
