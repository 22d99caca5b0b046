"""The core's timeline decoded: kind of each command, its local rows and its DRAM bytes.

Field positions are those of GemminiISA.scala and LocalAddr.scala; the ranges are the ones that the reservation
station compares (ReservationStation.scala, `sim.core.units.reservation.dependences`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sim.isa.commands import ConfigKind, Funct
from sim.isa.fields import (
    accumulates,
    config_kind,
    full_width,
    is_acc,
    local_address,
    normaliser_pass,
    operand_cols,
    operand_rows,
    stored_bytes,
)  # fmt: skip
from sim.isa.layouts import EX_FIRST, EX_SECOND, LD_FIRST, ST_FIRST, get
from sim.timing.parameters import parameters

if TYPE_CHECKING:
    from sim.hardware import Hardware

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LOAD, EXECUTE, STORE = 0, 1, 2
NOWHERE, SCRATCHPAD, ACCUMULATOR = 0, 1, 2
"""Local memories; NOWHERE for operands that are absent or garbage."""
READ, WRITE, ACCUMULATE = 0, 1, 2
LOADS = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3)

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
    DRAM byte or 0; ``read_bytes``, ``write_bytes``: bytes of DRAM that it moves.
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
    def is_work(self) -> Flags:
        """Commands that do more than configure."""
        return np.not_equal(self.funct, Funct.CONFIG)


def decode(timeline: npt.NDArray[np.void], hw: Hardware) -> Commands:
    """Return the commands of a timeline that ran on ``hw``."""
    queue, funct, rs1, rs2 = (np.asarray(timeline[name], np.int64) for name in ("queue", "funct", "rs1", "rs2"))
    issue = np.asarray(timeline["t_issue"], np.int64)
    complete = np.where(timeline["t_complete"] < 0, issue, timeline["t_complete"]).astype(np.int64)
    moved = _Moved.of(funct, rs1, rs2, hw)
    operands = _Operands(len(funct), parameters(hw))
    _moved_operands(operands, moved, rs2, hw)
    _array_operands(operands, funct, rs1, rs2)
    read, write = _traffic(moved, rs1, rs2, hw)
    alloc = np.asarray(timeline["t_alloc"], np.int64)
    dram = np.where(moved.load | moved.store, rs1, 0)
    places = operands.memory, operands.start, operands.rows, operands.use
    return Commands(queue, funct, alloc, issue, complete, *places, dram, read, write, rs1, rs2)


class _Operands:
    """Local operands of each command, two at most."""

    def __init__(self, commands: int, numbers: dict[str, int]):
        self.numbers = numbers
        self.memory, self.start, self.rows, self.use = (np.zeros((commands, 2), np.int64) for _ in range(4))

    def put(self, which: int, chosen: Flags, address: Ints, length: Ints, how: Ints | int) -> None:
        """Write operand ``which`` of the chosen commands, if there is one."""
        p, local = self.numbers, local_address(address)
        accumulator = is_acc(local) == 1
        real = chosen & ((local & p["garbage_mask"]) != p["garbage_mask"]) & (length > 0)
        self.memory[real, which] = np.where(accumulator, ACCUMULATOR, SCRATCHPAD)[real]
        self.start[real, which] = (local & (np.where(accumulator, p["acc_rows"], p["sp_rows"]) - 1))[real]
        self.rows[real, which] = length[real]
        self.use[real, which] = np.broadcast_to(how, len(self.rows))[real]


@dataclass(frozen=True)
class _Moved:
    """Configuration in force at each load or store: blocks of a row, local rows from one to the next."""

    load: Flags
    store: Flags
    state: Ints
    rows: Ints
    cols: Ints
    blocks: Ints
    block_stride: Ints
    stride_bytes: Ints
    narrow: Ints
    pooled: Ints

    @classmethod
    def of(cls, funct: Ints, rs1: Ints, rs2: Ints, hw: Hardware) -> _Moved:
        p, config, kind = parameters(hw), funct == Funct.CONFIG, config_kind(rs1)
        rows, cols = operand_rows(rs2) & p["rows_mask"], operand_cols(rs2) & p["cols_mask"]
        state = np.select([funct == Funct.MVIN2, funct == Funct.MVIN3], [1, 2], 0)
        block_stride, narrow, stride = (np.zeros(len(funct), np.int64) for _ in range(3))
        configured = config & (kind == ConfigKind.LD)
        for number in range(3):
            of_state, set_here = state == number, configured & (get(rs1, LD_FIRST.state) == number)
            block_stride = np.where(of_state, _latest(set_here, get(rs1, LD_FIRST.block_stride), 0), block_stride)
            narrow = np.where(of_state, _latest(set_here, get(rs1, LD_FIRST.shrinks), 0), narrow)
            stride = np.where(of_state, _latest(set_here, rs2, 0), stride)
        load, pooled = (
            np.isin(funct, LOADS),
            _latest(config & (kind == ConfigKind.ST), get(rs1, ST_FIRST.pool_stride), 0),
        )
        blocks = -(-cols // hw.dim)
        return cls(load, funct == Funct.MVOUT, state, rows, cols, blocks, block_stride, stride, narrow, pooled)


def _moved_operands(operands: _Operands, moved: _Moved, rs2: Ints, hw: Hardware) -> None:
    """Write the local rows of loads and stores."""
    adds = np.where((is_acc(rs2) == 1) & (accumulates(rs2) == 1), ACCUMULATE, WRITE)
    operands.put(0, moved.load, rs2, (moved.blocks - 1) * moved.block_stride + moved.rows, adds)
    stored = np.where(moved.pooled > 0, moved.rows, (moved.blocks - 1) * hw.dim + moved.rows)
    operands.put(0, moved.store, rs2, stored, READ)


def _array_operands(operands: _Operands, funct: Ints, rs1: Ints, rs2: Ints) -> None:
    """Write the local rows of preloads and computes."""
    is_ex = (funct == Funct.CONFIG) & (config_kind(rs1) == ConfigKind.EX)
    a_stride, c_stride = _latest(is_ex, get(rs1, EX_FIRST.a_stride), 1), _latest(is_ex, get(rs2, EX_SECOND.c_stride), 1)
    transposed = _latest(is_ex & (get(rs1, EX_FIRST.strides_only) == 0), get(rs1, EX_FIRST.transpose_a), 0)
    preload = funct == Funct.PRELOAD
    adds = np.where((is_acc(rs2) == 1) & (accumulates(rs2) == 1), ACCUMULATE, WRITE)
    operands.put(0, preload, rs2, operand_rows(rs2) * c_stride, adds)
    operands.put(1, preload, rs1, operand_rows(rs1), READ)
    compute = np.isin(funct, (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED))
    a_rows = np.where(transposed == 1, operand_cols(rs1), operand_rows(rs1))
    operands.put(0, compute, rs1, a_rows * a_stride, READ)
    operands.put(1, compute, rs2, operand_rows(rs2), READ)


def _traffic(moved: _Moved, rs1: Ints, rs2: Ints, hw: Hardware) -> tuple[Ints, Ints]:
    """Return the bytes that each command reads and writes in DRAM."""
    to_accumulator = is_acc(rs2) == 1
    wide = to_accumulator & (moved.narrow == 0)
    bits = np.select([moved.state == 0, moved.state == 1], [hw.bits("a"), hw.bits("b")], hw.bits("word"))
    row_bytes = np.where(wide, moved.cols * hw.acc_bytes, -(-moved.cols * bits // 8))
    fetched_rows = np.where(moved.stride_bytes == 0, np.minimum(moved.rows, 1), moved.rows)  # stride 0: read once
    read = np.where(moved.load & (rs1 != 0), fetched_rows * row_bytes, 0)
    stored = stored_bytes(rs2) if hw.sparsity.decoder else np.zeros_like(rs2)
    read = np.where(moved.load & (stored > 0), moved.rows * moved.blocks * stored, read)
    full = to_accumulator & (full_width(rs2) == 1)
    statistics = to_accumulator & (normaliser_pass(rs2) != 0)  # passes of the normaliser write nothing
    written = moved.rows * np.where(full, moved.cols * hw.acc_bytes, -(-moved.cols * hw.bits("c") // 8))
    return read, np.where(moved.store & ~statistics, written, 0)


def _latest(chosen: npt.NDArray[np.bool_], values: Ints, default: int) -> Ints:
    """Return for each command the value at the last chosen command before it, or ``default``."""
    places = np.maximum.accumulate(np.where(chosen, np.arange(len(chosen)), -1))
    return np.where(places >= 0, values[places], default)
