"""Inclusive last-level cache: see state.py (its record), schedule.py (MSHRs), data.py (banks), control.py."""

from sim.core.units.l2.control import reset, step
from sim.core.units.l2.state import DTYPE, TIMING_BITS

__all__ = ["DTYPE", "TIMING_BITS", "reset", "step"]
