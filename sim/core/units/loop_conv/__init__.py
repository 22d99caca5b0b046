"""Convolution loop unroller: see control.py (configuration), state.py (its record), emit.py and execute.py."""

from sim.core.units.loop_conv.control import DTYPE, busy, canonise, step

__all__ = ["DTYPE", "busy", "canonise", "step"]
