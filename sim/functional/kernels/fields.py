"""Bit fields of commands and local addresses (GemminiISA.scala, LocalAddr.scala), as compiled code reads them."""

from __future__ import annotations

from numba import njit

from sim.isa.commands import STORED_SHIFT, ConfigKind, Funct

CONFIG, MVIN2, MVIN3 = int(Funct.CONFIG), int(Funct.MVIN2), int(Funct.MVIN3)
PRELOAD, COMPUTE_PRELOADED = int(Funct.PRELOAD), int(Funct.COMPUTE_PRELOADED)
CONFIG_NORM = int(ConfigKind.NORM)

LOAD, EXECUTE, STORE = 0, 1, 2
"""Queues of the reservation station."""

RELU, LAYERNORM, IGELU, SOFTMAX = 1, 2, 3, 4
"""Activations of a store."""

SUM, MEAN, VARIANCE, INVERSE_DEVIATION, LARGEST, SUM_EXP, INVERSE_SUM_EXP = range(1, 8)
"""Passes of the normaliser: bits [28:26] of a store's local address."""

KEEP_SCALE = 0xFFFFFFFF
"""Scale field of config_st that keeps the scale as it is."""

STORED_MOST = 0x7F
GARBAGE_BITS = 7 << 29
"""Bits [31:29] of the address of an absent operand; all row bits are set too."""


@njit
def field(bits, low, width):  # type: ignore[no-untyped-def]
    """Bits [low + width - 1 : low]."""
    return (bits >> low) & ((1 << width) - 1)


@njit
def signed_word(bits, low):  # type: ignore[no-untyped-def]
    """Bits [low + 31 : low] as an int32."""
    return (((bits >> low) + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@njit
def local_address(operand):  # type: ignore[no-untyped-def]
    """Bits [31:0]: address in scratchpad or accumulator."""
    return operand & 0xFFFFFFFF


@njit
def operand_cols(operand):  # type: ignore[no-untyped-def]
    """Bits [47:32]."""
    return (operand >> 32) & 0xFFFF


@njit
def operand_rows(operand):  # type: ignore[no-untyped-def]
    """Bits [63:48]."""
    return (operand >> 48) & 0xFFFF


@njit
def is_acc(address):  # type: ignore[no-untyped-def]
    """Bit 31 of a local address: accumulator, not scratchpad."""
    return (address >> 31) & 1


@njit
def accumulates(address):  # type: ignore[no-untyped-def]
    """Bit 30 of a local address: add to what is there."""
    return (address >> 30) & 1


@njit
def full_width(address):  # type: ignore[no-untyped-def]
    """Bit 29 of a local address: elements of accumulator type leave as they are."""
    return (address >> 29) & 1


@njit
def normaliser_pass(address):  # type: ignore[no-untyped-def]
    """Bits [28:26] of a local address; 0: none."""
    return (address >> 26) & 7


@njit
def stored_bytes(operand):  # type: ignore[no-untyped-def]
    """Bytes of DRAM from which an expanding load makes each local row; 0: the load does not expand."""
    return (operand >> STORED_SHIFT) & STORED_MOST
