"""How long does each operation take, how many bytes per second is that, and what share of what the device can do?"""

from __future__ import annotations

from typing import Any

from tools.benchmarks import layers
from tools.benchmarks.calls import synchronised
from tools.benchmarks.measuring import Measuring, plan
from tools.benchmarks.workloads import Workload
from touchstone.adapters.discovery.registry import Target


def test_throughput(request: Any, benchmark: Any, measuring: Measuring, target: Target, workload: Workload) -> None:
    measuring.limits(target, workload.dtype)
    placed = measuring.placed(target, workload)
    function = layers.function(placed, workload)
    layers.check(placed, workload, function)
    call = synchronised(target.adapter, function, layers.inputs(workload))
    rounds, calls = plan(call)
    benchmark.pedantic(call, rounds=rounds, iterations=calls)
    if benchmark.enabled:
        measuring.add(request.node.nodeid, target, workload, benchmark.stats.stats)
