"""Figures from files: each module draws on given axes, or runs as `python -m reports.NAME`.

Nothing imports this package; it reads what `carat run -o`, `carat sweep` and `carat validate --json` write.
"""
