"""Is a run spread over no more processes than the machine has cores and memory for?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from suites import distribution
from tests.command import ROOT


def whole_run(**options: Any) -> Any:
    """pytest's configuration of ``pytest suites/``."""
    option = SimpleNamespace(**{"numprocesses": None, "dist": "no", "capture": "fd", **options})
    plugins = SimpleNamespace(hasplugin=lambda name: True)
    parameters = SimpleNamespace(dir=ROOT)
    return SimpleNamespace(option=option, pluginmanager=plugins, invocation_params=parameters, args=["suites/"])


@pytest.mark.parametrize(
    ("cores", "gigabytes", "processes"),
    [(2, 16, 2), (4, 16, 4), (8, 64, 4), (3, 7, 2), (4, 4, 0), (1, 16, 0), (2, 2, 0)],
    ids=["two cores", "a hosted Linux", "many", "a hosted Mac", "little memory", "one core", "hardly any memory"],
)
def test_cores_and_memory_bound_it(monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, processes: int) -> None:
    monkeypatch.setattr(distribution, "cores", lambda: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=gigabytes * 2**30))
    assert distribution.processes(whole_run(), Path(ROOT, "suites")) == processes


@pytest.mark.parametrize("option", [{"usepdb": True}, {"keyword": "x"}, {"capture": "no"}, {"numprocesses": 3}])
def test_who_looks_closely_has_one_process(option: dict[str, Any]) -> None:
    assert distribution.processes(whole_run(**option), Path(ROOT, "suites")) == 0
