"""The CPU that issues commands: its cycles around a library call, and recording and recognising its programs.

The cycles between the commands of a call are set by the lowering (`sim.lower.pace`); price lists are in hwconfigs/cpu.
"""

from sim.cpu.calls import CallCost, cost, issue_cycles, line_cycles

__all__ = ["CallCost", "cost", "issue_cycles", "line_cycles"]
