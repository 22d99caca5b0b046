"""Which groups of units the leaping clock steps in a visited cycle.

A group is skipped while none of its units can act: before its wake, unless it receives something from another unit. The
reference clock (`m.full`) steps every unit in every cycle.

    results    phase 2        the array's rows on their way out
    data       phases 3-7,    whatever moves data between port, local memory and store path
               9, 10
    execute    phase 8        the execute controller, unless a run of rows is under way (execute_run.py)
    loads      phases 11, 12  reader and load controller, with the data or when they alone woke or got an id back
    commands   phases 13-15   reservation station, loop unrollers, front end
"""

import numpy as np

from sim.core.jit import njit
from sim.core.leap import execute_run
from sim.core.units import reservation

DTYPE = np.dtype(
    [
        # wake of each group: earliest cycle in which time alone could make it act
        ("results_t", "i8"),  # phase 2
        ("data_t", "i8"),  # phases 3 to 7, 9, 10
        ("execute_t", "i8"),  # phase 8
        ("loads_t", "i8"),  # phases 11, 12
        ("commands_t", "i8"),  # phases 13 to 15
    ]
)


@njit
def open_all(m):
    """Let the next visit step every group."""
    g = m.guard
    g.results_t = 0
    g.data_t = 0
    g.execute_t = 0
    g.loads_t = 0
    g.commands_t = 0


@njit
def results(now, m):
    """True if the rows that leave the array must be stepped.

    Their wake has come, or none is announced (mesh.announce).
    """
    return m.guard.results_t <= now or m.mesh.run_n == 0


@njit
def data(now, m):
    """True if units that move data must be stepped.

    A unit waiting for a port is stepped every cycle: the port may be free.
    """
    return m.full or m.guard.data_t <= now or m.mvin.busy or m.port.reader_out.n + m.p.acc_single > 0


@njit
def loads(now, m):
    """True if reader and load controller must be stepped although nothing else moves data."""
    return m.guard.loads_t <= now or (m.reader.busy and m.reader.freed_t >= now - 1)


@njit
def execute(now, m):
    """True if the execute controller must be stepped: its wake has come, no run is active, or the run is disturbed."""
    return m.guard.execute_t <= now or m.execute.run_n == 0 or execute_run.disturbed(now, m)


@njit
def commands(now, m):
    """True if units for commands must be stepped: a wake has come, or there is a new completion or free place."""
    return m.full or m.guard.commands_t <= now or reservation.has_news(now, m)
