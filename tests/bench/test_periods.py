"""What the periodic clock saves: cycles visited and CPU time against the leaping clock (networks: networks.py)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sim import hardware, lower
from sim.lower import build
from sim.timing import timer
from sim.timing.timing import Clock


@pytest.fixture(autouse=True)
def shown(benchmark: Any, capsys: Any) -> Any:
    """Print the ratios of a benchmark below its table line."""
    yield
    if benchmark.stats:
        with capsys.disabled():
            print(json.dumps({benchmark.name: dict(benchmark.extra_info)}, default=float))


def cpu_seconds(clock: Clock, commands: Any, hw: hardware.Hardware) -> float:
    """CPU time of one run."""
    start = time.process_time()
    timer.run(commands, hw, clock=clock)
    return time.process_time() - start


@pytest.mark.parametrize("shape", [(128, 768, 768), (512, 768, 768), (1024, 1600, 1600)])
def test_periodic_against_leaping(benchmark: Any, shape: tuple[int, int, int]) -> None:
    hw = hardware.load("gemmini_default")
    commands = lower.lower(build.matmul(*shape), hw)
    timed = benchmark.pedantic(lambda: timer.run(commands, hw, clock="periodic"), rounds=3, warmup_rounds=1)
    mine = min(cpu_seconds("periodic", commands, hw) for _ in range(3))
    benchmark.extra_info["visited_share"] = timed.visited_cycles / timed.cycles
    benchmark.extra_info["leap_over_periodic"] = cpu_seconds("leap", commands, hw) / mine
    benchmark.extra_info["cycles_per_s"] = timed.cycles / mine
