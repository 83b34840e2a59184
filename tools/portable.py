"""``python -m tools.portable``: do the suites say the same with other instructions and other numbers of threads?

Runs them once plainly and once under each setting of `settings.toml` that this machine can have, with caches of its
own, and compares the cases. Arguments that are not listed here go to pytest::

    python -m tools.portable --setting xla-avx -k test_lookup

Exit status: 0 where every run ended with 0 and each case shows the same, but for those that an entry of known
deviations explains; 1 otherwise; 2 where a setting did not take effect, or none can be had.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tools import settings
from tools.settings import PLAIN, ROOT, Setting, SettingError
from touchstone.adapters import known
from touchstone.adapters.discovery import instructions, machine, registry
from touchstone.adapters.discovery.registry import Target
from touchstone.errors import InputError
from touchstone.suites import requirements
from touchstone.verdict.expectation import Expectation, Expectations, Place

SAME, DIFFERS, NO_EFFECT = 0, 1, 2
"""Exit status."""
SHOWN = 20
"""Differing cases that are listed for each setting."""
Cases = Mapping[str, Mapping[str, Any]]
"""A case's id -> its record, as a run with ``--report`` writes it."""


@dataclass
class Row:
    """A line of the table: one run of the suites.

    differing: a sentence for each case that shows something else than in the plain run and that no entry explains.
    """

    name: str
    read: str
    cases: int
    exit: int
    explained: int = 0
    differing: list[str] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        return self.exit == 0 and not self.differing


@dataclass(frozen=True)
class Runs:
    """What every run has in common: whom it asks, what else pytest is told, where caches and reports are kept."""

    targets: Sequence[Target]
    options: Sequence[str]
    folder: Path

    @property
    def distributions(self) -> list[str]:
        return sorted({name for target in self.targets for name in target.cls.distributions})

    def concerned(self, setting: Setting) -> list[Target]:
        """Targets one of whose libraries the setting changes."""
        return [t for t in self.targets if setting.shows.keys() & set(instructions.readable(t.cls.distributions))]

    def caches(self, name: str) -> Path:
        return self.folder / name / "caches"

    def report(self, name: str) -> Path:
        return self.folder / name / "report"

    def read_back(self, name: str, setting: Setting) -> dict[str, str]:
        return settings.read_back(setting, self.distributions, self.caches(name))

    def run(self, name: str, setting: Setting, targets: Sequence[Target]) -> tuple[int, Cases]:
        """The exit status of pytest under a setting, and the cases that it recorded."""
        report = self.report(name)
        shutil.rmtree(report, ignore_errors=True)
        places = () if any(_is_place(option) for option in self.options) else ("suites/",)
        chosen = [f"--adapter={target.selector}" for target in targets]
        command = ["-m", "pytest", *places, f"--report={report.resolve()}", *chosen, *self.options]
        environment = settings.environment(setting, self.caches(name).resolve())
        return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment).returncode, recorded(report)


def _is_place(option: str) -> bool:
    """Whether an argument of pytest is a file, a folder or the id of a case."""
    return not option.startswith("-") and (ROOT / option.partition("::")[0]).exists()


def recorded(report: Path) -> Cases:
    """The cases that a run came to the end of; none where it wrote no record."""
    path = report / "results.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return {line["id"]: line for line in lines if line["event"] == "end"}


def differing(plain: Cases, here: Cases, name: str) -> tuple[int, list[str]]:
    """How many cases show something else and are explained by an entry, and a sentence for each that is not."""
    explained, out = 0, []
    for identifier in dict.fromkeys((*plain, *here)):
        first, second = plain.get(identifier), here.get(identifier)
        if first is None or second is None:
            out.append(f"{identifier}: asked {f'with {name}' if second else 'plainly'} only")
        elif _shown(first) != _shown(second):
            if explaining(first, second):
                explained += 1
            else:
                was, now = (f"{r['behaviour']} ({r['verdict']})" for r in (first, second))
                out.append(f"{identifier}: {was} plainly, {now} with {name}")
    return explained, out


def _shown(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["behaviour"], record["verdict"]


def explaining(first: Mapping[str, Any], second: Mapping[str, Any]) -> Expectation | None:
    """The entry that says why one case shows two things.

    It holds in one of the places only and registers what is shown there, or it registers both.
    """
    entries, version = _known(first["spec"], first["target"])
    places = [_place(record) for record in (first, second)]
    for entry in (*entries.deviations, *entries.pins):
        if not entry.speaks_of(first["requirement"], first["versions"].get(version, "0"), first["params"]):
            continue
        holds = [entry.scope.holds(place) for place in places]
        shows = [entry.shows(r["behaviour"], _number(r["headroom"])) for r in (first, second)]
        may_conform = getattr(entry, "some_conform", False)
        both = all(s or (may_conform and r["conforms"]) for s, r in zip(shows, (first, second), strict=True))
        if (all(holds) and both) or (holds[0] != holds[1] and shows[holds.index(True)]):
            return entry
    return None


def _place(record: Mapping[str, Any]) -> Place:
    framework, _, device = record["target"].partition("@")
    return Place(framework, device, record["device"]["facts"])


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)


@cache
def _known(spec: str, target: str) -> tuple[Expectations, str]:
    """The entries of an adapter, and the distribution whose version they speak of."""
    cls = registry.adapter_class(spec)
    device = target.partition("@")[2]
    return known.load(known.path_for(cls), cls, requirements.load().keys(), [device]), cls.distributions[0]


def check_records(name: str, setting: Setting, cases: Cases, plain: Mapping[str, str]) -> None:
    """Raises SettingError where the run's own records say that the setting had no effect in it."""
    for facts in {r["target"]: r["device"]["facts"] for r in cases.values() if r["device"]["facts"]}.values():
        known_here = {fact: value for fact, value in plain.items() if fact in facts}
        settings.check(f"{name} (as its records have it)", setting, facts, known_here)


def compare(runs: Runs, chosen: Mapping[str, Setting]) -> list[Row]:
    """Run the suites plainly and under each setting that can be had.

    Raises SettingError before any run where one has no effect, and where none can be had.
    """
    plain = runs.read_back(PLAIN, Setting())
    print(f"{PLAIN}: {settings.spell(plain)}", flush=True)
    read = {}
    for name, setting in chosen.items():
        if why := settings.obstacle(setting, plain, machine.facts()):
            print(f"{name}: left out, {why}", flush=True)
            continue
        found = runs.read_back(name, setting)
        settings.check(name, setting, found, plain)
        read[name] = {fact: found[fact] for fact in setting.shows if fact in plain}
        print(f"{name}: {setting.spelled} shows {settings.spell(read[name])}", flush=True)
    if not read:
        raise SettingError("no setting can be had here, so that nothing would be shown")
    print(f"\n== {PLAIN}: {', '.join(t.id for t in runs.targets)}", flush=True)
    status, cases = runs.run(PLAIN, Setting(), runs.targets)
    rows = [Row(PLAIN, settings.spell(plain), len(cases), status)]
    if not cases:
        return rows
    for name, facts in read.items():
        if row := _under(runs, name, chosen[name], cases, plain, settings.spell(facts)):
            rows.append(row)
    return rows


def _under(runs: Runs, name: str, setting: Setting, before: Cases, plain: Mapping[str, str], read: str) -> Row | None:
    """The run under one setting; None where the selection has no case of whom it concerns."""
    targets = runs.concerned(setting)
    ids = {target.id for target in targets}
    asked = {identifier: record for identifier, record in before.items() if record["target"] in ids}
    if not asked:
        print(f"{name}: left out, the selection has no case of {', '.join(sorted(ids))}", flush=True)
        return None
    print(f"\n== {name}: {setting.spelled}: {', '.join(sorted(ids))}", flush=True)
    status, cases = runs.run(name, setting, targets)
    check_records(name, setting, cases, plain)
    return Row(name, read, len(cases), status, *differing(asked, cases, name))


def show(rows: Sequence[Row]) -> None:
    """The table, and the cases that differ."""
    lines = [("setting", "cases", "exit", "explained", "differing", "read back")]
    for row in rows:
        counts = str(row.cases), str(row.exit), str(row.explained), str(len(row.differing))
        lines.append((row.name, *counts, row.read))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for name, *counted, read in lines:
        cells = [f"{count:>{width}}" for count, width in zip(counted, widths[1:-1], strict=True)]
        print("  ".join((f"{name:<{widths[0]}}", *cells, read)))
    for row in rows:
        for text in row.differing[:SHOWN]:
            print(f"differs  {text}")
        if len(row.differing) > SHOWN:
            print(f"differs  … and {len(row.differing) - SHOWN:,} more with {row.name}")


def _arguments(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m tools.portable",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME[@DEVICE]", help="as for pytest")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep caches and reports there (default: nowhere)")
    return parser.parse_known_args(arguments)


def _chosen(names: Sequence[str]) -> Mapping[str, Setting]:
    found = settings.load()
    if unknown := [name for name in names if name not in found]:
        raise SettingError(f"no setting {unknown[0]!r} in {settings.FILE.name}; there are {', '.join(found)}")
    return {name: found[name] for name in names or found}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: `SAME` or `DIFFERS`, as the table that it prints says, or `NO_EFFECT`."""
    options, rest = _arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="touchstone-portable-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        try:
            chosen = _chosen(options.setting)
            targets = registry.resolve(options.adapter)
            for target in targets:
                if target.unavailable:
                    print(f"{target.cls.name}: left out, {target.unavailable}", flush=True)
            rows = compare(Runs([t for t in targets if not t.unavailable], rest, folder), chosen)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return NO_EFFECT
    show(rows)
    same = len(rows) > 1 and all(row.is_same for row in rows)
    wrong = [row.name for row in rows if not row.is_same] or ["no setting was run"]
    print(f"\nthe same under {len(rows) - 1} settings" if same else f"\nnot the same: {', '.join(wrong)}")
    return SAME if same else DIFFERS


if __name__ == "__main__":
    sys.exit(main())
