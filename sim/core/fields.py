"""The fields of `sim.isa.fields` and `sim.isa.layouts` that units read, compiled."""

from sim.core.jit import njit
from sim.isa import fields, layouts

accumulates = njit(fields.accumulates)
config_kind = njit(fields.config_kind)
ex_stride_a = njit(fields.ex_stride_a)
ex_stride_c = njit(fields.ex_stride_c)
ex_strides_only = njit(fields.ex_strides_only)
ex_transpose_a = njit(fields.ex_transpose_a)
ex_transpose_b = njit(fields.ex_transpose_b)
ex_weight_stationary = njit(fields.ex_weight_stationary)
get = njit(layouts.get)
full_width = njit(fields.full_width)
is_acc = njit(fields.is_acc)
ld_block_stride = njit(fields.ld_block_stride)
ld_pixels = njit(fields.ld_pixels)
ld_scale = njit(fields.ld_scale)
ld_shrinks = njit(fields.ld_shrinks)
ld_state = njit(fields.ld_state)
local_address = njit(fields.local_address)
loop_dimension = njit(fields.loop_dimension)
normaliser_pass = njit(fields.normaliser_pass)
operand_cols = njit(fields.operand_cols)
operand_rows = njit(fields.operand_rows)
stored_bytes = njit(fields.stored_bytes)
