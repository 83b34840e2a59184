"""Does the page of a history show every night as it was: states, breaks, versions, headroom, times; in a browser?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import made_page
from tests.browser import Watched, findings, open_everything
from tests.made_page import HOSTILE, replace
from touchstone.reports.history import Night
from touchstone.reports.page import trend as trend_page
from touchstone.reports.page.trend_plots import amounts


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[Night]:
    return made_page.nights(tmp_path_factory.mktemp("nights"))


def written(folder: Path, nights: list[Night]) -> Path:
    path = folder / "trend.html"
    path.write_text(trend_page.render(nights), encoding="utf-8")
    return path


def test_every_night_shows_its_state(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path, nights))
    expect(opened.locator("h1")).to_have_text("12 nights, 2026-11-01 to 2026-11-12")
    row = opened.locator("#targets tr", has_text="mlx@gpu")
    labels = row.locator(".night").evaluate_all("all => all.map(n => n.ariaLabel.split(': ')[1])")
    assert labels == ["unreviewed", "conforms", "incomplete", "conforms", "deviates"] + ["conforms"] * 7
    green = row.locator(".night.ok use").evaluate_all("all => all.map(u => u.getAttribute('href'))")
    assert green == ["#i-check"] * 9
    assert row.locator(".cut").count() == 1
    expect(opened.locator("#targets")).to_contain_text("golden_hash olderdata000 became 901de0000000")


def test_verdicts_versions_and_numbers(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path, nights))
    section = opened.locator("main > section", has=opened.locator("h2", has_text="mlx@gpu"))
    chart = section.locator("svg.plot")
    assert chart.locator("g.state").count() == 12
    assert chart.locator("polygon.moved title").text_content() == "2026-11-07 03:00 UTC: mlx 0.32.3 → 0.32.4"
    assert chart.locator("line.break").count() == 1
    expect(section.locator("ul").first).to_contain_text("mlx 0.32.3 → 0.32.4")
    section.locator("summary").click()
    rows = section.locator("details table tbody tr")
    assert rows.count() == 12
    assert rows.nth(7).locator("td").all_inner_texts()[:5] == ["deviates", "15", "12", "1", "0"]


def test_headroom_and_times(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path, nights))
    section = opened.locator("main > section", has=opened.locator("h2", has_text="mlx@gpu"))
    first = section.locator("table.strips tbody tr").first
    assert first.locator("td.n").all_inner_texts() == ["2.5", "0.75"]
    assert first.locator("svg").get_attribute("aria-label") == "EMB-1 float32 over 12 nights: first 2.5, last 0.75"
    assert first.locator("polyline").count() == 2  # interrupted where golden data changed
    slower = opened.locator("#speed tr", has_text="mlx@gpu · decode · float32")
    assert slower.locator("td.n").all_inner_texts() == ["14 µs", "22.4 µs", "1.60×"]


def test_a_target_that_skipped_nights(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    some = [replace(n, columns={k: c for k, c in n.columns.items() if "torch" not in k}) for n in nights[:6]]
    opened = watched.open(written(tmp_path, [*some, *nights[6:]]))
    row = opened.locator("#targets tr", has_text="torch@cpu")
    labels = row.locator(".night").evaluate_all("all => all.map(n => n.ariaLabel.split(': ')[1])")
    assert labels == ["did not run"] * 6 + ["conforms"] * 6


def test_a_line_follows_its_target_from_chip_to_chip(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    """Hosted runners change it from night to night: one line, which says where."""
    some = []
    for place, night in enumerate(nights[:5]):
        columns = dict(night.columns)
        key = next(k for k, c in columns.items() if c.target == "mlx@gpu")
        column = columns.pop(key)
        chip = "Apple M1" if place in (0, 3) else "Apple M2"
        columns[f"mlx@gpu · macOS 15 · {chip}"] = replace(column, machine=replace(column.machine, chip=chip))
        some.append(replace(night, columns=columns))
    opened = watched.open(written(tmp_path, some))
    row = opened.locator("#targets tbody tr", has_text="mlx@gpu")
    labels = row.locator(".night").evaluate_all("all => all.map(n => n.ariaLabel.split(': ')[1])")
    assert labels == [
        "unreviewed",
        "conforms, on Apple M2",
        "incomplete",
        "conforms, on Apple M1",
        "deviates, on Apple M2",
    ]
    section = opened.locator("main > section", has=opened.locator("h2", has_text="mlx@gpu"))
    expect(section.locator("h2")).to_have_text("mlx@gpu mlx@gpu · macOS 15 · Apple M1, Apple M2")
    section.locator("summary").click()
    assert section.locator("details tbody tr td:last-child").all_inner_texts() == [
        f"Apple M{n}" for n in (2, 1, 2, 2, 1)
    ]


def test_two_machines_of_a_kind_stay_two_lines(nights: list[Night]) -> None:
    """In the nights that have both; a night with a third cannot be said to follow either."""
    column = next(c for c in nights[0].columns.values() if c.target == "mlx@gpu")
    rows = (("M1", "M2"), ("M1",), ("M3",), ("M1", "M2"))
    some = [
        replace(nights[0], columns={chip: replace(column, machine=replace(column.machine, chip=chip)) for chip in row})
        for row in rows
    ]
    found = {tuple(n.column.machine.chip if n.column else "" for n in t.nights) for t in trend_page.targets(some)}
    assert found == {("M1", "M1", "", "M1"), ("M2", "", "", "M2"), ("", "", "M3", "")}


def test_a_target_that_supports_nothing_is_neither_green_nor_red(
    nights: list[Night], watched: Watched, tmp_path: Path
) -> None:
    key, column = next((k, c) for k, c in nights[0].columns.items() if c.target == "jax@cpu")
    night = replace(nights[0], columns=nights[0].columns | {key: replace(column, state="unsupported")})
    opened = watched.open(written(tmp_path, [night]))
    expect(opened.locator("#targets tr", has_text="jax@cpu").locator(".v.none")).to_have_text("unsupported")


@pytest.mark.parametrize("number", [0, 1])
def test_short_histories(number: int, nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path, nights[:number]))
    heading = {0: "No night yet", 1: "1 night, 2026-11-01"}[number]
    expect(opened.locator("h1")).to_have_text(heading)
    assert findings(opened) == []


def test_only_the_latest_nights_are_drawn(nights: list[Night]) -> None:
    many = [replace(nights[-1], started=f"{2000 + n}-01-01T00:00:00+00:00") for n in range(trend_page.NIGHTS + 30)]
    text = trend_page.render(many)
    assert f"The latest of {len(many)}." in text
    assert "2000-01-01" not in text
    assert len(text.encode()) < 2_000_000


def test_no_case_is_lost_or_counted_twice(nights: list[Night]) -> None:
    for column in nights[-1].columns.values():
        assert sum(amounts(column).values()) == column.planned


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(scheme: str, nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path, nights), color_scheme=scheme)
    open_everything(opened)
    assert findings(opened) == []


def test_a_phone_shows_it_all(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path, nights), viewport={"width": 390, "height": 844})
    open_everything(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_strings_are_shown_and_not_executed(nights: list[Night], watched: Watched, tmp_path: Path) -> None:
    columns = {
        key + HOSTILE: replace(
            c,
            label=HOSTILE,
            versions={HOSTILE: HOSTILE},
            headroom={HOSTILE: 0.5},
            machine=replace(c.machine, id=HOSTILE, chip=HOSTILE),
            benchmarks=[replace(b, operation=HOSTILE, target=HOSTILE, dtype=HOSTILE) for b in c.benchmarks],
        )
        for key, c in nights[0].columns.items()
    }
    bad = replace(
        nights[0], columns=columns, problems=[HOSTILE], suite_hash=HOSTILE, started=HOSTILE, state="incomplete"
    )
    opened = watched.open(written(tmp_path, [bad, replace(bad, suite_hash="other", golden_hash=HOSTILE)]))
    open_everything(opened)
    assert not opened.evaluate("window.hit")
    assert opened.locator("img, [onerror], svg[onload]").count() == 0
    assert "<img src=x onerror=" in opened.locator("body").inner_text()
    assert not re.search("[\x00\x1b\u202e]", opened.content())
