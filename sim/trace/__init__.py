"""What happened inside a run: commands over time, decoded from the core's timeline. Nothing here moves a number.

`commands` turns timeline rows into a table of what each command touched, `walk` follows the rows of scratchpad and
accumulator through it, `profile` sums a whole run up, `chrome` and `gantt` show it.
"""
