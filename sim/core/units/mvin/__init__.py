"""The path of loaded rows into local memory: see merger.py (beats to rows), ports.py (rows to banks), state.py."""

from sim.core.units.mvin.merger import step_merge
from sim.core.units.mvin.ports import step_write
from sim.core.units.mvin.state import DTYPE, canonise, reset

__all__ = ["DTYPE", "canonise", "reset", "step_merge", "step_write"]
