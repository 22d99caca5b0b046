"""Memory sizes in the key of a timing: reduced as far as the program cannot observe them.

A hardware matmul loop puts A at the beginning of a half of the scratchpad, B at its end and C at the beginning of a
half of the accumulator. If each of the three is in one bank, also when the memory is halved, its rows have the same
bank, the same distance from each other and the same neighbours in both memories: a larger memory only has more empty
rows. `seen` halves the memories as far as that holds. A memory whose rows a program names explicitly keeps its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.core.units.accumulator import WORDS
from sim.isa import fields
from sim.isa.commands import ACCUMULATOR_BIT, Funct, Program
from sim.isa.layouts import EX_FIRST, EX_SECOND, LD_FIRST, LOOP_BLOCKS, ST_FIRST, get
from sim.timing.parameters import local_memories

TRACKED_ROWS = 32 * WORDS
"""Accumulator rows for which the core stores whether they were written."""


def _among(*functs: Funct) -> npt.NDArray[np.bool_]:
    """Return a table: command code -> whether it is one of these."""
    return np.isin(np.arange(max(Funct) + 1), functs)


FIRST_LOCAL = _among(Funct.PRELOAD, Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)
"""Commands whose first operand is a local address."""
SECOND_LOCAL = FIRST_LOCAL | _among(Funct.MVIN, Funct.MVIN2, Funct.MVIN3, Funct.MVOUT)
UNDERSTOOD = SECOND_LOCAL | _among(
    Funct.CONFIG, Funct.FLUSH, Funct.FENCE, Funct.LOOP_WS, Funct.LOOP_WS_CONFIG_BOUNDS, Funct.LOOP_WS_CONFIG_ADDRS_AB,
    Funct.LOOP_WS_CONFIG_ADDRS_DC, Funct.LOOP_WS_CONFIG_STRIDES_AB, Funct.LOOP_WS_CONFIG_STRIDES_DC,
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Local rows of the largest loop's A, B and C; whether commands outside loops name rows of a memory."""

    a: int
    b: int
    c: int
    scratchpad_by_hand: bool
    accumulator_by_hand: bool


def seen(program: Program, numbers: dict[str, int]) -> dict[str, int]:
    """Return ``numbers`` (`sim.timing.parameters`) with local memories as small as the timing of the program allows."""
    return narrowed(local_rows(program, numbers["dim"]), numbers)


def narrowed(rows: Rows | None, numbers: dict[str, int]) -> dict[str, int]:
    """Return ``numbers`` with local memories as small as the timing of a program that uses ``rows`` allows."""
    if rows is None:
        return numbers
    sp_rows, acc_rows = numbers["sp_rows"], numbers["acc_rows"]
    while not rows.scratchpad_by_hand and _holds(sp_rows // 2, numbers["sp_banks"], rows.a, rows.b, numbers["dim"]):
        sp_rows //= 2
    bounded = not rows.accumulator_by_hand and not numbers["acc_single"] and acc_rows <= TRACKED_ROWS
    while bounded and _holds(acc_rows // 2, numbers["acc_banks"], rows.c, 1, numbers["dim"]):
        acc_rows //= 2
    return {**numbers, **local_memories(sp_rows, numbers["sp_banks"], acc_rows, numbers["acc_banks"])}


def _holds(rows: int, banks: int, first: int, last: int, dim: int) -> bool:
    """Return whether a half of the memory holds both regions, and a bank (of two blocks at least) each of them."""
    return rows // banks >= max(first, last, 2 * dim) and rows // 2 >= first + last


def local_rows(program: Program, dim: int) -> Rows | None:
    """Return the program's use of local memory; None if a command is not understood."""
    funct, rs1, rs2 = program["funct"], program["rs1"], program["rs2"]
    known = (funct >= 0) & (funct < len(UNDERSTOOD))
    if (
        not known.all()
        or not UNDERSTOOD[funct].all()
        or not _plain(rs1[funct == Funct.CONFIG], rs2[funct == Funct.CONFIG], dim)
    ):
        return None
    bounds = rs2[funct == Funct.LOOP_WS_CONFIG_BOUNDS]
    i, j, k = (get(bounds, field) for field in LOOP_BLOCKS)
    local = np.concatenate([rs2[SECOND_LOCAL[funct]], rs1[FIRST_LOCAL[funct]]])
    in_accumulator = local & ACCUMULATOR_BIT != 0
    a, b, c = (dim * int(blocks.max(initial=0)) for blocks in (i * k, k * j, i * j))
    return Rows(a, b, c, bool((~in_accumulator).any()), bool(in_accumulator.any()) or not len(bounds))


def _plain(rs1: npt.NDArray[np.int64], rs2: npt.NDArray[np.int64], dim: int) -> bool:
    """Return whether rows are adjacent: no pooling, no pixel repeats, unit strides, blocks ``dim`` apart."""
    execute = (get(rs1, EX_FIRST.a_stride) == 1) & (get(rs2, EX_SECOND.c_stride) == 1)
    load = (get(rs1, LD_FIRST.block_stride) == dim) & (get(rs1, LD_FIRST.pixels) <= 1)
    store = get(rs1, ST_FIRST.pool_stride) == 0
    return bool(np.choose(fields.config_kind(rs1), [execute, load, store, np.ones_like(store)]).all())
