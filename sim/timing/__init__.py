"""From a program and a machine to its timing: the interface to the core (`timer`); known timings (`memo`, `disk`).

`items` and `machines`: which work items and which machines have equal timings.
"""
