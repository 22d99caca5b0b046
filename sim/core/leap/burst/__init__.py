"""Bursts of read beats as one event each: see launch.py (with a timing diagram), settle.py, state.py."""

from sim.core.leap.burst.launch import begin, suits
from sim.core.leap.burst.settle import settle, wake
from sim.core.leap.burst.state import DTYPE, canonise, reset

__all__ = ["DTYPE", "begin", "canonise", "reset", "settle", "suits", "wake"]
