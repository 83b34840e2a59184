"""Over how many processes does a run go, and which of them is given which cases?

A run of whole folders uses the processor's cores; what a person looks at closely (one case, a debugger, the first
failure) runs in one process, as in plain pytest. Imported by pytest's plugin, before anything else of the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from touchstone.adapters.discovery.machine import threads

MOST = 4
"""Processes that are taken without being asked for."""
EACH = 3e9
"""Bytes of the machine's memory for each: a framework beside it takes up to 1.5 GB, and the GPU of a Mac shares it."""
CALLS = {"suites/test_crosses.py": 25}
"""Calls that a case makes, for files where each makes many: the longest must not be begun last."""
_CLOSER_LOOK = (
    *(
        "collectonly",
        "usepdb",
        "trace",
        "in_process",
        "maxfail",
        "stepwise",
        "lf",
        "failedfirst",
        "newfirst",
        "keyword",
    ),
    *("setupshow", "source", "target", "table", "linear", "distload", "tx", "looponfail"),
)
"""Options any of which asks for one process, or for pytest-xdist's own ways."""


def processes(config: pytest.Config, suites: Path, places: Sequence[Path]) -> int:
    """How many processes the run is to be spread over; 0 where it stays in this one or its options say how many."""
    option = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return 0
    if option.numprocesses is not None or option.dist != "no" or option.capture == "no":
        return 0
    if any(getattr(option, name, None) for name in _CLOSER_LOOK):
        return 0
    if not any(place == suites or place in suites.parents for place in places):
        return 0
    count = min(MOST, threads(), int(psutil.virtual_memory().total / EACH))
    return count if count > 1 else 0


def spread(config: pytest.Config, suites: Path, places: Sequence[Path]) -> None:
    """Have pytest-xdist spread a run of `places` where that is wanted."""
    wanted = processes(config, suites, places)
    if wanted:
        config.option.numprocesses, config.option.dist = wanted, "loadgroup"
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of comparisons: every core has a process already


def remark(config: pytest.Config) -> str:
    """A line for the header where a run could have been spread but for what is not installed, else empty."""
    if config.pluginmanager.hasplugin("xdist") or threads() == 1:
        return ""
    return f"pytest-xdist is not there: one process, though there are {threads()} cores"


def scheduler(config: pytest.Config, log: Any, targets: Sequence[str]) -> Any:
    """pytest-xdist's scheduling by scopes, where a scope is the cases of one target in one file.

    A process keeps to its target, so that each framework is imported, and compiles a shape, in one process; who is
    done takes over files of the target that has most cases left.
    """
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class TargetScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid, targets)

        def _assign_work_unit(self, node: Any) -> None:
            assigned = self.assigned_work.setdefault(node, {})
            others = [target_of(s) for n, units in self.assigned_work.items() if n is not node for s in units]
            scope = choose(self.workqueue, [target_of(s) for s in assigned], others)
            unit = assigned[scope] = self.workqueue.pop(scope)
            if node not in positions:
                positions[node] = {name: index for index, name in enumerate(self.registered_collections[node])}
            node.send_runtest_some([positions[node][name] for name, done in unit.items() if not done])

    positions: dict[Any, dict[str, int]] = {}
    return TargetScheduling(config, log)


def scope_of(nodeid: str, targets: Sequence[str]) -> str:
    """``FILE`` of a test, or ``FILE::TARGET`` of a case."""
    file, _, rest = nodeid.partition("::")
    parameters = rest.partition("[")[2]
    target = next((t for t in targets if parameters.startswith((f"{t}-", f"{t}]"))), "")
    return f"{file}::{target}" if target else file


def target_of(scope: str) -> str:
    """The id of the target that a scope of `scope_of` names, "" where it is a test's."""
    return scope.partition("::")[2]


def choose(waiting: dict[str, dict[str, bool]], own: Sequence[str], others: Sequence[str]) -> str:
    """The scope that a process is given next, of those that wait, the largest first in each target.

    own: targets of the scopes that it was given, the last one last; others: those of the other processes.
    """
    left: dict[str, int] = {}
    for scope, cases in waiting.items():
        left[target_of(scope)] = left.get(target_of(scope), 0) + calls(scope, cases)
    latest = own[-1] if own else None
    free = [target for target in left if target not in others]
    by_size: Callable[[str], int] = left.__getitem__
    target = latest if latest in left else max(free or left, key=by_size)
    return max((s for s in waiting if target_of(s) == target), key=lambda s: calls(s, waiting[s]))


def calls(scope: str, cases: Collection[str]) -> int:
    """How many calls the cases of a scope make."""
    return CALLS.get(scope.partition("::")[0], 1) * len(cases)
