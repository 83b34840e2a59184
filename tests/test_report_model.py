"""Is a folder of records read and checked, and does no run look better than it is?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests import made
from tests.made import DEVIATES, KNOWN, MACHINE, end, finish, folder, run_line, start, target, whole
from touchstone.reports import markdown, model
from touchstone.reports.page import report as page
from touchstone.reports.reading import ReportError
from touchstone.reports.records import Line
from touchstone.reports.stale import not_seen_here, stale_deviations, unconfirmed

OTHER_MACHINE = msgspec.structs.replace(MACHINE, id="bbbbbbbbbbbb", chip="Apple M4", os="macOS 26.1")
STALE = {"sometimes": "mlx.toml: deviation 1 (EMB-1)"}

STATES: dict[str, tuple[list[Line], str]] = {
    "every case conforms": (whole(), "conforms"),
    "a known deviation": (whole("run1", end("a", **KNOWN)), "conforms"),
    "one case deviates": (whole("run1", end("a", **DEVIATES)), "deviates"),
    "one case crashed": (whole("run1", end("a", verdict="crashed", behaviour="crashed")), "deviates"),
    "a deviation that nothing shows any more": (
        [*whole("run1", end("a", **STALE), end("b", **STALE))[:-1], finish(exit_status=1)],
        "deviates",
    ),
    "one case is unreviewed": (whole("run1", end("a", verdict="unreviewed")), "unreviewed"),
    "a first night without a red case": (
        whole(targets={"mlx@gpu": target("mlx@gpu", bootstrap=True)}),
        "unreviewed",
    ),
    "no finish line": (whole()[:-1], "incomplete"),
    "no finish line, and a deviation": (whole("run1", end("a", **DEVIATES))[:-1], "deviates"),
    "a case in flight": (
        [run_line(), *(end(n, r) for r in ("EMB-1", "LIN-1") for n in "ab"), start("c")],
        "incomplete",
    ),
    "a record is missing": ([run_line(), end("a"), finish()], "incomplete"),
    "interrupted": ([*whole()[:-1], finish(exit_status=2)], "incomplete"),
    "failed without a red verdict": ([*whole()[:-1], finish(exit_status=1)], "incomplete"),
    "nothing answered": (
        whole("run1", *(end(n, r, verdict="unsupported") for r in ("EMB-1", "LIN-1") for n in "ab")),
        "empty",
    ),
    "no case at all": ([run_line(planned={}), finish(exit_status=5)], "empty"),
    "only the reference answered": (whole(targets={"mlx@gpu": target("mlx@gpu", framework=False)}), "empty"),
}


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_a_run(name: str, tmp_path: Path) -> None:
    lines, state = STATES[name]
    report = model.load(folder(tmp_path, lines))
    assert report.state == state, report.problems
    assert bool(report.problems) == (state == "incomplete" or "no finish line" in name or "no case" in name)


def test_a_target_that_supports_nothing_is_neither_green_nor_a_fault(tmp_path: Path) -> None:
    """pytest passes such a run, because another framework answered; the page says what it says."""
    both = {"mlx@gpu": target("mlx@gpu"), "torch@mps": target("torch@mps"), "jax@cpu": target("jax@cpu")}
    silent = [end(n, target="torch@mps", verdict="unsupported") for n in "ab"]
    plan = {"mlx@gpu": 1, "torch@mps": 2}
    report = model.load(folder(tmp_path, [run_line(targets=both, planned=plan), end("a"), *silent, finish()]))
    states = {"mlx@gpu": "conforms", "torch@mps": "unsupported", "jax@cpu": "unsupported"}
    assert {c.label: c.state for c in report.columns} == states
    assert report.state == "conforms"


def test_a_target_of_which_no_case_ended_spoils_the_whole(tmp_path: Path) -> None:
    both = {"mlx@gpu": target("mlx@gpu"), "torch@mps": target("torch@mps")}
    lines: list[Line] = [run_line(targets=both, planned={"mlx@gpu": 1, "torch@mps": 2}), end("a"), finish()]
    report = model.load(folder(tmp_path, lines))
    assert {c.label: c.state for c in report.columns} == {"mlx@gpu": "conforms", "torch@mps": "empty"}
    assert report.state == "incomplete"


def test_a_run_that_failed_for_no_reason_shows_beside_one_that_deviates(tmp_path: Path) -> None:
    failed = [*whole("run1")[:-1], finish("run1", exit_status=1)]
    torch = {"torch@mps": target("torch@mps")}
    red = end("a", target="torch@mps", run="run2", **DEVIATES)
    other: list[Line] = [run_line("run2", targets=torch, planned={"torch@mps": 1}), red, finish("run2", exit_status=1)]
    report = model.load([folder(tmp_path / "one", failed), folder(tmp_path / "two", other)])
    assert [p.partition(": ")[2] for p in report.problems] == ["the run failed for a reason that no verdict shows"]


def test_shards_deselect_what_the_other_runs(tmp_path: Path) -> None:
    shards: list[list[Line]] = [
        [run_line(r, planned={"mlx@gpu": 1}, deselected={"mlx@gpu": 1}), end(n, run=r), finish(r)]
        for r, n in (("run1", "a"), ("run2", "b"))
    ]
    report = model.load([folder(tmp_path / str(i), lines) for i, lines in enumerate(shards)])
    assert (report.columns[0].planned, report.columns[0].deselected) == (2, 0)


def test_a_run_that_does_not_say_what_it_planned_is_not_whole(tmp_path: Path) -> None:
    report = model.load(folder(tmp_path, [run_line(planned={}), end("a"), finish()]))
    assert report.state == "incomplete"
    assert "how many cases were planned" in report.problems[0]


def test_the_suites_say_when_a_run_began_and_not_older_benchmarks(tmp_path: Path) -> None:
    folder(tmp_path, whole("run1"))
    header = run_line("old", started="2026-10-01T00:00:00+00:00", requirements={}, planned={})
    folder(tmp_path, [header, finish("old")], stem="benchmarks")
    report = model.load(tmp_path)
    assert (report.started, report.id, report.state) == ("2026-11-20T03:00:00+00:00", "run1", "conforms")


def test_a_run_of_the_suites_begins_without_the_benchmarks_of_another(tmp_path: Path) -> None:
    folder(tmp_path, [run_line("old", requirements={}, planned={}), finish("old")], stem="benchmarks")
    folder(tmp_path, whole("run1"))
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_target_that_is_not_installed_is_named_and_spoils_nothing(tmp_path: Path) -> None:
    both = {"mlx@gpu": target("mlx@gpu"), "torch@absent": target("torch@absent", unavailable="torch is not installed")}
    lines: list[Line] = [run_line(targets=both, planned={"mlx@gpu": 1}), end("a"), finish()]
    report = model.load(folder(tmp_path, lines))
    assert report.state == "conforms"
    assert [c.facts.unavailable for c in report.columns] == [None, "torch is not installed"]


def test_a_run_that_died_names_the_case_in_flight(tmp_path: Path) -> None:
    report = model.load(folder(tmp_path, [run_line(), start("a"), end("a"), start("b")]))
    assert [line.id for line in report.columns[0].in_flight] == [made.case("b")]
    assert any("killed" in p for p in report.problems)
    assert any(f"{made.case('b')} began and did not end; rerun it with: pytest" in p for p in report.problems)
    assert any("2 of 4 cases have no record" in p for p in report.problems)


def test_half_a_line_at_the_end_is_what_a_killed_process_leaves(tmp_path: Path) -> None:
    path = folder(tmp_path, [run_line(), start("a"), end("a")]) / "results.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event":"end","id":"sui')
    assert [*model.load(tmp_path).columns[0].cases] == [made.case("a")]


def test_parallel_workers_hold_one_plan_between_them(tmp_path: Path) -> None:
    folder(tmp_path, [run_line(planned={}), finish()])
    plan = {"mlx@gpu": 2}
    for worker, name in (("gw0", "a"), ("gw1", "b")):
        folder(tmp_path, [run_line(process=worker, planned=plan), end(name), finish(process=worker)], worker)
    report = model.load(tmp_path)
    assert (report.columns[0].planned, report.state) == (2, "conforms")


def test_two_machines_are_two_columns_with_labels_that_tell_them_apart(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one", whole("run1")), folder(tmp_path / "two", whole("run2", machine=OTHER_MACHINE))
    assert [c.label for c in model.load(one).columns] == ["mlx@gpu"]
    assert [c.label for c in model.load([one, two]).columns] == ["mlx@gpu · macOS 15", "mlx@gpu · macOS 26"]


def test_a_minor_update_of_the_system_keeps_the_column(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(MACHINE, os="macOS 15.8", os_build="24H1")
    keys = [model.load(folder(tmp_path / m.os_build, whole(machine=m))).columns[0].key for m in (MACHINE, newer)]
    assert keys[0] == keys[1]


REFUSED: dict[str, tuple[list[Line], list[Line], str]] = {
    "other suites": (whole("run1"), whole("run2", suite_hash="other"), "suite_hash other differs from 5017e0000000"),
    "other golden data": (whole("run1"), whole("run2", golden_hash="other"), "golden_hash other differs from"),
    "a case twice": (whole("run1"), whole("run2"), f"{made.case('a')} on mlx@gpu · macOS 15 · Apple M1 has a record"),
    "other versions": (
        whole("run1"),
        whole("run2", targets={"mlx@gpu": target("mlx@gpu", versions={"mlx": "2.0"})}),
        "mlx@gpu mlx 2.0 here, mlx 1.0 elsewhere",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_runs_that_cannot_be_shown_as_one(name: str, tmp_path: Path) -> None:
    first, second, message = REFUSED[name]
    folders = [folder(tmp_path / "first", first), folder(tmp_path / "second", second)]
    with pytest.raises(ReportError) as error:
        model.load(folders)
    assert str(error.value).startswith(str(tmp_path / "second" / "results.jsonl"))
    assert message in str(error.value)


HEAD = msgspec.json.encode(run_line())
END = msgspec.json.encode(end("a"))
MALFORMED = {
    "not JSON": (HEAD + b"\nnot json\n", ":2: not a record ("),
    "an older schema": (HEAD.replace(b'"schema":2', b'"schema":1') + b"\n", ":1: a record of schema 1, this version"),
    "a newer schema": (
        HEAD + b"\n" + END.replace(b'"schema":2', b'"schema":3') + b"\n",
        ":2: a record of schema 3, this version",
    ),
    "a field of another type": (HEAD + b"\n" + END.replace(b'"duration":0.01', b'"duration":"x"') + b"\n", ":2: not a"),
    "a missing field": (HEAD + b"\n" + END.replace(b'"verdict":"conforms",', b"") + b"\n", "missing required field"),
    "an unknown verdict": (HEAD + b"\n" + END.replace(b'"conforms",', b'"fine",', 1) + b"\n", ":2: not a record of"),
    "no run line": (END + b"\n", "come before its run line, or without one"),
    "a target its run lacks": (HEAD + b"\n" + END.replace(b"mlx@gpu", b"mlx@cpu") + b"\n", "which is no target of"),
    "a start that is no time": (
        HEAD.replace(b"2026-11-20T", b"yesterday") + b"\n",
        ":1: not a record of schema 2 (Invalid isoformat string",
    ),
    "a time without its zone": (HEAD.replace(b"+00:00", b"") + b"\n", "a time without its zone"),
    "a duration below zero": (HEAD + b"\n" + END.replace(b'"duration":0.01', b'"duration":-1') + b"\n", "`float` >= 0"),
    "a duration beyond reason": (HEAD + b"\n" + END.replace(b'"duration":0.01', b'"duration":1e300') + b"\n", ":2:"),
    "not UTF-8": (HEAD + b'\n{"event":"\xff"}\n', ":2: not a record"),
    "a list": (b"[]\n", ":1: not a record"),
    "deeply nested": (b"[" * 100_000 + b"\n", ":1: not a record"),
    "nothing": (b"", "holds no record: the run ended before its first case"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_records_are_named(name: str, tmp_path: Path) -> None:
    content, message = MALFORMED[name]
    (tmp_path / "results.jsonl").write_bytes(content)
    with pytest.raises(ReportError) as error:
        model.load(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "results.jsonl"))
    assert message in str(error.value)


def test_a_folder_that_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"it holds no results\.jsonl; pytest suites/ --report DIR writes one"):
        model.load(tmp_path)
    with pytest.raises(ReportError, match="no such folder"):
        model.load(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 0.25, None])
def test_numbers_that_json_lacks_come_back(value: float | None, tmp_path: Path) -> None:
    from touchstone.reports.records import number

    read = model.load(folder(tmp_path, whole("run1", end("a", headroom=number(value))))).columns[0]
    found = read.cases[made.case("a")].headroom
    assert repr(None if found is None else float(found)) == repr(value)


def test_marked_cases_alone_make_no_deviation_stale() -> None:
    """The examples of a generated case may all miss what is registered; the enumerated ones ask it every time."""
    plain = [end(f"case{n}", sometimes="mine.toml: deviation 1") for n in range(2)]
    drawn = [end("generated", sometimes="mine.toml: deviation 1", marked=True, cases=0)]
    assert stale_deviations(drawn) == {}
    assert stale_deviations([*plain, *drawn]) == {"mine.toml: deviation 1": 3}
    shown = end("generated", sometimes="mine.toml: deviation 1", marked=True, verdict="known deviation")
    assert stale_deviations([*plain, shown]) == {}


def test_one_that_is_assumed_is_never_stale_but_to_be_reviewed(tmp_path: Path) -> None:
    assumed = [end(name, sometimes="mine.toml: deviation 1", assumed=True) for name in "ab"]
    assert (stale_deviations(assumed), unconfirmed(assumed)) == ({}, {"mine.toml: deviation 1": 2})
    report = model.load(folder(tmp_path / "none", [*whole("run1", *assumed)[:-1], finish(exit_status=1)]))
    assert (report.state, report.columns[0].state, report.problems) == ("unreviewed", "unreviewed", [])
    assert "was assumed here, and none of its 2 cases shows it" in report.faults[0]
    shown = end("a", sometimes="mine.toml: deviation 1", assumed=True, **made.KNOWN)
    assert unconfirmed([shown, assumed[1]]) == {}
    assert model.load(folder(tmp_path / "one", whole("run1", shown, assumed[1]))).state == "conforms"


def test_what_is_not_seen_here_is_a_remark(tmp_path: Path) -> None:
    remark = "mine.toml: deviation 1 holds for mlx where xla is avx512, not with xla avx2"
    found = [end(name, unseen=remark) for name in "ab"]
    assert not_seen_here(found) == {remark: 2}
    report = model.load(folder(tmp_path, whole("run1", *found)))
    assert (report.state, report.faults, report.columns[0].not_seen_here) == ("conforms", [], {remark: 2})
    assert "## Not seen here" in markdown.render(report)
    html = page.render(report)
    assert 'id="not-seen"' in html
    assert remark in html
    assert "Not seen here" not in markdown.render(model.load(folder(tmp_path / "none", whole())))
