"""Operands of many bit fields: configurations and loops (GemminiISA.scala, gemmini_machine.md 2).

A layout is a named tuple of fields, each (lowest bit, bits). `get` reads one field, `pack` makes an operand of all.
Like the functions of `sim.isa.fields`, `get` takes one operand or an array, and rooms with compiled code compile it
(`sim.core.fields`).
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from sim.isa.commands import Funct

Field = tuple[int, int]


def get(word: Any, field: Any) -> Any:
    """Return the bits of a field of an operand."""
    return (word >> field[0]) & ((1 << field[1]) - 1)


def put(value: Any, field: Any) -> Any:
    """Return the low bits of a value at the position of a field."""
    return (value & ((1 << field[1]) - 1)) << field[0]


def pack(layout: Any, **values: Any) -> Any:
    """Return the operand of a layout with these values, numbers or arrays, 0 for the rest."""
    return sum(value << getattr(layout, name)[0] for name, value in values.items())


def _layout(**fields: Field) -> Any:
    return namedtuple("Layout", fields)(*fields.values())


EX_FIRST = _layout(
    kind=(0, 2), weight_stationary=(2, 1), activation=(3, 2), strides_only=(7, 1), transpose_a=(8, 1),
    transpose_b=(9, 1), a_stride=(16, 16), scale=(32, 32),
)  # fmt: skip
"""config_ex; strides in local rows from one row of A or C to the next. ``transpose_b``: with OS of D."""
EX_SECOND = _layout(shift=(0, 5), c_stride=(48, 16))
LD_FIRST = _layout(kind=(0, 2), shrinks=(2, 1), state=(3, 2), pixels=(8, 8), block_stride=(16, 16), scale=(32, 32))
"""config_ld of one of three states. ``shrinks``: rows for the accumulator come in input type; ``pixels``: times a pixel
is written, 0 as 1; ``block_stride``: local rows from one block to the next; ``scale``: a float32."""

ST_FIRST = _layout(
    kind=(0, 2), activation=(2, 2), pool_stride=(4, 2), pool_size=(6, 2), upper_padding=(8, 2), left_padding=(10, 2),
    out_dim=(24, 8), pooled_rows=(32, 8), pooled_cols=(40, 8), out_rows=(48, 8), out_cols=(56, 8),
)  # fmt: skip
"""config_st: pooling, in rows and columns of the image; ``out_dim``: columns of the image in DRAM."""
ST_SECOND = _layout(stride_bytes=(0, 32), scale=(32, 32))

NORM_FIRST = _layout(
    kind=(0, 2), statistics=(8, 8), activation_high=(16, 1), statistics_only=(17, 1), second_constant=(18, 1),
    constant=(32, 32),
)  # fmt: skip
"""config_norm. ``activation_high``: bit 2 of the activation; ``constant``: qln2, or its inverse."""
NORM_SECOND = _layout(qb=(0, 32), qc=(32, 32))

LOOP_BLOCKS = _layout(i=(0, 16), j=(16, 16), k=(32, 16))
"""LOOP_WS_CONFIG_BOUNDS: paddings (first operand), blocks (second)."""
LOOP_FIRST = _layout(accumulate=(0, 1), full_c=(1, 1), low_d=(2, 1), activation=(8, 3), b_half=(16, 2), a_half=(18, 2))
LOOP_SECOND = _layout(transpose_a=(0, 1), transpose_b=(1, 1), residual=(2, 1))
"""LOOP_WS. ``residual``: B is added onto A, nothing multiplied."""

CONV_1_FIRST = _layout(out_channels=(48, 16), in_channels=(32, 16), in_rows=(16, 16), batch=(0, 16))
CONV_1_SECOND = _layout(padding=(56, 8), stride=(48, 8), out_cols=(32, 16), pooled_rows=(16, 16), out_rows=(0, 16))
CONV_2_FIRST = _layout(
    kernel=(48, 16), pooled_cols=(32, 16), pool_size=(16, 16), pool_stride=(8, 8), pool_padding=(0, 8)
)
CONV_2_SECOND = _layout(batches=(48, 16), porows=(32, 16), pocols=(16, 16), pochs=(0, 16))
CONV_3_FIRST = _layout(krows=(48, 16), kcols=(32, 16), kchs=(16, 16), lpad=(0, 16))
CONV_3_SECOND = _layout(rpad=(48, 16), upad=(32, 16), dpad=(24, 8), plpad=(16, 8), in_cols=(0, 16))
CONV_4_FIRST = _layout(orows=(48, 16), prpad=(32, 16), pupad=(21, 11), pdpad=(10, 11), kernel_dilation=(0, 10))
CONV_4_SECOND = _layout(in_stride=(48, 16), weight_stride=(32, 16), out_stride=(16, 16), ocols=(0, 16))
CONV_FIRST = _layout(
    input_half=(18, 2), weight_half=(16, 2), pixels_per_row=(8, 8), depthwise=(6, 1), trans_input_3120=(5, 1),
    trans_weight_0132=(4, 1), trans_weight_1203=(3, 1), trans_output_1203=(2, 1), wrot180=(1, 1), no_bias=(0, 1),
)  # fmt: skip
CONV_SECOND = _layout(activation=(3, 2), input_dilated=(2, 1), downsample=(1, 1), no_pool=(0, 1))
"""The commands of a convolution's loop; two more hold its four addresses."""

CONV = {
    Funct.LOOP_CONV_WS_CONFIG_1: (CONV_1_FIRST, CONV_1_SECOND),
    Funct.LOOP_CONV_WS_CONFIG_2: (CONV_2_FIRST, CONV_2_SECOND),
    Funct.LOOP_CONV_WS_CONFIG_3: (CONV_3_FIRST, CONV_3_SECOND),
    Funct.LOOP_CONV_WS_CONFIG_4: (CONV_4_FIRST, CONV_4_SECOND),
    Funct.LOOP_CONV_WS: (CONV_FIRST, CONV_SECOND),
}
"""Layouts of both operands by command."""
