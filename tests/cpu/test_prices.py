"""The CPU's price lists: they move the gaps of commands and the time between calls, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import sim
from sim.base.errors import InputError
from sim.cpu import cost, issue_cycles
from sim.hardware import load
from sim.hardware.cpu import KINDS
from sim.hardware.files import config_files
from sim.lower import build, library_call, lower
from sim.lower.work import Work
from sim.run.columns import CAUSES
from sim.run.session import Session

NORM = load("gemmini_ibert")
CALLS: dict[str, Work] = {
    "loop": build.matmul(64, 64, 64),
    "loops": build.matmul(256, 256, 256),
    "output stationary": build.matmul(64, 64, 64, dataflow="OS"),
    "softmax": build.matmul(64, 64, 64, activation="softmax", bert_scale=0.0005),
    "igelu": build.matmul(64, 64, 64, activation="igelu", bert_scale=0.05),
    "layernorm": build.norm(33, 256, "layernorm"),
    "softmax alone": build.norm(16, 128, "softmax", bert_scale=0.0005),
    "resadd": build.resadd(100, 100),
    "conv": build.conv(7, 16, 16, 3, padding=1),
}


@pytest.mark.parametrize("cpu", config_files("cpu"))
@pytest.mark.parametrize("name", CALLS)
def test_prices_move_gaps_and_nothing_else(name: str, cpu: str) -> None:
    hw = NORM.with_({"cpu.prices": cpu})
    free, priced = lower(CALLS[name], NORM), lower(CALLS[name], hw)
    for field in ("funct", "rs1", "rs2"):
        assert np.array_equal(free[field], priced[field])
    assert (free["gap"] == 1).all() and (priced["gap"] >= 1).all()
    assert issue_cycles(free) == len(free) and issue_cycles(priced) == priced["gap"].sum() > len(priced)


@pytest.mark.parametrize("cpu", config_files("cpu"))
def test_the_commands_of_a_hardware_loop_come_as_on_the_trace(cpu: str) -> None:
    """tests/oracle/soc/README.md, case mm_dn_64x64x64_WS_L40: every trace has 1, 4, 4, 9, 29 behind the first."""
    gaps = lower(CALLS["loop"], NORM.with_({"cpu.prices": cpu}))["gap"][-6:-1]
    assert gaps.tolist() == [1, 4, 4, 9, 29]


@pytest.mark.parametrize(
    ("work", "path", "lines"),
    [
        (build.resadd(16, 20), "resadd_padded", 0),  # padded columns run the code of whole blocks
        (build.resadd(128, 128), "resadd_padded", 0),  # a pass of the tile search, and whole blocks
        (build.resadd(20, 16), "resadd_padded", 2),
        (build.resadd(100, 100), "resadd_padded", 2),  # tiles of 50 rows
        (build.conv(7, 64, 64, 3, padding=1), "conv_search", 0),
        (build.conv(8, 128, 128, 3, padding=1), "conv_search", 4),
        (build.conv(12, 16, 16, 3, padding=1, pool_size=2, pool_stride=2), "conv_pool", 1),
    ],
)
def test_pieces_of_code_that_not_every_call_runs(work: Work, path: str, lines: int) -> None:
    """Lines counted in an emulator of the library's own code, gcc 12.2 -O3 (docs/CPU.md); 58 cycles a line."""
    hw = load("gemmini_default").with_({"cpu.prices": "rocket", "cpu.sizes": "runtime"})
    function = library_call(work, hw).function
    whole = cost(work, hw, frozenset({function}), "X")
    known = cost(work, hw, frozenset({function, path}), "X")
    assert whole.cold - known.cold == lines * 58
    assert known.cold == 58  # the call site


def test_passes_are_those_of_the_librarys_search() -> None:
    """Counted by hand on the default machine: tiles start at 5 x 5 blocks and 51 deep, 32 accumulator blocks."""
    hw = load("gemmini_default")
    passes = {(64, 64, 64): 0, (128, 128, 128): 1, (32, 512, 128): 11, (128, 768, 768): 0, (1, 768, 768): 4}
    for (m, n, k), expected in passes.items():
        assert library_call(build.matmul(m, n, k), hw).passes == expected
    assert library_call(build.resadd(64, 512), hw).passes == 24  # columns fall by blocks of 16 from 512 to 128
    assert library_call(build.norm(128, 768, "layernorm"), NORM).passes == 96  # rows fall one by one from 128 to 32
    assert library_call(build.matmul(32, 512, 128), hw).folded
    assert not library_call(build.matmul(128, 128, 128), hw).folded


def test_a_call_costs_its_passes_and_its_first_time_its_code() -> None:
    hw = load("gemmini_default", {"cpu.prices": "rocket", "cpu.sizes": "runtime"})
    prices = hw.cpu.prices
    assert prices != "none"
    table = prices.calls["runtime"]
    product = build.matmul(128, 128, 128)
    assert cost(product, hw).around == table["matmul"] + table["matmul_pass"]
    session = Session(hw)
    first, second = session.call(product), session.call(product)
    assert second == cost(product, hw).around
    lines = prices.cold_lines["matmul"] + prices.cold_lines["site"]
    assert first - second == lines * (hw.memory.latency_cycles + prices.line_cycles)
    other = build.matmul(64, 128, 128)  # another place calls the same function
    assert session.call(other) - cost(other, hw.with_({"cpu.code": "warm"})).around == hw.memory.latency_cycles + 18
    assert Session(hw.with_({"cpu.code": "warm"})).call(product) == second
    assert cost(product, load("gemmini_default")).around == 0


def test_a_run_with_cpu_is_the_accelerators_plus_what_the_cpu_takes() -> None:
    free = sim.simulate("encoder-layer", "gemmini_ibert", seq=32, cache=False)
    priced = sim.simulate("encoder-layer", "gemmini_ibert", overrides={"cpu.prices": "rocket"}, seq=32, cache=False)
    assert free.causes["cpu_issue"] == free.causes["call"] == free.totals["cpu_cycles"] == 0
    assert priced.cycles > free.cycles
    for row in priced.rows:
        assert sum(row[f"{cause}_cycles"] for cause in CAUSES) == row["cycles"]
        assert row["call_cycles"] > 0 and row["cpu_cycles"] > row["call_cycles"]
    alone, with_cpu = (
        next(row["cycles"] for row in result.rows if row["op_kind"] == "layernorm") for result in (free, priced)
    )
    # tiled_norm_auto is bound by the CPU: README of the SoC, 382 cycles a row alone, 1,224 with it at 768 columns
    assert with_cpu > 2 * alone
    assert priced.energy["host"] > free.energy["host"] == 0


def test_the_path_without_l2_is_in_the_memorys_latency() -> None:
    plain = load("gemmini_default", {"cpu.prices": "rocket"})
    assert plain.memory_latency_cycles == plain.memory.latency_cycles + 2
    assert plain.with_({"memory.l2_bytes": "512KiB"}).memory_latency_cycles == plain.memory.latency_cycles
    assert load("gemmini_default").memory_latency_cycles == 40


def test_a_machine_without_prices_is_the_machine_it_was() -> None:
    plain = load("gemmini_default")
    assert plain.with_({"cpu.sizes": "constant", "cpu.code": "warm"}).key == plain.key
    assert plain.with_({"cpu.prices": "rocket"}).key != plain.key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cpu.prices": "rokcet"}, "cpu.prices: unknown CPU 'rokcet' (did you mean 'rocket'?)"),
        ({"cpu.sizes": "constants"}, "cpu.sizes"),
        ({"cpu.prices": "rocket", "cpu.prices.streams.runtime.hnad": [3]}, "'hnad' is unknown (did you mean 'hand'?)"),
        ({"cpu.prices": "rocket", "cpu.prices.streams.fast.hand": [3]}, "way of compilation 'fast' is unknown"),
        ({"cpu.prices": "rocket", "cpu.prices.streams.runtime.hand": [0]}, "cpu.prices.streams.runtime.hand"),
        ({"cpu.prices": "rocket", "cpu.prices.calls.runtime.matmull": 3}, "did you mean 'matmul'"),
        ({"cpu.prices": "rocket", "cpu.prices.cold_lines.sofmax": 3}, "did you mean 'softmax'"),
        ({"cpu.prices": "rocket", "cpu.prices.streams": {"runtime": {}}}, ""),
    ],
)
def test_faulty_prices_are_refused_at_the_door(settings: dict[str, object], message: str) -> None:
    if not message:  # a table laid over another changes nothing where it says nothing
        assert load("gemmini_default", settings) == load("gemmini_default", {"cpu.prices": "rocket"})
        return
    with pytest.raises(InputError) as refused:
        load("gemmini_default", settings)
    assert message in str(refused.value)


def test_a_price_list_prices_every_kind_of_stream() -> None:
    table = load("gemmini_default", {"cpu.prices": "rocket"}).model_dump()["cpu"]["prices"]
    for kind in KINDS:
        streams = {**table["streams"], "runtime": {k: v for k, v in table["streams"]["runtime"].items() if k != kind}}
        with pytest.raises(InputError, match=f"no price for {kind}"):
            load({"base": "gemmini_default", "cpu": {"prices": {**table, "streams": streams}}})


def test_a_trace_has_a_track_for_the_cpu() -> None:
    from sim.trace import chrome, events

    sizes = {"seq": 32, "hidden": 64, "heads": 1, "ffn": 128}
    priced = sim.simulate("encoder-layer", "gemmini_ibert", overrides={"cpu.prices": "rocket"}, cache=False, **sizes)
    slices = [
        event for event in chrome.trace(priced)["traceEvents"] if event["pid"] == events.CPU and event["ph"] == "X"
    ]
    calls = [event["dur"] for event in slices if event["name"] == "library call"]
    assert sum(calls) == priced.causes["call"] and len(calls) == priced.totals["invocations"]
    ends = sorted((event["ts"], event["ts"] + event["dur"]) for event in slices)
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))
    assert ends[-1][1] <= priced.cycles
    free = sim.simulate("encoder-layer", "gemmini_ibert", cache=False, **sizes)
    assert not any(event["pid"] == events.CPU for event in chrome.trace(free)["traceEvents"])
