"""What no run may break: bytes, rows and cycles that must add up, and the bounds of the machine."""

from __future__ import annotations

from collections import Counter
from math import ceil

import numpy as np
import pytest
from helpers.strategies import cases
from hypothesis import assume, given

from sim.base.errors import Hang
from sim.hardware import Hardware, load
from sim.isa.commands import Funct, Program
from sim.lower import Matmul, Norm, Operand, ResidualAdd, lower
from sim.timing.parameters import parameters
from sim.timing.timer import run
from sim.timing.timing import Timing

X, W, D, C = (Operand(0x2001_0000 + 0x10_0000 * place, 128) for place in range(4))
Case = tuple[Hardware, Program, int]


def timed(case: Case) -> Timing:
    hw, program, phase = case
    try:
        return run(program, hw, timeline=True, phase=phase)
    except Hang:
        assume(False)
        raise


@given(cases())
def test_every_cycle_has_one_cause(case: Case) -> None:
    timing = timed(case)
    assert sum(timing.causes.values()) == timing.cycles == sum(timing.sections)
    assert min(timing.causes.values()) >= 0


@given(cases())
def test_busy_and_idle_cycles_of_a_unit_fit_into_the_total(case: Case) -> None:
    """Controllers are busy in at most one of the seven combinations; states of one controller exclude each other."""
    timing = timed(case)
    n = timing.counters
    combinations = ("LD", "ST", "EX", "LD_ST", "LD_EX", "ST_EX", "LD_ST_EX")
    assert sum(n[f"MAIN_{name}_CYCLES"] for name in combinations) <= timing.cycles
    for unit in ("LOAD", "STORE"):
        assert n[f"{unit}_DMA_WAIT_CYCLE"] + n[f"{unit}_ACTIVE_CYCLE"] <= timing.cycles
    assert n["EXE_ACTIVE_CYCLE"] + n["EXE_FLUSH_CYCLE"] <= timing.cycles
    assert n["RESERVATION_STATION_ACTIVE_CYCLES"] <= timing.cycles
    # the array takes at most a row a cycle
    assert n["MESH_OUTPUT_ROWS"] <= n["MESH_INPUT_ROWS"] <= timing.cycles


@given(cases())
def test_the_bus_moves_whole_beats_at_most_one_a_cycle(case: Case) -> None:
    hw, timing = case[0], timed(case)
    n, beat = timing.counters, case[0].dma.bus_bytes
    # an L2 asks for blocks, and may still wait for them and write one back when the accelerator is idle
    lines = parameters(hw)["l2_mshrs"] if hw.memory.l2_bytes else 0
    assert 0 <= n["DRAM_READ_BYTES"] - n["BUS_READ_BEATS"] * beat <= 64 * lines
    assert 0 <= n["BUS_WRITE_BEATS"] * beat - n["DRAM_WRITE_BYTES"] < (64 if lines else 1)
    assert n["DRAM_WRITE_BYTES_UNMASKED"] <= n["DRAM_WRITE_BYTES"]
    # every acknowledge takes a beat of the channel that reads come on
    assert n["BUS_READ_BEATS"] + n["DRAM_WRITE_REQUESTS"] <= timing.cycles
    assert n["BUS_WRITE_BEATS"] + n["DRAM_READ_REQUESTS"] <= timing.cycles
    ids = lines or hw.dma.max_in_flight_requests
    assert n["MAX_OUTSTANDING_READS"] <= ids and n["MAX_OUTSTANDING_WRITES"] <= ids
    rate = min(hw.memory.read_bytes_per_cycle, beat)
    assert n["BUS_READ_BEATS"] * beat <= ceil(rate * timing.cycles) + beat


@given(cases())
def test_the_reservation_station_keeps_its_rates_and_its_order(case: Case) -> None:
    """One allocation a cycle, one issue a class a cycle, in order; one completion a cycle; entries never exceeded."""
    hw, timing = case[0], timed(case)
    rows = timing.timeline
    assert rows is not None
    assert (np.diff(rows["t_alloc"]) > 0).all()
    assert (rows["t_issue"] > rows["t_alloc"]).all()
    ported = rows[rows["t_complete"] >= 0]
    assert (ported["t_complete"] > ported["t_issue"]).all()
    assert max(Counter(ported["t_complete"].tolist()).values(), default=0) <= 1
    entries = (hw.reservation_station.ld, hw.reservation_station.ex, hw.reservation_station.st)
    for queue, most in enumerate(entries):
        mine = rows[rows["queue"] == queue]
        assert (np.diff(mine["t_issue"]) > 0).all()
        left = np.where(mine["t_complete"] < 0, mine["t_issue"], mine["t_complete"])
        inside = [((mine["t_alloc"] <= t) & (left >= t)).sum() for t in mine["t_alloc"]]
        assert max(inside, default=0) <= most
    sums = (timing.counters["COMMANDS_LD"], timing.counters["COMMANDS_EX"], timing.counters["COMMANDS_ST"])
    assert sums == tuple((rows["queue"] == queue).sum() for queue in range(3))


@given(cases())
def test_a_run_leaves_nothing_behind(case: Case) -> None:
    """Determinism: the same program a second time, after another machine's run, tells the same."""
    first = timed(case)
    hw = load("gemmini_8x8")
    run(lower(ResidualAdd(8, 64, X, W, C), hw), hw)
    second = timed(case)
    assert first.timeline is not None and second.timeline is not None
    assert (first.cycles, first.counters, first.causes) == (second.cycles, second.counters, second.causes)
    assert first.timeline.tolist() == second.timeline.tolist()


@pytest.mark.parametrize("m, n, k", [(64, 64, 64), (128, 64, 32), (16, 128, 128), (128, 128, 128)])
@pytest.mark.parametrize("bias", ("none", "row", "full"))
@pytest.mark.parametrize("preset", ["gemmini_default", "gemmini_lean", "gemmini_8c3f992"])
def test_an_aligned_matmul_moves_what_its_tiles_need(preset: str, bias: str, m: int, n: int, k: int) -> None:
    """A once per column of tiles, B once per row of tiles (once in all when kept), bias and result once.

    gemmini_machine.md 9.2: an operand of at most two tiles, one for each half, stays in the scratchpad.
    """
    hw = load(preset)
    tile = tuple(min(4, size // hw.dim) for size in (m, n, k))
    work = Matmul(m, n, k, X, W, C, d=D if bias != "none" else None, bias=bias, tile=tile)  # type: ignore[arg-type]
    counters = run(lower(work, hw), hw).counters
    tiles_i, tiles_j, tiles_k = (ceil(size / (4 * hw.dim)) for size in (m, n, k))
    reads = m * k * (1 if tiles_i * tiles_k <= 2 else tiles_j)
    reads += k * n * (1 if tiles_j * tiles_k <= 2 else tiles_i)
    if bias == "full":
        reads += m * n * 4
    elif bias == "row":  # once per row of blocks, repeated inside
        reads += m // hw.dim * n * 4
    assert counters["DRAM_READ_BYTES"] == reads
    assert counters["DRAM_WRITE_BYTES"] == counters["DRAM_WRITE_BYTES_UNMASKED"] == m * n
    assert counters["MESH_OUTPUT_ROWS"] >= m * (n // hw.dim) * (k // hw.dim)


@pytest.mark.parametrize("preset", ["gemmini_default", "gemmini_8x8", "gemmini_32x32", "gemmini_fp32_4x4"])
@pytest.mark.parametrize("m, n, k", [(1, 64, 64), (64, 64, 64), (100, 60, 33), (7, 9, 200)])
def test_no_matmul_is_faster_than_the_array_or_the_bus(preset: str, m: int, n: int, k: int) -> None:
    hw = load(preset)
    work = Matmul(m, n, k, Operand(X.address, k), Operand(W.address, n), Operand(C.address, n))
    timing = run(lower(work, hw), hw)
    needed = (m * k + k * n) * hw.input_bytes
    assert timing.cycles >= work.macs / hw.dim**2
    assert timing.counters["DRAM_READ_BYTES"] >= needed
    assert timing.counters["DRAM_WRITE_BYTES_UNMASKED"] == m * n * hw.input_bytes
    assert timing.cycles >= timing.counters["DRAM_READ_BYTES"] / hw.dma.bus_bytes
    assert timing.cycles >= timing.counters["DRAM_WRITE_BYTES"] / hw.dma.bus_bytes


def test_a_long_product_comes_close_to_the_peak() -> None:
    """1024 rows through few weights: all but the first tile's load and the last tile's store hides."""
    hw = load("gemmini_default")
    work = Matmul(1024, 64, 256, Operand(X.address, 256), W, C)
    peak = work.macs / hw.dim**2
    first = (64 + 80) * 256 / hw.dma.bus_bytes * 2  # the first tile's operands, with room for the second's
    last = 80 * 64 / hw.dma.bus_bytes * 7 / 4  # seven cycles a row of 64 bytes
    assert run(lower(work, hw), hw).cycles <= peak + first + last + 8 * hw.memory.latency_cycles


@pytest.mark.parametrize("rows, cols", [(64, 64), (16, 256)])
def test_an_addition_reads_twice_and_writes_once(rows: int, cols: int) -> None:
    hw = load("gemmini_default")
    a, b, c = (Operand(operand.address, cols) for operand in (X, W, C))
    counters = run(lower(ResidualAdd(rows, cols, a, b, c), hw), hw).counters
    assert counters["DRAM_READ_BYTES"] == 2 * rows * cols
    assert counters["DRAM_WRITE_BYTES"] == rows * cols


@pytest.mark.parametrize("kind", ("layernorm", "softmax"))
def test_a_normalisation_reads_and_writes_once_and_passes_three_times(kind: str) -> None:
    hw = load("gemmini_ibert")
    work = Norm(16, 128, kind, Operand(X.address, 128), Operand(C.address, 128))  # type: ignore[arg-type]
    counters = run(lower(work, hw), hw).counters
    assert counters["DRAM_READ_BYTES"] == 16 * 128 * 4
    assert counters["DRAM_WRITE_BYTES"] == 16 * 128
    assert counters["ACC_READ_ROWS"] == 3 * 16 * 128 // hw.dim
    assert counters["NORMALIZE_ROWS"] == 2 * 16 * 128 // hw.dim


def test_commands_are_counted_without_fences() -> None:
    hw = load("gemmini_default")
    program = lower(Matmul(64, 64, 64, X, W, C), hw)
    assert run(program, hw).counters["COMMANDS"] == (program["funct"] != Funct.FENCE).sum()
