"""The CPU in front of the accelerator: what it takes around a library call, and to run operators itself.

The cycles between the commands of a call are the lowering's (`sim.lower.pace`); price lists are in hwconfigs/cpu.
"""

from sim.cpu.calls import CallCost, cost, issue_cycles, line_cycles

__all__ = ["CallCost", "cost", "issue_cycles", "line_cycles"]
