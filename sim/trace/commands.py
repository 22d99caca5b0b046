"""The core's timeline decoded: what each command is, which local rows and which DRAM bytes it touches.

Field positions are those of GemminiISA.scala and LocalAddr.scala; the ranges are the ones that the reservation
station compares (ReservationStation.scala, `sim.core.units.reservation.dependences`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sim.isa.commands import FULL_WIDTH_BIT, ConfigKind, Funct
from sim.isa.fields import stored_bytes
from sim.timing.parameters import parameters

if TYPE_CHECKING:
    from sim.hardware import Hardware

Ints = npt.NDArray[np.int64]

LOAD, EXECUTE, STORE = 0, 1, 2
NOWHERE, SCRATCHPAD, ACCUMULATOR = 0, 1, 2
"""Local memories; NOWHERE for operands that are absent or garbage."""
READ, WRITE, ACCUMULATE = 0, 1, 2

NAMES = {
    Funct.CONFIG: "config",
    Funct.MVIN: "mvin",
    Funct.MVIN2: "mvin2",
    Funct.MVIN3: "mvin3",
    Funct.MVOUT: "mvout",
    Funct.PRELOAD: "preload",
    Funct.COMPUTE_PRELOADED: "compute",
    Funct.COMPUTE_ACCUMULATED: "compute",
}
"""Commands that reach the reservation station."""


@dataclass(frozen=True)
class Commands:
    """One entry per command in program order, all arrays of that length; times in cycles.

    ``complete``: cycle of completion (that of issue where the command completes as it issues). ``memory``, ``start``,
    ``rows``, ``use``: [command, 2] local operands (memory, first row, rows, READ/WRITE/ACCUMULATE). ``dram``: first
    DRAM byte or 0; ``read_bytes``, ``write_bytes``: what it asks of DRAM.
    """

    queue: Ints
    funct: Ints
    alloc: Ints
    issue: Ints
    complete: Ints
    memory: Ints
    start: Ints
    rows: Ints
    use: Ints
    dram: Ints
    read_bytes: Ints
    write_bytes: Ints
    rs1: Ints
    rs2: Ints

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def is_work(self) -> npt.NDArray[np.bool_]:
        """Which commands do more than configure."""
        return np.not_equal(self.funct, Funct.CONFIG)


def decode(timeline: npt.NDArray[np.void], hw: Hardware) -> Commands:
    """Return the commands of a timeline that ran on ``hw``."""
    queue, funct, rs1, rs2 = (np.asarray(timeline[name], np.int64) for name in ("queue", "funct", "rs1", "rs2"))
    issue = np.asarray(timeline["t_issue"], np.int64)
    complete = np.where(timeline["t_complete"] < 0, issue, timeline["t_complete"]).astype(np.int64)
    p = parameters(hw)
    size = len(funct)
    memory, start, rows, use = (np.zeros((size, 2), np.int64) for _ in range(4))

    def operand(which: int, chosen: npt.NDArray[np.bool_], address: Ints, length: Ints, how: Ints | int) -> None:
        local = address & 0xFFFFFFFF
        accumulator = local >> 31 == 1
        real = chosen & ((local & p["garbage_mask"]) != p["garbage_mask"]) & (length > 0)
        memory[real, which] = np.where(accumulator, ACCUMULATOR, SCRATCHPAD)[real]
        start[real, which] = (local & (np.where(accumulator, p["acc_rows"], p["sp_rows"]) - 1))[real]
        rows[real, which] = length[real]
        use[real, which] = np.broadcast_to(how, size)[real]

    config = funct == Funct.CONFIG
    kind = rs1 & 3
    is_ex, is_st = config & (kind == ConfigKind.EX), config & (kind == ConfigKind.ST)
    a_stride = _latest(is_ex, rs1 >> 16 & 0xFFFF, 1)
    c_stride = _latest(is_ex, rs2 >> 48 & 0xFFFF, 1)
    transposed = _latest(is_ex & (rs1 >> 7 & 1 == 0), rs1 >> 8 & 1, 0)
    pooled = _latest(is_st, rs1 >> 4 & 3, 0)

    high_rows, high_cols = rs2 >> 48 & p["rows_mask"], rs2 >> 32 & p["cols_mask"]
    blocks = -(-high_cols // hw.dim)
    to_accumulator = rs2 >> 31 & 1 == 1
    load = np.isin(funct, (Funct.MVIN, Funct.MVIN2, Funct.MVIN3))
    state = np.select([funct == Funct.MVIN2, funct == Funct.MVIN3], [1, 2], 0)
    block_stride, narrow, stride = (np.zeros(size, np.int64) for _ in range(3))
    for number in range(3):
        of_state = config & (kind == ConfigKind.LD) & (rs1 >> 3 & 3 == number)
        block_stride = np.where(state == number, _latest(of_state, rs1 >> 16 & 0xFFFF, 0), block_stride)
        narrow = np.where(state == number, _latest(of_state, rs1 >> 2 & 1, 0), narrow)
        stride = np.where(state == number, _latest(of_state, rs2, 0), stride)
    adds = np.where(to_accumulator & (rs2 >> 30 & 1 == 1), ACCUMULATE, WRITE)
    operand(0, load, rs2, (blocks - 1) * block_stride + high_rows, adds)

    store = funct == Funct.MVOUT
    operand(0, store, rs2, np.where(pooled > 0, high_rows, (blocks - 1) * hw.dim + high_rows), READ)

    preload = funct == Funct.PRELOAD
    adds = np.where(rs2 >> 30 & 3 == 3, ACCUMULATE, WRITE)
    operand(0, preload, rs2, (rs2 >> 48 & 0xFFFF) * c_stride, adds)
    operand(1, preload, rs1, rs1 >> 48 & 0xFFFF, READ)

    compute = np.isin(funct, (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED))
    a_rows = np.where(transposed == 1, rs1 >> 32 & 0xFFFF, rs1 >> 48 & 0xFFFF)
    operand(0, compute, rs1, a_rows * a_stride, READ)
    operand(1, compute, rs2, rs2 >> 48 & 0xFFFF, READ)

    wide = to_accumulator & (narrow == 0)
    bits = np.select([state == 0, state == 1], [hw.bits("a"), hw.bits("b")], hw.bits("word"))
    row_bytes = np.where(wide, high_cols * hw.acc_bytes, -(-high_cols * bits // 8))
    fetched_rows = np.where(stride == 0, np.minimum(high_rows, 1), high_rows)  # a row of stride 0 is read once
    read = np.where(load & (rs1 != 0), fetched_rows * row_bytes, 0)
    stored = stored_bytes(rs2) if p["has_decoder"] else np.zeros_like(rs2)
    read = np.where(load & (stored > 0), high_rows * blocks * stored, read)
    full = to_accumulator & (rs2 & FULL_WIDTH_BIT != 0)
    statistics = to_accumulator & (rs2 >> 26 & 7 != 0)  # passes of the normaliser write nothing
    written = high_rows * np.where(full, high_cols * hw.acc_bytes, -(-high_cols * hw.bits("c") // 8))
    write = np.where(store & ~statistics, written, 0)
    alloc = np.asarray(timeline["t_alloc"], np.int64)
    dram = np.where(load | store, rs1, 0)
    return Commands(queue, funct, alloc, issue, complete, memory, start, rows, use, dram, read, write, rs1, rs2)


def _latest(chosen: npt.NDArray[np.bool_], values: Ints, default: int) -> Ints:
    """Return for each command the value at the last chosen command before it, or ``default``."""
    places = np.maximum.accumulate(np.where(chosen, np.arange(len(chosen)), -1))
    return np.where(places >= 0, values[places], default)
