"""Execute timed command streams on real memory images, bit for bit, in the order of the timing core.

In: the timeline of `sim.timing.timer.run`, a machine, a DRAM image. Out: the DRAM image, and the traffic counted from
the rows and bytes accessed. It does not import graph builders, the command line or reports.
"""

from __future__ import annotations

from sim.functional.machine import Execution, Machine
from sim.functional.steps import run_step

__all__ = ["Execution", "Machine", "run_step"]
