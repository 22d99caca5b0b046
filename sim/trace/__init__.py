"""Commands of a run over time, decoded from the core's timeline.

Results do not depend on this room. `commands` turns timeline rows into a table of the operands of each command, `walk`
follows the rows of scratchpad and
accumulator through it, `profile` sums a whole run up, `chrome` and `gantt` show it.
"""
