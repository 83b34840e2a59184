"""The cases of a report as compact JSON for the page: what cases share is written once.

`page.js` reads it. Texts stand in front-coded tables: each entry is the length of the prefix that it shares with the
entry before, and the rest.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import msgspec

from touchstone.reports.cases import LAYERS, by_requirement, case_name, catalogue, layer_of, spelled
from touchstone.reports.changes import Streak
from touchstone.reports.differences import Difference, Pairs, by_name
from touchstone.reports.model import Column, Report
from touchstone.reports.page.visible import visible, web_address
from touchstone.reports.records import EndLine, Number, Requirement, StartLine
from touchstone.reports.severity import ORDER

IN_FLIGHT = "in flight"
"""Shown as the verdict of a case that began and did not end."""
_HOLE = "\x1f"  # `visible` leaves none in a text
_NUMBER = re.compile(r"0x[0-9a-f]+|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class _Table:
    """Distinct values in order of arrival."""

    def __init__(self) -> None:
        self.index: dict[Hashable, int] = {}

    def add(self, value: Hashable) -> int:
        return self.index.setdefault(value, len(self.index))

    @property
    def values(self) -> list[Any]:
        return list(self.index)


class _Texts(_Table):
    def add(self, value: Hashable) -> int:
        return super().add(visible(str(value)))

    @property
    def coded(self) -> list[int | str]:
        return front_coded(self.values)


def front_coded(texts: Sequence[str]) -> list[int | str]:
    """[length of the prefix shared with the text before, rest, …]; most are alike their neighbours."""
    out: list[int | str] = []
    before = ""
    for text in texts:
        most = min(len(before), len(text))
        same = next((i for i in range(most) if before[i] != text[i]), most)
        if same and "\ud800" <= text[same - 1 : same] <= "\udbff":
            same -= 1
        out += [same, text[same:]]
        before = text
    return out


class _Cases:
    """Collects the tables while blocks are made."""

    def __init__(self, report: Report, streaks: Mapping[tuple[str, str], Streak]) -> None:
        self.report = report
        self.streaks = streaks
        self.requirements = catalogue(report)
        self.texts = _Texts()
        self.messages = _Table()
        self.goldens = _Texts()
        self.outcomes = _Table()
        self.tests = _Table()
        self.values = _Table()
        self.facts = _Table()
        self.lasting = _Table()
        self.facts.add(("", "", self.goldens.add("")))
        self.places: dict[str, dict[str, int]] = {}
        """Requirement -> case name -> its place in the block."""

    def blocks(self) -> list[dict[str, Any]]:
        return [self._block(name, lines) for name, lines in by_requirement(self.report).items()]

    def _block(self, requirement: str, columns: Sequence[Sequence[EndLine | StartLine]]) -> dict[str, Any]:
        places = self.places.setdefault(requirement, {})
        cases: list[list[int]] = []
        rows: list[list[list[Any]]] = []
        for column, lines in zip(self.report.columns, columns, strict=True):
            rows.append([])
            for line in lines:
                name = case_name(line.id, line.target)
                if name not in places:
                    places[name] = len(places)
                    cases.append(self._case(name, requirement, line))
                place = places[name]
                rows[-1].append(self._row(place, cases[place], line, column))
        return {
            "names": front_coded([visible(n.partition("[")[2].removesuffix("]")) for n in places]),
            "cases": cases,
            "rows": rows,
        }

    def _case(self, name: str, requirement: str, line: EndLine | StartLine) -> list[int]:
        test = self.tests.add((self.texts.add(name.partition("[")[0]), tuple(map(self.texts.add, line.params))))
        layer = LAYERS.index(layer_of(self.requirements[requirement], line.params))
        values = (self.values.add(visible("none" if v is None else str(v))) for v in line.params.values())
        return [test, layer, self._facts(line), *values]

    def _facts(self, line: EndLine | StartLine) -> int:
        """What was compared: 0 where nothing was."""
        if isinstance(line, StartLine):
            return 0
        shape = "" if line.shape is None else " × ".join(map(str, line.shape)) or "scalar"
        return self.facts.add((visible(line.dtype or ""), shape, self.goldens.add(line.golden)))

    def _row(self, place: int, case: list[int], line: EndLine | StartLine, column: Column) -> list[Any]:
        if isinstance(line, StartLine):
            note = "the run ended while this case was running"
            return [place, self._outcome(line, IN_FLIGHT, "no answer", note)]
        texts = (line.verdict, line.behaviour, line.note, line.advice, line.reproduction)
        outcome = self._outcome(line, *texts, *map(web_address, (line.upstream, line.page)))
        shown = visible(_without_fields(line))
        facts = self._facts(line)
        case[2] = case[2] or facts
        streak = self.streaks.get((column.key, line.id))
        row = [
            place,
            outcome,
            _short(line.headroom),
            self.messages.add(_NUMBER.sub(_HOLE, shown)) if shown else None,
            " ".join(_NUMBER.findall(shown)) or None,
            line.worst_index,
            _short(line.error),
            _short(line.bound),
            facts if facts and facts != case[2] else None,
            streak and self.lasting.add((streak.nights, streak.since, streak.at_least)),
        ]
        while row[-1] is None:
            row.pop()
        return row

    def _outcome(self, line: EndLine | StartLine, *texts: str) -> int:
        """Verdict, behaviour, note, advice, reproduction, upstream, page and rerun command, "" where there is none.

        In the command ``{id}`` stands for the id that a case's name and target make.
        """
        test, bracket, parameters = case_name(line.id, line.target).partition("[")
        rest = f"-{parameters}" if bracket else "]"
        usual = line.id == f"{test}[{line.target}{rest}"
        rerun = line.rerun.replace(line.id, "{id}") if usual and "{id}" not in line.rerun else line.rerun
        return self.outcomes.add(tuple(map(self.texts.add, (*texts, *[""] * (7 - len(texts)), rerun))))

    def pair(self, compared: int, differences: Sequence[Difference]) -> list[Any]:
        """Number of cases compared, then a row per difference.

        A row: severity, requirement, number of cases, verdicts and behaviours of both, advice, where, example.
        """
        order = {name: index for index, name in enumerate(self.requirements)}
        out: list[Any] = [compared]
        for d in differences:
            before, after = d.example
            example = self.places[d.requirement][case_name(before.id, before.target)]
            verdicts = (self.texts.add(before.verdict), self.texts.add(after.verdict))
            texts = (self.texts.add(d.before), self.texts.add(d.after), self.texts.add(d.advice))
            where = self.texts.add(spelled(d.where))
            out.append([ORDER.index(d.severity), order[d.requirement], len(d.cases), *verdicts, *texts, where, example])
        return out


def payload(report: Report, streaks: Mapping[tuple[str, str], Streak], pairs: Pairs) -> dict[str, Any]:
    """Everything that the page shows only when asked to, as JSON's own types."""
    cases = _Cases(report, streaks)
    blocks = cases.blocks()
    names = [by_name(c).keys() for c in report.columns]
    return {
        "layers": LAYERS,
        "columns": [[visible(c.label), visible(c.target)] for c in report.columns],
        "requirements": [_requirement(name, r) for name, r in cases.requirements.items()],
        "blocks": blocks,
        "pairs": {f"{i}>{j}": cases.pair(len(names[i] & names[j]), found) for (i, j), found in pairs.items()},
        "outcomes": cases.outcomes.values,
        "tests": cases.tests.values,
        "values": cases.values.values,
        "facts": cases.facts.values,
        "streaks": cases.lasting.values,
        "texts": cases.texts.coded,
        "messages": front_coded(cases.messages.values),
        "goldens": cases.goldens.coded,
    }


def _requirement(name: str, requirement: Requirement) -> list[str]:
    fields = (name, requirement.level, requirement.sentence, requirement.source)
    return [*map(visible, fields), web_address(requirement.source)]


def _without_fields(line: EndLine) -> str:
    """The message without the error, bound and ratio that the page shows in places of their own."""
    if line.error is None or line.bound is None or line.headroom is None:
        return line.message
    error, bound, headroom = (float(x) for x in (line.error, line.bound, line.headroom))
    return line.message.replace(f", error {error:.3g}, bound {bound:.3g}, error/bound {headroom:.3g}", "")


def _short(value: Number | None) -> Number | None:
    """`value` with four significant digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def script_safe(document: object) -> str:
    """`document` as JSON that can stand in a script element: nothing in it opens or closes a tag or a comment."""
    text = msgspec.json.encode(document).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
