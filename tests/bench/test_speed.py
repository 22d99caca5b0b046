"""Speed of the simulator: `pytest tests/bench --benchmark-enable --benchmark-only`. Ratios where a ratio is possible;
nothing here is a correctness test.

The peers' CPU seconds for one BERT-base encoder layer at 128 tokens were measured on a machine of two cores
(docs/BENCHMARKS.md names them); a ratio against them holds only as far as this machine is like that one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

import sim
from sim import hardware, lower
from sim.isa.commands import Program
from sim.lower import build
from sim.timing import timer
from sim.timing.memo import Memo

ONNXIM_LAYER_CPU_S = 0.88  # ONNXim built with -O2, one encoder layer at 128 tokens, whole process
ONNXIM_BERT_CPU_S = 48.7  # ONNXim built with -O2, BERT-base at 512 tokens, twelve layers, whole process
SCALESIM_GEMM_CPU_S = 103.0  # SCALE-Sim v3, one 128x768x768 product with its default traces


@pytest.fixture(autouse=True)
def shown(benchmark: Any, capsys: Any) -> Any:
    """Print the ratios of a benchmark below its table line."""
    yield
    if benchmark.stats:
        with capsys.disabled():
            print(json.dumps({benchmark.name: dict(benchmark.extra_info)}, default=float))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile before anything is timed."""
    sim.simulate("encoder-layer", "gemmini_ibert", seq=16, hidden=32, heads=2, ffn=32)


def program(m: int, n: int, k: int, hw: hardware.Hardware) -> Program:
    """The library's weight-stationary product C[m,n] = A[m,k] x B[k,n]."""
    return lower.lower(build.matmul(m, n, k), hw)


def median_seconds(benchmark: Any) -> float:
    """Median of the timed rounds; NaN where benchmarks are disabled and the test only shows that it runs."""
    return benchmark.stats.stats.median if benchmark.stats else float("nan")


def cpu_seconds(run: Callable[[], Any]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def test_encoder_layer_at_128_tokens(benchmark: Any) -> None:
    """Every operator anew (a fresh memo each round): the layer that ONNXim needs 0.88 CPU s for."""

    def layer() -> Any:
        return sim.simulate("encoder-layer", "gemmini_ibert", seq=128, hidden=768, heads=12, ffn=3072, memo=Memo())

    result = benchmark.pedantic(layer, rounds=5, iterations=1)
    seconds = median_seconds(benchmark)
    benchmark.extra_info["times_faster_than_onnxim"] = ONNXIM_LAYER_CPU_S / seconds
    benchmark.extra_info["cycles_per_s"] = result.totals["cycles"] / seconds


def test_bert_base_at_128_tokens(benchmark: Any) -> None:
    """Twelve layers: equal operators are simulated once, so the depth costs next to nothing."""
    benchmark.pedantic(lambda: sim.simulate("bert-base", "gemmini_ibert", seq=128, memo=Memo()), rounds=3, iterations=1)


def test_bert_base_at_512_tokens(benchmark: Any) -> None:
    """The network that ONNXim needs 48.7 CPU s for; CPU time, as distinct programs run on all cores."""
    spent = benchmark.pedantic(
        lambda: cpu_seconds(lambda: sim.simulate("bert-base", "gemmini_ibert", seq=512, memo=Memo())),
        rounds=3,
        iterations=1,
    )
    benchmark.extra_info["times_faster_than_onnxim"] = ONNXIM_BERT_CPU_S / spent


def test_growth_with_sequence_length(benchmark: Any) -> None:
    """CPU time of a product of 512 and of 4,096 tokens at one tile shape: below 1, time grows less than linearly."""
    hw = hardware.load("gemmini_default")
    short, long = (lower.lower(build.matmul(m, 768, 768, tile=(4, 8, 16)), hw) for m in (512, 4096))
    timed = benchmark.pedantic(lambda: cpu_seconds(lambda: timer.run(long, hw)), rounds=3, iterations=1)
    base = min(cpu_seconds(lambda: timer.run(short, hw)) for _ in range(3))
    benchmark.extra_info["exponent_of_growth"] = math.log(timed / base) / math.log(4096 / 512)


def test_one_product(benchmark: Any) -> None:
    """128x768x768, the product that SCALE-Sim v3 needs 103 CPU s for."""
    hw = hardware.load("gemmini_default")
    commands = program(128, 768, 768, hw)
    timed = benchmark.pedantic(lambda: timer.run(commands, hw), rounds=5, iterations=1)
    seconds = median_seconds(benchmark)
    benchmark.extra_info["times_faster_than_scalesim"] = SCALESIM_GEMM_CPU_S / seconds
    benchmark.extra_info["cycles_per_s"] = timed.cycles / seconds


@pytest.mark.parametrize(
    ("name", "shape", "latency"),
    [("compute bound", (256, 256, 256), 40), ("latency bound", (1, 256, 256), 400), ("layer", (512, 768, 768), 40)],
)
def test_leaping_against_reference(benchmark: Any, name: str, shape: tuple[int, int, int], latency: int) -> None:
    """What the leaping clock saves: cycles visited, and CPU time as a ratio of the two clocks."""
    hw = hardware.load("gemmini_default", {"memory.latency_cycles": latency})
    commands = program(*shape, hw)
    leap = benchmark.pedantic(lambda: timer.run(commands, hw, clock="leap"), rounds=5, iterations=1)
    every = min(cpu_seconds(lambda: timer.run(commands, hw, clock="reference")) for _ in range(3))
    benchmark.extra_info["visited_share"] = leap.visited_cycles / leap.cycles
    benchmark.extra_info["reference_over_leap"] = every / median_seconds(benchmark)
    benchmark.extra_info["case"] = name
