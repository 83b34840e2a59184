"""Is everything named that changed between two runs, and nothing else; are streaks counted and histories kept?"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import made
from tests.made import DEVIATES, KNOWN, MACHINE, end, finish, folder, run_line, target, whole
from touchstone.reports import changes, history, model
from touchstone.reports.history import Night
from touchstone.reports.reading import ReportError
from touchstone.reports.records import EndLine, Line

NEWER_SYSTEM = msgspec.structs.replace(MACHINE, os="macOS 26.1", os_build="25B78")
NEWER_BUILD = msgspec.structs.replace(MACHINE, os="macOS 15.8", os_build="24H1")
VARIES = KNOWN | {"behaviour": "crashed"}
UNSUPPORTED: dict[str, Any] = {"verdict": "unsupported", "behaviour": "unsupported"}


def night(tmp_path: Path, day: int, *ends: EndLine, **changed: Any) -> Night:
    run = f"run{day}"
    started = f"2026-11-{day:02}T03:00:00+00:00"
    lines = whole(run, *(msgspec.structs.replace(line, run=run) for line in ends), started=started, **changed)
    return history.night_of(model.load(folder(tmp_path / run, lines)))


KINDS = {
    "conforms to deviates": ({}, DEVIATES, "new"),
    "conforms to known": ({}, KNOWN, "new"),
    "deviates to conforms": (DEVIATES, {}, "fixed"),
    "known to conforms": (KNOWN, {}, "fixed"),
    "known to deviates": (KNOWN, DEVIATES, "changed"),
    "another behaviour": (DEVIATES, DEVIATES | {"behaviour": "zeros"}, "changed"),
    "another registered behaviour": (KNOWN, VARIES, "varies"),
    "no longer answered": ({}, UNSUPPORTED, "lost"),
    "newly answered": (UNSUPPORTED, {}, "gained"),
    "newly answered, wrongly": (UNSUPPORTED, DEVIATES, "new"),
    "the same departure": (DEVIATES, DEVIATES, None),
    "nothing": ({}, {}, None),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_change(name: str, tmp_path: Path) -> None:
    before, after, kind = KINDS[name]
    found = changes.compare(night(tmp_path, 1, end("a", **before)), night(tmp_path, 2, end("a", **after)))
    assert [(c.kind, c.case, c.requirement) for c in found.changes] == [(kind, made.case("a"), "EMB-1")] * bool(kind)
    assert bool(found.worse) == (kind in ("new", "changed"))
    assert found.not_compared == {}


@pytest.mark.parametrize("name", ["suite_hash", "golden_hash"])
def test_other_suites_or_golden_data_are_not_compared(name: str, tmp_path: Path) -> None:
    """Versions still are: they may be why."""
    newer = target("mlx@gpu", versions={"mlx": "1.1"})
    found = changes.compare(
        night(tmp_path, 1),
        night(tmp_path, 2, end("a", **DEVIATES), targets={"mlx@gpu": newer}, **{name: "other"}),
    )
    assert found.changes == []
    assert found.not_compared == {"every column": f"{name} {getattr(made.run_line(), name)} became other"}
    assert [(m.name, m.before, m.after) for m in found.versions] == [("mlx", "1.0", "1.1")]


def test_packages_and_the_system_that_moved_are_named(tmp_path: Path) -> None:
    found = changes.compare(
        night(tmp_path, 1), night(tmp_path, 2, packages={"numpy": "2.5.0", "new": "1"}, machine=NEWER_BUILD)
    )
    assert {(m.name, m.before, m.after) for m in found.packages} == {("numpy", "2.4.6", "2.5.0"), ("new", "", "1")}
    assert {(m.name, m.after) for m in found.environment} == {("system", "macOS 15.8"), ("system build", "24H1")}


def test_columns_are_matched_by_target_and_system_where_the_chip_changed(tmp_path: Path) -> None:
    other_chip = msgspec.structs.replace(MACHINE, chip="Apple M2", id="cccccccccccc")
    found = changes.compare(night(tmp_path, 1), night(tmp_path, 2, end("a", **DEVIATES), machine=other_chip))
    assert [c.kind for c in found.changes] == ["new"]


def test_another_system_is_no_predecessor(tmp_path: Path) -> None:
    """What PyTorch does on a Mac is not new because it did something else on Linux."""
    found = changes.compare(night(tmp_path, 1), night(tmp_path, 2, end("a", **DEVIATES), machine=NEWER_SYSTEM))
    assert (found.changes, found.compared) == ([], 0)


def test_a_case_that_did_not_run_before_did_not_conform_before(tmp_path: Path) -> None:
    """Nights 1 and 2 deviate, night 3 left the case out: on night 4 it is no conforming case that broke."""
    red = end("c", **DEVIATES)
    nights = [night(tmp_path, 1, red), night(tmp_path, 2, red), night(tmp_path, 3), night(tmp_path, 4, red)]
    found = changes.compare(nights[2], nights[3])
    assert [(c.before.verdict, c.before.behaviour) for c in found.changes] == [("not run", "not in the previous run")]
    assert [s.nights for s in changes.streaks(nights[:3], nights[3]).values()] == [3]
    assert found.not_compared == {"mlx@gpu": "other cases ran of EMB-1 (2 before, 3 now)"}


def test_a_case_that_both_nights_list_is_compared_whatever_else_ran(tmp_path: Path) -> None:
    """A registered deviation that became a crash shows, although tonight's run died later."""
    crashed = end("a", run="run2", verdict="crashed", behaviour="crashed", conforms=False)
    died: list[Line] = [run_line("run2", started="2026-11-02T03:00:00+00:00"), crashed]
    tonight = history.night_of(model.load(folder(tmp_path / "died", died)))
    found = changes.compare(night(tmp_path, 1, end("a", **KNOWN)), tonight)
    assert [(c.kind, c.after.verdict) for c in found.changes] == [("changed", "crashed")]


def test_a_deviation_that_became_stale_is_new(tmp_path: Path) -> None:
    origin = "mlx.toml: deviation 1 (EMB-1)"
    before = night(tmp_path, 1, end("a", sometimes=origin, **KNOWN), end("b", sometimes=origin))
    after = night(tmp_path, 2, end("a", sometimes=origin), end("b", sometimes=origin))
    assert {(c.kind, c.case, c.after.verdict) for c in changes.compare(before, after).changes} == {
        ("fixed", made.case("a"), "conforms"),
        ("new", origin, "stale deviation"),
    }


def test_the_night_to_compare_with_deselected_nothing(tmp_path: Path) -> None:
    nights = [night(tmp_path, 1), night(tmp_path, 2, deselected={"mlx@gpu": 7})]
    assert history.latest(nights) is nights[0]
    assert history.latest(nights[1:]) is nights[1]


def test_columns_that_only_one_run_has_are_named(tmp_path: Path) -> None:
    other = {"torch@mps": target("torch@mps")}
    lines: list[Line] = [run_line(targets=other, planned={"torch@mps": 1}), end("a", target="torch@mps"), finish()]
    found = changes.compare(night(tmp_path, 1), history.night_of(model.load(folder(tmp_path / "x", lines))))
    assert found.not_compared == {"torch@mps": "not in the previous run", "mlx@gpu": "only in the previous run"}


def test_a_night_of_other_cases_hides_no_red_one(tmp_path: Path) -> None:
    """Which cases conformed is known only where the same ones ran."""
    found = changes.compare(night(tmp_path, 1), night(tmp_path, 2, end("c"), end("d", **DEVIATES)))
    assert [(c.kind, c.case) for c in found.changes] == [("new", made.case("d"))]
    assert found.not_compared == {"mlx@gpu": "other cases ran of EMB-1 (2 before, 4 now)"}


def test_two_folders_are_compared_by_what_both_hold(tmp_path: Path) -> None:
    old = model.load(folder(tmp_path / "old", whole("run1", end("a", **DEVIATES), end("gone"))))
    new = model.load(folder(tmp_path / "new", whole("run2", end("b", run="run2", **DEVIATES), end("c", run="run2"))))
    found = changes.compare_reports(old, new)
    assert {(c.kind, c.case) for c in found.changes} == {("fixed", made.case("a")), ("new", made.case("b"))}
    assert found.not_compared == {
        "mlx@gpu cases": "1 ran in the previous run only, 1 in the newer run only",
    }
    red = model.load(folder(tmp_path / "red", whole("run3", end("z", run="run3", **DEVIATES))))
    assert [(c.kind, c.case) for c in changes.compare_reports(old, red).worse] == [("new", made.case("z"))]


def test_streaks(tmp_path: Path) -> None:
    red, other = end("a", **DEVIATES), end("a", **(DEVIATES | {"behaviour": "zeros"}))
    nights = [night(tmp_path, d, e) for d, e in ((1, red), (2, other), (3, red), (4, red))]
    found = changes.streaks(nights[:3], nights[3])
    key = (next(iter(nights[3].columns)), made.case("a"))
    assert found == {key: changes.Streak(2, "2026-11-03T03:00:00+00:00", at_least=False)}
    assert changes.streaks([], nights[3])[key] == changes.Streak(1, nights[3].started, at_least=True)
    assert changes.streaks(nights[2:3], nights[3])[key].at_least


def test_a_streak_ends_where_nights_cannot_be_compared(tmp_path: Path) -> None:
    nights = [
        night(tmp_path, 1, end("a", **DEVIATES), suite_hash="older"),
        night(tmp_path, 2, end("a", **DEVIATES)),
        night(tmp_path, 3, end("a", **DEVIATES)),
    ]
    assert [s.nights for s in changes.streaks(nights[:2], nights[2]).values()] == [2]
    assert [s.at_least for s in changes.streaks(nights[:2], nights[2]).values()] == [True]


def test_a_night_that_died_says_nothing_about_a_streak(tmp_path: Path) -> None:
    died = history.night_of(
        model.load(folder(tmp_path / "died", [run_line("dead", started="2026-11-02T03:00:00+00:00")]))
    )
    nights = [night(tmp_path, 1, end("a", **DEVIATES)), died, night(tmp_path, 3, end("a", **DEVIATES))]
    assert [s.nights for s in changes.streaks(nights[:2], nights[2]).values()] == [2]


def test_a_history_is_appended_to_and_read_in_order(tmp_path: Path) -> None:
    nights = [night(tmp_path, d, end("a", **DEVIATES, headroom="inf"), end("b", headroom=0.25)) for d in (2, 1)]
    for one in nights:
        history.append(tmp_path / "history", one)
    assert history.load(tmp_path / "history") == nights[::-1]
    names = [p.name for p in (tmp_path / "history").iterdir()]
    assert sorted(names) == ["20261101T030000Z-run1.night.json.gz", "20261102T030000Z-run2.night.json.gz"]
    assert next(iter(nights[0].columns.values())).headroom == {"EMB-1 float32": 0.25, "LIN-1 float32": 0.5}


def test_a_history_is_never_changed(tmp_path: Path) -> None:
    first = night(tmp_path, 1)
    path = history.append(tmp_path / "history", first)
    content = path.read_bytes()
    with pytest.raises(ReportError, match="this run is in the history already"):
        history.append(tmp_path / "history", first)
    with pytest.raises(ReportError, match="is there already; a history is only appended to"):
        history.append(tmp_path / "history", msgspec.structs.replace(first, run="run1-again"[:4] + "!"))
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_empty_run_is_not_added(tmp_path: Path) -> None:
    empty = history.night_of(model.load(folder(tmp_path / "empty", [run_line(planned={}), finish(exit_status=5)])))
    with pytest.raises(ReportError, match="no framework answered"):
        history.append(tmp_path / "history", empty)
    assert not (tmp_path / "history").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "not a night of a history (Not a gzipped file"),
        (gzip.compress(b"{}", mtime=0), "not a night of a history (Object missing required field"),
        (gzip.compress(b"not JSON", mtime=0), "not a night of a history"),
        (gzip.compress(b"half of it", mtime=0)[:-4], "not a night of a history"),
        (gzip.compress(b"x" * 99, mtime=0)[:15] + bytes(9), "not a night of a history"),
        (b"", "not a night of a history"),
        (None, "a night of schema 99, this version of Touchstone reads 1"),
    ],
)
def test_a_damaged_history_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = history.append(tmp_path / "history", night(tmp_path, 1))
    newer = gzip.decompress(path.read_bytes()).replace(b'"schema":1,', b'"schema":99,', 1)
    path.write_bytes(gzip.compress(newer) if content is None else content)
    with pytest.raises(ReportError) as error:
        history.load(tmp_path / "history")
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_year_of_nights_of_a_real_size_stays_small(tmp_path: Path) -> None:
    """15,000 cases of which 1,600 do not plainly conform, as on four targets."""
    ends = [end(f"case-{i:05}-of-some-length", **(KNOWN if i < 1_600 else {})) for i in range(15_000)]
    path = history.append(tmp_path / "history", night(tmp_path, 1, *ends))
    assert path.stat().st_size < 50_000
