"""The fields of `sim.isa.fields` and `sim.isa.layouts` that units read, compiled."""

from sim.core.jit import njit
from sim.isa import commands, fields, layouts

accumulates = njit(fields.accumulates)
config_kind = njit(fields.config_kind)
get = njit(layouts.get)
full_width = njit(fields.full_width)
is_acc = njit(fields.is_acc)
local_address = njit(fields.local_address)
loop_dimension = njit(fields.loop_dimension)
local_operand = njit(commands.local_operand)
normaliser_pass = njit(fields.normaliser_pass)
operand_cols = njit(fields.operand_cols)
operand_rows = njit(fields.operand_rows)
put = njit(layouts.put)
stored_bytes = njit(fields.stored_bytes)
