"""Matmul loop unroller: see control.py (configuration, the two loop slots), emit.py (its five machines)."""

from sim.core.units.loop_matmul.control import DTYPE, busy, canonise, describe, reset, step

__all__ = ["DTYPE", "busy", "canonise", "describe", "reset", "step"]
