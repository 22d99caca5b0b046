"""Bit fields of commands and local addresses (GemminiISA.scala, LocalAddr.scala), each in one place.

The functions take one operand or an array of them, as signed 64-bit integers, and are plain Python, so that compiled
rooms compile them with their own compiler (`sim.core.fields`) and array code calls them as they are. A machine reads
fewer bits of a block's columns and rows than the operand holds (`cols_mask`, `rows_mask` of `sim.core.params`).
"""

from __future__ import annotations

from typing import Any

from sim.isa.commands import STORED_SHIFT

LOCAL_BITS = 0xFFFFFFFF
"""Mask of a local address; as an address: absent operand."""
STORED_MOST = 0x7F
"""Most bytes of a local row that the field of an expanding load can say."""


def field(word: Any, low: int, width: int) -> Any:
    """Bits [low + width - 1 : low] of an operand."""
    return (word >> low) & ((1 << width) - 1)


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
    """Bit 30 of a local address: the row is added to what is there."""
    return (address >> 30) & 1


def full_width(address: Any) -> Any:
    """Bit 29 of a local address: elements of accumulator type leave as they are."""
    return (address >> 29) & 1


def normaliser_pass(address: Any) -> Any:
    """Bits [28:26] of a stored local address: command of the normaliser, 0 none (NormCmd.scala)."""
    return (address >> 26) & 7


def stored_bytes(operand: Any) -> Any:
    """Bytes of DRAM from which a decoder makes each local row of a load; a field of machines with a decoder alone."""
    return (operand >> STORED_SHIFT) & STORED_MOST


def config_kind(rs1: Any) -> Any:
    """Bits [1:0] of a CONFIG: which unit it configures (`commands.ConfigKind`)."""
    return rs1 & 3


def ex_weight_stationary(rs1: Any) -> Any:
    """Bit 2 of config_ex: 1 weight-stationary, 0 output-stationary."""
    return (rs1 >> 2) & 1


def ex_strides_only(rs1: Any) -> Any:
    """Bit 7 of config_ex: only the strides are set."""
    return (rs1 >> 7) & 1


def ex_transpose_a(rs1: Any) -> Any:
    """Bit 8 of config_ex."""
    return (rs1 >> 8) & 1


def ex_transpose_b(rs1: Any) -> Any:
    """Bit 9 of config_ex: B, in the output-stationary dataflow D."""
    return (rs1 >> 9) & 1


def ex_stride_a(rs1: Any) -> Any:
    """Bits [31:16] of config_ex: local rows from one row of A to the next."""
    return (rs1 >> 16) & 0xFFFF


def ex_stride_c(rs2: Any) -> Any:
    """Bits [63:48] of config_ex's second operand: local rows from one row of C to the next."""
    return (rs2 >> 48) & 0xFFFF


def ld_shrinks(rs1: Any) -> Any:
    """Bit 2 of config_ld: rows for the accumulator come in input type."""
    return (rs1 >> 2) & 1


def ld_state(rs1: Any) -> Any:
    """Bits [4:3] of config_ld: the load state that is set."""
    return (rs1 >> 3) & 3


def ld_pixels(rs1: Any) -> Any:
    """Bits [15:8] of config_ld: times a pixel is written; 0 as 1."""
    return (rs1 >> 8) & 0xFF


def ld_block_stride(rs1: Any) -> Any:
    """Bits [31:16] of config_ld: local rows from one block to the next."""
    return (rs1 >> 16) & 0xFFFF


def ld_scale(rs1: Any) -> Any:
    """Bits [63:32] of config_ld: a float32."""
    return (rs1 >> 32) & 0xFFFFFFFF


def loop_dimension(operand: Any, n: int) -> Any:
    """Of a matmul loop's bounds (second operand) or paddings (first): I, J, K for n = 0, 1, 2."""
    return (operand >> (16 * n)) & 0xFFFF
