"""The CPU in front of the accelerator: its cycles around a library call, and for operators of its own.

The cycles between the commands of a call are the lowering's (`sim.lower.pace`); price lists are in hwconfigs/cpu.
"""

from sim.cpu.calls import CallCost, cost, issue_cycles, line_cycles, site_of

__all__ = ["CallCost", "cost", "issue_cycles", "line_cycles", "site_of"]
