"""Items of the three command streams, as the walks over products with zeros write them."""

from __future__ import annotations

from collections import namedtuple

from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, FULL_WIDTH_BIT, GARBAGE_ADDRESS, ConfigKind, Funct
from sim.lower.sparse.compiled.jit import njit
from sim.lower.sparse.compiled.loads import blocks_of

A_STATE, B_STATE, D_STATE = int(Funct.MVIN), int(Funct.MVIN2), int(Funct.MVIN3)
"""Loads of A, of B, and of bias, zeros and block index in turn, each by a load state of its own."""
CONFIG, PRELOAD, MVOUT = int(Funct.CONFIG), int(Funct.PRELOAD), int(Funct.MVOUT)
SWITCH, GO_ON = int(Funct.COMPUTE_PRELOADED), int(Funct.COMPUTE_ACCUMULATED)
LOAD_CONFIG, NORM_CONFIG = int(ConfigKind.LD), int(ConfigKind.NORM)
ACC, ADD, FULL, NOWHERE = int(ACCUMULATOR_BIT), int(ACCUMULATE_BIT), int(FULL_WIDTH_BIT), int(GARBAGE_ADDRESS)
THIRD_STATE = 2
BITS_PER_BYTE = 8
SHORTEST_COMPUTE_CYCLES = 4
"""A compute of fewer rows takes as long (rtl README, compute rules)."""

Needs = namedtuple("Needs", "loads computes stores")
"""How many items of each stream must precede an item."""


@njit
def operand(address, cols, rows):
    """Return a local address with its block shape, as `sim.isa.commands.local_operand`."""
    return (address & 0xFFFFFFFF) | (cols & 0xFFFF) << 32 | (rows & 0xFFFF) << 48


@njit
def extent(first, count, dim, size):
    """Return the elements of ``count`` blocks from block ``first`` on, without what lies beyond the matrix."""
    return min((first + count) * dim, size) - first * dim


@njit
def packed_bytes(elements, bits):
    """Return the bytes of adjacent elements of ``bits``."""
    return blocks_of(elements * bits, BITS_PER_BYTE)


@njit
def third_state(dim, shrink, scale_bits):
    """Return the first operand of the command that sets the row stride of the third load state."""
    return scale_bits << 32 | dim << 16 | 1 << 8 | THIRD_STATE << 3 | shrink << 2 | LOAD_CONFIG


@njit
def put(item, funct, rs1, rs2, busy_cycles, drain_cycles, needs):
    """Write an item of one command."""
    item["commands"] = 1
    item["funct"] = funct
    item["rs1"] = rs1
    item["rs2"] = rs2
    item["busy_cycles"] = busy_cycles
    item["drain_cycles"] = drain_cycles
    item["loads"] = needs.loads
    item["computes"] = needs.computes
    item["stores"] = needs.stores
