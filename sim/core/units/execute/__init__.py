"""Execute controller: see control.py (the controller), state.py (its record), rows.py (operand rows)."""

from sim.core.units.execute.control import step
from sim.core.units.execute.state import COMPUTE, DTYPE, SINGLE_PRELOAD, WAITING, canonise, describe, reset

__all__ = ["COMPUTE", "DTYPE", "SINGLE_PRELOAD", "WAITING", "canonise", "describe", "reset", "step"]
