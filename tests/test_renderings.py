"""Do results.json, ctrf.json, junit.xml and summary.md say what the records say, in their formats, of any string?"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from markdown_it import MarkdownIt

from tests import made, made_page
from tests.command import ROOT
from tests.made import DEVIATES, KNOWN, end, finish, folder, run_line, start, target, whole
from touchstone.reports import ctrf, junit, markdown, model, records, results, schema
from touchstone.reports.records import Line
from touchstone.verdict.rule import RED, Verdict

CTRF = json.loads((ROOT / "tests" / "ctrf-schema-0.0.json").read_text())
HOSTILE = (
    "</script><img src=x onerror=alert(1)> ]]> | `x` \x00\x08\x1b[31m \ud7ff \uffff \u202e \"'&#0; ${x} {{7*7}}\r\n"
)
MIXED = whole(
    "run1",
    end("a", **DEVIATES, message="got 1, want 2"),
    end("b", **KNOWN),
    end("a", "LIN-1", verdict="unsupported", behaviour="unsupported", note="no float16"),
)
RUNS: dict[str, list[Line]] = {
    "mixed": MIXED,
    "clean": whole(),
    "every verdict": whole("run1", *(end(v, verdict=v, behaviour=v) for v in Verdict)),
    "died": [run_line(), start("a"), end("a"), start("b")],
    "empty": [run_line(planned={}), finish(exit_status=5)],
    "hostile": whole(
        "run1",
        end("a", **DEVIATES, message=HOSTILE, dtype=HOSTILE, rerun=HOSTILE),
        end("b", **(KNOWN | {"note": HOSTILE, "behaviour": HOSTILE}), params={HOSTILE: HOSTILE}),
        end(HOSTILE, **DEVIATES),
        targets={"mlx@gpu": target("mlx@gpu", versions={HOSTILE: HOSTILE})},
        packages={HOSTILE: HOSTILE},
    ),
    "not finite": whole("run1", end("a", **DEVIATES, headroom="inf", error="nan", bound=0.0)),
}


@pytest.fixture
def report(request: pytest.FixtureRequest, tmp_path: Path) -> model.Report:
    return model.load(folder(tmp_path, RUNS[request.param]))


every_run = pytest.mark.parametrize("report", RUNS, indirect=True)


@every_run
def test_ctrf_follows_its_published_schema(report: model.Report) -> None:
    document = json.loads(ctrf.render(report))
    jsonschema.Draft7Validator(CTRF).validate(document)
    summary = document["results"]["summary"]
    assert summary["tests"] == len(document["results"]["tests"])
    assert summary["tests"] == sum(summary[s] for s in ("passed", "failed", "skipped", "pending", "other"))


def test_the_schema_of_ctrf_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    document = json.loads(ctrf.render(model.load(folder(tmp_path, MIXED))))
    document["results"]["tests"][0]["status"] = "fine"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(CTRF).validate(document)


@pytest.mark.parametrize("report", ["mixed"], indirect=True)
def test_ctrf_statuses(report: model.Report) -> None:
    document = json.loads(ctrf.render(report))["results"]
    assert {t["rawStatus"]: t["status"] for t in document["tests"]} == {
        "deviates": "failed",
        "known deviation": "other",
        "unsupported": "skipped",
        "conforms": "passed",
    }
    assert document["environment"]["healthy"] is False
    failed = next(t for t in document["tests"] if t["status"] == "failed")
    assert failed["extra"]["rerun"].startswith("pytest ")
    assert failed["message"] == "wrong bits: got 1, want 2"


@every_run
def test_junit_can_be_parsed_and_counts(report: model.Report) -> None:
    suites = ElementTree.fromstring(junit.render(report))
    cases = [*suites.iter("testcase")]
    assert len(cases) == sum(len(c.cases) + len(c.in_flight) for c in report.columns) + len(report.faults)
    red = sum(n for c in report.columns for v, n in c.counts.items() if v in RED)
    assert len([*suites.iter("failure")]) == red
    assert len([*suites.iter("error")]) == sum(len(c.in_flight) for c in report.columns) + len(report.faults)


NOT_GREEN: dict[str, list[Line]] = {
    "killed between two cases": [run_line(), end("a"), end("b")],
    "a stale deviation": [
        *whole("run1", *(end(n, sometimes="mlx.toml: deviation 1") for n in "ab"))[:-1],
        finish(exit_status=1),
    ],
    "a first run": whole(targets={"mlx@gpu": target("mlx@gpu", bootstrap=True)}),
    "nothing answered": whole("run1", *(end(n, r, verdict="unsupported") for r in ("EMB-1", "LIN-1") for n in "ab")),
    "a machine was lost": [*whole(), records.ProblemLine(schema=records.SCHEMA, text="macos-26 left nothing")],
}


@pytest.mark.parametrize("name", NOT_GREEN)
def test_what_is_no_case_is_a_failure_too_where_only_cases_are_read(name: str, tmp_path: Path) -> None:
    report = model.load(folder(tmp_path, NOT_GREEN[name]))
    assert report.state != "conforms"
    assert json.loads(ctrf.render(report))["results"]["summary"]["failed"] > 0
    assert [*ElementTree.fromstring(junit.render(report)).iter("error")]
    assert "🟢" not in markdown.render(report)


@every_run
def test_results_json_holds_every_record(report: model.Report) -> None:
    document = json.loads(results.render(report), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["state"] == report.state
    for column, shown in zip(report.columns, document["columns"], strict=True):
        assert [c["id"] for c in shown["cases"]] == [*column.cases]
        assert [c["verdict"] for c in shown["cases"]] == [r.verdict for r in column.cases.values()]
        assert shown["device"]["precision"] == {"tf32": "0"}


def test_every_line_follows_the_documented_schema(tmp_path: Path) -> None:
    """docs/records.schema.json is current, and holds for what a run writes."""
    documented = json.loads((ROOT / "docs" / "records.schema.json").read_text())
    assert documented == json.loads(schema.render()), "run touchstone report schema > docs/records.schema.json"
    validator = jsonschema.Draft202012Validator(documented)
    for lines in RUNS.values():
        path = folder(tmp_path, lines) / "results.jsonl"
        for line in path.read_text().split("\n")[:-1]:
            validator.validate(json.loads(line))
    broken = json.loads(path.read_text().split("\n")[1]) | {"verdict": "fine"}
    assert not validator.is_valid(broken)


@every_run
def test_the_summary_never_looks_better_than_the_run(report: model.Report) -> None:
    text = markdown.render(report)
    assert ("🟢" in text) == (report.state == "conforms")
    assert all(markdown.plain(problem) in text for problem in report.problems)
    assert len(text) < 2**20


def read(text: str) -> tuple[set[str], str]:
    """Tags of Markdown as GitHub would render it, raw HTML allowed, and its text."""
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    return set(re.findall(r"<(\w+)", shown)), html.unescape(shown)


@every_run
def test_no_string_of_a_record_is_markup_in_the_summary(report: model.Report) -> None:
    own = {"h1", "h2", "p", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    text = markdown.render(report)
    tags, _ = read(text)
    assert tags <= own
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} <= {5, 7, 14}, "a string broke a table"


def test_that_markup_would_be_seen() -> None:
    assert "img" in read(HOSTILE)[0]


def test_the_summary_of_many_red_cases_stays_short(tmp_path: Path) -> None:
    red = [end(str(i), verdict="deviates", behaviour=f"kind {i}") for i in range(5_000)]
    text = markdown.render(model.load(folder(tmp_path, whole("run1", *red))))
    assert "… and 4,950 more rows" in text
    assert len(text) < 50_000


def test_the_summary_names_what_became_slower(tmp_path: Path) -> None:
    change = made_page.SLOWER
    text = read(markdown.render(model.load(folder(tmp_path, whole())), speed=[change]))[1]
    assert "Slower than noise explains" in text
    assert str(change) in text


def test_a_case_in_flight_is_an_error_everywhere(tmp_path: Path) -> None:
    report = model.load(folder(tmp_path, RUNS["died"]))
    tests: list[dict[str, Any]] = json.loads(ctrf.render(report))["results"]["tests"]
    assert [t["name"] for t in tests if t["rawStatus"] == "in flight"] == [made.case("b")]
    assert made.case("b") in read(markdown.render(report))[1]
