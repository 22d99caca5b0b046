"""Command numbers as plain integers: compiled code and array code compare with these (values: `commands.Funct`)."""

from __future__ import annotations

from sim.isa.commands import ConfigKind, Funct

CONFIG = int(Funct.CONFIG)
MVIN2 = int(Funct.MVIN2)
MVIN = int(Funct.MVIN)
MVOUT = int(Funct.MVOUT)
COMPUTE_PRELOADED = int(Funct.COMPUTE_PRELOADED)
COMPUTE_ACCUMULATED = int(Funct.COMPUTE_ACCUMULATED)
PRELOAD = int(Funct.PRELOAD)
FLUSH = int(Funct.FLUSH)
LOOP_WS = int(Funct.LOOP_WS)
LOOP_WS_BOUNDS = int(Funct.LOOP_WS_CONFIG_BOUNDS)
LOOP_WS_ADDRESSES_AB = int(Funct.LOOP_WS_CONFIG_ADDRS_AB)
LOOP_WS_ADDRESSES_DC = int(Funct.LOOP_WS_CONFIG_ADDRS_DC)
LOOP_WS_STRIDES_AB = int(Funct.LOOP_WS_CONFIG_STRIDES_AB)
LOOP_WS_STRIDES_DC = int(Funct.LOOP_WS_CONFIG_STRIDES_DC)
MVIN3 = int(Funct.MVIN3)
LOOP_CONV_WS = int(Funct.LOOP_CONV_WS)
LOOP_CONV_WS_1 = int(Funct.LOOP_CONV_WS_CONFIG_1)
LOOP_CONV_WS_2 = int(Funct.LOOP_CONV_WS_CONFIG_2)
LOOP_CONV_WS_3 = int(Funct.LOOP_CONV_WS_CONFIG_3)
LOOP_CONV_WS_4 = int(Funct.LOOP_CONV_WS_CONFIG_4)
LOOP_CONV_WS_5 = int(Funct.LOOP_CONV_WS_CONFIG_5)
LOOP_CONV_WS_6 = int(Funct.LOOP_CONV_WS_CONFIG_6)
FENCE = int(Funct.FENCE)

CONFIG_EX = int(ConfigKind.EX)
CONFIG_LD = int(ConfigKind.LD)
CONFIG_ST = int(ConfigKind.ST)
CONFIG_NORM = int(ConfigKind.NORM)
