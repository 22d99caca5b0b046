"""Record of the way of loaded rows: beat merger, two scalers, pixel repeater, zero writer.

A row on the way is two packed integers (`scaler.pack0`, `scaler.pack1`).
"""

import numpy as np

from sim.core.jit import njit
from sim.core.normal import due
from sim.core.units import scaler
from sim.core.units.scaler import SCALER

DTYPE = np.dtype(
    [
        # beat merger: the transaction being merged
        ("g_valid", "i8"),
        ("g_read", "i8"),
        ("g_sent", "i8"),
        ("g_total", "i8"),  # bytes of the request
        ("g_shift", "i8"),
        ("g_bytes", "i8"),  # useful bytes
        ("g_off", "i8"),
        ("g_row", "i8"),  # bytes of a local row
        ("g_addr", "i8"),
        ("g_stride", "i8"),
        ("g0", "i8"),
        ("g1", "i8"),
        ("d_t", "i8"),  # the decoder gives its next row from this cycle on
        ("s", SCALER),
        ("w", SCALER),
        ("r_valid", "i8"),  # pixel repeater behind `s`
        ("r0", "i8"),
        ("r1", "i8"),
        ("z_valid", "i8"),  # zero writer
        ("z_addr", "i8"),
        ("z_cols", "i8"),
        ("z_stride", "i8"),
        ("z_col", "i8"),
        ("z_cmd", "i8"),
        ("z_bytes", "i8"),
        ("z_pix", "i8"),
        ("busy", "i8"),  # 0: no row anywhere behind the merger and the zero writer's input
        ("y_valid", "i8"),  # its pixel repeater
        ("y0", "i8"),
        ("y1", "i8"),
    ]
)


def reset(m):
    """State after reset."""
    scaler.reset(m.mv.s)
    scaler.reset(m.mv.w)


@njit
def canonise(m, now):
    """Normal form, clock set back to 0."""
    v = m.mv
    if not v.g_valid:
        v.g_read = 0
        v.g_sent = 0
        v.g_total = 0
        v.g_shift = 0
        v.g_bytes = 0
        v.g_off = 0
        v.g_row = 0
        v.g_addr = 0
        v.g_stride = 0
        v.g0 = 0
        v.g1 = 0
    v.d_t = due(v.d_t, now)
    scaler.canonise(v.s, now)
    scaler.canonise(v.w, now)
    if not v.r_valid:
        v.r0 = 0
        v.r1 = 0
    if not v.y_valid:
        v.y0 = 0
        v.y1 = 0
    if not v.z_valid:
        v.z_addr = 0
        v.z_cols = 0
        v.z_stride = 0
        v.z_col = 0
        v.z_cmd = 0
        v.z_bytes = 0
        v.z_pix = 0
