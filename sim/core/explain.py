"""Describe what each unit of a stopped machine waits for. Never compiled: reads the record."""

from __future__ import annotations

import numpy as np

from sim.core.machine import UNITS
from sim.core.units import frontend


def describe(machine: np.ndarray, program_length: int) -> str:
    """Return the lines of every unit of a machine (array of one MACHINE record) that has stopped making progress."""
    m = machine[0]
    lines = [frontend.describe(m, program_length)]
    for unit in UNITS.values():
        if unit is not frontend and hasattr(unit, "describe"):
            lines.append(unit.describe(m))
    return "\n".join(lines)
