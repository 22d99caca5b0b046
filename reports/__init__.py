"""Figures and pages from files: each module draws on given axes; `carat plot` and `carat report` call them.

Nothing but those two commands imports this package; it reads what `carat run -o`, `sweep`, `whatif`, `trace` and
`validate --json` write, and simulates nothing.
"""
