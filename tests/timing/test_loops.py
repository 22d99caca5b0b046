"""The hardware loops: start-up, slots, the order in which each unroller emits, and what it waits for.

Sources: LoopMatmul.scala, LoopConv.scala, WeightedArbiter.scala (gemmini_machine.md 7; addendum D6).
"""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
from helpers.gates import DRAM, OUT, Gate

from sim.hardware import load
from sim.isa.commands import Funct
from sim.lower import Conv, Operand, lower
from sim.lower.encode import MatmulLoop
from sim.timing.timer import run

LOOP_START = 6  # LOOP_WS accepted -> first load allocated (addendum D6: c + 6)
A, B, C = DRAM, DRAM + 0x1_0000, OUT


def looped(i: int, j: int, k: int, *, loops: int = 1, phase: int = 0, d: int = 0, **flags: bool) -> np.ndarray:
    """Timeline (without configuration) of identical loops of i x j x k blocks with row strides of whole blocks."""
    gate = Gate()
    gate.config_ex()
    gate.config_st(16 * j)
    for state, stride in enumerate((16 * k, 16 * j, 0)):
        gate.config_ld(stride, state)
    for _ in range(loops):
        gate.loop_ws(MatmulLoop((i, j, k), (0, 0, 0), (A, B, d, C), (16 * k, 16 * j, 0, 16 * j), **flags))
    timing = gate.run(phase)
    assert timing.timeline is not None
    rows: np.ndarray = timing.timeline[timing.timeline["funct"] != Funct.CONFIG]
    return rows


def places(rows: np.ndarray) -> list[tuple[str, int]]:
    """Loads in order: operand and bytes from its start."""
    loads = rows[rows["queue"] == 0]
    names = ["A" if Funct(f) is Funct.MVIN else "B" for f in loads["funct"]]
    starts = {"A": A, "B": B}
    return [(name, int(address) - starts[name]) for name, address in zip(names, loads["rs1"], strict=True)]


def test_the_first_load_is_allocated_six_cycles_after_the_loop_is_accepted() -> None:
    """LoopMatmul.scala: job at t + 1, emission from t + 2, the unrolled queue a cycle later."""
    rows = looped(1, 1, 1)
    accepted = 5 + 5  # five configurations, five loop settings, then LOOP_WS
    assert rows["t_alloc"][0] == accepted + LOOP_START
    assert rows["t_issue"][0] == accepted + LOOP_START + 1


def test_the_first_preload_follows_the_loads_of_its_operands() -> None:
    """One command a cycle: B, A, preload, compute, store behind each other (emitted is enough, not loaded)."""
    rows = looped(1, 1, 1)
    assert [Funct(f).name for f in rows["funct"]] == ["MVIN2", "MVIN", "PRELOAD", "COMPUTE_PRELOADED", "MVOUT"]
    assert np.diff(rows["t_alloc"]).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("i, j, k", [(1, 1, 1), (2, 8, 8), (3, 4, 9), (5, 6, 2), (2, 9, 5)])
def test_loads_alternate_as_the_unroller_chooses(i: int, j: int, k: int) -> None:
    """B when A is ahead in k, at B's very first command and when A is done; A otherwise; four blocks a command."""
    a_nest = [(at_k, row) for at_k in range(0, k, 4) for row in range(i)]
    b_nest = [(at_k, col) for at_k in range(k) for col in range(0, j, 4)]
    expected, a, b = [], 0, 0
    while a + b < len(a_nest) + len(b_nest):
        b_turn = a == len(a_nest) or b == 0 or (b < len(b_nest) and a_nest[a][0] > b_nest[b][0])
        if b_turn:
            at_k, col = b_nest[b]
            expected.append(("B", at_k * 16 * (16 * j) + col * 16))
            b += 1
        else:
            at_k, row = a_nest[a]
            expected.append(("A", row * 16 * (16 * k) + at_k * 16))
            a += 1
    assert places(looped(i, j, k)) == expected


def test_blocks_are_computed_k_outermost_and_i_innermost() -> None:
    i, j, k = 2, 2, 2
    rows = looped(i, j, k)
    computes = rows[(rows["funct"] == Funct.COMPUTE_PRELOADED) | (rows["funct"] == Funct.COMPUTE_ACCUMULATED)]
    fresh = [Funct(f) is Funct.COMPUTE_PRELOADED for f in computes["funct"]]
    assert fresh == [at_i == 0 for _, _, at_i in product(range(k), range(j), range(i))]
    a_rows = [(int(r) & 0xFFFF) // 16 for r in computes["rs1"]]
    assert a_rows == [at_i * k + at_k for at_k, _, at_i in product(range(k), range(j), range(i))]


def test_a_store_is_emitted_as_soon_as_its_blocks_are() -> None:
    """stC comes first in the arbiter: it goes between the last computes of its own and of the next row of blocks."""
    order = [Funct(f).name for f in looped(2, 1, 2)["funct"]]
    assert order[-6:] == ["PRELOAD", "COMPUTE_PRELOADED", "MVOUT", "PRELOAD", "COMPUTE_ACCUMULATED", "MVOUT"]


@pytest.mark.parametrize("phase", (0, 1))
@pytest.mark.parametrize("loops", (1, 2, 3))
def test_loops_take_the_two_halves_in_turn(phase: int, loops: int) -> None:
    """The slot that comes next is not reset: A of loop n lies at the start of half (phase + n) mod 2."""
    half = Gate().hw.sp_rows // 2
    rows = looped(1, 1, 1, loops=loops, phase=phase)
    a_rows = [int(r) & 0xFFFF for r in rows["rs2"][rows["funct"] == Funct.MVIN]]
    assert a_rows == [(phase + n) % 2 * half for n in range(loops)]


@pytest.mark.parametrize("loops", (1, 2, 3))
def test_the_slot_that_comes_next_is_reported(loops: int) -> None:
    gate = Gate()
    gate.config_ex()
    gate.config_st(16)
    for state in range(3):
        gate.config_ld(16, state)
    for _ in range(loops):
        gate.loop_ws(MatmulLoop((1, 1, 1), (0, 0, 0), (A, B, 0, C), (16, 16, 0, 16)))
    assert [gate.run(phase).phase for phase in (0, 1)] == [loops % 2, (1 + loops) % 2]


def test_a_residual_loop_adds_b_onto_a() -> None:
    """All of A into the accumulator, then B accumulating onto it, then the stores; nothing is computed."""
    gate = Gate()
    gate.config_ex()
    gate.config_st(32)
    for state in (0, 1):
        gate.config_ld(32, state, shrink=True)
    gate.loop_ws(MatmulLoop((2, 2, 0), (0, 0, 0), (A, B, 0, C), (32, 32, 0, 32), residual=True))
    timing = gate.run()
    assert timing.timeline is not None
    rows = timing.timeline[timing.timeline["funct"] != Funct.CONFIG]
    loads = rows[rows["queue"] == 0]
    assert [Funct(f) for f in loads["funct"]] == [Funct.MVIN] * 2 + [Funct.MVIN2] * 2
    assert [int(r) >> 30 & 3 for r in loads["rs2"]] == [2, 2, 3, 3]
    assert (rows["queue"] == 1).sum() == 0
    assert (rows["funct"] == Funct.MVOUT).sum() == 2


def test_a_command_behind_a_loop_waits_until_all_of_it_is_emitted() -> None:
    """LoopMatmul.scala: only loop commands pass while a loop is configured."""
    gate = Gate()
    gate.config_ex()
    gate.config_st(16)
    for state in range(3):
        gate.config_ld(16, state)
    gate.loop_ws(MatmulLoop((1, 1, 1), (0, 0, 0), (A, B, 0, C), (16, 16, 0, 16)))
    gate.mvin(DRAM, 4096, 16, 1)
    *looped_commands, behind = gate.times()
    assert behind.alloc > max(t.alloc for t in looped_commands)


def conv_rows() -> np.ndarray:
    """Timeline of a 3x3 convolution of a 4x4 image, one tile."""
    hw = load("gemmini_default")
    work = Conv(1, 4, 4, 16, 16, 3, Operand(A, 16), Operand(B, 16), Operand(C, 16), Operand(DRAM + 0x8_0000, 0))
    program = lower(work, hw)
    timing = run(program, hw, timeline=True)
    assert timing.timeline is not None
    return timing.timeline


def test_a_convolution_loads_bias_weights_and_input_before_it_computes() -> None:
    """LoopConv.scala: bias, weights, input; computes when all loads are emitted, stores when all computes are."""
    rows = conv_rows()
    loop = rows[2:]  # behind config_st and config_ex
    states = [int(r["rs1"]) >> 3 & 3 for r in loop[(loop["funct"] == Funct.CONFIG) & (loop["queue"] == 0)]]
    assert states == [2, 1, 0]
    stages = [key for key, _ in groupby(int(q) for q in loop["queue"])]
    assert stages == [0, 1, 2]
    loads = loop[(loop["queue"] == 0) & (loop["funct"] != Funct.CONFIG)]
    assert [Funct(f).name for f, _ in groupby(int(f) for f in loads["funct"])] == ["MVIN3", "MVIN2", "MVIN"]


def test_a_convolution_computes_each_kernel_place_over_all_output_rows() -> None:
    """och, krow, kcol, kch outside, output rows inside: new weights once per kernel place."""
    rows = conv_rows()
    computes = [Funct(f) for f in rows["funct"] if f in (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)]
    out_rows = 2  # 4 - 3 + 1
    place = [Funct.COMPUTE_PRELOADED] + [Funct.COMPUTE_ACCUMULATED] * (out_rows - 1)
    assert computes == place * 9


def test_a_product_behind_a_residual_addition_leaves_its_loads_alone() -> None:
    """LoopMatmul.scala: one is_resadd register for both slots, copied by each machine with its job.

    The matmul loop clears the register while the addition still loads: only what watches the wire itself (whose turn
    it is, whom the store follows) changes at once. 1051 cycles: Gemmini 25809f78 under Verilator, dummy datapath.
    """
    gate = Gate()
    loops = [
        (9, 0, 0x2_0003), (10, 0x2001_0000, 0x2001_1000), (11, 0, 0x2001_3000), (12, 64, 64), (13, 0, 64),
        (8, 0xA_0101, 4),
        (9, 15, 0x2_0004_0002), (10, 0x2001_0000, 0x2001_1000), (11, 0, 0), (12, 64, 64), (13, 64, 64),
        (8, 0x101, 0),
    ]  # fmt: skip
    configs = [
        (0x3F80000000010104, 1 << 48), (6, 0x3F80000000000064), (0x3F80000000100205, 16), (0x3F80000000100109, 64),
        (0x3F80000000100111, 64), (0x3F80000000100105, 64), (0x3F8000000010010D, 64),
    ]  # fmt: skip
    for rs1, rs2 in configs:
        gate.emit(Funct.CONFIG, rs1, rs2)
    for funct, rs1, rs2 in loops:
        gate.emit(Funct(funct), rs1, rs2)
    assert gate.run().cycles == 1051
