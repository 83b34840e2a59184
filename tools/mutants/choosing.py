"""A pytest plugin that runs the cases of some requirements only, and writes down which requirements turned red.

Loaded by ``-p tools.mutants.choosing`` in a run with a defect; what the suites ask and how they judge stays their own.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of a run with a defect; patterns are fnmatch's, of a requirement's id, and can be repeated."""
    group = parser.getgroup("mutants")
    group.addoption("--requirement", action="append", default=[], help="only the requirements of this pattern")
    group.addoption("--without", action="append", default=[], help="not the requirements of this pattern")
    group.addoption("--red", help="a file to which every red case is appended, as a line of JSON")


def requirement_of(item: pytest.Item) -> str:
    """The id of the requirement that a test asks about."""
    marker = item.get_closest_marker("requirement")
    return str(marker.args[0]) if marker else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not asked, after every other plugin has chosen; without a pattern all is asked."""
    wanted, unwanted = config.getoption("--requirement"), config.getoption("--without")

    def chosen(item: pytest.Item) -> bool:
        name = requirement_of(item)
        return (not wanted or _matches(name, wanted)) and not _matches(name, unwanted)

    left_out = [item for item in items if not chosen(item)]
    items[:] = [item for item in items if chosen(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Append a red case to ``--red``: requirement, node id, class of behaviour and why, whichever phase failed."""
    report = yield
    path = item.config.getoption("--red")
    if path and report.failed:
        line = {"requirement": requirement_of(item), "case": item.nodeid, **_seen(report)}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")
    return report


def _seen(report: pytest.TestReport) -> dict[str, str]:
    """The class of what was observed, and why it is red: of the record of the case, or of the traceback's end."""
    for name, text in report.user_properties:
        if name == "touchstone":
            record = json.loads(str(text))
            why = f"{record['behaviour']}: {record['message']}".splitlines()[0][:300]
            return {"behaviour": record["behaviour"], "why": why}
    return {"behaviour": "harness error", "why": str(report.longrepr).strip().splitlines()[-1][:300]}
