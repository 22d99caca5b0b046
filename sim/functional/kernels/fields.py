"""Bit fields of commands and local addresses (GemminiISA.scala, LocalAddr.scala), for compiled code.

The fields are defined in `sim.isa.fields`.
"""

from __future__ import annotations

from sim.functional.jit import njit
from sim.isa import fields, layouts
from sim.isa.commands import ConfigKind, Funct

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

GARBAGE_BITS = 7 << 29
"""Bits [31:29] of the address of an absent operand; all row bits are set too."""

accumulates = njit(fields.accumulates)
config_kind = njit(fields.config_kind)
full_width = njit(fields.full_width)
get = njit(layouts.get)
is_acc = njit(fields.is_acc)
local_address = njit(fields.local_address)
normaliser_pass = njit(fields.normaliser_pass)
operand_cols = njit(fields.operand_cols)
operand_rows = njit(fields.operand_rows)
stored_bytes = njit(fields.stored_bytes)


@njit
def signed(word):  # type: ignore[no-untyped-def]
    """Return a word of 32 bits as an int32."""
    return ((word + 0x80000000) & 0xFFFFFFFF) - 0x80000000
