"""Bit fields of commands and local addresses (GemminiISA.scala, LocalAddr.scala), each in one place.

The functions take one operand or an array of them, as signed 64-bit integers, and are plain Python, so that rooms with
compiled code compile them (`sim.core.fields`) and array code calls them directly. A machine reads fewer bits of a
block's columns and rows than the operand holds (`cols_mask`, `rows_mask` of `sim.core.params`).
"""

from __future__ import annotations

from typing import Any

from sim.isa.commands import PASS_SHIFT, STORED_SHIFT

LOCAL_BITS = 0xFFFFFFFF
"""Mask of a local address; as an address: absent operand."""
STORED_MOST = 0x7F
"""Largest number of bytes of a local row in the field of an expanding load."""


def local_address(operand: Any) -> Any:
    """Bits [31:0]: row of scratchpad or accumulator, with its flags."""
    return operand & 0xFFFFFFFF


def operand_cols(operand: Any) -> Any:
    """Bits [47:32]: columns of the block."""
    return (operand >> 32) & 0xFFFF


def operand_rows(operand: Any) -> Any:
    """Bits [63:48]: rows of the block."""
    return (operand >> 48) & 0xFFFF


def is_acc(address: Any) -> Any:
    """Bit 31 of a local address: 1 accumulator, 0 scratchpad."""
    return (address >> 31) & 1


def accumulates(address: Any) -> Any:
    """Bit 30 of a local address: the row is added to the accumulator."""
    return (address >> 30) & 1


def full_width(address: Any) -> Any:
    """Bit 29 of a local address: elements are stored in accumulator type."""
    return (address >> 29) & 1


def normaliser_pass(address: Any) -> Any:
    """Bits [28:26] of a stored local address: command of the normaliser, 0 none (NormCmd.scala)."""
    return (address >> PASS_SHIFT) & 7


def stored_bytes(operand: Any) -> Any:
    """Bytes of DRAM from which a decoder makes each local row of a load; a field of machines with a decoder alone."""
    return (operand >> STORED_SHIFT) & STORED_MOST


def config_kind(rs1: Any) -> Any:
    """Bits [1:0] of a CONFIG: which unit it configures (`commands.ConfigKind`)."""
    return rs1 & 3


def loop_dimension(operand: Any, n: int) -> Any:
    """Of a matmul loop's bounds (second operand) or paddings (first): I, J, K for n = 0, 1, 2."""
    return (operand >> (16 * n)) & 0xFFFF
