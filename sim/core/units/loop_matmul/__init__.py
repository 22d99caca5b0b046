"""Matmul loop unroller: control.py (the two loop slots), state.py, emit.py and store.py (its five machines)."""

from sim.core.units.loop_matmul.control import DTYPE, busy, canonise, describe, reset, step

__all__ = ["DTYPE", "busy", "canonise", "describe", "reset", "step"]
