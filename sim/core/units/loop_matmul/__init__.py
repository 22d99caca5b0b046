"""Matmul loop unroller: see control.py (configuration, the two loop slots), emit.py (its five machines)."""

from sim.core.units.loop_matmul.control import DTYPE, busy, step

__all__ = ["DTYPE", "busy", "step"]
