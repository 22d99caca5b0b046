"""What a row of a load costs, and runs of adjacent blocks: shared by plans and streams, compiled."""

from __future__ import annotations

import numpy as np

from sim.lower.sparse.compiled.jit import njit

COST = np.dtype(
    [("beat_cycles", "f8"), ("round_trip_cycles", "f8"), ("ids", "i8"), ("bus_bytes", "i8"), ("row_bytes", "i8")]
)
"""Cycles per beat and of a read's round trip; requests in flight; bytes of a beat and of a row of a block."""


@njit
def blocks_of(size, block):
    """Return the number of blocks that cover ``size``."""
    return -(-size // block)


@njit
def largest(numbers):
    """Return the largest of some numbers (numpy's own method would leave the entry to numba, see sim.core.linking)."""
    found = numbers[0]
    for number in numbers:
        found = max(found, number)
    return found


@njit
def total(numbers):
    """Return the sum of some whole numbers."""
    found = 0
    for number in numbers:
        found += number
    return found


@njit
def row_cycles(cost, blocks, block_bytes):
    """Return the cycles of one row of adjacent blocks: its beats, or its share of the round trip of all ids."""
    beats = blocks_of(blocks * (block_bytes if block_bytes else cost["row_bytes"]), cost["bus_bytes"])
    return max(beats * cost["beat_cycles"], (cost["round_trip_cycles"] + beats * cost["beat_cycles"]) / cost["ids"])


@njit
def run_length(needed, start, stop, group, bridge):
    """Return the length of the run of needed blocks that begins at ``start``.

    A run ends at a multiple of ``group`` (aligned reads), before ``stop`` and at a gap wider than ``bridge``.
    """
    end = start
    for block in range(start + 1, min(stop, (start // group + 1) * group)):
        if needed[block]:
            if block - end - 1 > bridge:
                break
            end = block
    return end - start + 1
