"""Sweeps: hardware overrides x workloads x sparsity over worker processes or a cluster, one tidy row per point.

The order of the rows is that of the arguments (hardware, then the grid's last key fastest, then workload,
sparsity, pruning), independent of the workers. A failing point is a row with its
``error``; a store makes the sweep resumable: points it holds are not simulated again, rows come back bit for bit.
"""

from sim.analysis.tables import write_table
from sim.run.progress import Progress
from sim.sweeps.sweeping import sweep

__all__ = ["Progress", "sweep", "write_table"]
