"""Which programs the periodic clock leaves to the leaping one: those whose commands hardly ever come again."""

from __future__ import annotations

import numpy as np
import pytest

from sim import hardware
from sim.isa.commands import COMMAND, Funct, Program
from sim.lower import build, lower
from sim.lower.work import BlockSparseMatmul
from sim.timing import recurrence, timer

HW = hardware.load("gemmini_default")
BLOCKS = 24
"""Blocks of DIM along K and N of the products below."""


def sparse(rows: int) -> Program:
    """A product of ``rows`` rows whose B has every other block, drawn at random."""
    mask = np.random.default_rng(0).random((BLOCKS, BLOCKS)) < 0.5
    product = build.matmul(rows, BLOCKS * HW.dim, BLOCKS * HW.dim)
    return lower(BlockSparseMatmul(product, tuple(map(tuple, mask.tolist())), index_address=1 << 30), HW)


def test_a_mask_drawn_block_by_block_leaves_nothing_to_repeat() -> None:
    program = sparse(64)
    timed = timer.run(program, HW)
    assert timed.clock == "leap" and "comes again" in timed.refusal
    assert timed.cycles == timer.run(program, HW, clock="reference").cycles


def test_many_rows_pass_the_same_mask_again_and_again() -> None:
    """Each tile of rows meets the same blocks of B."""
    timed = timer.run(sparse(1024), HW)
    assert timed.clock == "periodic"
    assert timed.visited_cycles < 0.5 * timer.run(sparse(1024), HW, clock="leap").visited_cycles


def test_hardware_loops_are_never_refused() -> None:
    """A loop repeats inside itself, however few commands there are."""
    assert recurrence.refusal(lower(build.matmul(256, 256, 256), HW)) == ""


@pytest.mark.parametrize("length", [1, 2, 8, 32])
def test_stretches_are_told_apart_by_their_commands_alone(length: int) -> None:
    """Oracle: the commands of every stretch side by side, addresses in DRAM left out."""
    random = np.random.default_rng(length)
    program = np.zeros(600, COMMAND)
    program["funct"] = random.choice([Funct.MVIN, Funct.PRELOAD], len(program))
    program["rs1"] = random.integers(0, 2, len(program))
    program["rs2"] = random.integers(0, 2, len(program))
    program[300:400] = program[100:200]
    found = recurrence._stretches(recurrence._words(program), length)
    program["rs1"][program["funct"] == Funct.MVIN] = 0
    stretches = [program[place : place + length].tobytes() for place in range(len(program) - length + 1)]
    assert len(found) == len(stretches)
    pairs = zip(found.tolist(), stretches, strict=True)
    assert len(set(found.tolist())) == len(set(stretches)) == len(set(pairs))
