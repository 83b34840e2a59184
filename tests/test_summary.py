"""Do the summary's rows tell look-alikes apart, and is what did not show here said?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.made import KNOWN, end
from touchstone.reports.apart import told_apart
from touchstone.reports.summary import Tally


class Terminal:
    """Keeps the lines that are written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def section(self, title: str) -> None:
        self.lines.append(title)

    def write_line(self, line: str, **markup: Any) -> None:
        self.lines.append(line)


def written(*records: Any, verbose: int = 0) -> list[str]:
    tally, terminal = Tally(), Terminal()
    for record in records:
        tally.add(record)
    tally.find_stale()
    tally.write(terminal, [], SimpleNamespace(verbose=verbose, keyword="", markexpr="", collectonly=False))
    return terminal.lines


def rows(*records: Any) -> list[str]:
    return [line for line in written(*records) if line.startswith("known deviation")]


def a_known(name: str, note: str, **params: Any) -> Any:
    return end(name, params=params, **KNOWN | {"note": note})


def test_rows_that_look_alike_say_what_tells_them_apart() -> None:
    both = [
        *(a_known(f"a{b}", "Infinite.", dtype="float32", bits=b, weights="one inf") for b in (4, 8)),
        *(a_known(f"b{b}", "Not a number.", dtype="float32", bits=b, weights="NaN") for b in (4, 8)),
    ]
    assert rows(*both) == [
        "known deviation  EMB-1            mlx@gpu           2 x foreign memory  (weights=one inf)",
        "known deviation  EMB-1            mlx@gpu           2 x foreign memory  (weights=NaN)",
    ]


def test_rows_that_differ_anyway_stay_short() -> None:
    other = end("c", "LIN-1", params={"weights": "NaN"}, **KNOWN)
    assert not any("(" in row for row in rows(a_known("a", "One.", weights="one inf"), other))


@pytest.mark.parametrize(
    ("groups", "texts"),
    [
        ([[{"a": 1}]], [""]),
        ([[{"a": 1, "b": 2}], [{"a": 1, "b": 3}]], ["b=2", "b=3"]),
        ([[{"long": "one two three", "b": 1}], [{"long": "four", "b": 2}]], ["b=1", "b=2"]),
        ([[{"a": 1}, {"a": 2}], [{"a": 3}]], ["a=1, 2", "a=3"]),
        ([[{"a": 1}], [{"b": 1}]], ["a=1", "no a"]),
        ([[{"a": 1, "b": 1}], [{"a": 1, "b": 2}], [{"a": 2, "b": 1}]], ["a=1 b=1", "a=1 b=2", "a=2 b=1"]),
        ([[{"a": n} for n in range(9)], [{"a": 10}]], ["a=0, 1, 2, 3, … 9 values", "a=10"]),
        ([[{"a": 1, "long": "one"}], [{"long": "another"}]], ["long=one", "long=another"]),
        ([[{"a": 1}], [{"a": 1}]], ["", ""]),
    ],
)
def test_the_shortest_parameters_that_differ(groups: list[list[dict[str, Any]]], texts: list[str]) -> None:
    assert told_apart(groups) == texts


def test_what_does_not_show_here_is_a_line_and_no_verdict() -> None:
    remark = "mlx.toml: deviation 1 holds for mlx where machine is arm64, not with machine x86_64"
    lines = written(end("a", unseen=remark), end("b", unseen=remark))
    assert f"not seen here: mlx@gpu, 2 cases: {remark}" in lines
    assert lines[-1].endswith("2 conforms, 0 known deviation, 0 unsupported, 0 not run, 0 deviates, 0 crashed, "
                              "0 timed out, 0 stale deviation, 0 unreviewed")  # fmt: skip


@pytest.mark.parametrize(("assumed", "verdict"), [(False, "stale deviation"), (True, "unreviewed")])
def test_one_that_no_case_shows_is_counted(assumed: bool, verdict: str) -> None:
    lines = written(*(end(name, sometimes="mlx.toml: deviation 1", assumed=assumed) for name in "ab"))
    assert f"1 {verdict}" in lines[-1]
    assert any(line.startswith(verdict) and "mlx.toml: deviation 1" in line for line in lines)
