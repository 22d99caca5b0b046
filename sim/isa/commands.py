"""The accelerator's command set as plain records: the interface between lowering and the timing core.

A program is a one-dimensional array of ``COMMAND`` records in program order. Lowering writes it, `disassemble` prints
it, a test can write it by hand, and the timing core reads nothing else.

Encoding follows Gemmini's RoCC interface (GemminiISA.scala, LocalAddr.scala): ``funct`` selects the command,
``rs1``/``rs2`` are the two 64-bit operands. They are stored as signed 64-bit integers with the same bits, because
compiled code converts mixed unsigned and signed 64-bit integers to floats.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

COMMAND = np.dtype([("funct", "i8"), ("rs1", "i8"), ("rs2", "i8"), ("gap", "i8")])
"""One command. ``gap``: cycles after the acceptance of the previous command before this one is offered (>= 1)."""

Program = npt.NDArray[np.void]
"""A one-dimensional array of dtype COMMAND."""


class Funct(IntEnum):
    """Command codes (GemminiISA.scala); FENCE is Carat's: wait until the accelerator is idle."""

    CONFIG = 0
    MVIN2 = 1
    MVIN = 2
    MVOUT = 3
    COMPUTE_PRELOADED = 4
    COMPUTE_ACCUMULATED = 5
    PRELOAD = 6
    FLUSH = 7
    LOOP_WS = 8
    LOOP_WS_CONFIG_BOUNDS = 9
    LOOP_WS_CONFIG_ADDRS_AB = 10
    LOOP_WS_CONFIG_ADDRS_DC = 11
    LOOP_WS_CONFIG_STRIDES_AB = 12
    LOOP_WS_CONFIG_STRIDES_DC = 13
    MVIN3 = 14
    LOOP_CONV_WS = 15
    LOOP_CONV_WS_CONFIG_1 = 16
    LOOP_CONV_WS_CONFIG_2 = 17
    LOOP_CONV_WS_CONFIG_3 = 18
    LOOP_CONV_WS_CONFIG_4 = 19
    LOOP_CONV_WS_CONFIG_5 = 20
    LOOP_CONV_WS_CONFIG_6 = 21
    FENCE = 1000


class ConfigKind(IntEnum):
    """The two low bits of rs1 of a CONFIG command."""

    EX = 0
    LD = 1
    ST = 2
    NORM = 3


GARBAGE_ADDRESS = 0xFFFFFFFF
ACCUMULATOR_BIT = 1 << 31
ACCUMULATE_BIT = 1 << 30
FULL_WIDTH_BIT = 1 << 29
PASS_SHIFT = 26
"""Bits [28:26] of a stored local address: command of the normaliser (NormCmd.scala)."""

STORED_SHIFT = 56
"""Bits [62:56] of an mvin's second operand, above the rows: bytes from which a decoder expands each local row.

All blocks are then one stream beginning at the DRAM address. 0, as in every program of the RTL: rows are stored
unpacked.
"""


def signed64(value: int) -> int:
    """Return the signed 64-bit integer with the bits of ``value`` (taken modulo 2**64)."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def command(funct: int, rs1: int = 0, rs2: int = 0, gap: int = 1) -> tuple[int, int, int, int]:
    """Return one command as a tuple that `program` accepts; operands may be given unsigned."""
    return (int(funct), signed64(rs1), signed64(rs2), gap)


def program(commands: list[tuple[int, int, int, int]]) -> Program:
    """Pack commands (as made by `command`) into a program array of dtype COMMAND."""
    return np.array(commands, dtype=COMMAND)


def local_operand(address: Any, cols: Any, rows: Any) -> Any:
    """Pack a local address with its block shape: [31:0] address, [47:32] columns, [63:48] rows; numbers or arrays."""
    return (address & 0xFFFFFFFF) | (cols & 0xFFFF) << 32 | (rows & 0xFFFF) << 48
