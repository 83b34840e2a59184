"""The parts of the pages that need no browser: visible text, compact tables, scales, the headline, policies."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from tests import made, made_page
from tests.made import DEVIATES, KNOWN, end, target, whole
from touchstone.reports import model
from touchstone.reports.changes import Change, Changes, Streak, compare
from touchstone.reports.history import Seen, night_of
from touchstone.reports.page import detection, headline, looks, payload, since, speed_table, svg, templating
from touchstone.reports.page.visible import visible, web_address
from touchstone.reports.records import BenchmarkLine, Line

VISIBLE = {
    "plain text, ä and 漢": "plain text, ä and 漢",
    "tab\tand\nline": "tab\tand\nline",
    "\x00\x1b[31m\r": "⟨U+0000⟩⟨U+001B⟩[31m⟨U+000D⟩",
    "abc\u202ecba\u2069": "abc⟨U+202E⟩cba⟨U+2069⟩",
    "zero\u200bwidth\ufeff": "zero⟨U+200B⟩width⟨U+FEFF⟩",
    "half \ud800 a pair": "half ⟨U+D800⟩ a pair",
}


@pytest.mark.parametrize("text", VISIBLE)
def test_text_is_made_visible(text: str) -> None:
    assert visible(text) == VISIBLE[text]


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "https://", "https://a b", "https://a/'x", 'https://a/"x', "http:/a", "https://a/<x>"],
)
def test_what_is_no_address_becomes_no_link(text: str) -> None:
    assert web_address(text) == ""


def test_an_address_becomes_a_link() -> None:
    assert web_address("https://example.org/a?b=c#d") == "https://example.org/a?b=c#d"


def decoded(coded: list[int | str]) -> list[str]:
    out: list[str] = []
    for length, rest in zip(coded[::2], coded[1::2], strict=True):
        assert isinstance(length, int)
        out.append((out[-1] if out else "")[:length] + str(rest))
    return out


@pytest.mark.parametrize("texts", [[], [""], ["abc", "abd", "abd", "", "xabd"], ["a😀b", "a😁b", "a😀"]])
def test_front_coding_loses_nothing(texts: list[str]) -> None:
    assert decoded(payload.front_coded(texts)) == texts


def test_what_cases_share_is_written_once(tmp_path: Path) -> None:
    """Numbers leave a message, so that alike messages are one; error and bound have fields of their own."""
    facts: dict[str, Any] = {"error": 0.25, "bound": 0.5, "headroom": 0.5}
    records = [
        end(
            n, message=f"worst element at (1,): got {x!r}, want -2e-05, error 0.25, bound 0.5, error/bound 0.5", **facts
        )
        for n, x in (("a", 1.5), ("b", -17.25))
    ]
    report = model.load(made.folder(tmp_path, whole("run1", *records)))
    document = payload.payload(report, {}, {})
    assert decoded(document["messages"]) == ["worst element at (\x1f,): got \x1f, want \x1f"]
    rows = document["blocks"][0]["rows"][0]
    assert [row[4] for row in rows] == ["1 1.5 -2e-05", "1 -17.25 -2e-05"]
    assert len(document["outcomes"]) == 1


def test_nothing_in_the_data_closes_its_element(tmp_path: Path) -> None:
    text = made_page.hostile_page(tmp_path)
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert msgspec.json.decode(data)["columns"]
    assert not re.search("[<>&]", data)


def test_scales() -> None:
    scale = svg.Log(1e-4, 1e2, 0, 60)
    assert [round(scale(v)) for v in (0, 1e-9, 1e-4, 1, 1e2, 1e9, math.inf)] == [0, 0, 0, 40, 60, 60, 60]
    assert scale.ticks == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100])
    assert svg.decades([0.003, 20, math.inf, 0], 1e-5, 1e3) == pytest.approx((1e-3, 100))
    assert svg.decades([], 1e-5, 1e3) == (1e-5, 1e3)
    low, high = svg.decades([1e-12], 1e-5, 1e3)
    assert low < high
    assert svg.Linear(0, 0, 1, 3)(5) == 2
    assert [svg.power(v) for v in (1e-5, 0.01, 1.0, 100.0, 1e6)] == ["1e-5", "0.01", "1", "100", "1e6"]


def test_elements_are_escaped() -> None:
    made_up = svg.element("text", "<b>", title="\"'<", class_='x" onload="y')
    assert made_up == '<text class="x&#34; onload=&#34;y"><title>&#34;&#39;&lt;</title>&lt;b&gt;</text>'


def test_times_are_compared_on_one_machine_only() -> None:
    """Two machines: each has a fastest target of its own; what the device can do at best comes last."""
    columns = []
    for machine, name, seconds in (("m1", "mlx@gpu", 2.0), ("m1", "torch@cpu", 1.0), ("m2", "mlx@gpu", 30.0)):
        lines = [
            made_page.replace(line, machine=machine, median=seconds, operation=operation)
            for line in made_page.rich_lines()
            if isinstance(line, BenchmarkLine) and line.target == name and line.workload == "decode"
            for operation in ("copy", line.operation)
        ]
        column = model.Column(name, made_page.replace(made.MACHINE, id=machine), target(name), f"{name} {machine}")
        columns.append(replace(column, benchmarks=lines))
    columns.append(model.Column("jax@cpu", made.MACHINE, target("jax@cpu"), "jax@cpu"))
    found = speed_table.benchmarks(model.Report(columns, [made.run_line()], made.REQUIREMENTS, []))
    assert found
    assert [label for label, _ in found.columns] == ["mlx@gpu m1", "torch@cpu m1", "mlx@gpu m2"]
    assert found.machines == 2
    assert [operation.name for operation in found.operations] == ["embedding", "copy"]
    assert [bar and bar.ratio for bar in found.operations[0].workloads[0].bars] == [2.0, 1.0, 1.0]


TITLES: dict[str, tuple[Sequence[Line], str]] = {
    "all conform": (whole(), "4 cases conform, none departs"),
    "known": (whole("run1", end("a", **KNOWN)), "3 cases conform, 1 departs as registered, none otherwise"),
    "one": (whole("run1", end("a", **DEVIATES)), "1 case deviates on mlx@gpu"),
    "several": (
        whole("run1", end("a", **DEVIATES), end("b", **DEVIATES), end("a", "LIN-1", verdict="timed out")),
        "2 cases deviate, 1 timed out on mlx@gpu",
    ),
    "stale": (
        [
            *whole("run1", *(end(n, sometimes="mlx.toml: deviation 1") for n in "ab"))[:-1],
            made.finish(exit_status=1),
        ],
        "1 registered deviation no longer holds",
    ),
    "unreviewed": (whole("run1", end("a", verdict="unreviewed")), "1 case is unreviewed on mlx@gpu"),
    "first": (
        whole(targets={"mlx@gpu": target("mlx@gpu", bootstrap=True)}),
        "First run on mlx@gpu: nobody has looked at its verdicts",
    ),
    "missing": ([made.run_line(), end("a"), made.finish()], "3 of 4 cases on mlx@gpu have no record"),
    "killed": (whole()[:-1], "The run is not whole"),
    "empty": ([made.run_line(planned={}), made.finish(exit_status=5)], "No framework answered a single case"),
}


@pytest.mark.parametrize("name", TITLES)
def test_the_headline(name: str, tmp_path: Path) -> None:
    lines, expected = TITLES[name]
    assert headline.headline(model.load(made.folder(tmp_path, lines)), None).title == expected


@pytest.mark.parametrize("state", get_args(model.State))
def test_every_state_has_a_word_and_a_look(state: str) -> None:
    assert looks.STATES[state] == state
    assert looks.LOOKS[state][0] == {"unsupported": "none", "conforms": "ok"}.get(state, looks.LOOKS[state][0])


def on(chip: str, system: str = "macOS 15.7") -> model.Report:
    """A report of one case on mlx@gpu."""
    machine = made_page.replace(made.MACHINE, id=chip, chip=chip, os=system)
    case = made.end("a", machine=chip)
    column = model.Column("mlx@gpu", machine, target("mlx@gpu"), "mlx@gpu", {case.id: case}, planned=1)
    return model.Report([column], [made.run_line()], made.REQUIREMENTS, [])


def test_a_target_keeps_its_nights_on_another_chip() -> None:
    """Hosted runners change it from night to night; another system is another column."""
    nights = [night_of(on("Apple M1")), night_of(on("Apple M2")), night_of(on("Apple M2", "macOS 26.0"))]
    (row,) = headline.targets(on("Apple M2"), nights)
    assert [(state, chip) for _, state, chip in row.nights] == [("conforms", "Apple M1"), ("conforms", ""), ("", "")]


def test_a_comparison_of_nothing_does_not_say_nothing_new() -> None:
    before, now = on("Apple M1", "macOS 26.0"), on("Apple M1")
    said = headline.headline(now, compare(night_of(before), night_of(now))).since
    assert said == "Not compared with the run of 2026-11-20 03:00 UTC: no target ran in both."


def test_what_the_earlier_run_says_nothing_of_is_told_apart() -> None:
    """Other cases of the requirement ran before, so that "conformed before" would be made up."""
    before, now = on("Apple M1"), on("Apple M1")
    new = end("b", **DEVIATES)
    now.columns[0].cases[new.id] = new
    changes = compare(night_of(before), night_of(now))
    (change,) = changes.changes
    assert since.is_unknown(change)
    assert list(since.by_kind(now, changes)) == [since.UNKNOWN]
    assert headline.headline(now, changes).since.startswith(
        "Since the run of 2026-11-20 03:00 UTC: 1 new (1 not comparable before)"
    )
    known = Change("new", "mlx@gpu", "EMB-1", "x", Seen("EMB-1", "conforms", "exact"), change.after)
    both = Changes("", changes=[known, change])
    assert {kind: found[0].count for kind, found in since.by_kind(now, both).items()} == {"new": 1, since.UNKNOWN: 1}


def test_streaks_in_words() -> None:
    since = "2026-11-09T03:00:00+00:00"
    words = {
        (1, False): "new tonight",
        (1, True): "first night of this history",
        (12, False): "for 12 nights, since 2026-11-09",
        (12, True): "for at least 12 nights, since 2026-11-09",
    }
    for (nights, at_least), expected in words.items():
        assert headline.since([Streak(nights, since, at_least)]) == expected
    assert headline.since([Streak(1, since, False), Streak(3, since, False)]) == "for 3 nights, since 2026-11-09"
    assert headline.since([]) == ""


def test_a_policy_allows_the_scripts_given_and_nothing_else() -> None:
    rule = templating.policy("a()", "b()")
    assert rule.startswith("default-src 'none'; script-src 'sha256-")
    assert rule.count("'sha256-") == 2
    assert templating.policy("a() ") != templating.policy("a()")


def test_the_page_says_what_the_suites_catch(tmp_path: Path) -> None:
    found = detection.detection()
    first, planted = found.first
    assert planted == found.held_out[1] >= 60
    assert tuple(map(sum, zip(*found.classes.values(), strict=True))) == found.all
    text = made_page.rich_page(tmp_path)
    assert f"{first} of {planted} of those held out, in the first run," in text
    assert f"now {found.held_out[0]} of {planted} of them, and {found.all[0]} of all {found.all[1]}" in text
    assert f"suites {found.measured.suite_hash}" in text
    for kind, (caught, planted) in found.classes.items():
        assert re.search(rf"<th[^>]*>{kind}</th>\s*<td>{caught} of {planted}</td>", text)
