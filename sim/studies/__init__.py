"""Published studies run again: tables and figures that a simulator can reproduce, published next to simulated values.

A study is one file of published figures (`figures/NAME.toml`: what is printed, where, on which machine it is run again,
when a value counts as agreement, and why one does not agree) and one module or folder of functions that simulate them.
Values fitted to a figure are named as fitted; values that cannot be simulated are listed with the reason.
"""

from __future__ import annotations

from sim.studies.exhibit import STUDIES, Exhibit, Finding, read, run

__all__ = ["STUDIES", "Exhibit", "Finding", "read", "run"]
