"""Robustness of fit: cycles follow from mechanisms, so what has no mechanism changes nothing.

That no measured figure and no table stands in the simulator is the business of tests/oracle/test_no_fit.py.
"""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.strategies import cases
from hypothesis import given
from hypothesis import strategies as st

from sim.base.errors import Hang
from sim.hardware import Hardware, load
from sim.isa.commands import Funct, Program
from sim.lower import Matmul, Operand, lower
from sim.timing.timer import run

Case = tuple[Hardware, Program, int]
PAGE = 4096
ONE_ADDRESS = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3, Funct.MVOUT)
TWO_ADDRESSES = (
    Funct.LOOP_WS_CONFIG_ADDRS_AB, Funct.LOOP_WS_CONFIG_ADDRS_DC,
    Funct.LOOP_CONV_WS_CONFIG_5, Funct.LOOP_CONV_WS_CONFIG_6,
)  # fmt: skip


def message(program: Program, hw: Hardware, phase: int = 0) -> Any:
    """All a run tells but the DRAM addresses in its timeline; of a hang, that it hangs."""
    try:
        timing = run(program, hw, timeline=True, phase=phase)
    except Hang:
        return "hang"
    assert timing.timeline is not None
    times = timing.timeline[["queue", "funct", "rs2", "t_alloc", "t_issue", "t_complete"]].tolist()
    return timing.cycles, timing.sections, timing.counters, timing.causes, times, timing.visited_cycles


def moved(program: Program, distance: int) -> Program:
    """The same program on data ``distance`` bytes further in DRAM (0 stays: it means zeros or nothing)."""
    copy = program.copy()
    for functs, operands in ((ONE_ADDRESS, ("rs1",)), (TWO_ADDRESSES, ("rs1", "rs2"))):
        for operand in operands:
            at = np.isin(copy["funct"], functs) & (copy[operand] != 0)
            copy[operand][at] += distance
    return copy


@given(cases(), st.integers(1, 1 << 20))
def test_where_the_data_lie_changes_nothing(case: Case, pages: int) -> None:
    """All addresses moved by whole pages: the same windows, the same pages in the same order."""
    hw, program, phase = case
    assert message(moved(program, pages * PAGE), hw, phase) == message(program, hw, phase)


@given(cases())
def test_what_a_machine_is_called_changes_nothing(case: Case) -> None:
    hw, program, phase = case
    renamed = hw.model_copy(update={"name": "somebody_else", "description": "", "energy_table": "7nm"})
    assert message(program, renamed, phase) == message(program, hw, phase)


@given(cases())
def test_a_prefix_of_a_fenced_program_takes_its_own_time(case: Case) -> None:
    """The future has no influence: the program up to its first fence gives the first section."""
    hw, program, phase = case
    first = int(np.flatnonzero(program["funct"] == Funct.FENCE)[0]) + 1
    try:
        whole = run(program, hw, phase=phase)
    except Hang:
        return
    assert run(program[:first], hw, phase=phase).sections[0] == whole.sections[0]


@pytest.mark.parametrize("delta", (-1, 1))
def test_neighbours_of_a_measured_shape_behave_alike(delta: int) -> None:
    """64 x 64 x 64 is in the tables, its neighbours are not: no cliff larger than a block of work lies between."""
    hw = load("gemmini_default")

    def cycles(m: int) -> int:
        a, b, c = (Operand(0x2001_0000 + 0x1_0000 * place, 64) for place in range(3))
        work = Matmul(m, 64, 64, a, b, c)
        return run(lower(work, hw), hw).cycles

    row_of_blocks = (64 // hw.dim) ** 2 * hw.dim  # one more row of blocks, computed
    traffic = 16 * 64 // hw.dma.bus_bytes + 16 * 7  # its A and its C
    assert abs(cycles(64 + delta) - cycles(64)) <= row_of_blocks + traffic


def test_the_core_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    hw = load("gemmini_default")
    a, b, c = (Operand(0x2001_0000 + 4096 * place, 16) for place in range(3))
    program = lower(Matmul(16, 16, 16, a, b, c), hw)
    run(program, hw)  # compiled and cached

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("the core reads a file")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    timing = run(program, hw)
    monkeypatch.undo()
    assert timing.cycles > 0
